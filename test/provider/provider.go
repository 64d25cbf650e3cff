package provider

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Application is one that is registered.
type Application struct {
	Secret        string
	SecretExpired bool
	Certificates  []*x509.Certificate
	NoConsent     bool // of an administrator
	Disabled      bool
}

// Provider is the double. Its exported maps are changed before it is asked, or under Do.
type Provider struct {
	Issuer        string // https://…/tenant/v2.0
	TokenURL      string
	DeviceURL     string
	CA            string // PEM file of the certificate's authority
	Introspection string // http://… on loopback, for mail servers; the token is put at its end

	Applications map[string]*Application
	// ServiceAccounts are keys by address; Mailboxes are whom they get tokens for, nil: anybody.
	ServiceAccounts map[string]*rsa.PublicKey
	Mailboxes       map[string]bool
	// Life is for how long tokens are good [1 h].
	Life time.Duration
	// Skew is how far its clock is ahead.
	Skew time.Duration
	// CalledIssuer is what its configuration says that the issuer is; empty: Issuer.
	CalledIssuer string
	// Once makes a refresh token good once: each request gives another one.
	Once bool
	// Type is that of access tokens; empty: Bearer.
	Type string
	// Secrets must stand in no error: what requests had in them.
	Secrets []string

	t        testing.TB
	server   *httptest.Server
	mu       sync.Mutex
	jtis     map[string]bool
	issued   map[string]Token
	refresh  map[string]string // to whom they belong
	devices  map[string]*device
	failures []Failure
	hang     chan struct{} // not nil: token requests wait for its end
	always   *Failure      // not nil: all of them fail so
	odd      string        // not empty: all of them get this, which is no answer
	slow     time.Duration // all of them take so long
	requests int
	given    int
}

// Token is one that was given.
type Token struct {
	Client  string
	Mailbox string // empty: good for any
	Until   time.Time
	Revoked bool
}

// Failure is an answer of the token endpoint.
type Failure struct {
	Status      int
	Code        string
	Description string
	RetryAfter  string
}

// The failures as Microsoft and Google tell them.
var (
	SecretExpired   = Failure{401, "invalid_client", "AADSTS7000222: The provided client secret keys for app '00000000-0000-0000-0000-000000000001' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds.", ""}
	SecretWrong     = Failure{401, "invalid_client", "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '00000000-0000-0000-0000-000000000001'.", ""}
	ConsentMissing  = Failure{400, "invalid_grant", "AADSTS65001: The user or administrator has not consented to use the application with ID '00000000-0000-0000-0000-000000000001' named 'gateway'. Send an interactive authorization request for this user and resource.", ""}
	KeyUnknown      = Failure{401, "invalid_client", "AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found.]", ""}
	AssertionTime   = Failure{401, "invalid_client", "AADSTS700024: Client assertion is not within its valid time range.", ""}
	AccountDisabled = Failure{400, "invalid_grant", "AADSTS50057: The user account is disabled.", ""}
	ClientUnknown   = Failure{400, "unauthorized_client", "AADSTS700016: Application with identifier '00000000-0000-0000-0000-000000000001' was not found in the directory 'Sakes'.", ""}
	LoginOver       = Failure{400, "invalid_grant", "AADSTS700082: The refresh token has expired due to inactivity. The token was issued on 2026-01-01T00:00:00.0000000Z and was inactive for 90.00:00:00.", ""}
	Throttled       = Failure{429, "temporarily_unavailable", "AADSTS90055: The server is too busy to handle the request.", "7"}
	Down            = Failure{503, "", "", ""}
	GoogleUnknown   = Failure{400, "invalid_grant", "Invalid email or User ID", ""}
	GoogleUnscoped  = Failure{401, "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.", ""}
	GoogleRevoked   = Failure{400, "invalid_grant", "Token has been expired or revoked.", ""}
)

// Start starts one, which ends with the test.
func Start(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{
		Applications: make(map[string]*Application), ServiceAccounts: make(map[string]*rsa.PublicKey), Life: time.Hour, t: t,
		jtis: make(map[string]bool), issued: make(map[string]Token), refresh: make(map[string]string), devices: make(map[string]*device),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tenant/v2.0/.well-known/openid-configuration", p.configuration)
	mux.HandleFunc("POST /tenant/token", p.token)
	mux.HandleFunc("POST /tenant/devicecode", p.device)
	p.server = httptest.NewUnstartedServer(mux)
	p.server.Config.ErrorLog = nil
	p.server.StartTLS()
	t.Cleanup(func() { p.Continue(); p.server.Close() })
	p.Issuer, p.TokenURL, p.DeviceURL = p.server.URL+"/tenant/v2.0", p.server.URL+"/tenant/token", p.server.URL+"/tenant/devicecode"
	p.CA = filepath.Join(t.TempDir(), "provider-ca.pem")
	if err := os.WriteFile(p.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	plain := httptest.NewServer(http.HandlerFunc(p.introspect))
	t.Cleanup(plain.Close)
	p.Introspection = plain.URL + "/introspect?token="
	return p
}

// Do changes it while it is being asked.
func (p *Provider) Do(change func(p *Provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// Fail has the next requests for tokens fail so, in this order, each once.
func (p *Provider) Fail(failures ...Failure) {
	p.Do(func(*Provider) { p.failures = append(p.failures, failures...) })
}

// FailAlways has all requests for tokens fail so, until Continue.
func (p *Provider) FailAlways(f Failure) { p.Do(func(*Provider) { p.always = &f }) }

// Nonsense has requests for tokens get what is no answer, until Continue.
func (p *Provider) Nonsense(text string) { p.Do(func(*Provider) { p.odd = text }) }

// Slow has each request for a token take so long, until Continue.
func (p *Provider) Slow(d time.Duration) { p.Do(func(*Provider) { p.slow = d }) }

// Hang has requests for tokens get no answer until Continue.
func (p *Provider) Hang() { p.Do(func(*Provider) { p.hang = make(chan struct{}) }) }

// Continue ends Hang, FailAlways, Nonsense and Slow.
func (p *Provider) Continue() {
	p.Do(func(*Provider) {
		if p.hang != nil {
			close(p.hang)
		}
		p.hang, p.always, p.odd, p.slow = nil, nil, "", 0
	})
}

// Requests is how many requests for tokens there were.
func (p *Provider) Requests() (n int) {
	p.Do(func(*Provider) { n = p.requests })
	return n
}

// Given is how many tokens were given.
func (p *Provider) Given() (n int) {
	p.Do(func(*Provider) { n = p.given })
	return n
}

// Revoke makes all tokens void that were given.
func (p *Provider) Revoke() { p.void(true) }

// Restore ends Revoke.
func (p *Provider) Restore() { p.void(false) }

func (p *Provider) void(is bool) {
	p.Do(func(*Provider) {
		for token, of := range p.issued {
			of.Revoked = is
			p.issued[token] = of
		}
	})
}

// Check says whether a token lets somebody into a mailbox: how a mail server sees it.
func (p *Provider) Check(token, mailbox string) (Token, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of, known := p.issued[token]
	good := known && !of.Revoked && time.Now().Add(p.Skew).Before(of.Until)
	return of, good && (of.Mailbox == "" || strings.EqualFold(of.Mailbox, mailbox))
}

func (p *Provider) now() time.Time { return time.Now().Add(p.Skew) }

// configuration is the OpenID configuration.
func (p *Provider) configuration(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	issuer := p.CalledIssuer
	if issuer == "" {
		issuer = p.Issuer
	}
	p.answer(w, http.StatusOK, map[string]any{
		"issuer": issuer, "token_endpoint": p.TokenURL, "device_authorization_endpoint": p.DeviceURL,
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
	})
}

// answer sends JSON. The lock is held.
func (p *Provider) answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Date", p.now().UTC().Format(http.TimeFormat))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// fail sends a failure as Microsoft does.
func (p *Provider) fail(w http.ResponseWriter, f Failure) {
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if f.Code == "" {
		w.WriteHeader(f.Status)
		fmt.Fprint(w, "<html>The service is unavailable.</html>")
		return
	}
	description := f.Description
	if strings.HasPrefix(description, "AADSTS") {
		description += " Trace ID: 11111111-2222-3333-4444-555555555555 Correlation ID: 66666666-7777-8888-9999-aaaaaaaaaaaa Timestamp: 2026-11-30 12:00:00Z"
	}
	p.answer(w, f.Status, map[string]any{"error": f.Code, "error_description": description})
}

// give makes a token. The lock is held.
func (p *Provider) give(w http.ResponseWriter, of Token, refresh string) {
	token := "ey" + rand.Text() + rand.Text()
	of.Until = p.now().Add(p.Life)
	p.issued[token] = of
	p.given++
	answer := map[string]any{"token_type": cmp.Or(p.Type, "Bearer"), "access_token": token, "expires_in": int(p.Life.Seconds())}
	if refresh != "" {
		answer["refresh_token"] = refresh
	}
	p.answer(w, http.StatusOK, answer)
}

// introspect tells mail servers of a token (RFC 7662), by GET, as Dovecot has it.
func (p *Provider) introspect(w http.ResponseWriter, r *http.Request) {
	token := r.URL.Query().Get("token")
	of, good := p.Check(token, "")
	if of.Mailbox != "" {
		_, good = p.Check(token, of.Mailbox)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	mailbox := of.Mailbox
	if mailbox == "" {
		mailbox = "any"
	}
	if !good {
		p.answer(w, http.StatusOK, map[string]any{"active": false})
		return
	}
	p.answer(w, http.StatusOK, map[string]any{"active": true, "email": mailbox, "client_id": of.Client, "scope": "mail"})
}
