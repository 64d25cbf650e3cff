package imap_test

import (
	"encoding/json"
	"io"
	"os"
	"regexp"
	"testing"

	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/plugins/serve"
	"github.com/dipylon/dipylon/test/fakeimap"
)

const helper = "IMAP_TEST_HELPER"

// TestMain serves the store where the test binary is started as a plugin.
func TestMain(m *testing.M) {
	if os.Getenv(helper) == "plugin" {
		serve.Store(imap.New())
		return
	}
	goleak.VerifyTestMain(m)
}

// on is a rule: what begins with a text is answered so.
func on(begin, answer string) fakeimap.Rule {
	return fakeimap.Rule{Command: "^" + regexp.QuoteMeta(begin), Answer: answer}
}

// storeOf is a backend in front of a fake.
func storeOf(t *testing.T, f *fakeimap.Server, more map[string]any, domains ...string) *imap.Store {
	t.Helper()
	s := imap.New()
	configureFor(t, s, f, more, domains...)
	return s
}

func configureFor(t *testing.T, s *imap.Store, f *fakeimap.Server, more map[string]any, domains ...string) {
	t.Helper()
	settings := map[string]any{"address": f.Address, "tls": "none", "timeout": "5s"}
	for k, v := range more {
		settings[k] = v
	}
	g := given(t, settings)
	if len(domains) > 0 {
		g.Domains = domains
	}
	if err := s.Configure(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
}

func openInbox(t *testing.T, s *imap.Store) backends.Maildrop {
	t.Helper()
	d, err := s.Open(t.Context(), backends.OpenRequest{Credential: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

var password = backends.Credential{Kind: backends.CredentialPassword, User: "ada@peer.example", Secret: []byte("ada-secret")}

func list(t *testing.T, d backends.Maildrop) []backends.Entry {
	t.Helper()
	var all []backends.Entry
	for e, err := range d.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func fetch(t *testing.T, d backends.Maildrop, id backends.MessageID) (string, error) {
	t.Helper()
	c, err := d.Fetch(t.Context(), backends.FetchRequest{ID: id})
	if err != nil {
		return "", err
	}
	defer c.Close()
	octets, err := io.ReadAll(c)
	return string(octets), err
}

func given(t testing.TB, settings map[string]any) backends.Settings {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return backends.Settings{Store: "peer", Hostname: "gate.example", Domains: []string{"peer.example"}, Raw: raw, StateDir: t.TempDir()}
}
