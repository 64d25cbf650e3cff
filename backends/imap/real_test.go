//go:build linux

package imap_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

func configured(t *testing.T, settings map[string]any) *imap.Store {
	t.Helper()
	s := imap.New()
	if err := s.Configure(t.Context(), given(t, settings)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestDovecot is what is particular to this server, or can be shown with it best.
func TestDovecot(t *testing.T) {
	t.Parallel()
	key := make([]byte, 32)
	relay := startRelay(t)
	d := peers.StartDovecot(t, peers.DovecotOptions{Master: master, Extra: tokens(t, key) + relay.dovecot()})
	d.Doveadm("mailbox", "create", "-u", "bob@peer.example", "Second")
	base := map[string]any{"address": d.IMAPS, "ca": d.CA, "tls_name": "localhost", "timeout": "5s"}
	with := func(more map[string]any) map[string]any {
		all := map[string]any{}
		for _, m := range []map[string]any{base, more} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	t.Run("TLS", func(t *testing.T) { t.Parallel(); testTLS(t, d, with) })
	t.Run("tokens", func(t *testing.T) { t.Parallel(); testTokens(t, configured(t, base), key) })
	t.Run("impersonation", func(t *testing.T) {
		t.Parallel()
		s := configured(t, with(map[string]any{"master": map[string]any{"user": "keeper", "password": "keeper-secret"}}))
		testImpersonation(t, s)
	})
	t.Run("sending", func(t *testing.T) { t.Parallel(); testSending(t, d, relay, with, key) })
	t.Run("another mailbox", func(t *testing.T) { t.Parallel(); testRecreated(t, d, with) })
	t.Run("uidl", func(t *testing.T) { t.Parallel(); testUIDL(t, d, with) })
}

// testTLS: a server is trusted by its authority or by its key, and by nothing else.
func testTLS(t *testing.T, d *peers.Dovecot, with func(map[string]any) map[string]any) {
	other := harness.NewAuthority(t)
	pin := pinOf(t, d.IMAPS)
	for name, tt := range map[string]struct {
		settings map[string]any
		detail   string // of the failure; empty: it works
	}{
		"implicit":                  {nil, ""},
		"starttls":                  {map[string]any{"address": d.IMAP, "tls": "starttls"}, ""},
		"none":                      {map[string]any{"address": d.IMAP, "tls": "none"}, ""},
		"pin":                       {map[string]any{"ca": "", "pin": pin}, ""},
		"pin after STARTTLS":        {map[string]any{"ca": "", "pin": pin, "address": d.IMAP, "tls": "starttls"}, ""},
		"another pin":               {map[string]any{"pin": "sha256/" + base64.StdEncoding.EncodeToString(make([]byte, 32))}, "not the pinned one"},
		"another authority":         {map[string]any{"ca": other.CAFile}, "certificate is not trusted"},
		"another, after STARTTLS":   {map[string]any{"ca": other.CAFile, "address": d.IMAP, "tls": "starttls"}, "certificate is not trusted"},
		"the system's authorities":  {map[string]any{"ca": ""}, "certificate is not trusted"},
		"another name":              {map[string]any{"tls_name": "mail.sakes.example"}, "certificate is not trusted"},
		"TLS where there is none":   {map[string]any{"address": d.IMAP}, `is "tls" (implicit, starttls, none) right`},
		"none where there is TLS":   {map[string]any{"tls": "none", "timeout": "1s"}, `is "tls" (implicit, starttls, none) right`},
		"starttls where TLS is":     {map[string]any{"tls": "starttls", "timeout": "1s"}, `is "tls" (implicit, starttls, none) right`},
		"nobody there":              {map[string]any{"address": "127.0.0.1:1"}, "connection refused"},
		"a server that is not IMAP": {map[string]any{"address": d.POP3, "tls": "none", "timeout": "1s"}, "connect to"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := configured(t, with(tt.settings)).Login(t.Context(), password)
			switch {
			case tt.detail == "" && err != nil:
				t.Error(err)
			case tt.detail != "" && (backends.KindOf(err) != backends.Temporary || !strings.Contains(err.Error(), tt.detail)):
				t.Errorf("it fails with %v, wanted a temporary failure with %q", err, tt.detail)
			}
		})
	}
}

// pinOf is what an administrator gets with openssl.
func pinOf(t *testing.T, address string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // to look at the key
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
}

// tokens is Dovecot's configuration for tokens that it verifies itself.
func tokens(t *testing.T, key []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "default/HS256"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"default/HS256/default": base64.StdEncoding.EncodeToString(key),
		"oauth2.conf":           "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix=" + dir + "/\nusername_attribute = sub\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for d := dir; d != os.TempDir(); d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755)
	}
	return fmt.Sprintf("auth_mechanisms = plain login oauthbearer xoauth2\npassdb {\n driver = oauth2\n mechanisms = oauthbearer xoauth2\n args = %s/oauth2.conf\n}\n", dir)
}

func testTokens(t *testing.T, s *imap.Store, key []byte) {
	now := time.Now()
	for name, tt := range map[string]struct {
		token string
		kind  backends.Kind
	}{
		"good":        {jwt(t, key, "ada@peer.example", now.Add(time.Hour)), 0},
		"expired":     {jwt(t, key, "ada@peer.example", now.Add(-time.Hour)), backends.BadCredentials},
		"another's":   {jwt(t, key, "bob@peer.example", now.Add(time.Hour)), backends.BadCredentials},
		"another key": {jwt(t, []byte("no"), "ada@peer.example", now.Add(time.Hour)), backends.BadCredentials},
		"not a token": {"nonsense", backends.BadCredentials},
	} {
		t.Run(name, func(t *testing.T) {
			c := backends.Credential{Kind: backends.CredentialToken, User: "ada@peer.example", Secret: []byte(tt.token)}
			account, err := s.Login(t.Context(), c)
			if backends.KindOf(err) != tt.kind || tt.kind == 0 && account.ID != "ada@peer.example" {
				t.Errorf("it gives %+v and %v", account, err)
			}
		})
	}
}

// jwt makes a token (RFC 7519).
func jwt(t *testing.T, key []byte, user string, expires time.Time) string {
	t.Helper()
	encode := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	signed := encode(map[string]string{"alg": "HS256", "typ": "JWT"}) + "." +
		encode(map[string]any{"sub": user, "iat": expires.Add(-2 * time.Hour).Unix(), "exp": expires.Unix()})
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// testImpersonation: the master user opens anybody's mailbox, and nobody's who is not there.
func testImpersonation(t *testing.T, s *imap.Store) {
	impersonation := backends.Credential{Kind: backends.CredentialImpersonation, User: "bob@peer.example"}
	d, err := s.Open(t.Context(), backends.OpenRequest{Credential: impersonation, Folder: "Second"})
	if err != nil {
		t.Fatal(err)
	}
	if d.Opened().Account.ID != "bob@peer.example" {
		t.Errorf("the account is %+v", d.Opened().Account)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	another := impersonation
	another.ActAs = "ada@peer.example" // the master user could, and bob may not
	if _, err := s.Login(t.Context(), another); backends.KindOf(err) != backends.Permanent {
		t.Errorf("acting for bob in ada's mailbox: %v", err)
	}
	impersonation.User = "nobody@peer.example"
	if _, err := s.Login(t.Context(), impersonation); backends.KindOf(err) != backends.Permanent {
		t.Errorf("acting for nobody: %v", err)
	}
	self := password
	self.ActAs = "bob@peer.example" // ada's own password opens no other mailbox
	if _, err := s.Login(t.Context(), self); backends.KindOf(err) != backends.BadCredentials {
		t.Errorf("ada acting for bob: %v", err)
	}
}

// testUIDL: the rule gives what this server's own POP3 told.
func testUIDL(t *testing.T, d *peers.Dovecot, with func(map[string]any) map[string]any) {
	t.Helper()
	bob := backends.Credential{Kind: backends.CredentialPassword, User: "bob@peer.example", Secret: []byte("bob-secret")}
	s := configured(t, with(map[string]any{"uidl": "dovecot", "delivery": map[string]any{"lmtp": d.LMTP}}))
	for n := range 3 {
		verdicts, err := s.Deliver(t.Context(), backends.Delivery{Key: fmt.Sprint("uidl-", n), Recipients: backends.To("bob@peer.example")}, strings.NewReader(one))
		if err != nil || verdicts[0].Failure != nil {
			t.Fatal(err, verdicts)
		}
	}
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: bob})
	if err != nil {
		t.Fatal(err)
	}
	defer drop.Close()
	var ours []string
	for _, e := range list(t, drop) {
		ours = append(ours, e.UIDL)
	}
	theirs := uidls(t, d.POP3, "bob@peer.example", "bob-secret")
	if len(ours) != 3 || strings.Join(ours, " ") != strings.Join(theirs, " ") {
		t.Errorf("the unique-ids are %q, and were %q", ours, theirs)
	}
}

// uidls are what a POP3 server tells.
func uidls(t *testing.T, address, user, password string) []string {
	t.Helper()
	p, err := harness.LoginPOP3(address, nil, user, password)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Quit()
	byNumber, err := p.UIDL()
	if err != nil {
		t.Fatal(err)
	}
	all := make([]string, len(byNumber))
	for n, uidl := range byNumber {
		all[n-1] = uidl
	}
	return all
}
