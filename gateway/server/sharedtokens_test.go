//go:build linux

package server

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/oauth"
	contract "github.com/dipylon/dipylon/backends/vault"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/vault"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/peers"
	"github.com/dipylon/dipylon/test/provider"
)

func init() { atEnd = peers.EndPostgres }

const tokenSeal = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"

// node is what one gateway gets the tokens of routes with.
func node(t *testing.T, o state.Options, log *bytes.Buffer) *tokenSources {
	t.Helper()
	sources := &tokenSources{log: zerolog.New(log), vault: vault.New(databases.Open(t, o))}
	t.Cleanup(sources.close)
	return sources
}

// askRoute asks for a route's token.
func askRoute(t *testing.T, sources *tokenSources, cfg *config.Config, r config.Route) string {
	t.Helper()
	token, err := sources.of(cfg, r)("ada@office.example").Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestTokensOfNodes: two gateways on one database have one token of a route, and one that starts anew has it, too. Neither the
// database nor the log has it in the clear, nor what it was got with.
func TestTokensOfNodes(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		p := provider.Start(t)
		cfg := tokenRoutes(t, p)
		var log bytes.Buffer
		one := node(t, o, &log)
		first := askRoute(t, one, cfg, cfg.Routes[0])
		if o.URL == "" {
			one.close() // SQLite has one gateway at a time
		}
		two := node(t, o, &log)
		if askRoute(t, two, cfg, cfg.Routes[0]) != first || p.Requests() != 1 {
			t.Errorf("another gateway has another token: %d requests", p.Requests())
		}
		if askRoute(t, two, cfg, cfg.Routes[1]) == first {
			t.Error("another route has the same token")
		}
		noSecrets(t, o, &log, first, "the-secret", "ada@office.example")
	})
}

// noSecrets looks for what must not stand anywhere.
func noSecrets(t *testing.T, o state.Options, log *bytes.Buffer, secrets ...string) {
	t.Helper()
	places := map[string][]byte{"the log": log.Bytes()}
	if o.URL == "" {
		err := filepath.WalkDir(o.Folder, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			places[file], err = os.ReadFile(file)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	rows, err := databases.Open(t, o).Query(t.Context(), "SELECT owner, name, value FROM vault")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var owner, name string
		var value []byte
		if err := rows.Scan(&owner, &name, &value); err != nil {
			t.Fatal(err)
		}
		places[owner+" "+name] = append(append([]byte(owner), name...), value...)
	}
	if len(places) < 2 || rows.Err() != nil {
		t.Fatalf("the vault is empty, %v", rows.Err())
	}
	for place, text := range places {
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s has %.12s in the clear", place, secret)
			}
		}
	}
}

// rotating is a configuration whose route has a login, whose refresh tokens are good once.
func rotating(t *testing.T, p *provider.Provider) *config.Config {
	t.Helper()
	cfg := tokenRoutes(t, p)
	r := &cfg.Routes[1]
	r.OAuth.Grant, r.OAuth.ClientSecret, r.OAuth.SealKey = "refresh_token", config.Password{}, config.Password{Value: tokenSeal}
	cfg.Routes = cfg.Routes[1:]
	p.Do(func(p *provider.Provider) { p.Applications[tokenApplication].Secret, p.Once = "", true })
	return cfg
}

// logIn keeps a login of a route.
func logIn(t *testing.T, p *provider.Provider, sources *tokenSources, cfg *config.Config) (refresh string) {
	t.Helper()
	r := cfg.Routes[0]
	source, err := sources.source(cfg.OAuthOf(r), cfg.RouteFolder(r.Name), vault.Route(r.Name))
	if err != nil {
		t.Fatal(err)
	}
	refresh = p.NewRefresh("ada@office.example")
	if err := source.KeepLogin(t.Context(), refresh); err != nil {
		t.Fatal(err)
	}
	return refresh
}

// TestLoginOfNodes: two gateways that have one login give each other each refresh token, whoever gets it.
func TestLoginOfNodes(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		p := provider.Start(t)
		cfg := rotating(t, p)
		var log, other bytes.Buffer
		one := node(t, o, &log)
		two := one
		if o.URL != "" {
			two = node(t, o, &other)
		}
		p.Do(func(p *provider.Provider) { p.Life = time.Second })
		refresh := logIn(t, p, one, cfg)
		seen := make(map[string]bool)
		for deadline := time.Now().Add(time.Minute); len(seen) < 4; {
			if time.Now().After(deadline) {
				t.Fatalf("after a minute only %d tokens that live for a second", len(seen))
			}
			for _, sources := range []*tokenSources{one, two} {
				seen[askRoute(t, sources, cfg, cfg.Routes[0])] = true
			}
			time.Sleep(20 * time.Millisecond)
		}
		if n := p.Given(); n > len(seen)+1 {
			t.Errorf("%d tokens were given, of which %d were used", n, len(seen))
		}
		secrets := []string{refresh, tokenSeal, "ada@office.example", "0.A"}
		for token := range seen {
			secrets = append(secrets, token)
		}
		noSecrets(t, o, &log, secrets...)
		if log.Len()+other.Len() > 0 {
			t.Errorf("the log: %s%s", &log, &other)
		}
	})
}

// killAtPut ends the process where a gateway would put what an issuer has given it.
type killAtPut struct{ contract.Vault }

func (killAtPut) Put(context.Context, string, contract.Change) (bool, error) {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// Variables that make this test's binary a gateway that is killed.
const (
	killedURL    = "SERVER_TEST_KILLED_URL"
	killedOwner  = "SERVER_TEST_KILLED_OWNER"
	killedIssuer = "SERVER_TEST_KILLED_ISSUER"
	killedCA     = "SERVER_TEST_KILLED_CA"
)

// shortLease is a configuration of which leases last three seconds.
func shortLease(issuer, ca string, v contract.Vault) oauth.Config {
	return oauth.Config{
		Issuer: issuer, CA: ca, Grant: oauth.RefreshToken, ClientID: tokenApplication, Scopes: []string{"mail"}, Timeout: time.Second,
		Vault: oauth.Vault{Shared: v, Key: tokenSeal, Name: "route one"},
	}
}

// TestBeKilled is a gateway that ends between the issuer's answer and the database's; by itself it tests nothing.
func TestBeKilled(t *testing.T) {
	url := os.Getenv(killedURL)
	if url == "" {
		return
	}
	v := vault.New(databases.Open(t, state.Options{Log: zerolog.Nop(), URL: url})).Of(os.Getenv(killedOwner))
	source, err := oauth.New(shortLease(os.Getenv(killedIssuer), os.Getenv(killedCA), killAtPut{v}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = source.Token(t.Context(), "")
	t.Fatal("it was not killed", err)
}

// TestKilledNode: a gateway is killed when the issuer has given it another refresh token, before it could put it into the database.
// Where the issuer takes the old one for a while, the other gateway goes on, once the lease is over; where the old one is void,
// somebody is told to log in again, and why, and that ends it, without a restart.
func TestKilledNode(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		if o.URL == "" {
			return // another gateway is there with PostgreSQL alone
		}
		for name, grace := range map[string]bool{"grace": true, "void": false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				killedNode(t, o, vault.Route(name), grace)
			})
		}
	})
}

func killedNode(t *testing.T, o state.Options, owner string, grace bool) {
	p := provider.Start(t)
	p.Applications[tokenApplication] = &provider.Application{}
	v := vault.New(databases.Open(t, o)).Of(owner)
	login, err := oauth.New(shortLease(p.Issuer, p.CA, v))
	if err != nil {
		t.Fatal(err)
	}
	defer login.Close()
	p.Do(func(p *provider.Provider) { p.Life, p.Once = time.Second, !grace })
	if err := login.KeepLogin(t.Context(), p.NewRefresh("ada@office.example")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // as long as the first token lives
	given := p.Given()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBeKilled$")
	child.Env = append(os.Environ(), killedURL+"="+o.URL, killedOwner+"="+owner, killedIssuer+"="+p.Issuer, killedCA+"="+p.CA)
	out, err := child.CombinedOutput()
	if exit, is := errors.AsType[*exec.ExitError](err); !is || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || p.Given() != given+1 {
		t.Fatalf("it was not killed when it had a token: %v, %d tokens: %s", err, p.Given()-given, out)
	}
	p.Do(func(p *provider.Provider) { p.Life = time.Hour })
	source, err := oauth.New(shortLease(p.Issuer, p.CA, v))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	err = until(t, source, func(wrong *oauth.Error) bool { return wrong == nil || !wrong.Passes() })
	switch {
	case grace && err != nil:
		t.Fatalf("the old refresh token is good: %v", err)
	case grace:
		return
	case err == nil || !strings.Contains(err.Error(), "a gateway ended while it was getting a token") || !strings.Contains(err.Error(), "run dipylon oauth login"):
		t.Fatalf("the old refresh token is void: %v", err)
	}
	if all := source.Matters(); len(all) != 1 || all[0].Kind != oauth.LoginNeeded || !all[0].Stops {
		t.Errorf("the administrator is told %+v", all)
	}
	if err := login.KeepLogin(t.Context(), p.NewRefresh("ada@office.example")); err != nil {
		t.Fatal(err)
	}
	if err := until(t, source, func(wrong *oauth.Error) bool { return wrong == nil }); err != nil {
		t.Errorf("somebody has logged in again: %v", err)
	}
}

// until asks for a token until what comes of it is so, for a minute.
func until(t *testing.T, source *oauth.Source, so func(*oauth.Error) bool) error {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, err := source.Token(t.Context(), "")
		wrong, _ := errors.AsType[*oauth.Error](err)
		if so(wrong) || time.Now().After(deadline) {
			return err
		}
	}
}

// TestClocksOfNodes: a gateway whose clock is hours wrong has the others' token for as long as it is good, by the database's clock.
func TestClocksOfNodes(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		p := provider.Start(t)
		p.Applications[tokenApplication] = &provider.Application{}
		v := vault.New(databases.Open(t, o)).Of(vault.Route("one"))
		var first string
		for i, ahead := range []time.Duration{0, -9 * time.Hour, 9 * time.Hour} {
			c := shortLease(p.Issuer, p.CA, v)
			c.Now = func() time.Time { return time.Now().Add(ahead) }
			source, err := oauth.New(c)
			if err != nil {
				t.Fatal(err)
			}
			defer source.Close()
			if i == 0 {
				if err := source.KeepLogin(t.Context(), p.NewRefresh("ada@office.example")); err != nil {
					t.Fatal(err)
				}
			}
			token, err := source.Token(t.Context(), "")
			if err != nil || i > 0 && token != first {
				t.Errorf("a clock that is %v ahead: another token, %v", ahead, err)
			}
			first = token
		}
		if n := p.Requests(); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}
