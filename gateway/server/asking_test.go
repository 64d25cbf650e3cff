package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/config"
)

// TestAsked: a server whose authorities are others is asked anew by a reload, though its configuration names the same file.
func TestAsked(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.crt")
	e := config.ETRN{Name: "provider", Host: "mail.provider.example:25", TLS: "verified", CA: ca}
	seen := make(map[string]bool)
	for _, text := range []string{"one", "one", "two"} {
		if err := os.WriteFile(ca, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Asked(&config.Config{Hostname: "gate.example"}, e)
		if err != nil || s.Options.TLS.Config.ServerName != "mail.provider.example" {
			t.Fatalf("%+v, %v", s, err)
		}
		seen[s.Settings] = true
	}
	if len(seen) != 2 {
		t.Errorf("there are %d settings", len(seen))
	}
	e.CA += ".gone"
	if _, err := Asked(new(config.Config), e); err == nil {
		t.Error("a server is asked without its authorities")
	}
}

// TestAskerWarnings: who may ask for mail needs somewhere to do it.
func TestAskerWarnings(t *testing.T) {
	cfg := &config.Config{Routes: []config.Route{
		{Name: "internet", Domains: []string{"*"}, To: "mx"},
		{Name: "office", Domains: []string{"office.example"}, To: "mx", When: "asked", ETRN: &config.Askers{Accounts: []string{"office@sakes.example"}}},
	}}
	for protocol, want := range map[string]string{config.ProtocolSubmission: "routes[1].etrn", config.ProtocolSMTP: ""} {
		cfg.Listeners = []config.Listener{{Protocol: protocol, Address: "127.0.0.1:0"}}
		var got []string
		for _, w := range RouteWarnings(cfg) {
			got = append(got, w.Path)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", protocol, RouteWarnings(cfg))
		}
	}
}
