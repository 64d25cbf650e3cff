package oauth

import (
	"context"
	"errors"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/dipylon/dipylon/backends/pause"
)

// Prompt is what somebody has to do to log in: open the address, and enter the code there.
type Prompt struct {
	Address, Code string
	Until         time.Time
}

// loginMost is how long somebody may take.
const loginMost = 30 * time.Minute

// KeepLogin keeps a refresh token that was got elsewhere, once a token has come of it.
func (s *Source) KeepLogin(ctx context.Context, refresh string) error {
	token, err := s.request(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}, refresh)
	if err != nil {
		return err
	}
	return s.keep(ctx, token)
}

// Login has somebody consent (RFC 8628), and keeps the refresh token that comes of it. prompt is told once what to do. It
// takes a configuration with [RefreshToken].
func (s *Source) Login(ctx context.Context, prompt func(Prompt)) error {
	ctx, cancel := context.WithTimeout(ctx, loginMost)
	defer cancel()
	where, err := s.endpoints(ctx)
	if err != nil {
		return err
	}
	if where.device == "" {
		return &Error{Kind: Refused, Err: errors.New("the issuer has no device codes: get a refresh token elsewhere, and hand it over with --refresh-token")}
	}
	config := &oauth2.Config{
		ClientID: s.config.ClientID, ClientSecret: s.config.ClientSecret, Scopes: s.config.Scopes,
		Endpoint: oauth2.Endpoint{TokenURL: where.token, DeviceAuthURL: where.device, AuthStyle: where.style},
	}
	device, err := config.DeviceAuth(s.using(ctx))
	if err != nil {
		return failed(err, s.config.ClientSecret)
	}
	if checkURL(device.VerificationURI) != nil || device.DeviceCode == "" || device.UserCode == "" {
		return &Error{Kind: Untrusted, Err: errors.New("the issuer's answer has no code, or no https:// address to enter it at")}
	}
	prompt(Prompt{Address: clean(device.VerificationURI, nil), Code: clean(device.UserCode, nil), Until: device.Expiry})
	token, err := s.confirmed(ctx, device)
	if err != nil {
		return err
	}
	return s.keep(ctx, token)
}

// confirmed waits until somebody has confirmed the code (RFC 8628 §3.4). Each request proves the application anew.
func (s *Source) confirmed(ctx context.Context, device *oauth2.DeviceAuthResponse) (*oauth2.Token, error) {
	if !device.Expiry.IsZero() {
		bounded, cancel := context.WithDeadline(ctx, device.Expiry)
		defer cancel()
		ctx = bounded
	}
	interval := pollDefault
	if device.Interval > 0 {
		interval = min(time.Duration(min(device.Interval, 60))*time.Second, pollMost)
	}
	for pause.For(ctx, interval) {
		token, err := s.request(ctx, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {device.DeviceCode}}, device.DeviceCode)
		answer, is := errors.AsType[*Error](err)
		switch {
		case err == nil:
			return token, nil
		case is && answer.Kind == loginPending:
		case is && answer.Passes(): // slow_down, or an outage: RFC 8628 §3.5 wants a longer interval for both
			interval = min(interval+pollSlower, pollMost)
		default:
			return nil, err
		}
	}
	return nil, &Error{Kind: LoginRefused, Err: errors.New("nobody has confirmed the code in time")}
}

// The intervals between two requests (RFC 8628 §3.2, §3.5).
const pollDefault, pollSlower, pollMost = 5 * time.Second, 5 * time.Second, time.Minute

// keep puts a login's refresh token into the vault.
func (s *Source) keep(ctx context.Context, token *oauth2.Token) error {
	if token.RefreshToken == "" {
		return &Error{Kind: ScopeWrong, Err: errors.New("the issuer gives no refresh token: its scope for that is missing (offline_access)")}
	}
	if s.config.Vault.Shared != nil {
		return s.keepShared(ctx, token)
	}
	return s.config.Vault.put(ctx, token.RefreshToken)
}
