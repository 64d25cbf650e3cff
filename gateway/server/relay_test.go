//go:build linux

package server

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/relay/mx"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// TestLease: the queue of a gateway that dies is free after the same time as its mailboxes.
func TestLease(t *testing.T) {
	cfg := &config.Config{Timeouts: config.Timeouts{Lease: config.Duration(7 * time.Minute)}}
	if got := SpoolOptions(zerolog.Nop(), cfg, nil).Lease; got != 7*time.Minute {
		t.Errorf("the queue's is %s", got)
	}
}

// TestRelays (I12): nobody relays where no network is named, and a network that never may goes before one that
// may, whichever form an address has.
func TestRelays(t *testing.T) {
	network := func(text string) config.Network { return config.Network(netip.MustParsePrefix(text)) }
	some := config.SMTP{RelayFor: []config.Network{network("10.0.0.0/8"), network("fd00::/8")}, RelayNever: []config.Network{network("10.1.0.0/16")}}
	for _, c := range []struct {
		settings config.SMTP
		from     string
		may      bool
	}{
		{config.SMTP{}, "127.0.0.1", false},
		{config.SMTP{}, "10.0.0.1", false},
		{some, "10.0.0.1", true},
		{some, "10.1.0.1", false},
		{some, "11.0.0.1", false},
		{some, "127.0.0.1", false},
		{some, "fd00::1", true},
		{some, "fe80::1", false},
		{some, "::1", false},
	} {
		if got := relays(c.settings)(netip.MustParseAddr(c.from)); got != c.may {
			t.Errorf("%s may relay: %v", c.from, got)
		}
	}
	if relays(some)(netip.Addr{}) || relays(config.SMTP{})(netip.Addr{}) {
		t.Error("a client without an address may relay")
	}
}

// TestDestinations: what a destination's next hop is, as the routes are now.
func TestDestinations(t *testing.T) {
	table, err := route.NewTable([]route.Route{
		{Name: "internet", Domains: []string{"*"}, Kind: route.MX},
		{Name: "ours", Domains: []string{"*"}, Senders: []string{"sakes.example"}, Kind: route.MX},
		{Name: "provider", Domains: []string{"far.example"}, Kind: route.SMTP, Hosts: [][]string{{"a.example:587", "b.example:587"}}, User: "ada"},
		{Name: "inside", Domains: []string{"in.example"}, Kind: route.LMTP, Hosts: [][]string{{"in.example:24"}}},
		{Name: "kept", Domains: []string{"kept.example"}, Kind: route.Hold},
		{Name: "moved", Domains: []string{".old.example"}, Kind: route.MX, Rewrite: map[string]string{"a.old.example": "new.example"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := destinations{route.Ways{Routes: func() *route.Table { return table }}, "2525", nil}
	for destination, want := range map[string]string{
		"store:sakes": "store   sakes ", "near.example": "mx near.example 2525  ", "route:ours:near.example": "mx near.example 2525  ",
		"route:provider": "smart_host    a.example:587 b.example:587 with a login", "far.example": "smart_host    a.example:587 b.example:587 with a login",
		"route:inside":  "lmtp    in.example:24",
		"a.old.example": "mx new.example 2525  ", "b.old.example": "mx b.old.example 2525  ",
		"route:kept": "error", "kept.example": "error", "route:gone": "error", "route:internet": "error",
	} {
		got := "error"
		if next, err := d.Route(destination); err == nil {
			got = fmt.Sprint(next.Kind, " ", next.Domain, " ", next.Port, " ", next.Store, " ", strings.Join(slices.Concat(next.Servers...), " "))
			if next.Auth != nil {
				got += " with a login"
			}
		}
		if got != want {
			t.Errorf("%s is %q, want %q", destination, got, want)
		}
	}
}

// TestRouteLimits: a route's own limits are those of its destinations.
func TestRouteLimits(t *testing.T) {
	table, err := routesOf(&config.Config{Routes: []config.Route{
		{Name: "provider", Domains: []string{"*"}, To: "smtp", Hosts: []config.HostGroup{{"a.example:587"}}, TLS: "verified", Connections: 2, PerMinute: 30, RecipientsPerDay: 500, RecipientsPerMessage: 50},
		{Name: "slow", Domains: []string{".far.example"}, To: "mx", TLS: "opportunistic", PerMinute: 5},
	}})
	if err != nil {
		t.Fatal(err)
	}
	d := destinations{route.Ways{Routes: func() *route.Table { return table }}, "25", nil}
	for destination, want := range map[string]relay.Limits{
		"route:provider": {Connections: 2, PerMinute: 30, RecipientsPerDay: 500, RecipientsPerMessage: 50}, "in.far.example": {PerMinute: 5}, "store:sakes": {},
	} {
		if next, err := d.Route(destination); err != nil || next.Limits != want {
			t.Errorf("%s: %+v, %v", destination, next.Limits, err)
		}
	}
}

// TestRouteDrops: out-of-office replies go with the other ones, unless the route says otherwise.
func TestRouteDrops(t *testing.T) {
	for want, r := range map[content.Automatic]config.Route{
		0: {}, content.Reply | content.OutOfOffice: {AutomaticReplies: "drop"}, content.Reply: {AutomaticReplies: "drop", OutOfOffice: "pass"},
		content.OutOfOffice: {OutOfOffice: "drop"}, content.Forward: {AutomaticForwards: "drop", AutomaticReplies: "pass"},
	} {
		r.Name, r.Domains, r.To, r.TLS = "internet", []string{"*"}, "mx", "opportunistic"
		table, err := routesOf(&config.Config{Routes: []config.Route{r}})
		if err != nil {
			t.Fatal(err)
		}
		next, err := destinations{route.Ways{Routes: func() *route.Table { return table }}, "25", nil}.Route("far.example")
		if err != nil || next.Drops != want {
			t.Errorf("%+v drops %b, %v", r, next.Drops, err)
		}
	}
}

// TestRouteCertificate: the hosts of a route are shown its certificate, which logs in where that is wanted; new files
// are used from the next configuration on.
func TestRouteCertificate(t *testing.T) {
	authority := harness.NewAuthority(t)
	pair, err := tls.LoadX509KeyPair(authority.CertFile, authority.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	var seen atomic.Value
	secured := &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: authority.Pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12,
		VerifyConnection: func(s tls.ConnectionState) error {
			seen.Store(s.PeerCertificates[0].EmailAddresses[0])
			return nil
		},
	}
	certificate, key := authority.IssueClient(t, "client", "first@gate.example")
	for name, c := range map[string]struct {
		offers   string
		external bool
		user     string
		absent   bool // there is no certificate
		command  string
		wrong    string
	}{
		"shown":                          {offers: "AUTH EXTERNAL"},
		"with a login":                   {offers: "AUTH PLAIN EXTERNAL", external: true, command: "AUTH EXTERNAL ="},
		"with a login as somebody":       {offers: "AUTH EXTERNAL", external: true, user: "gate", command: "AUTH EXTERNAL Z2F0ZQ=="},
		"with a login that is not there": {offers: "AUTH PLAIN LOGIN", external: true, wrong: "EXTERNAL is not there"},
		"not shown":                      {offers: "AUTH EXTERNAL", absent: true, wrong: "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			server := (&fakesmtp.Server{TLS: secured, Offers: []string{c.offers}}).Start(t)
			r := config.Route{
				Name: "provider", Domains: []string{"*"}, To: "smtp", Hosts: []config.HostGroup{{server.Address}}, TLS: "verified", CA: authority.CAFile,
				ClientCertificate: certificate, ClientKey: key, External: c.external, User: c.user,
			}
			if c.absent {
				r.ClientCertificate, r.ClientKey = "", ""
			}
			client, err := dialRoute(t, r)
			if err == nil {
				_ = client.Close()
			}
			if c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) || c.wrong == "" && err != nil {
				t.Fatalf("%v, want %q", err, c.wrong)
			}
			if all := strings.Join(server.Commands(), "\n"); strings.Contains(all, "AUTH") != (c.command != "") || !strings.Contains(all, c.command) {
				t.Errorf("the server was told\n%s", all)
			}
		})
	}

	server := (&fakesmtp.Server{TLS: secured}).Start(t)
	r := config.Route{
		Name: "provider", Domains: []string{"*"}, To: "smtp", Hosts: []config.HostGroup{{server.Address}}, TLS: "verified", CA: authority.CAFile, ClientCertificate: certificate, ClientKey: key,
	}
	before := relaySettingsOf(&config.Config{Routes: []config.Route{r}})
	for i, address := range []string{"first@gate.example", "second@gate.example"} {
		if i == 1 {
			authority.IssueClient(t, "client", address) // to the same files
		}
		client, err := dialRoute(t, r)
		if err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
		if seen.Load() != address {
			t.Errorf("the server was shown the certificate of %v, not of %s", seen.Load(), address)
		}
	}
	if reflect.DeepEqual(before, relaySettingsOf(&config.Config{Routes: []config.Route{r}})) {
		t.Error("a relay goes on with the files that there were")
	}
	r.ClientKey = filepath.Join(t.TempDir(), "gone")
	if _, err := routesOf(&config.Config{Routes: []config.Route{r}}); err == nil || !strings.Contains(err.Error(), "the certificate "+certificate) {
		t.Errorf("without its key: %v", err)
	}
}

// TestRouteToken: a route logs in with the token that its file has at the time, over TLS.
func TestRouteToken(t *testing.T) {
	authority := harness.NewAuthority(t)
	pair, err := tls.LoadX509KeyPair(authority.CertFile, authority.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	server := (&fakesmtp.Server{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}, Offers: []string{"AUTH XOAUTH2"}}).Start(t)
	file := filepath.Join(t.TempDir(), "token")
	r := config.Route{
		Name: "provider", Domains: []string{"*"}, To: "smtp", Hosts: []config.HostGroup{{server.Address}}, TLS: "verified", CA: authority.CAFile, User: "gate", TokenFile: file,
	}
	for _, token := range []string{"first", "second"} {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		client, err := dialRoute(t, r)
		if err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
		want := "AUTH XOAUTH2 " + base64.StdEncoding.EncodeToString([]byte("user=gate\x01auth=Bearer "+token+"\x01\x01"))
		if all := strings.Join(server.Commands(), "\n"); !strings.Contains(all, want) {
			t.Errorf("the server was told\n%s", all)
		}
	}
}

// dialRoute connects to the first host of a route as the relay does.
func dialRoute(t *testing.T, r config.Route) (*smtpclient.Client, error) {
	t.Helper()
	table, err := routesOf(&config.Config{Routes: []config.Route{r}})
	if err != nil {
		t.Fatal(err)
	}
	next, err := destinations{route.Ways{Routes: func() *route.Table { return table }}, "25", nil}.Route("route:" + r.Name)
	if err != nil {
		t.Fatal(err)
	}
	how := *next.TLS
	how.Config = how.Config.Clone()
	how.Config.ServerName = "127.0.0.1"
	return smtpclient.Dial(t.Context(), "tcp", next.Servers[0][0], smtpclient.Options{
		Hello: "gate.example", TLS: how, Auth: next.Auth, Timeouts: smtpclient.Within(time.Minute),
	})
}

// TestRouteNTLM: a route logs in by NTLM, at an acceptor that nobody here wrote. What it says is good for the server alone
// whose certificate was shown, and has no secret in the clear.
func TestRouteNTLM(t *testing.T) {
	authority := harness.NewAuthority(t)
	const account = "SAKES:gate:sesame"
	r := config.Route{
		Name: "exchange", Domains: []string{"*"}, To: "smtp", TLS: "verified", CA: authority.CAFile, NTLM: true, User: `SAKES\gate`,
	}
	for _, elsewhere := range []bool{false, true} {
		acceptor := peers.StartNTLM(t, authority.CertFile, authority.KeyFile, account, elsewhere)
		r.Hosts = []config.HostGroup{{acceptor.Address}}
		for password, lets := range map[string]bool{"sesame": !elsewhere, "wrong": false} {
			r.Password.Value = password
			client, err := dialRoute(t, r)
			if err == nil {
				_ = client.Close()
			}
			said := acceptor.Said(t)
			if refused := (*smtpclient.ReplyError)(nil); lets != (err == nil) || lets != (said == `SAKES\gate`) || !lets && (!errors.As(err, &refused) || refused.Code != 535) {
				t.Errorf("with the password %s, of a login bound elsewhere: %v: %v, and the server says %q", password, elsewhere, err, said)
			}
		}
	}
	pair, err := tls.LoadX509KeyPair(authority.CertFile, authority.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	server := (&fakesmtp.Server{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}, Offers: []string{"AUTH PLAIN LOGIN"}}).Start(t)
	r.Hosts = []config.HostGroup{{server.Address}}
	if _, err := dialRoute(t, r); err == nil || !strings.Contains(err.Error(), "NTLM is not there") {
		t.Errorf("where it is not offered: %v", err)
	}
	if all := strings.Join(server.Commands(), "\n"); strings.Contains(all, "AUTH") {
		t.Errorf("the server was told\n%s", all)
	}
}

// TestSchedules: each priority has the waits between attempts that are set, and times in their proportions.
func TestSchedules(t *testing.T) {
	waits := []time.Duration{time.Second, time.Minute}
	got := schedules(config.Relay{
		Retry:  []config.Duration{config.Duration(time.Second), config.Duration(time.Minute)},
		Expire: config.Duration(100 * time.Hour), DelayNotice: config.Duration(4 * time.Hour),
	})
	want := relay.Schedules{
		Urgent:    relay.Schedule{Retries: waits, Lifetime: 40 * time.Hour, Delay: time.Hour},
		Normal:    relay.Schedule{Retries: waits, Lifetime: 100 * time.Hour, Delay: 4 * time.Hour},
		NonUrgent: relay.Schedule{Retries: waits, Lifetime: 140 * time.Hour, Delay: 8 * time.Hour},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}

	cfg, err := config.Default(t.TempDir(), config.Options{Builtins: []string{"maildir"}})
	if err != nil {
		t.Fatal(err)
	}
	settings := cfg.Relay
	settings.Urgent = config.Timing{Retry: []config.Duration{config.Duration(time.Second)}, Expire: new(config.Duration(time.Minute))}
	settings.NonUrgent = config.Timing{DelayNotice: new(config.Duration(time.Hour))}
	got = schedules(settings)
	want = relay.Schedules{
		Urgent:    relay.Schedule{Retries: waits[:1], Lifetime: time.Minute, Delay: time.Minute},
		Normal:    relay.Schedule{Retries: got.Normal.Retries, Lifetime: 5 * 24 * time.Hour, Delay: 4 * time.Hour},
		NonUrgent: relay.Schedule{Retries: got.Normal.Retries, Lifetime: 7 * 24 * time.Hour, Delay: time.Hour},
	}
	if !reflect.DeepEqual(got, want) || len(got.Normal.Retries) != 4 {
		t.Errorf("%+v", got)
	}
}

// TestRelaySettings: a relay is followed by another when something is another way that it is made of, and not for
// what it looks up.
func TestRelaySettings(t *testing.T) {
	base := func() *config.Config {
		return &config.Config{Hostname: "gate.example", Relay: config.Relay{Port: 25}, Listeners: []config.Listener{{Protocol: config.ProtocolSMTP, Address: ":25"}}}
	}
	for name, c := range map[string]struct {
		change func(*config.Config)
		same   bool
	}{
		"nothing":         {func(*config.Config) {}, true},
		"copies":          {func(c *config.Config) { c.Relay.ReportTo, c.Relay.ReportClasses = "a@b.example", []string{"5"} }, true},
		"the language":    {func(c *config.Config) { c.Relay.Language = "de" }, true},
		"another port":    {func(c *config.Config) { c.Listeners[0].Address = ":2525" }, false},
		"the drain":       {func(c *config.Config) { c.Timeouts.Drain = 1 }, false},
		"a route":         {func(c *config.Config) { c.Routes = []config.Route{{Name: "a"}} }, false},
		"the retries":     {func(c *config.Config) { c.Relay.Retry = []config.Duration{3} }, false},
		"connections":     {func(c *config.Config) { c.Relay.Connections = 3 }, false},
		"the gate's name": {func(c *config.Config) { c.Hostname = "other.example" }, false},
	} {
		changed := base()
		c.change(changed)
		if same := reflect.DeepEqual(relaySettingsOf(base()), relaySettingsOf(changed)); same != c.same {
			t.Errorf("%s: the settings are the same: %v", name, same)
		}
	}
	ours := relaySettingsOf(base())
	for address, is := range map[string]bool{"127.0.0.1": true, "192.0.2.99": false} {
		if got := ours.isOurs(mx.Host{Addresses: []netip.Addr{netip.MustParseAddr(address)}}); got != is {
			t.Errorf("%s is ours: %v", address, got)
		}
	}
}
