//go:build linux

package exchange_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	double "github.com/dipylon/dipylon/test/exchange"
	"github.com/dipylon/dipylon/test/peers"
)

// judged is how a double signs in by what gss-ntlmssp and MIT Kerberos say.
func judged(gss *peers.GSS, methods ...string) double.SignIn {
	return double.SignIn{Methods: methods, Judge: func(mechanism string, binding []byte) func([]byte) (double.Verdict, error) {
		login := gss.Begin(mechanism, binding)
		return func(token []byte) (double.Verdict, error) {
			v, err := login.Step(token)
			return double.Verdict(v), err
		}
	}}
}

// domain is a site in a Windows domain, whose accounts MIT Kerberos and gss-ntlmssp have.
type domain struct {
	*site
	kdc *peers.KDC
	gss *peers.GSS
}

func startDomain(t *testing.T) *domain {
	t.Helper()
	d := &domain{site: start(t, map[string]any{"domain": "SAKES"}), kdc: peers.StartKDC(t, "SAKES.EXAMPLE")}
	d.kdc.AddUser("george", "george-secret")
	d.gss = peers.StartGSS(t, peers.GSSAccounts{
		NTLM: "SAKES:george:george-secret", Keytab: d.kdc.AddService("HTTP/127.0.0.1"), Config: d.kdc.Config,
	})
	d.SignInBy(judged(d.gss, "Negotiate", "NTLM"))
	for range 3 {
		if err := d.put(george, []byte(bill)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// store is one with further settings.
func (d *domain) store(t *testing.T, settings map[string]any) (store *exchange.Store) {
	t.Helper()
	d.merged(t, settings, func() { store = d.site.store(t) })
	return store
}

// merged does something with further settings.
func (d *domain) merged(t *testing.T, settings map[string]any, something func()) {
	t.Helper()
	all := map[string]any{}
	if err := json.Unmarshal(d.settings.Raw, &all); err != nil {
		t.Fatal(err)
	}
	for name, value := range settings {
		all[name] = value
	}
	before := d.settings.Raw
	defer func() { d.settings.Raw = before }()
	var err error
	if d.settings.Raw, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	something()
}

// ways are how a client signs in.
func (d *domain) ways() map[string]map[string]any {
	return map[string]map[string]any{
		"ntlm":     {"authentication": "ntlm"},
		"kerberos": {"authentication": "kerberos", "realm": d.kdc.Realm, "kdc": []string{d.kdc.Address}},
		"auto":     {"krb5_conf": d.kdc.Config},
	}
}

// TestSignIn reads a mailbox by each method that Exchange has by default, bound to its TLS, with what may happen to a login meanwhile.
func TestSignIn(t *testing.T) {
	d := startDomain(t)
	for name, settings := range d.ways() {
		t.Run(name, func(t *testing.T) {
			store := d.store(t, settings)
			if err := store.Health(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := d.Requests()
			m := open(t, store, "")
			ids, _ := list(t, m)
			if got := fetch(t, m, ids[0]); got != bill {
				t.Errorf("%q", got)
			}
			if n := d.Requests() - before; n > 9 {
				t.Errorf("%d requests up to the first message", n)
			}
			d.ForgetLogins()
			if got := fetch(t, m, ids[1]); got != bill {
				t.Errorf("after the login was forgotten: %q", got)
			}
			d.HangUpAtLogin(1)
			d.ForgetLogins()
			d.Forget()
			if got := fetch(t, m, ids[2]); got != bill {
				t.Errorf("after everything was forgotten: %q", got)
			}
			d.HangUpAtLogin(0)
		})
	}
}

// TestKeytab: the service account signs in with its key.
func TestKeytab(t *testing.T) {
	d := startDomain(t)
	settings := d.ways()["auto"]
	settings["service"] = map[string]any{"user": service, "keytab": d.kdc.AddService("keeper")}
	m, err := d.store(t, settings).Open(t.Context(), backends.OpenRequest{Credential: acting(george)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if ids, _ := list(t, m); len(ids) != 3 {
		t.Errorf("%d messages", len(ids))
	}
	for name, wrong := range map[string]map[string]any{
		"service: ":        {"service": map[string]any{"user": service, "keytab": "x", "password": "y"}},
		"service.keytab: ": {"service": map[string]any{"user": service, "keytab": "not-there.keytab"}},
	} {
		for key, value := range d.ways()["auto"] {
			wrong[key] = value
		}
		d.merged(t, wrong, func() {
			if err := exchange.New().Configure(t.Context(), d.settings); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s%v", name, err)
			}
		})
	}
}

// TestToken: a client's token goes to the server as it is, and one that is refused is told as that.
func TestToken(t *testing.T) {
	for _, method := range []string{"auto", "bearer"} {
		s := start(t, map[string]any{"authentication": method})
		s.boxes[george].Token = "a.good.token"
		s.SignInBy(double.SignIn{Methods: []string{"Negotiate", "NTLM", `Bearer client_id="00000002-0000-0ff1-ce00-000000000000"`}})
		store := s.store(t)
		token := func(secret string) backends.Credential {
			return backends.Credential{Kind: backends.CredentialToken, User: george, Secret: []byte(secret)}
		}
		m, err := store.Open(t.Context(), backends.OpenRequest{Credential: token("a.good.token")})
		if err != nil {
			t.Fatal(method, err)
		}
		_ = m.Close()
		before := s.Judged()
		if _, err := store.Login(t.Context(), token("a.bad.token")); backends.KindOf(err) != backends.BadCredentials || strings.Contains(err.Error(), "a.bad.token") {
			t.Errorf("%s: %v", method, err)
		}
		if n := s.Judged() - before; n != 1 {
			t.Errorf("%s: it was looked at %d times", method, n)
		}
		_, err = store.Login(t.Context(), credential("george-secret"))
		kind, text := backends.Unsupported, "not asked with a password"
		if method == "auto" { // nobody judges NTLM there
			kind, text = backends.Temporary, "no CHALLENGE_MESSAGE"
		}
		if backends.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: a password: %v", method, err)
		}
	}
}

// TestEachRequest has a server that wants a ticket with each request.
func TestEachRequest(t *testing.T) {
	d := startDomain(t)
	how := judged(d.gss, "Negotiate")
	how.Each = true
	d.SignInBy(how)
	m := open(t, d.store(t, d.ways()["kerberos"]), "")
	ids, _ := list(t, m)
	if got := fetch(t, m, ids[0]); got != bill {
		t.Errorf("%q", got)
	}
}

// TestWrongOnce: a wrong password is looked at once, by the KDC or by the server, however often a client tries it.
func TestWrongOnce(t *testing.T) {
	d := startDomain(t)
	for name, settings := range d.ways() {
		t.Run(name, func(t *testing.T) {
			before, failed := d.Judged(), strings.Count(d.kdc.Log(), "PREAUTH_FAILED")
			store := d.store(t, settings)
			for range 3 {
				if _, err := store.Login(t.Context(), credential("wrong")); backends.KindOf(err) != backends.BadCredentials {
					t.Error(err)
				}
			}
			if n := d.Judged() - before + strings.Count(d.kdc.Log(), "PREAUTH_FAILED") - failed; n != 1 {
				t.Errorf("it was looked at %d times", n)
			}
		})
	}
}

// TestAccounts has what a KDC says of accounts.
func TestAccounts(t *testing.T) {
	d := startDomain(t)
	store := d.store(t, d.ways()["auto"])
	d.kdc.Modify("george", "-pwexpire", "yesterday")
	if _, err := store.Login(t.Context(), credential("george-secret")); backends.KindOf(err) != backends.PasswordExpired {
		t.Errorf("expired: %v", err)
	}
	d.kdc.Modify("george", "-pwexpire", "never", "-allow_tix")
	if _, err := store.Login(t.Context(), credential("george-secret")); backends.KindOf(err) != backends.BadCredentials || !strings.Contains(err.Error(), "locked") {
		t.Errorf("locked: %v", err)
	}
	d.kdc.Modify("george", "+allow_tix")
	if _, err := store.Login(t.Context(), credential("george-secret")); err != nil {
		t.Error(err)
	}
}

// TestFronts reads through a proxy that ends TLS: with the server's certificate as without it, and with another one by Basic alone.
func TestFronts(t *testing.T) {
	d := startDomain(t)
	d.ways()
	for _, own := range []bool{true, false} {
		front := d.StartFront(own)
		ca := filepath.Join(t.TempDir(), "front.pem")
		if err := os.WriteFile(ca, front.Certificate, 0o600); err != nil {
			t.Fatal(err)
		}
		for name, settings := range d.ways() {
			settings["url"], settings["ca"] = front.Root, ca
			_, err := d.store(t, settings).Login(t.Context(), credential("george-secret"))
			kind := backends.Permanent
			if name == "ntlm" {
				kind = backends.BadCredentials // it is not known which of the two
			}
			switch {
			case own && err != nil:
				t.Errorf("%s, the server's certificate: %v", name, err)
			case !own && (backends.KindOf(err) != kind || !strings.Contains(err.Error(), "channel binding")):
				t.Errorf("%s, another certificate: %v", name, err)
			}
		}
	}
	front := d.StartFront(false)
	ca := filepath.Join(t.TempDir(), "front.pem")
	if err := os.WriteFile(ca, front.Certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	d.SignInBy(double.SignIn{})
	settings := map[string]any{"url": front.Root, "ca": ca, "domain": ""}
	if _, err := d.store(t, settings).Login(t.Context(), credential("george-secret")); err != nil {
		t.Errorf("basic, another certificate: %v", err)
	}
}

// TestProtection: without a channel binding /mapi is closed and /EWS is open, and one that is wrong opens neither.
func TestProtection(t *testing.T) {
	d := startDomain(t)
	front := d.StartFront(false)
	for _, test := range []struct {
		name    string
		root    string
		unbound bool
		path    string
		open    bool
	}{
		{"mapi, bound", d.Root, false, "/mapi/emsmdb/", true},
		{"mapi, unbound", d.Root, true, "/mapi/emsmdb/", false},
		{"EWS, bound", d.Root, false, "/EWS/Exchange.asmx", true},
		{"EWS, unbound", d.Root, true, "/EWS/Exchange.asmx", true},
		{"EWS, bound to another", front.Root, false, "/EWS/Exchange.asmx", false},
		{"EWS, unbound behind another", front.Root, true, "/EWS/Exchange.asmx", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			d.Tolerate() // the requests have nothing in them
			trust := d.TLS
			if test.root == front.Root {
				trust = front.TLS
			}
			server, err := signin.New(signin.Config{URL: test.root, TLS: trust, Method: signin.NTLM, Unbound: test.unbound})
			if err != nil {
				t.Fatal(err)
			}
			login := server.Login(signin.Credential{User: `SAKES\george`, Password: "george-secret"})
			defer login.CloseIdleConnections()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, test.root+test.path, strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			response, err := login.RoundTrip(request)
			if err == nil {
				_ = response.Body.Close()
			}
			if (err == nil) != test.open || err != nil && backends.KindOf(err) != backends.BadCredentials {
				t.Error(err)
			}
		})
	}
}

// TestExamineSignIn has what a doctor says of logins in a Windows domain.
func TestExamineSignIn(t *testing.T) {
	d := startDomain(t)
	d.Tolerate() // Autodiscover is asked for nothing but whether it takes a login
	front := d.StartFront(false)
	ca := filepath.Join(t.TempDir(), "front.pem")
	if err := os.WriteFile(ca, front.Certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	proxied := func(way string) map[string]any {
		settings := d.ways()[way]
		settings["url"], settings["ca"] = front.Root, ca
		return settings
	}
	elsewhere := d.ways()["kerberos"]
	elsewhere["spn"] = "HTTP/elsewhere.example"
	for _, test := range []struct {
		name, password string
		settings       map[string]any
		cause          string
	}{
		{"another certificate, NTLM", "george-secret", proxied("ntlm"), "binding-refused"},
		{"another certificate, Kerberos", "george-secret", proxied("kerberos"), "binding-refused"},
		{"another certificate and a wrong password", "guessed", proxied("ntlm"), "wrong-password"},
		{"a wrong password", "guessed", d.ways()["kerberos"], "wrong-password"},
		{"no such service", "george-secret", elsewhere, "no-ticket"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d.merged(t, test.settings, func() {
				request := asGeorge()
				request.Credential.Secret = []byte(test.password)
				endsWith(t, examine(t, d.settings, request), "login", test.cause)
			})
		})
	}
	for name, settings := range d.ways() {
		d.merged(t, settings, func() {
			if got := names(examine(t, d.settings, asGeorge())); got != wellServed+"good" {
				t.Errorf("%s: %s", name, got)
			}
		})
	}
	for _, test := range []struct {
		befalls func()
		cause   string
	}{
		{func() { d.kdc.Modify("george", "-pwexpire", "yesterday") }, "password-expired"},
		{func() { d.kdc.Modify("george", "-pwexpire", "never", "-allow_tix") }, "account-locked"},
		{func() { d.kdc.Modify("george", "+allow_tix"); d.kdc.NewKey("HTTP/127.0.0.1") }, "ticket-refused"}, // the server has the old one
	} {
		test.befalls()
		d.merged(t, d.ways()["kerberos"], func() { endsWith(t, examine(t, d.settings, asGeorge()), "login", test.cause) })
	}
}
