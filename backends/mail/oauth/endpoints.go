package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// endpoints are where an issuer takes requests.
type endpoints struct {
	token, device string
	style         oauth2.AuthStyle // how a client secret is sent
	until         time.Time        // when they are looked up again
}

// endpointsLife is for how long what an issuer says of itself is believed.
const endpointsLife = 24 * time.Hour

// metadata is what is used of an issuer's configuration (OpenID Connect Discovery 1.0 §3, RFC 8414).
type metadata struct {
	Issuer  string   `json:"issuer"`
	Token   string   `json:"token_endpoint"`
	Device  string   `json:"device_authorization_endpoint"`
	Methods []string `json:"token_endpoint_auth_methods_supported"`
}

// endpoints looks the issuer's endpoints up, or takes those that are configured.
func (s *Source) endpoints(ctx context.Context) (endpoints, error) {
	if s.config.TokenURL != "" {
		return endpoints{token: s.config.TokenURL, device: s.config.DeviceURL, style: oauth2.AuthStyleInParams}, nil
	}
	s.discovery.Lock()
	defer s.discovery.Unlock()
	if s.found.token != "" && s.config.Now().Before(s.found.until) {
		return s.found, nil
	}
	found, err := s.discover(ctx)
	if err != nil {
		return endpoints{}, err
	}
	s.found = found
	return found, nil
}

// discover asks an issuer for its configuration, and believes it where it is the issuer's own.
func (s *Source) discover(ctx context.Context) (endpoints, error) {
	where := strings.TrimSuffix(s.config.Issuer, "/") + "/.well-known/openid-configuration"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return endpoints{}, &Error{Kind: Untrusted, Err: err}
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return endpoints{}, failed(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	var m metadata
	if err := json.NewDecoder(answer.Body).Decode(&m); answer.StatusCode != http.StatusOK || err != nil {
		return endpoints{}, s.noMetadata(answer, where)
	}
	if err := s.believe(m); err != nil {
		return endpoints{}, &Error{Kind: Untrusted, Detail: where, Err: err}
	}
	found := endpoints{token: m.Token, device: m.Device, style: oauth2.AuthStyleInParams, until: s.config.Now().Add(endpointsLife)}
	// RFC 8414 §2: client_secret_basic is the default, and providers take the other one, too, unless they say otherwise.
	if len(m.Methods) > 0 && !slices.Contains(m.Methods, "client_secret_post") && slices.Contains(m.Methods, "client_secret_basic") {
		found.style = oauth2.AuthStyleInHeader
	}
	return found, nil
}

// noMetadata is what it means that an issuer does not give its configuration.
func (s *Source) noMetadata(answer *http.Response, where string) *Error {
	e := &Error{Kind: Outage, Code: fmt.Sprintf("HTTP %d", answer.StatusCode), Detail: "no OpenID configuration at " + where, RetryAfter: retryAfter(answer.Header)}
	if answer.StatusCode >= 400 && answer.StatusCode < 500 && answer.StatusCode != http.StatusTooManyRequests {
		if e.Kind = Untrusted; s.config.Provider == Microsoft {
			e.Kind = TenantUnknown // it answers 400 for tenants that it does not have
		}
	}
	return e
}

// believe says why a configuration is not the issuer's own (OpenID Connect Discovery 1.0 §4.3).
func (s *Source) believe(m metadata) error {
	for _, endpoint := range []string{m.Token, m.Device} {
		if endpoint == "" && endpoint != m.Token {
			continue
		}
		if err := checkURL(endpoint); err != nil {
			return fmt.Errorf("an endpoint: %w", err)
		}
	}
	if strings.TrimSuffix(m.Issuer, "/") == strings.TrimSuffix(s.config.Issuer, "/") || s.sameTenant(m) {
		return nil
	}
	return fmt.Errorf("the configuration is that of another issuer, %q", clean(m.Issuer, nil))
}

// sameTenant allows for what Microsoft does: the issuer that is asked for by a tenant's domain names itself by the tenant's
// id. The host is the same, of the endpoints, too.
func (s *Source) sameTenant(m metadata) bool {
	asked, err := url.Parse(s.config.Issuer)
	if err != nil || s.config.Provider != Microsoft {
		return false
	}
	for _, address := range []string{m.Issuer, m.Token, m.Device} {
		if u, err := url.Parse(address); address != "" && (err != nil || u.Scheme != "https" || u.Host != asked.Host) {
			return false
		}
	}
	return strings.HasSuffix(strings.TrimSuffix(m.Issuer, "/"), "/v2.0")
}
