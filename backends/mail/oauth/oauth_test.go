package oauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/vault"
	"github.com/dipylon/dipylon/test/provider"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	app     = "00000000-0000-0000-0000-000000000001"
	secret  = "the-secret-of-the-application"
	sealKey = "0123456789abcdef0123456789abcdef"
)

// clock is a clock that is set by hand.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// bySecret is a configuration with a secret, for a provider that knows it.
func bySecret(p *provider.Provider) oauth.Config {
	p.Applications[app] = &provider.Application{Secret: secret}
	return oauth.Config{Issuer: p.Issuer, ClientID: app, ClientSecret: secret, Scopes: []string{"mail/.default"}, CA: p.CA}
}

// byCertificate is one with a certificate.
func byCertificate(t *testing.T, p *provider.Provider, key crypto.Signer, until time.Time) oauth.Config {
	certificate, file, keyFile := provider.NewCertificate(t, key, until)
	p.Applications[app] = &provider.Application{Certificates: []*x509.Certificate{certificate}}
	return oauth.Config{Issuer: p.Issuer, ClientID: app, Certificate: file, Key: keyFile, Scopes: []string{"mail/.default"}, CA: p.CA}
}

// byLogin is one with a refresh token.
func byLogin(t *testing.T, p *provider.Provider) oauth.Config {
	p.Applications[app] = &provider.Application{}
	return oauth.Config{
		Issuer: p.Issuer, Grant: oauth.RefreshToken, ClientID: app, Scopes: []string{"offline_access", "mail"}, CA: p.CA,
		Vault: oauth.Vault{File: oauth.VaultIn(t.TempDir()), Key: sealKey, Name: "office"},
	}
}

func start(t *testing.T, c oauth.Config) *oauth.Source {
	t.Helper()
	source, err := oauth.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(source.Close)
	return source
}

// token asks for a token and has the provider judge it.
func token(t *testing.T, s *oauth.Source, p *provider.Provider, mailbox string) string {
	t.Helper()
	text, err := s.Token(t.Context(), mailbox)
	if err != nil {
		t.Fatal(err)
	}
	if _, good := p.Check(text, mailbox); !good {
		t.Fatalf("the provider does not know its token for %s", mailbox)
	}
	return text
}

// kindOf is the kind of a failure, in which nothing secret stands.
func kindOf(t *testing.T, p *provider.Provider, err error) oauth.Kind {
	t.Helper()
	wrong, is := errors.AsType[*oauth.Error](err)
	if !is {
		t.Fatalf("not an error of OAuth: %v", err)
	}
	p.Do(func(p *provider.Provider) {
		for _, secret := range p.Secrets {
			if secret != "" && strings.Contains(err.Error(), secret) {
				t.Errorf("the error has a secret in it: %v", err)
			}
		}
	})
	if wrong.Advice() == "" {
		t.Errorf("%v says nothing of what to do", wrong.Kind)
	}
	return wrong.Kind
}

// TestGrants: each grant gets a token.
func TestGrants(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]func(t *testing.T, p *provider.Provider) oauth.Config{
		"secret": func(_ *testing.T, p *provider.Provider) oauth.Config { return bySecret(p) },
		"certificate": func(t *testing.T, p *provider.Provider) oauth.Config {
			return byCertificate(t, p, provider.NewKey(t), time.Now().Add(time.Hour))
		},
		"elliptic certificate": func(t *testing.T, p *provider.Provider) oauth.Config {
			return byCertificate(t, p, ec, time.Now().Add(time.Hour))
		},
		"service account": func(_ *testing.T, p *provider.Provider) oauth.Config {
			return oauth.Config{Provider: oauth.Google, ServiceAccount: p.NewServiceAccount("gateway@project.example"), CA: p.CA}
		},
		"endpoint without discovery": func(_ *testing.T, p *provider.Provider) oauth.Config {
			c := bySecret(p)
			c.Issuer, c.TokenURL = "", p.TokenURL
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := provider.Start(t)
			s := start(t, config(t, p))
			token(t, s, p, "ada@sakes.example")
		})
	}
}

// TestAFreshAssertion: each request has an assertion of its own, as the provider takes none twice.
func TestAFreshAssertion(t *testing.T) {
	p := provider.Start(t)
	c := byCertificate(t, p, provider.NewKey(t), time.Now().Add(time.Hour))
	for range 3 {
		token(t, start(t, c), p, "ada@sakes.example")
	}
}

// TestEachMailbox: a service account has a token for each mailbox, and an application one for all.
func TestEachMailbox(t *testing.T) {
	p := provider.Start(t)
	account := start(t, oauth.Config{Provider: oauth.Google, ServiceAccount: p.NewServiceAccount("gateway@project.example"), CA: p.CA})
	ada := token(t, account, p, "ada@sakes.example")
	if bob := token(t, account, p, "bob@sakes.example"); bob == ada {
		t.Error("two mailboxes have one token")
	}
	if again := token(t, account, p, "Ada@sakes.example"); again != ada {
		t.Error("a mailbox has two tokens")
	}
	application := start(t, bySecret(p))
	if token(t, application, p, "ada@sakes.example") != token(t, application, p, "bob@sakes.example") {
		t.Error("an application has two tokens")
	}
}

// TestOneRequest: many who ask at once are answered by one request.
func TestOneRequest(t *testing.T) {
	p := provider.Start(t)
	s := start(t, bySecret(p))
	p.Hang()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := s.Token(t.Context(), "ada@sakes.example"); err != nil {
				t.Error(err)
			}
		})
	}
	await(t, "a request", func() bool { return p.Requests() == 1 })
	p.Continue()
	all.Wait()
	if n := p.Requests(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("there is never %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestRenewal: a token is renewed ahead of its end while the old one serves, and one that is over is never given out.
func TestRenewal(t *testing.T) {
	p, time60 := provider.Start(t), &clock{}
	c := bySecret(p)
	c.Now = time60.now
	s := start(t, c)
	first := token(t, s, p, "ada@sakes.example")
	time60.pass(49 * time.Minute)
	if token(t, s, p, "ada@sakes.example") != first || p.Requests() != 1 {
		t.Error("a token is renewed that is good for more than ten minutes")
	}
	time60.pass(2 * time.Minute)
	p.Hang()
	if token(t, s, p, "ada@sakes.example") != first {
		t.Error("the token that is still good does not serve while it is renewed")
	}
	await(t, "a renewal", func() bool { return p.Requests() == 2 })
	p.Continue()
	await(t, "the new token", func() bool { return token(t, s, p, "ada@sakes.example") != first })
	time60.pass(2 * time.Hour)
	if n := p.Given(); n != 2 {
		t.Fatalf("%d tokens", n)
	}
	token(t, s, p, "ada@sakes.example")
	if n := p.Given(); n != 3 {
		t.Error("a token that is over was given out")
	}
}

// TestShortLife: a token that lives for a moment is given to who has waited for it.
func TestShortLife(t *testing.T) {
	p := provider.Start(t)
	p.Life = time.Second
	s := start(t, bySecret(p))
	if _, err := s.Token(t.Context(), ""); err != nil || p.Requests() != 1 {
		t.Errorf("%v, by %d requests", err, p.Requests())
	}
}

// TestLifeOver: an issuer that says of a token that it is over already is not asked again and again.
func TestLifeOver(t *testing.T) {
	p := provider.Start(t)
	p.Life = -time.Hour
	s := start(t, bySecret(p))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	for range 10 {
		if _, err := s.Token(ctx, ""); err != nil {
			t.Fatalf("%v, by %d requests", err, p.Requests())
		}
	}
	if n := p.Requests(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestUselessToken: where the access token is of no use, the refresh token that came with it is kept all the same: the one before it
// is void.
func TestUselessToken(t *testing.T) {
	for name, shared := range map[string]bool{"file": false, "vault": true} {
		t.Run(name, func(t *testing.T) {
			p, state := provider.Start(t), &clock{}
			p.Once = true
			c := byLogin(t, p)
			c.Now = state.now
			if shared {
				c = sharing(c, &vault.Memory{Now: state.now})
			}
			s := start(t, c)
			if err := s.KeepLogin(t.Context(), p.NewRefresh("ada@sakes.example")); err != nil {
				t.Fatal(err)
			}
			state.pass(2 * time.Hour)
			p.Do(func(p *provider.Provider) { p.Type = "MAC" })
			if _, err := s.Token(t.Context(), ""); kindOf(t, p, err) != oauth.Refused {
				t.Errorf("a token of another type: %v", err)
			}
			p.Do(func(p *provider.Provider) { p.Type = "" })
			state.pass(2 * time.Minute)
			token(t, s, p, "ada@sakes.example")
		})
	}
}

// TestRenewalFails: the token that is good serves as long as it is, and the failure is told.
func TestRenewalFails(t *testing.T) {
	p, hour := provider.Start(t), &clock{}
	c := bySecret(p)
	c.Now = hour.now
	told := make(chan error, 10)
	c.Notice = func(err error) { told <- err }
	s := start(t, c)
	first := token(t, s, p, "ada@sakes.example")
	hour.pass(55 * time.Minute)
	p.Fail(provider.SecretExpired)
	if token(t, s, p, "ada@sakes.example") != first {
		t.Error("another token")
	}
	if err := <-told; kindOf(t, p, err) != oauth.SecretExpired || oauth.Headline(err) != "the provider gives no token" {
		t.Errorf("told %v", err)
	}
	if token(t, s, p, "ada@sakes.example") != first {
		t.Error("the token that is good does not serve")
	}
}

// TestRefused: a token that a server has refused is asked for anew, unless it has just come.
func TestRefused(t *testing.T) {
	p, minute := provider.Start(t), &clock{}
	c := bySecret(p)
	c.Now = minute.now
	s := start(t, c)
	first := token(t, s, p, "ada@sakes.example")
	if s.Refused("ada@sakes.example", first) {
		t.Error("a token that has just come is asked for anew")
	}
	minute.pass(2 * time.Minute)
	p.Revoke()
	if !s.Refused("ada@sakes.example", first) {
		t.Error("a token that was revoked stays")
	}
	second := token(t, s, p, "ada@sakes.example")
	if second == first || !s.Refused("ada@sakes.example", first) {
		t.Error("who was refused with the old token is not given the new one")
	}
	if n := p.Requests(); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// TestFailures: what issuers say is told for what it is, without secrets.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		failure provider.Failure
		kind    oauth.Kind
	}{
		"secret expired":      {provider.SecretExpired, oauth.SecretExpired},
		"secret wrong":        {provider.SecretWrong, oauth.SecretWrong},
		"consent missing":     {provider.ConsentMissing, oauth.ConsentMissing},
		"certificate unknown": {provider.KeyUnknown, oauth.CertificateWrong},
		"account disabled":    {provider.AccountDisabled, oauth.AccountDisabled},
		"application unknown": {provider.ClientUnknown, oauth.ClientUnknown},
		"throttled":           {provider.Throttled, oauth.Throttled},
		"down":                {provider.Down, oauth.Outage},
		"Google: nobody":      {provider.GoogleUnknown, oauth.AccountUnknown},
		"Google: not scoped":  {provider.GoogleUnscoped, oauth.ConsentMissing},
		"no reason":           {provider.Failure{Status: 400, Code: "invalid_request", Description: "no"}, oauth.Refused},
		"a code that is none": {provider.Failure{Status: 400, Code: "in valid\r\n", Description: "no\r\nwarning: \x1b[31m"}, oauth.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			p := provider.Start(t)
			config := bySecret(p)
			var told []error
			config.Notice = func(err error) { told = append(told, err) }
			s := start(t, config)
			p.Fail(c.failure)
			_, err := s.Token(t.Context(), "ada@sakes.example")
			if kind := kindOf(t, p, err); kind != c.kind {
				t.Errorf("%q, not %q: %v", kind, c.kind, err)
			}
			if strings.ContainsAny(err.Error(), "\r\n\x1b") {
				t.Errorf("what an issuer says is told as it came: %q", err)
			}
			s.Close()
			if len(told) != 1 {
				t.Errorf("told %d times", len(told))
			}
		})
	}
}

// TestAnEcho: an issuer that repeats a request in its error does not make it known.
func TestAnEcho(t *testing.T) {
	p := provider.Start(t)
	s := start(t, bySecret(p))
	p.Fail(provider.Failure{Status: 400, Code: "invalid_request", Description: "what is client_secret=" + secret + "&assertion=eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCJ9.eyJhdWQiOiJhIn0.c2lnbmF0dXJl?"})
	_, err := s.Token(t.Context(), "ada@sakes.example")
	if kindOf(t, p, err); strings.Contains(err.Error(), "eyJ") || strings.Contains(err.Error(), secret) {
		t.Errorf("it repeats a secret: %v", err)
	}
}

// TestPauseAfterFailure: after a failure nobody asks again at once, and no earlier than the issuer wants.
func TestPauseAfterFailure(t *testing.T) {
	p, time7 := provider.Start(t), &clock{}
	c := bySecret(p)
	c.Now = time7.now
	s := start(t, c)
	p.Fail(provider.Throttled) // for 7 s
	for range 20 {
		if _, err := s.Token(t.Context(), "ada@sakes.example"); kindOf(t, p, err) != oauth.Throttled {
			t.Fatal(err)
		}
	}
	time7.pass(6 * time.Second)
	if _, err := s.Token(t.Context(), "ada@sakes.example"); err == nil || p.Requests() != 1 {
		t.Errorf("%d requests, %v", p.Requests(), err)
	}
	time7.pass(2 * time.Second)
	token(t, s, p, "ada@sakes.example")
}

// TestHangingEndpoint: who waits for a token goes when its time is over, and the request when its own is.
func TestHangingEndpoint(t *testing.T) {
	p := provider.Start(t)
	c := bySecret(p)
	c.Timeout = 300 * time.Millisecond
	s := start(t, c)
	p.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Token(ctx, "ada@sakes.example"); !errors.Is(err, context.DeadlineExceeded) || kindOf(t, p, err) != oauth.Outage {
		t.Errorf("the one in a hurry: %v", err)
	}
	if _, err := s.Token(t.Context(), "ada@sakes.example"); kindOf(t, p, err) != oauth.Outage {
		t.Errorf("the patient one: %v", err)
	}
}

// TestClock: a machine whose clock is wrong gets its token by the issuer's, which its answers have.
func TestClock(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		p := provider.Start(t)
		p.Skew = skew
		c := byCertificate(t, p, provider.NewKey(t), time.Now().Add(24*time.Hour))
		c.TokenURL = p.TokenURL // without a discovery before it: the first answer is a refusal
		token(t, start(t, c), p, "ada@sakes.example")
	}
}

// TestCertificates: what is wrong with one here is told before anybody is asked.
func TestCertificates(t *testing.T) {
	p := provider.Start(t)
	c := byCertificate(t, p, provider.NewKey(t), time.Now().Add(-time.Hour))
	if _, err := start(t, c).Token(t.Context(), ""); kindOf(t, p, err) != oauth.CertificateExpired {
		t.Error(err)
	}
	c.Key = filepath.Join(t.TempDir(), "missing")
	if _, err := start(t, c).Token(t.Context(), ""); kindOf(t, p, err) != oauth.CertificateUnusable {
		t.Error(err)
	}
	other := byCertificate(t, p, provider.NewKey(t), time.Now().Add(time.Hour))
	byCertificate(t, p, provider.NewKey(t), time.Now().Add(time.Hour))
	if _, err := start(t, other).Token(t.Context(), ""); kindOf(t, p, err) != oauth.CertificateWrong {
		t.Error(err)
	}
	if n := p.Requests(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestUntrusted: secrets go to nobody but the issuer that is configured.
func TestUntrusted(t *testing.T) {
	for name, change := range map[string]func(*provider.Provider, *oauth.Config){
		"another issuer": func(p *provider.Provider, _ *oauth.Config) { p.CalledIssuer = "https://evil.example/" },
		"an endpoint in clear": func(p *provider.Provider, _ *oauth.Config) {
			p.TokenURL = strings.Replace(p.TokenURL, "https", "http", 1)
		},
		"another authority": func(_ *provider.Provider, c *oauth.Config) { c.CA = "" },
		"nothing there":     func(_ *provider.Provider, c *oauth.Config) { c.Issuer += "/other" },
	} {
		t.Run(name, func(t *testing.T) {
			p := provider.Start(t)
			c := bySecret(p)
			change(p, &c)
			if _, err := start(t, c).Token(t.Context(), ""); kindOf(t, p, err) != oauth.Untrusted {
				t.Errorf("%v", err)
			}
			if p.Requests() != 0 {
				t.Error("the endpoint was asked")
			}
		})
	}
}

// TestLogin: somebody confirms a code; the refresh token is encrypted, and gives tokens from then on.
func TestLogin(t *testing.T) {
	p := provider.Start(t)
	p.Once = true
	c := byLogin(t, p)
	s := start(t, c)
	if _, err := s.Token(t.Context(), ""); kindOf(t, p, err) != oauth.LoginNeeded {
		t.Fatal(err)
	}
	err := s.Login(t.Context(), func(shown oauth.Prompt) {
		if !strings.HasPrefix(shown.Address, "https://") {
			t.Errorf("somebody is sent to %q", shown.Address)
		}
		p.Confirm(shown.Code, "ada@sakes.example")
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // each with the refresh token that the one before was given
		token(t, start(t, c), p, "ada@sakes.example")
	}
	kept, err := os.ReadFile(c.Vault.File)
	if err != nil || strings.Contains(string(kept), "0.A") {
		t.Errorf("the refresh token is kept in the clear (%v)", err)
	}
	if info, err := os.Stat(c.Vault.File); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
	for name, change := range map[string]func(v *oauth.Vault){
		"another key":   func(v *oauth.Vault) { v.Key = strings.ToUpper(sealKey) },
		"another store": func(v *oauth.Vault) { v.Name = "other" },
	} {
		other := c
		change(&other.Vault)
		if _, err := start(t, other).Token(t.Context(), ""); kindOf(t, p, err) != oauth.VaultUnusable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLoginRefused: a code that is declined is told.
func TestLoginRefused(t *testing.T) {
	p := provider.Start(t)
	s := start(t, byLogin(t, p))
	err := s.Login(t.Context(), func(shown oauth.Prompt) { p.Decline(shown.Code) })
	if kindOf(t, p, err) != oauth.LoginRefused {
		t.Error(err)
	}
	p.Fail(provider.LoginOver)
	if err := s.KeepLogin(t.Context(), p.NewRefresh("ada@sakes.example")); kindOf(t, p, err) != oauth.LoginNeeded {
		t.Error(err)
	}
}

// TestRotation: several processes that use one login at once never use a refresh token twice, which would end the login.
func TestRotation(t *testing.T) {
	p := provider.Start(t)
	p.Once = true
	c := byLogin(t, p)
	if err := start(t, c).KeepLogin(t.Context(), p.NewRefresh("ada@sakes.example")); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		s := start(t, c)
		all.Go(func() {
			if _, err := s.Token(t.Context(), ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	token(t, start(t, c), p, "ada@sakes.example")
}

// TestCheck: what is wrong with a configuration is told by the setting's name.
func TestCheck(t *testing.T) {
	good := oauth.Config{Provider: oauth.Microsoft, Tenant: "sakes.example", ClientID: app, ClientSecret: secret}
	if wrong := good.Check(); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	for setting, change := range map[string]func(c *oauth.Config){
		"provider":        func(c *oauth.Config) { c.Provider = "azure" },
		"tenant":          func(c *oauth.Config) { c.Tenant = "" },
		"issuer":          func(c *oauth.Config) { c.Issuer = "http://login.example" },
		"endpoint":        func(c *oauth.Config) { c.TokenURL = "https://user@login.example" },
		"client_id":       func(c *oauth.Config) { c.ClientID = "" },
		"client_secret":   func(c *oauth.Config) { c.ClientSecret = "" },
		"certificate":     func(c *oauth.Config) { c.Certificate = "app.crt" },
		"grant":           func(c *oauth.Config) { c.Grant = "password" },
		"seal_key":        func(c *oauth.Config) { c.Grant, c.Vault.Key = oauth.RefreshToken, "short" },
		"service_account": func(c *oauth.Config) { c.Grant = oauth.ServiceAccount },
	} {
		c := good
		change(&c)
		found := false
		for _, wrong := range c.Check() {
			found = found || wrong.Setting == setting
		}
		if !found {
			t.Errorf("%s: %v", setting, c.Check())
		}
	}
}

// TestClose: who waits is not left waiting.
func TestClose(t *testing.T) {
	p := provider.Start(t)
	s := start(t, bySecret(p))
	p.Hang()
	waiting := make(chan error, 1)
	go func() {
		_, err := s.Token(t.Context(), "")
		waiting <- err
	}()
	await(t, "a request", func() bool { return p.Requests() == 1 })
	s.Close()
	if err := <-waiting; err == nil {
		t.Error("a source that is closed gives a token")
	}
}
