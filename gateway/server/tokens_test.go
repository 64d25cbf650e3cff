//go:build linux

package server

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/test/provider"
)

const tokenApplication = "00000000-0000-0000-0000-000000000001"

// tokenRoutes is a configuration whose routes get tokens from a provider: as the sender, and as one user.
func tokenRoutes(t *testing.T, p *provider.Provider) *config.Config {
	t.Helper()
	p.Applications[tokenApplication] = &provider.Application{Secret: "the-secret"}
	o := &config.OAuth{Issuer: p.Issuer, CA: p.CA, ClientID: tokenApplication, ClientSecret: config.Password{Value: "the-secret"}, Scopes: []string{"mail"}}
	r := config.Route{Name: "each", Domains: []string{"*"}, To: "smtp", Hosts: []config.HostGroup{{"a.example:587"}}, TLS: "verified", User: "postmaster@office.example", OAuth: o, AsSender: true}
	one := r
	one.Name, one.AsSender = "one", false
	return &config.Config{StateFolder: t.TempDir(), Routes: []config.Route{r, one}}
}

// loginAt is who logs in at a destination, with a token that the provider knows.
func loginAt(t *testing.T, p *provider.Provider, sources *tokenSources, cfg *config.Config, destination string) string {
	t.Helper()
	table, err := sources.routesOf(cfg)
	if err != nil {
		t.Fatal(err)
	}
	next, err := destinations{route.Ways{Routes: func() *route.Table { return table }}, "25", nil}.Route(destination)
	if err != nil || next.Kind != relay.SmartHost {
		t.Fatal(next, err)
	}
	client, err := next.Auth(t.Context(), []string{"XOAUTH2"})
	if err != nil {
		t.Fatal(err)
	}
	_, initial, err := client.Start()
	if err != nil {
		t.Fatal(err)
	}
	user, token, _ := strings.Cut(strings.TrimPrefix(string(initial), "user="), "\x01auth=Bearer ")
	if _, good := p.Check(strings.TrimRight(token, "\x01"), user); !good {
		t.Errorf("%s logs in with a token that the provider does not know", user)
	}
	return user
}

// TestRouteTokens: hosts are logged in at as the mailbox that a message is from, or as the route's user, and a reload that
// leaves a route as it was leaves its token, too.
func TestRouteTokens(t *testing.T) {
	p := provider.Start(t)
	cfg := tokenRoutes(t, p)
	sources := &tokenSources{log: zerolog.Nop()}
	defer sources.close()
	for destination, want := range map[string]string{
		"route:each:ada@office.example": "ada@office.example", "route:each": "postmaster@office.example", "route:one": "postmaster@office.example",
	} {
		if got := loginAt(t, p, sources, cfg, destination); got != want {
			t.Errorf("%s: %s logs in, not %s", destination, got, want)
		}
	}
	if n := p.Requests(); n != 2 {
		t.Errorf("%d tokens for two routes", n)
	}
	sources.keep(cfg)
	loginAt(t, p, sources, cfg, "route:each")
	if n := p.Requests(); n != 2 {
		t.Errorf("%d tokens after a reload", n)
	}
	sources.keep(&config.Config{StateFolder: cfg.StateFolder, Routes: cfg.Routes[:1]})
	if n := len(sources.made); n != 1 {
		t.Errorf("%d sources are there, of one route", n)
	}
	sources.close()
	if _, err := sources.source(cfg.OAuthOf(cfg.Routes[0]), "", "each"); err == nil {
		t.Error("a gateway that stops has a source")
	}
}

// TestRouteLogin: a route's refresh token is in a folder of its own.
func TestRouteLogin(t *testing.T) {
	p := provider.Start(t)
	cfg := tokenRoutes(t, p)
	o := cfg.Routes[1].OAuth
	o.Grant, o.ClientSecret, o.SealKey = "refresh_token", config.Password{}, config.Password{Value: strings.Repeat("k", 32)}
	p.Applications[tokenApplication].Secret = ""
	var log bytes.Buffer
	sources := &tokenSources{log: zerolog.New(&log)}
	defer sources.close()
	c := cfg.OAuthOf(cfg.Routes[1])
	source, err := sources.source(c, cfg.RouteFolder("one"), "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := source.KeepLogin(t.Context(), p.NewRefresh("postmaster@office.example")); err != nil {
		t.Fatal(err)
	}
	if got := loginAt(t, p, sources, cfg, "route:one"); got != "postmaster@office.example" {
		t.Errorf("%s logs in", got)
	}
	p.Fail(provider.LoginOver)
	c.Now = func() time.Time { return time.Now().Add(3 * time.Hour) }
	again, err := oauth.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.Token(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "dipylon oauth login") {
		t.Errorf("a login that is over: %v", err)
	}
}
