package imap_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/test/fakeimap"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/provider"
)

const (
	application       = "00000000-0000-0000-0000-000000000001"
	applicationSecret = "the-secret-of-the-application"
)

// tokenSettings are those of a store that gets its tokens from a provider.
func tokenSettings(p *provider.Provider) map[string]any {
	p.Do(func(p *provider.Provider) {
		p.Applications[application] = &provider.Application{Secret: applicationSecret}
	})
	return map[string]any{"issuer": p.Issuer, "client_id": application, "client_secret": applicationSecret, "scopes": []string{"mail/.default"}, "ca": p.CA}
}

// tokenStore is a store in front of a fake that takes tokens alone, for mailboxes (nil: any).
func tokenStore(t *testing.T, p *provider.Provider, mailboxes map[string]bool, more map[string]any) (*imap.Store, *fakeimap.Server) {
	t.Helper()
	f := twoMessages()
	f.Caps, f.On = provider.IMAPCaps, p.IMAP(mailboxes)
	fakeimap.Start(t, f)
	settings := map[string]any{"oauth": tokenSettings(p)}
	for k, v := range more {
		settings[k] = v
	}
	return storeOf(t, f, settings), f
}

func actingFor(user string) backends.Credential {
	return backends.Credential{Kind: backends.CredentialImpersonation, User: user}
}

// TestActsByToken: the gateway acts for users with a token of its own, one for all of them, and asks with no password.
func TestActsByToken(t *testing.T) {
	t.Parallel()
	p := provider.Start(t)
	s, f := tokenStore(t, p, nil, nil)
	description, err := s.Describe(t.Context())
	if err != nil || len(description.Credentials) != 2 || description.Credentials[1] != backends.CredentialImpersonation {
		t.Errorf("it takes %v (%v)", description.Credentials, err)
	}
	for _, user := range []string{"ada@peer.example", "office@peer.example"} {
		d, err := s.Open(t.Context(), backends.OpenRequest{Credential: actingFor(user)})
		if err != nil {
			t.Fatal(err)
		}
		if got := list(t, d); len(got) != 2 {
			t.Errorf("%s has %+v", user, got)
		}
		_ = d.Close()
	}
	if n := p.Requests(); n != 1 {
		t.Errorf("%d tokens for two mailboxes", n)
	}
	if _, err := s.Login(t.Context(), password); backends.KindOf(err) != backends.Unsupported || len(f.Heard("LOGIN")) > 0 {
		t.Errorf("a password: %v", err)
	}
}

// TestTokenRefusedOnce: a token that the server refuses is asked for anew, once, and its login goes on.
func TestTokenRefusedOnce(t *testing.T) {
	t.Parallel()
	p := provider.Start(t)
	var ahead atomic.Int64
	f := twoMessages()
	f.Caps, f.On = provider.IMAPCaps, p.IMAP(nil)
	fakeimap.Start(t, f)
	s := imap.New()
	imap.SetClock(s, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	configureFor(t, s, f, map[string]any{"oauth": tokenSettings(p)})
	if _, err := s.Login(t.Context(), actingFor("ada@peer.example")); err != nil {
		t.Fatal(err)
	}
	ahead.Store(int64(2 * time.Minute))
	p.Revoke()
	if _, err := s.Login(t.Context(), actingFor("bob@peer.example")); err != nil {
		t.Errorf("with a token that was revoked: %v", err)
	}
	if n := p.Requests(); n != 2 {
		t.Errorf("%d tokens", n)
	}
}

// TestTokenRefused: a mailbox that the token does not open is told to be none only where another one is opened with it now.
func TestTokenRefused(t *testing.T) {
	t.Parallel()
	p := provider.Start(t)
	p.Life = 20 * time.Hour
	mailboxes := map[string]bool{}
	var ahead atomic.Int64
	f := twoMessages()
	f.Caps, f.On = provider.IMAPCaps, p.IMAP(mailboxes)
	fakeimap.Start(t, f)
	s := imap.New()
	imap.SetClock(s, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	configureFor(t, s, f, map[string]any{"oauth": tokenSettings(p), "delivery": map[string]any{"append": true}, "connections": map[string]any{"keep": "0s"}})
	resolve := func(what, address string, want backends.Kind) {
		t.Helper()
		verdicts, err := s.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(address)})
		if err != nil {
			t.Fatal(err)
		}
		if got := verdicts[0].Failure; want == 0 && got != nil || want != 0 && (got == nil || got.Kind != want) {
			t.Errorf("%s: %v", what, got)
		}
	}
	if _, err := s.Login(t.Context(), actingFor("ada@peer.example")); backends.KindOf(err) != backends.Temporary || !strings.Contains(err.Error(), "New-ServicePrincipal") {
		t.Errorf("where nobody is let in: %v", err)
	}
	resolve("a recipient, where nobody is let in", "ada@peer.example", backends.Temporary)
	f.Change(func(*fakeimap.Server) { mailboxes["ada@peer.example"] = true })
	resolve("a recipient that is there", "ada@peer.example", 0)
	resolve("one that is not there", "nobody@peer.example", backends.NotFound)
	ahead.Store(int64(10 * time.Minute))
	resolve("one that is not there, some time later", "nobody@peer.example", backends.NotFound)
	ahead.Store(int64(20 * time.Minute))
	f.Change(func(*fakeimap.Server) { delete(mailboxes, "ada@peer.example") })
	resolve("one that is not there, where nobody is let in any more", "nobody@peer.example", backends.Temporary)
	resolve("the one who was let in before", "ada@peer.example", 0)
	if _, err := s.Open(t.Context(), backends.OpenRequest{Credential: actingFor("ada@peer.example")}); backends.KindOf(err) != backends.Temporary {
		t.Errorf("the mailbox of the one who was let in before: %v", err)
	}
}

// TestNoToken: whoever waits for a token is told that it is not the password's fault, and the log what is.
func TestNoToken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		failure provider.Failure
		detail  string
		say     string
	}{
		"secret expired":  {provider.SecretExpired, "secret expired (invalid_client AADSTS7000222)", "tell your administrator"},
		"consent missing": {provider.ConsentMissing, "consent missing", "tell your administrator"},
		"down":            {provider.Down, "outage", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := provider.Start(t)
			s, _ := tokenStore(t, p, nil, nil)
			p.Fail(tt.failure)
			_, err := s.Open(t.Context(), backends.OpenRequest{Credential: actingFor("ada@peer.example")})
			f := backends.AsFailure(err)
			if f == nil || !f.Whole || f.Kind != backends.Temporary || !strings.Contains(f.Detail, tt.detail) || !strings.Contains(f.Text, tt.say) {
				t.Errorf("%v, said %q", err, f.Text)
			}
			if strings.Contains(err.Error(), applicationSecret) {
				t.Error("the secret is in the error")
			}
		})
	}
}

// TestTokenSettings: what is wrong with the settings is told.
func TestTokenSettings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ settings, path string }{
		"no secret":         {`"oauth": {"provider": "microsoft", "tenant": "x.example", "client_id": "a"}`, "oauth.client_secret"},
		"no tenant":         {`"oauth": {"provider": "microsoft", "client_id": "a", "client_secret": "s"}`, "oauth.tenant"},
		"a master, too":     {`"oauth": {"provider": "microsoft", "tenant": "x.example", "client_id": "a", "client_secret": "s"}, "master": {"user": "m", "password": "p"}`, "oauth"},
		"login_as alone":    {`"submission": {"login_as": {"a@x.example": "b@x.example"}}`, "submission.login_as"},
		"nobody appends":    {`"delivery": {"append": true}`, "delivery.append"},
		"google by secret":  {`"oauth": {"provider": "google", "client_id": "a", "client_secret": "s"}`, "oauth.grant"},
		"a login unguarded": {`"oauth": {"provider": "microsoft", "tenant": "x", "client_id": "a", "grant": "refresh_token"}`, "oauth.seal_key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := imap.New().Configure(t.Context(), backends.Settings{Raw: []byte(`{"address": "imap.x.example", ` + tt.settings + `}`), Check: true})
			if wrong, is := err.(*backends.SettingsError); !is || wrong.Problems[0].Path != tt.path {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestSendsByToken: the submission server is logged in at as the mailbox that sends, or as who does so for it, and the copy
// is in the mailbox's Sent folder once: who has its own gets no second one.
func TestSendsByToken(t *testing.T) {
	t.Parallel()
	const shared = "office@peer.example"
	for name, tt := range map[string]struct {
		provider string
		loginAs  map[string]string
		login    string
		copies   int
	}{
		"as the mailbox":                  {"", nil, shared, 1},
		"as its delegate":                 {"", map[string]string{"Office@peer.example": "ada@peer.example"}, "ada@peer.example", 1},
		"a provider with copies":          {"microsoft", nil, shared, 0},
		"the copy is in the delegate's":   {"microsoft", map[string]string{shared: "ada@peer.example"}, "ada@peer.example", 1},
		"a delegate for somebody else":    {"microsoft", map[string]string{"bob@peer.example": "ada@peer.example"}, shared, 0},
		"Google keeps a copy as well, so": {"google", nil, shared, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := provider.Start(t)
			var mu sync.Mutex
			var who []string
			smtp := (&fakesmtp.Server{Offers: []string{"AUTH XOAUTH2"}, Auth: p.SMTP(func(user string) {
				mu.Lock()
				defer mu.Unlock()
				who = append(who, user)
			})}).Start(t)
			oauth := tokenSettings(p)
			if tt.provider == "google" {
				oauth = map[string]any{"provider": "google", "service_account": p.NewServiceAccount("gateway@project.example"), "ca": p.CA}
			} else if tt.provider != "" {
				oauth["provider"], oauth["endpoint"], oauth["tenant"] = tt.provider, p.TokenURL, "peer.example"
			}
			f := twoMessages()
			f.Caps, f.On = provider.IMAPCaps, p.IMAP(nil)
			fakeimap.Start(t, f)
			s := imap.New()
			imap.SetCopyTimes(s, 20*time.Millisecond, 0)
			configureFor(t, s, f, map[string]any{"oauth": oauth, "submission": map[string]any{"address": smtp.Address, "tls": "none", "sent": "Sent", "login_as": tt.loginAs}})
			const message = "Message-ID: <1@peer.example>\r\n\r\nx\r\n"
			verdicts, err := s.Send(t.Context(), actingFor(shared), backends.Delivery{
				Key: "k", Envelope: backends.Envelope{From: shared}, Recipients: backends.To("far@far.example"), Size: int64(len(message)),
			}, strings.NewReader(message))
			if err != nil || verdicts[0].Failure != nil {
				t.Fatal(err, verdicts)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(who) != 1 || who[0] != tt.login {
				t.Errorf("%q log in", who)
			}
			f.Until(t, "the copies", func() bool { return len(f.Appended()) >= tt.copies })
			_ = s.Close() // what it was doing has ended then
			if got := f.Appended(); len(got) != tt.copies {
				t.Errorf("%d copies", len(got))
			}
		})
	}
}

// TestSubmissionRefusesToken: a submission server that does not take the token keeps the mail waiting, whatever it says.
func TestSubmissionRefusesToken(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]string{
		"refused":       provider.RefusedSMTP,
		"SMTP AUTH off": "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.",
		"wrong object":  "430 4.2.0 STOREDRV; mailbox logon failure; failure code:80040111, LogonFailed",
		"for tenants":   "550 5.7.30 Basic authentication is not supported for Client Submission.",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := provider.Start(t)
			smtp := (&fakesmtp.Server{Offers: []string{"AUTH XOAUTH2"}, Auth: func(string) string { return reply }}).Start(t)
			s, _ := tokenStore(t, p, nil, map[string]any{"submission": map[string]any{"address": smtp.Address, "tls": "none"}})
			_, err := s.Send(t.Context(), actingFor("ada@peer.example"), backends.Delivery{
				Key: "k", Envelope: backends.Envelope{From: "ada@peer.example"}, Recipients: backends.To("far@far.example"), Size: 3,
			}, strings.NewReader("\r\nx"))
			if f := backends.AsFailure(err); f == nil || f.Kind != backends.Temporary || !strings.Contains(f.Detail, "SMTP.SendAsApp") || !strings.Contains(f.Detail, "enterprise application") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestKnownMailbox: whom the gateway answers for logs in while the provider gives no token: what is sent then can wait. The mailbox
// is not opened, and is no recipient that is known to be there unless it was opened before.
func TestKnownMailbox(t *testing.T) {
	t.Parallel()
	p := provider.Start(t)
	var ahead atomic.Int64
	f := twoMessages()
	f.Caps, f.On = provider.IMAPCaps, p.IMAP(nil)
	fakeimap.Start(t, f)
	s := imap.New()
	imap.SetClock(s, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	configureFor(t, s, f, map[string]any{"oauth": tokenSettings(p), "delivery": map[string]any{"append": true}, "connections": map[string]any{"keep": "0s"}})
	if _, err := s.Login(t.Context(), actingFor("ada@peer.example")); err != nil {
		t.Fatal(err)
	}
	p.Do(func(p *provider.Provider) { p.Applications[application].SecretExpired = true })
	ahead.Store(int64(2 * time.Hour)) // the token is over
	if account, err := s.Login(t.Context(), actingFor("ada@peer.example")); err != nil || account.ID != "ada@peer.example" {
		t.Errorf("%+v, %v", account, err)
	}
	// The gateway answers for somebody else, too; but whether there is such a mailbox nobody knows.
	if account, err := s.Login(t.Context(), actingFor("bob@peer.example")); err != nil || account.ID != "bob@peer.example" {
		t.Errorf("somebody else: %+v, %v", account, err)
	}
	verdicts, err := s.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To("bob@peer.example")})
	if err != nil || verdicts[0].Failure == nil || verdicts[0].Failure.Kind != backends.Temporary {
		t.Errorf("a recipient of whom nobody knows: %+v, %v", verdicts, err)
	}
	if _, err := s.Open(t.Context(), backends.OpenRequest{Credential: actingFor("ada@peer.example")}); backends.KindOf(err) != backends.Temporary {
		t.Errorf("the mailbox: %v", err)
	}
}

// TestLoginWhileServerEnds: whom the gateway answers for logs in, too, where the server ends between the login and what is asked of
// the inbox, or has ended a connection that was kept.
func TestLoginWhileServerEnds(t *testing.T) {
	t.Parallel()
	p := provider.Start(t)
	f := twoMessages()
	ends := on("STATUS", "* BYE Server shutting down.\nCLOSE")
	ends.Skip = 1
	f.Caps, f.On = provider.IMAPCaps, append([]fakeimap.Rule{ends}, p.IMAP(nil)...)
	fakeimap.Start(t, f)
	s := imap.New()
	configureFor(t, s, f, map[string]any{"oauth": tokenSettings(p)})
	for i := range 3 {
		if account, err := s.Login(t.Context(), actingFor("ada@peer.example")); err != nil || account.ID != "ada@peer.example" {
			t.Errorf("login %d: %+v, %v", i, account, err)
		}
	}
}

// TestLoginWhileAllIsInUse: whom the gateway answers for logs in while all connections to the server are in use.
func TestLoginWhileAllIsInUse(t *testing.T) {
	t.Parallel()
	p := provider.Start(t)
	f := twoMessages()
	f.Caps, f.On = provider.IMAPCaps, p.IMAP(nil)
	fakeimap.Start(t, f)
	s := imap.New()
	configureFor(t, s, f, map[string]any{"oauth": tokenSettings(p), "connections": map[string]any{"total": 1}})
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: actingFor("ada@peer.example")})
	if err != nil {
		t.Fatal(err)
	}
	defer drop.Close()
	if account, err := s.Login(t.Context(), actingFor("ada@peer.example")); err != nil || account.ID != "ada@peer.example" {
		t.Errorf("%+v, %v", account, err)
	}
	if _, err := s.Open(t.Context(), backends.OpenRequest{Credential: actingFor("ada@peer.example")}); backends.KindOf(err) != backends.Throttled {
		t.Errorf("another mailbox: %v", err)
	}
}

// TestTokenVoid: a token that has become void a moment after others were let in with it brings no mail back; a mailbox that is
// taken away while the token is good does.
func TestTokenVoid(t *testing.T) {
	t.Parallel()
	p := provider.Start(t)
	mailboxes := map[string]bool{"ada@peer.example": true, "bob@peer.example": true}
	f := twoMessages()
	f.Caps, f.On = provider.IMAPCaps, p.IMAP(mailboxes)
	fakeimap.Start(t, f)
	s := imap.New()
	configureFor(t, s, f, map[string]any{"oauth": tokenSettings(p), "delivery": map[string]any{"append": true}, "connections": map[string]any{"keep": "0s"}})
	deliver := func(key string) *backends.Failure {
		t.Helper()
		const text = "Subject: x\r\n\r\nhello\r\n"
		d := backends.Delivery{Key: key, Recipients: backends.To("bob@peer.example"), Size: int64(len(text))}
		verdicts, err := s.Deliver(t.Context(), d, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return verdicts[0].Failure
	}
	for _, who := range []string{"bob@peer.example", "ada@peer.example"} {
		if _, err := s.Login(t.Context(), actingFor(who)); err != nil {
			t.Fatal(err)
		}
	}
	p.Revoke()
	if got := deliver("k1"); got == nil || got.Kind != backends.Temporary {
		t.Errorf("with a token that is void: %v", got)
	}
	p.Restore()
	f.Change(func(*fakeimap.Server) { delete(mailboxes, "bob@peer.example") })
	if got := deliver("k2"); got == nil || got.Kind != backends.NotFound {
		t.Errorf("to a mailbox that is not there any more: %v", got)
	}
}
