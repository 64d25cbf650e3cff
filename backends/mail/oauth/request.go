package oauth

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// grant is a token as it came.
type grant struct {
	token         string
	since, expiry time.Time
	refresh       string // what the next one is asked for with, of [RefreshToken]
	shared        bool   // another process has got it
}

// lifeDefault is taken where an issuer does not say how long a token is good, or says that it is over as it comes: each session would
// ask for another one at once. lifeMost is what is believed.
const lifeDefault, lifeMost = 5 * time.Minute, 24 * time.Hour

// fetch asks for a token for a mailbox, with the refresh token where that is the grant. What fails by the clock is tried once more, with the time that the issuer's answer
// has.
func (s *Source) fetch(ctx context.Context, mailbox, refresh string) (grant, error) {
	before := s.transport.issuerNow().Sub(s.config.Now())
	g, err := s.fetchOnce(ctx, mailbox, refresh)
	wrong, is := errors.AsType[*Error](err)
	if is && wrong.Kind == ClockWrong && (s.transport.issuerNow().Sub(s.config.Now())-before).Abs() >= skewLeast {
		return s.fetchOnce(ctx, mailbox, refresh)
	}
	return g, err
}

func (s *Source) fetchOnce(ctx context.Context, mailbox, refresh string) (grant, error) {
	switch s.config.Grant {
	case ServiceAccount:
		return s.byServiceAccount(ctx, mailbox)
	case RefreshToken:
		return s.byRefreshToken(ctx, refresh)
	case ClientCredentials:
	}
	token, err := s.request(ctx, url.Values{})
	return s.granted(token), err
}

// byServiceAccount asks with an assertion that names the mailbox.
func (s *Source) byServiceAccount(ctx context.Context, mailbox string) (grant, error) {
	account, err := readServiceAccount(s.config.ServiceAccount)
	if err != nil {
		return grant{}, err
	}
	signer, err := account.signer()
	if err != nil {
		return grant{}, &Error{Kind: CertificateUnusable, Detail: "the key file " + s.config.ServiceAccount, Err: err}
	}
	endpoint := s.config.TokenURL
	if endpoint == "" {
		endpoint = account.TokenURI
	}
	if err := checkURL(endpoint); err != nil {
		return grant{}, &Error{Kind: Untrusted, Detail: "token_uri", Err: err}
	}
	assertion, err := signer.mailboxAssertion(account, mailbox, endpoint, strings.Join(s.config.Scopes, " "), s.transport.issuerNow())
	if err != nil {
		return grant{}, &Error{Kind: CertificateUnusable, Err: err}
	}
	token, err := s.ask(ctx, endpoints{token: endpoint, style: oauth2.AuthStyleInParams}, clientcredentials.Config{
		EndpointParams: url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}},
	}, assertion)
	return s.granted(token), err
}

// byRefreshToken asks with a refresh token. The next one is that which comes, or the same. It comes with an error, too, where the
// access token beside it is of no use: the old one may be void all the same.
func (s *Source) byRefreshToken(ctx context.Context, refresh string) (grant, error) {
	token, err := s.request(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}, refresh)
	if err != nil && token != nil {
		return grant{refresh: token.RefreshToken}, err
	}
	if err != nil {
		return grant{}, err
	}
	g := s.granted(token)
	g.refresh = cmp.Or(token.RefreshToken, refresh)
	return g, nil
}

// request asks as the application. secrets are what the parameters have in them.
func (s *Source) request(ctx context.Context, parameters url.Values, secrets ...string) (*oauth2.Token, error) {
	where, err := s.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	proof, err := s.proof(where.token)
	if err != nil {
		return nil, err
	}
	for name, values := range proof {
		parameters[name] = values
	}
	return s.ask(ctx, where, clientcredentials.Config{
		ClientID: s.config.ClientID, ClientSecret: s.config.ClientSecret, Scopes: s.config.Scopes, EndpointParams: parameters,
	}, append(secrets, proof.Get("client_assertion"))...)
}

// proof are the parameters that prove the application by its certificate (RFC 7523 §2.2); none: it has a secret.
func (s *Source) proof(endpoint string) (url.Values, error) {
	if s.config.Certificate == "" {
		return nil, nil
	}
	now := s.transport.issuerNow()
	signer, err := certificateSigner(s.config.Certificate, s.config.Key, now)
	if err != nil {
		return nil, err
	}
	assertion, err := signer.clientAssertion(s.config.ClientID, endpoint, now)
	if err != nil {
		return nil, &Error{Kind: CertificateUnusable, Err: err}
	}
	return url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}}, nil
}

// ask sends a request. An access token that is of no use comes with an error.
func (s *Source) ask(ctx context.Context, where endpoints, c clientcredentials.Config, secrets ...string) (*oauth2.Token, error) {
	c.TokenURL, c.AuthStyle = where.token, where.style
	token, err := c.Token(s.using(ctx))
	if err != nil {
		e := failed(err, append(secrets, s.config.ClientSecret)...)
		if e.Kind == LoginNeeded && s.config.Grant != RefreshToken {
			e.Kind = Refused // nobody can log in who never did
		}
		return nil, e
	}
	if wrong := checkToken(token); wrong != nil {
		return token, wrong
	}
	return token, nil
}

// using has the library use our client.
func (s *Source) using(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, s.client)
}

// tokenMost is longer than mail servers take (RFC 4954 §4: 12,288 octets in base64).
const tokenMost = 9 << 10

// checkToken says what is wrong with a token that came (RFC 6750 §2.1), and not what it is.
func checkToken(t *oauth2.Token) *Error {
	switch {
	case t.TokenType != "" && !strings.EqualFold(t.TokenType, "Bearer"):
		return &Error{Kind: Refused, Err: errors.New("the issuer gives a token that is no bearer token")}
	case len(t.AccessToken) > tokenMost:
		return &Error{Kind: Refused, Err: errors.New("the issuer gives a token that is longer than mail servers take")}
	case strings.ContainsFunc(t.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }):
		return &Error{Kind: Refused, Err: errors.New("the issuer gives a token with characters that a token cannot have")}
	}
	return nil
}

// granted is a token with its end.
func (s *Source) granted(t *oauth2.Token) grant {
	if t == nil {
		return grant{}
	}
	life := lifeDefault
	if seconds := t.ExpiresIn; seconds > 0 {
		life = time.Duration(min(seconds, int64(lifeMost/time.Second))) * time.Second
	} else if left := time.Until(t.Expiry); left > 0 {
		life = min(left, lifeMost)
	}
	now := s.config.Now()
	return grant{token: t.AccessToken, since: now, expiry: now.Add(life)}
}
