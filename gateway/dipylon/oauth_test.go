//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/vault"
	"github.com/dipylon/dipylon/test/provider"
)

const oauthApplication = "00000000-0000-0000-0000-000000000001"

// oauthFile writes a configuration with a store that logs in at a provider.
func oauthFile(t *testing.T, p *provider.Provider, more string) string {
	t.Helper()
	p.Do(func(p *provider.Provider) { p.Applications[oauthApplication] = &provider.Application{} })
	file := filepath.Join(t.TempDir(), "dipylon.yaml")
	text := fmt.Sprintf(`hostname: gate.example
state: ./state
stores:
  - name: office
    plugin: imap
    domains: [office.example]
    settings:
      address: imap.office.example
      oauth: {issuer: %q, ca: %q, client_id: %q, scopes: [offline_access, mail], %s}
`, p.Issuer, p.CA, oauthApplication, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const byRefresh = "grant: refresh_token, seal_key: 0123456789abcdef0123456789abcdef"

// confirmer confirms the code that a command shows.
type confirmer struct {
	bytes.Buffer
	p    *provider.Provider
	code *regexp.Regexp
}

func (c *confirmer) Write(b []byte) (int, error) {
	if found := c.code.FindSubmatch(b); found != nil {
		c.p.Confirm(string(found[1]), "ada@office.example")
	}
	return c.Buffer.Write(b)
}

// TestOAuthLogin: somebody confirms the code that is shown, and the store's tokens come of it.
func TestOAuthLogin(t *testing.T) {
	p := provider.Start(t)
	file := oauthFile(t, p, byRefresh)
	out, said := &confirmer{p: p, code: regexp.MustCompile(`the code ([A-Z0-9]+)`)}, &bytes.Buffer{}
	if code := run(t.Context(), []string{"oauth", "login", "--config", file, "office"}, strings.NewReader(""), out, said); code != 0 {
		t.Fatalf("status %d: %s%s", code, out.String(), said)
	}
	if text := out.String(); !strings.Contains(text, "Open https://") || !strings.HasSuffix(text, "Logged in.\n") {
		t.Errorf("it says %q", text)
	}
	loggedIn(t, p, file, vault.Store("office"), "office")
}

// loggedIn gets a token by a login that the state of a configuration has.
func loggedIn(t *testing.T, p *provider.Provider, file, owner, name string) {
	t.Helper()
	db, err := state.Open(t.Context(), state.Options{Log: zerolog.Nop(), Folder: filepath.Join(filepath.Dir(file), "state")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	shared := vault.New(db).Of(owner)
	source, err := oauth.New(oauth.Config{
		Issuer: p.Issuer, CA: p.CA, Grant: oauth.RefreshToken, ClientID: oauthApplication, Scopes: []string{"mail"},
		Vault: oauth.Vault{Shared: shared, Key: "0123456789abcdef0123456789abcdef", Name: name},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	token, err := source.Token(t.Context(), "ada@office.example")
	if _, good := p.Check(token, "ada@office.example"); err != nil || !good {
		t.Errorf("no token comes of it: %v", err)
	}
	if entry, err := shared.Get(t.Context(), "login"); err != nil || len(entry.Value) == 0 || bytes.Contains(entry.Value, []byte("0.A")) {
		t.Errorf("the login stands in the state in the clear, or not at all: %v", err)
	}
}

// TestOAuthLoginOf: a route and accounts that are collected have logins as stores have; where a name is that of several, somebody has to
// say which.
func TestOAuthLoginOf(t *testing.T) {
	p := provider.Start(t)
	file := oauthFile(t, p, byRefresh)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tokens := fmt.Sprintf("{issuer: %q, ca: %q, client_id: %q, scopes: [mail], %s}", p.Issuer, p.CA, oauthApplication, byRefresh)
	text = append(text, `routes:
  - {name: office, domains: ["*"], to: smtp, hosts: [smtp.office.example], tls: verified, user: ada@office.example, oauth: `+tokens+`}
collect:
  - {name: office, protocol: pop3, host: pop.office.example, user: ada@office.example, to: ada@office.example, oauth: `+tokens+`}
  - {name: old, protocol: imap, host: imap.old.example, user: ada@office.example, to: ada@office.example, oauth: `+tokens+`}
`...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	login := func(what string) (int, string) {
		var out, said bytes.Buffer
		code := run(t.Context(), []string{"oauth", "login", "--refresh-token", "--config", file, what}, strings.NewReader(p.NewRefresh("ada@office.example")+"\n"), &out, &said)
		return code, out.String() + said.String()
	}
	for what, tt := range map[string]struct{ owner, name string }{
		"store:office": {vault.Store("office"), "office"}, "route:office": {vault.Route("office"), "route office"},
		"collect:office": {vault.Collect("office"), "collect office"}, "old": {vault.Collect("old"), "collect-old"},
	} {
		if code, said := login(what); code != 0 {
			t.Errorf("%s: status %d: %s", what, code, said)
			continue
		}
		loggedIn(t, p, file, tt.owner, tt.name)
	}
	for what, tt := range map[string]struct {
		code int
		says string
	}{
		"office":      {exitUsage, "route:office"},
		"route:old":   {1, `no route "old" with oauth`},
		"none":        {1, `no store "none"`},
		"collect:new": {1, `no collect "new" with oauth`},
	} {
		if code, said := login(what); code != tt.code || !strings.Contains(said, tt.says) {
			t.Errorf("%s: status %d: %s", what, code, said)
		}
	}
}

// TestOAuthLoginElsewhere: a refresh token that was got elsewhere is tried before it is kept.
func TestOAuthLoginElsewhere(t *testing.T) {
	p := provider.Start(t)
	file := oauthFile(t, p, byRefresh)
	for name, tt := range map[string]struct {
		token string
		code  int
		says  string
	}{
		"good": {p.NewRefresh("ada@office.example") + "\n", 0, "Logged in."},
		"void": {"0.Anonsense-and-more-of-it\n", 1, "AADSTS700082"},
		"none": {"\n", 1, "no refresh token"},
	} {
		var out, said bytes.Buffer
		code := run(context.Background(), []string{"oauth", "login", "--refresh-token", "--config", file, "office"}, strings.NewReader(tt.token), &out, &said)
		if code != tt.code || !strings.Contains(out.String()+said.String(), tt.says) || strings.Contains(said.String(), "nonsense") {
			t.Errorf("%s: status %d: %s%s", name, code, &out, &said)
		}
	}
}

// TestOAuthLoginRefused: what stands in the way is told.
func TestOAuthLoginRefused(t *testing.T) {
	p := provider.Start(t)
	for name, tt := range map[string]struct {
		more, store string
		code        int
		says        string
	}{
		"no such store":    {byRefresh, "other", 1, "no store"},
		"no login is used": {"client_secret: x", "office", 78, "needs no login"},
		"no seal_key":      {"grant: refresh_token", "office", 78, "oauth.seal_key"},
	} {
		var said bytes.Buffer
		code := run(t.Context(), []string{"oauth", "login", "--config", oauthFile(t, p, tt.more), tt.store}, strings.NewReader(""), io.Discard, &said)
		if code != tt.code || !strings.Contains(said.String(), tt.says) {
			t.Errorf("%s: status %d: %s", name, code, &said)
		}
	}
}

// dipylonSays runs a command, and gives its status and all that it says.
func dipylonSays(t *testing.T, input string, args ...string) (int, string) {
	t.Helper()
	var out, said bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(input), &out, &said)
	return code, out.String() + said.String()
}

// withRoute adds a route with a login to a configuration. Nobody listens where it leads.
func withRoute(t *testing.T, p *provider.Provider, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, `routes:
  - {name: office, domains: ["*"], to: smtp, hosts: ["127.0.0.1:1"], tls: verified, user: ada@office.example, oauth: {issuer: %q, ca: %q, client_id: %q, scopes: [mail], %s}}
`, p.Issuer, p.CA, oauthApplication, byRefresh)
	if err != nil {
		t.Fatal(err)
	}
}

// TestOAuthForget: a login is removed, also of a store that is in the configuration no more, and nothing else is.
func TestOAuthForget(t *testing.T) {
	p := provider.Start(t)
	file := oauthFile(t, p, byRefresh)
	withRoute(t, p, file)
	for _, what := range []string{"store:office", "route:office"} {
		if code, said := dipylonSays(t, p.NewRefresh("ada@office.example")+"\n", "oauth", "login", "--refresh-token", "--config", file, what); code != 0 {
			t.Fatal(said)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	renamed := filepath.Join(filepath.Dir(file), "renamed.yaml")
	if err := os.WriteFile(renamed, bytes.Replace(text, []byte("- name: office"), []byte("- name: other"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(filepath.Dir(file), "state", "stores", "old", "oauth-login")
	if err := os.MkdirAll(filepath.Dir(left), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, []byte("of an earlier version"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file, what string
		code       int
		says       string
	}{
		{file, "none", 1, "keeps no login"},
		{file, "../office", exitUsage, "no name"},
		{file, "office", exitUsage, "say store:office"},
		{renamed, "store:office", 0, "The login of the store office is removed"},
		{file, "store:office", 1, "keeps no login"},
		{file, "old", 0, "The login of the store old is removed"},
	} {
		if code, said := dipylonSays(t, "", "oauth", "forget", "--config", tt.file, tt.what); code != tt.code || !strings.Contains(said, tt.says) {
			t.Errorf("%s: status %d: %s", tt.what, code, said)
		}
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("what an earlier version has left is there still")
	}
	loggedIn(t, p, file, vault.Route("office"), "route office")
}

// TestDoctorFreshToken: the doctor says whether a token is the one that is shared, and asks for another one, after which the login
// goes on, where the issuer makes each refresh token void with its use.
func TestDoctorFreshToken(t *testing.T) {
	p := provider.Start(t)
	p.Once = true
	file := oauthFile(t, p, byRefresh)
	withRoute(t, p, file)
	if code, said := dipylonSays(t, p.NewRefresh("ada@office.example")+"\n", "oauth", "login", "--refresh-token", "--config", file, "route:office"); code != 0 {
		t.Fatal(said)
	}
	before := p.Given()
	for i, tt := range []struct {
		says string
		more []string
	}{
		{"share", nil}, {"the issuer has given it", []string{"--fresh-token"}}, {"the issuer has given it", []string{"--fresh-token"}}, {"share", nil},
	} {
		_, said := dipylonSays(t, "", append([]string{"doctor", "--config", file, "route:office"}, tt.more...)...)
		if line := regexp.MustCompile("(?m)^.*  token: .*$").FindString(said); !strings.HasPrefix(line, "good") || !strings.Contains(line, tt.says) {
			t.Errorf("run %d: %q of\n%s", i, line, said)
		}
	}
	if n := p.Given() - before; n != 2 {
		t.Errorf("%d tokens are given", n)
	}
}
