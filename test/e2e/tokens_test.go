//go:build linux

package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/fakeimap"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
	"github.com/dipylon/dipylon/test/provider"
)

const tokensApplication = "00000000-0000-0000-0000-000000000001"

// TestTokensOfTwoNodes: two gateways on one PostgreSQL, before a store that takes tokens alone, by one login whose refresh tokens are good
// once. Somebody logs in with one command for both; each token is got once; and when one gateway is killed and started anew it needs
// no other one.
func TestTokensOfTwoNodes(t *testing.T) {
	t.Parallel()
	p := provider.Start(t)
	p.Applications[tokensApplication] = &provider.Application{}
	p.Once, p.Life = true, 2*time.Second
	server := fakeimap.Start(t, &fakeimap.Server{Caps: provider.IMAPCaps, Messages: []fakeimap.Message{{UID: 1, Content: "Subject: one\r\n\r\none\r\n"}}, On: p.IMAP(nil)})
	url := peers.StartPostgres(t).Database(t)
	start := func() *harness.Gateway {
		return harness.Start(t, harness.Options{
			Stores: []harness.Mapping{{"name": "m365", "plugin": "imap", "domains": []string{harness.Domain}, "settings": harness.Mapping{
				"address": server.Address, "tls": "none", "connections": harness.Mapping{"keep": "0s"},
				"oauth": harness.Mapping{
					"issuer": p.Issuer, "ca": p.CA, "client_id": tokensApplication, "scopes": []string{"mail"}, "grant": "refresh_token", "seal_key": strings.Repeat("k", 32),
				},
			}}},
			More: harness.Mapping{"state": url, "state_folder": "own", "timeouts": harness.Mapping{"lease": lease.String()}},
		})
	}
	one, two := start(), start()
	who := "ada@" + harness.Domain
	login := one.Command("oauth", "login", "--refresh-token", "--config", one.ConfigFile, "m365")
	login.Stdin = strings.NewReader(p.NewRefresh(who) + "\n")
	if out, err := login.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := one.Command("password", "add", "--config", one.ConfigFile, who).Output()
	if err != nil {
		t.Fatal(err)
	}
	password := strings.TrimSpace(string(out))
	read := func(g *harness.Gateway) {
		t.Helper()
		harness.Eventually(t, time.Minute, "a session", func() bool {
			s, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), who, password)
			if err != nil {
				if !strings.Contains(err.Error(), "IN-USE") { // the lock of the session before it is about to go
					t.Fatal(err)
				}
				return false
			}
			n, _, err := s.Stat()
			if n != 1 || err != nil {
				t.Fatalf("%d messages, %v", n, err)
			}
			return s.Quit() == nil
		})
	}
	given := p.Given()
	for p.Given() < given+3 {
		read(one)
		read(two)
	}
	p.Do(func(p *provider.Provider) { p.Life = time.Hour })
	given = p.Given()
	for p.Given() == given {
		read(two)
	}
	one.Signal(t, syscall.SIGKILL)
	one.WaitExit(t)
	read(start())
	read(two)
	if n := p.Given() - given; n != 1 {
		t.Errorf("%d tokens that live for an hour", n)
	}
	for _, g := range []*harness.Gateway{one, two} {
		if g.Log.Has("0.A") || g.Log.Has("gives no token") {
			t.Error("the log has a refresh token, or tells of a failure")
		}
	}
}
