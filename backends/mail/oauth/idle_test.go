package oauth_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/vault"
	"github.com/dipylon/dipylon/test/provider"
)

const day = 24 * time.Hour

// counted is a vault that counts what it is asked for. Leases in it can be extended.
type counted struct {
	*vault.Memory
	gets, extended atomic.Int64
	life           atomic.Int64 // of the last lease
}

func (c *counted) Get(ctx context.Context, name string) (vault.Entry, error) {
	c.gets.Add(1)
	return c.Memory.Get(ctx, name)
}

func (c *counted) Lease(ctx context.Context, name string, life time.Duration) (vault.Lease, error) {
	c.life.Store(int64(life))
	return c.Memory.Lease(ctx, name, life)
}

func (c *counted) Extend(ctx context.Context, name, lease string, life time.Duration) (bool, error) {
	held, err := c.Memory.Extend(ctx, name, lease, life)
	if held {
		c.extended.Add(1)
	}
	return held, err
}

// TestIdleLogin: a login that nobody uses for a month is used, by one of the gateways that have it, and where that fails somebody is
// told.
func TestIdleLogin(t *testing.T) {
	p := provider.Start(t)
	p.Once = true
	c, m, state := loggedIn(t, p)
	w := &counted{Memory: m}
	c = sharing(c, w)
	c.IdleLook = 10 * time.Millisecond
	one, two := start(t, c), start(t, c)
	look := func() {
		before := w.gets.Load()
		await(t, "another look", func() bool { return w.gets.Load() >= before+6 })
	}
	before := p.Requests()
	state.pass(29 * day)
	look()
	if n := p.Requests() - before; n != 0 {
		t.Fatalf("%d requests before a month is over", n)
	}
	for month := range 3 {
		state.pass(30*day + time.Hour)
		await(t, "a request", func() bool { return p.Requests() > before+month })
		look()
	}
	if n := p.Requests() - before; n != 3 {
		t.Fatalf("%d requests in three months", n)
	}
	p.FailAlways(provider.LoginOver)
	state.pass(31 * day)
	await(t, "a matter", func() bool {
		all := append(one.Matters(), two.Matters()...)
		return len(all) > 0 && all[0].Kind == oauth.LoginNeeded && all[0].Stops
	})
}

// TestLeaseLasts: a lease is short, so that one who dies keeps nobody waiting for long, and lasts as long as the issuer takes.
func TestLeaseLasts(t *testing.T) {
	p := provider.Start(t)
	p.Once = true
	c, m, state := loggedIn(t, p)
	w := &counted{Memory: m}
	c = sharing(c, w)
	state.pass(2 * time.Hour)
	c.LeaseLife = 400 * time.Millisecond
	before := p.Requests()
	p.Hang()
	tokens := make(chan string, 2)
	for range 2 {
		s := start(t, c)
		go func() {
			token, err := s.Token(t.Context(), "")
			if err != nil {
				t.Error(err)
			}
			tokens <- token
		}()
	}
	await(t, "a lease that lasts", func() bool { return w.extended.Load() >= 8 }) // twice its life
	p.Continue()
	if one, two := <-tokens, <-tokens; one != two || p.Requests() != before+1 {
		t.Errorf("%d requests while a lease lasts", p.Requests()-before)
	}
	c.LeaseLife = 0
	state.pass(2 * time.Hour)
	token(t, start(t, c), p, "ada@sakes.example")
	if life := time.Duration(w.life.Load()); life > 15*time.Second {
		t.Errorf("who dies keeps others waiting for %s", life)
	}
}

// TestAfresh: who asks for a token anew gets one although there is one that is good still, and says where each has come from. A
// login goes on.
func TestAfresh(t *testing.T) {
	p := provider.Start(t)
	p.Once = true
	c, _, state := loggedIn(t, p)
	state.pass(2 * time.Hour)
	running := start(t, c)
	first := token(t, running, p, "ada@sakes.example")
	s := start(t, c)
	if token(t, s, p, "ada@sakes.example") != first {
		t.Fatal("a token that is shared is not taken")
	}
	if text := s.Origin("").String(); !s.Origin("").Shared || !strings.Contains(text, "share") || running.Origin("").Shared {
		t.Errorf("it has come from: %s; the other's: %s", text, running.Origin(""))
	}
	s.Afresh(t.Context(), "")
	if token(t, s, p, "ada@sakes.example") == first || s.Origin("").Shared {
		t.Errorf("it is the same as before: %s", s.Origin(""))
	}
	for range 3 { // each void with the next one
		state.pass(2 * time.Hour)
		token(t, running, p, "ada@sakes.example")
		token(t, s, p, "ada@sakes.example")
	}
	alone := start(t, bySecret(p))
	first = token(t, alone, p, "ada@sakes.example")
	alone.Afresh(t.Context(), "")
	if token(t, alone, p, "ada@sakes.example") == first {
		t.Error("it is the same as before where nothing is shared")
	}
}
