package server

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
)

// certified makes a configuration whose certificate is for a name and was made at a time; such a
// certificate is valid for two years.
func certified(t *testing.T, name string, made time.Time) *config.Config {
	t.Helper()
	dir := t.TempDir()
	certificate, key, err := MakeSelfSigned(name, made)
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{
		"gate.crt": certificate, "gate.key": key,
		"gate.yaml": []byte("hostname: gate.example\ntls: {certificate: gate.crt, key: gate.key}\nstores: [{name: one, plugin: maildir, domains: [one.example]}]\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, "gate.yaml"), config.Options{Builtins: []string{"maildir"}})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestFileWarnings: secrets in a file that everybody can read are warned of, and nothing else is.
func TestFileWarnings(t *testing.T) {
	const stores = "stores: [{name: one, plugin: maildir, domains: [one.example], settings: {root: mail, %s}}]\n"
	for _, test := range []struct {
		name, settings string
		mode           os.FileMode
		warned         bool
	}{
		{"a secret, for everybody", "password: swordfish", 0o644, true},
		{"a literal one", "password: 'literal:swordfish'", 0o604, true},
		{"for the owner and the group", "password: swordfish", 0o640, false},
		{"the database's password", "folder: x}}]\nstate: 'postgres://a:b@c/d'\n#", 0o644, true},
		{"a reference", "password: 'env:HOME'", 0o644, false},
		{"no secret", "accounts: accounts.yaml", 0o644, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "gate.yaml")
			if err := os.WriteFile(file, fmt.Appendf(nil, stores, test.settings), test.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, test.mode); err != nil { // whatever the umask is
				t.Fatal(err)
			}
			cfg, err := config.Load(file, config.Options{Builtins: []string{"maildir"}})
			if err != nil {
				t.Fatal(err)
			}
			got := FileWarnings(cfg)
			if warned := len(got) == 1; warned != test.warned {
				t.Fatalf("got %v", got)
			}
			if test.warned && (got[0].File != file || !strings.Contains(got[0].Text, "chmod o-r") || strings.Contains(got[0].Text, "swordfish")) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestCertificateWarnings(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name, host string
		made       time.Time
		want       []string
	}{
		{"good", "gate.example", now.Add(-time.Hour), nil},
		{"expired", "gate.example", now.Add(-selfSignedFor - time.Hour), []string{"has expired on"}},
		{"soon", "gate.example", now.Add(-selfSignedFor + 10*24*time.Hour + time.Hour), []string{"in 10 days"}},
		{"thirty days and a bit", "gate.example", now.Add(-selfSignedFor + certificateLeft + time.Hour), nil},
		{"not yet", "gate.example", now.Add(48 * time.Hour), []string{"is valid from"}},
		{"another name", "other.example", now, []string{"no certificate is for gate.example"}},
		{"another name, and expired", "other.example", now.Add(-selfSignedFor - time.Hour), []string{"has expired on", "no certificate is for gate.example"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := CertificateWarnings(certified(t, test.host, test.made), now)
			if len(got) != len(test.want) {
				t.Fatalf("got %v", got)
			}
			for i, w := range got {
				if !strings.Contains(w.Text, test.want[i]) || w.Path != "tls" || w.Line != 2 {
					t.Errorf("got %v", w)
				}
			}
		})
	}
}

// TestRouteCertificateWarnings: what a route shows its hosts is warned of, too, whatever name it is for.
func TestRouteCertificateWarnings(t *testing.T) {
	now := time.Now()
	cfg := certified(t, "other.example", now.Add(-selfSignedFor-time.Hour))
	cfg.Routes = []config.Route{{Name: "a"}, {Name: "b", ClientCertificate: cfg.TLS.Certificate, ClientKey: cfg.TLS.Key}}
	cfg.TLS = config.TLS{}
	got := CertificateWarnings(cfg, now)
	if len(got) != 1 || got[0].Path != "routes[1].client_certificate" || !strings.Contains(got[0].Text, "servers refuse it") {
		t.Errorf("got %v", got)
	}
}

func TestValidity(t *testing.T) {
	now := time.Now()
	leaf := &x509.Certificate{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLeft)}
	if got := validity(leaf, now, "clients"); got != "" {
		t.Errorf("30 days are left: %q", got)
	}
	leaf.NotAfter = now
	if got := validity(leaf, now, "clients"); !strings.Contains(got, "has expired") {
		t.Errorf("at the end: %q", got)
	}
}

// TestTransportWarnings: a route through a store's transport is warned of where the store has none, or none for the gateway.
func TestTransportWarnings(t *testing.T) {
	cfg := &config.Config{
		Stores: []config.Store{{Name: "office"}, {Name: "other"}},
		Routes: []config.Route{{Name: "internet", To: "mx"}, {Name: "m365", To: "transport", Store: "office", User: "a@office.example"}},
	}
	acts := []backends.CredentialKind{backends.CredentialImpersonation}
	for name, tt := range map[string]struct {
		store int
		can   backends.Description
		want  string
	}{
		"good":                {0, backends.Description{Capabilities: backends.Capabilities{Sender: true}, Credentials: acts}, ""},
		"it cannot send":      {0, backends.Description{Name: "maildir", Credentials: acts}, "maildir, cannot send"},
		"it acts for nobody":  {0, backends.Description{Capabilities: backends.Capabilities{Sender: true}}, "act for its users"},
		"another store's way": {1, backends.Description{Name: "maildir"}, ""},
	} {
		got := transportWarnings(cfg, cfg.Stores[tt.store].Name, tt.can)
		if (len(got) > 0) != (tt.want != "") || len(got) > 0 && (got[0].Path != "routes[1].store" || !strings.Contains(got[0].Text, tt.want)) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestSubmissionWithoutSends: a store that is told how to send, and sends nothing.
func TestSubmissionWithoutSends(t *testing.T) {
	can := backends.Description{Name: "jmap", Capabilities: backends.Capabilities{Sender: true}}
	const route = "routes: [{name: out, domains: ['*'], to: transport, store: one, user: a@one.example}]\n"
	for _, test := range []struct {
		name, store, routes string
		warned              bool
	}{
		{"submission alone", "settings: {root: one, submission: true}", "", true},
		{"submission with settings alone", "settings: {root: one, submission: {address: mail.example}}", "", true},
		{"sends", "sends: true, settings: {root: one, submission: true}", "", false},
		{"a route's transport", "settings: {root: one, submission: true}", route, false},
		{"off", "settings: {root: one, submission: false}", "", false},
		{"neither", "settings: {root: one}", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := parse(t, rootsIn(t), "stores: [{name: one, plugin: maildir, domains: [one.example], "+test.store+"}]\n"+test.routes)
			warned := false
			for _, w := range StoreWarnings(cfg, 0, can) {
				warned = warned || strings.Contains(w.Text, "sends: true") && w.Path == "stores[0].settings.submission" && w.Position.Line == 1
			}
			if warned != test.warned {
				t.Errorf("%+v", StoreWarnings(cfg, 0, can))
			}
		})
	}
}
