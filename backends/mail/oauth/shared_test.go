package oauth_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/vault"
	"github.com/dipylon/dipylon/test/provider"
)

// watched is a vault that sees what is put, and fails where it is told to.
type watched struct {
	vault.Vault
	mu     sync.Mutex
	values [][]byte
	names  []string
	broken atomic.Bool // nothing can be put
	away   atomic.Bool // nothing is answered
}

var errAway = errors.New("the database is away")

func (w *watched) Get(ctx context.Context, name string) (vault.Entry, error) {
	if w.away.Load() {
		return vault.Entry{}, errAway
	}
	return w.Vault.Get(ctx, name)
}

func (w *watched) Lease(ctx context.Context, name string, life time.Duration) (vault.Lease, error) {
	if w.away.Load() {
		return vault.Lease{}, errAway
	}
	return w.Vault.Lease(ctx, name, life)
}

func (w *watched) Put(ctx context.Context, name string, c vault.Change) (bool, error) {
	if w.away.Load() || w.broken.Load() {
		return false, errAway
	}
	w.mu.Lock()
	w.values, w.names = append(w.values, bytes.Clone(c.Value)), append(w.names, name)
	w.mu.Unlock()
	return w.Vault.Put(ctx, name, c)
}

func sharing(c oauth.Config, v vault.Vault) oauth.Config {
	c.Vault.Shared = v
	return c
}

// byServiceAccount is a configuration with a service account.
func byServiceAccount(p *provider.Provider) oauth.Config {
	return oauth.Config{Provider: oauth.Google, ServiceAccount: p.NewServiceAccount("gateway@project.example"), CA: p.CA}
}

// TestShared: gateways with one vault have one token, got once, whatever they prove themselves with, and nothing of it stands in
// the vault in the clear.
func TestShared(t *testing.T) {
	for name, config := range map[string]func(t *testing.T, p *provider.Provider) oauth.Config{
		"secret": func(_ *testing.T, p *provider.Provider) oauth.Config { return bySecret(p) },
		"certificate": func(t *testing.T, p *provider.Provider) oauth.Config {
			return byCertificate(t, p, provider.NewKey(t), time.Now().Add(time.Hour))
		},
		"service account": func(_ *testing.T, p *provider.Provider) oauth.Config { return byServiceAccount(p) },
	} {
		t.Run(name, func(t *testing.T) {
			p := provider.Start(t)
			w := &watched{Vault: &vault.Memory{}}
			c := sharing(config(t, p), w)
			p.Slow(50 * time.Millisecond)
			tokens := make([]string, 4)
			var all sync.WaitGroup
			for i := range tokens {
				s := start(t, c)
				all.Go(func() { tokens[i] = token(t, s, p, "ada@sakes.example") })
			}
			all.Wait()
			for _, each := range tokens {
				if each != tokens[0] {
					t.Error("two gateways have two tokens")
				}
			}
			if n := p.Requests(); n != 1 {
				t.Errorf("%d requests of four gateways", n)
			}
			restarted := start(t, c)
			if token(t, restarted, p, "ada@sakes.example") != tokens[0] || p.Requests() != 1 {
				t.Error("a gateway that has started anew gets another token")
			}
			for i, value := range w.values {
				if bytes.Contains(value, []byte(tokens[0])) || strings.Contains(w.names[i], "sakes") {
					t.Error("the vault has a token, or whose it is, in the clear")
				}
			}
		})
	}
}

// TestSharedApart: what is good for something else is another token, and one that cannot be decrypted is none.
func TestSharedApart(t *testing.T) {
	p := provider.Start(t)
	m := &vault.Memory{}
	account := sharing(byServiceAccount(p), m)
	ada := token(t, start(t, account), p, "ada@sakes.example")
	if token(t, start(t, account), p, "bob@sakes.example") == ada {
		t.Error("two mailboxes have one token")
	}
	c := sharing(bySecret(p), m)
	first := token(t, start(t, c), p, "")
	other := c
	other.Scopes = []string{"other/.default"}
	sealed := c
	sealed.Vault.Key = sealKey
	for name, c := range map[string]oauth.Config{"scopes": other, "key": sealed} {
		if token(t, start(t, c), p, "") == first {
			t.Errorf("another configuration (%s) has the same token", name)
		}
	}
}

// TestSharedRenewal: the gateway that renews a token does so for all, and who meets a server that refuses the shared one gets
// another for all.
func TestSharedRenewal(t *testing.T) {
	p := provider.Start(t)
	state := &clock{}
	m := &vault.Memory{Now: state.now}
	c := sharing(bySecret(p), m)
	c.Now = state.now
	one, two := start(t, c), start(t, c)
	first := token(t, one, p, "")
	token(t, two, p, "")
	state.pass(55 * time.Minute)
	token(t, one, p, "") // it is good still, and renewed meanwhile
	await(t, "another token", func() bool { return p.Requests() == 2 })
	await(t, "the other gateway's taking it over", func() bool { return token(t, two, p, "") != first })
	await(t, "its own", func() bool { return token(t, one, p, "") != first })
	if n := p.Requests(); n != 2 {
		t.Fatalf("%d requests", n)
	}
	state.pass(30 * time.Minute)
	second, err := one.Token(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if !one.Refused("", second) || !two.Refused("", second) {
		t.Fatal("a token that was refused is not worth another try")
	}
	third, err := one.Token(t.Context(), "")
	if err != nil || third == second {
		t.Fatalf("the token that was refused is given again, or none (%v)", err)
	}
	if again, err := two.Token(t.Context(), ""); again != third {
		t.Errorf("the other gateway has another one, %v", err)
	}
	if n := p.Requests(); n != 3 {
		t.Errorf("%d requests", n)
	}
}

// TestSharedClocks: a gateway whose clock is wrong has the same token as the others for the same time.
func TestSharedClocks(t *testing.T) {
	for _, ahead := range []time.Duration{-7 * time.Hour, 7 * time.Hour} {
		p := provider.Start(t)
		state := &clock{} // the state's, and the right one
		m := &vault.Memory{Now: state.now}
		right, wrong := sharing(bySecret(p), m), sharing(bySecret(p), m)
		right.Now = state.now
		wrong.Now = func() time.Time { return state.now().Add(ahead) }
		one, two := start(t, wrong), start(t, right)
		first := token(t, one, p, "")
		if token(t, two, p, "") != first {
			t.Errorf("%v: two tokens", ahead)
		}
		state.pass(45 * time.Minute)
		for _, s := range []*oauth.Source{one, two, start(t, wrong), start(t, right)} {
			if token(t, s, p, "") != first {
				t.Errorf("%v: the token was not good for three quarters of an hour", ahead)
			}
		}
		if n := p.Requests(); n != 1 {
			t.Errorf("%v: %d requests", ahead, n)
		}
		state.pass(20 * time.Minute)
		for _, s := range []*oauth.Source{one, two} {
			if again, err := s.Token(t.Context(), ""); err != nil || again == first {
				t.Errorf("%v: a token that has ended is given (%v)", ahead, err)
			}
		}
	}
}

// TestSharedLogin: gateways with one login never use a refresh token twice, and have the latest, whoever got it.
func TestSharedLogin(t *testing.T) {
	p := provider.Start(t)
	p.Once = true
	state := &clock{}
	w := &watched{Vault: &vault.Memory{Now: state.now}}
	c := sharing(byLogin(t, p), w)
	c.Now = state.now
	if err := start(t, c).KeepLogin(t.Context(), p.NewRefresh("ada@sakes.example")); err != nil {
		t.Fatal(err)
	}
	before := p.Requests()
	for round := range 10 {
		state.pass(2 * time.Hour)
		var all sync.WaitGroup
		for range 4 {
			s := start(t, c)
			all.Go(func() {
				if _, err := s.Token(t.Context(), ""); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		all.Wait()
	}
	if n := p.Requests() - before; n != 10 {
		t.Errorf("%d requests for ten tokens that four gateways have", n)
	}
	for _, value := range w.values {
		if bytes.Contains(value, []byte("0.A")) || bytes.Contains(value, []byte("refresh")) {
			t.Error("the vault has a refresh token in the clear")
		}
	}
	if _, err := os.Stat(c.Vault.File); err == nil {
		t.Error("there is a file besides")
	}
}

// TestLoginMoves: a login that an earlier version has left in a file is taken over, once.
func TestLoginMoves(t *testing.T) {
	p := provider.Start(t)
	p.Once = true
	c := byLogin(t, p)
	if err := start(t, c).KeepLogin(t.Context(), p.NewRefresh("ada@sakes.example")); err != nil {
		t.Fatal(err)
	}
	c = sharing(c, &vault.Memory{})
	token(t, start(t, c), p, "ada@sakes.example")
	if _, err := os.Stat(c.Vault.File); err == nil {
		t.Error("the file is there still")
	}
	c.Vault.File = oauth.VaultIn(t.TempDir())
	token(t, start(t, c), p, "ada@sakes.example")
	other := c
	other.Vault.Key = strings.ToUpper(sealKey)
	if _, err := start(t, other).Token(t.Context(), ""); kindOf(t, p, err) != oauth.VaultUnusable {
		t.Error(err)
	}
}

// TestLoginAgain: who logs in again while a gateway has found the login void is not told to log in.
func TestLoginAgain(t *testing.T) {
	p := provider.Start(t)
	c, m, state := loggedIn(t, p)
	state.pass(2 * time.Hour)
	p.Hang()
	p.Fail(provider.LoginOver)
	before := p.Requests()
	result := make(chan error, 1)
	go func() {
		_, err := start(t, c).Token(t.Context(), "")
		result <- err
	}()
	await(t, "a request", func() bool { return p.Requests() == before+1 })
	entry, err := m.Get(t.Context(), "login")
	if err != nil {
		t.Fatal(err)
	}
	if stored, err := m.Put(t.Context(), "login", vault.Change{Value: entry.Value, Version: entry.Version}); err != nil || !stored {
		t.Fatal(stored, err)
	}
	p.Continue()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// TestUnsaved: a refresh token that the state cannot be given goes on being used here, is told of, and is there once that works
// again.
func TestUnsaved(t *testing.T) {
	p := provider.Start(t)
	p.Once = true
	c, m, state := loggedIn(t, p)
	w := &watched{Vault: m}
	var told atomic.Int64
	c.Notice = func(err error) {
		if told.Add(1); !strings.Contains(oauth.Headline(err), "cannot be kept") {
			t.Errorf("the log says %q of %v", oauth.Headline(err), err)
		}
	}
	c = sharing(c, w)
	w.broken.Store(true)
	s := start(t, c)
	for range 2 { // the second one with what came with the first, once the lease is over
		state.pass(2 * time.Hour)
		before := p.Given()
		if _, err := s.Token(t.Context(), ""); err != nil || p.Given() != before+1 {
			t.Fatalf("%d tokens, %v", p.Given()-before, err)
		}
	}
	if all := s.Matters(); told.Load() != 2 || len(all) != 1 || all[0].Name != "login" {
		t.Errorf("%d are told: %v", told.Load(), all)
	}
	w.broken.Store(false)
	await(t, "the login in the vault", func() bool { return len(s.Matters()) == 0 })
	s.Close()
	state.pass(2 * time.Hour)
	if _, err := start(t, c).Token(t.Context(), ""); err != nil {
		t.Error(err)
	}
}

// loggedIn is a configuration with a login in a vault, whose clock is set by hand.
func loggedIn(t *testing.T, p *provider.Provider) (oauth.Config, *vault.Memory, *clock) {
	t.Helper()
	state := &clock{}
	m := &vault.Memory{Now: state.now}
	c := sharing(byLogin(t, p), m)
	c.Now = state.now
	if err := start(t, c).KeepLogin(t.Context(), p.NewRefresh("ada@sakes.example")); err != nil {
		t.Fatal(err)
	}
	return c, m, state
}

// TestNoState: where nothing can be shared a gateway gets tokens for itself, but for those of a login.
func TestNoState(t *testing.T) {
	p := provider.Start(t)
	w := &watched{Vault: &vault.Memory{}}
	w.away.Store(true)
	token(t, start(t, sharing(bySecret(p), w)), p, "")
	if _, err := start(t, sharing(byLogin(t, p), w)).Token(t.Context(), ""); kindOf(t, p, err) != oauth.StateUnusable {
		t.Error(err)
	}
}

// TestAbandoned: who ends while he gets a token keeps others waiting for no longer than the lease lasts. Where the issuer has made
// the old refresh token void meanwhile, somebody has to log in again, and the error says why.
func TestAbandoned(t *testing.T) {
	for _, grace := range []bool{true, false} {
		p := provider.Start(t)
		p.Once = !grace
		c, m, state := loggedIn(t, p)
		state.pass(2 * time.Hour)
		killed := &watched{Vault: m} // as one who was killed between the issuer's answer and the vault's
		killed.broken.Store(true)
		dead := start(t, sharing(c, killed))
		if _, err := dead.Token(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		s := start(t, c)
		soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, err := s.Token(soon, ""); kindOf(t, p, err) != oauth.Outage {
			t.Errorf("somebody asks while another one's lease lasts: %v", err)
		}
		cancel()
		state.pass(time.Minute + time.Second)
		_, err := s.Token(t.Context(), "")
		switch {
		case grace && err != nil:
			t.Errorf("the issuer takes the old refresh token: %v", err)
		case !grace && (kindOf(t, p, err) != oauth.LoginNeeded || !strings.Contains(err.Error(), "a gateway ended while")):
			t.Errorf("the old refresh token is void: %v", err)
		}
		killed.broken.Store(false) // or it is waited for
	}
}

// TestCloseKeepsLogin: who closes a source while a refresh token is being used up waits for the one that takes its place.
func TestCloseKeepsLogin(t *testing.T) {
	p := provider.Start(t)
	p.Once = true
	c, _, state := loggedIn(t, p)
	state.pass(2 * time.Hour)
	p.Slow(300 * time.Millisecond)
	s := start(t, c)
	before := p.Requests()
	waiting := make(chan error, 1)
	go func() {
		_, err := s.Token(t.Context(), "")
		waiting <- err
	}()
	await(t, "a request", func() bool { return p.Requests() > before })
	s.Close()
	if err := <-waiting; err == nil {
		t.Error("a source that is closed gives a token")
	}
	state.pass(2 * time.Hour)
	if _, err := start(t, c).Token(t.Context(), ""); err != nil {
		t.Errorf("the login is lost: %v", err)
	}
}
