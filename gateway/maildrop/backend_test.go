package maildrop_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/pop3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ pop3.Backend = (*maildrop.Backend)(nil)

func TestPassword(t *testing.T) {
	down := func(err error) func(*gateway) {
		return func(g *gateway) { g.store.onOpen = func(context.Context) error { return err } }
	}
	for _, test := range []struct {
		name, user, password string
		change               func(*gateway)
		want                 string
	}{
		{"address", "alice@sakes.example", "sesame", nil, "+OK"},
		{"address in other letters", "alice@SAKES.Example", "sesame", nil, "+OK"},
		{"bare name goes to the only store", "alice", "sesame", nil, "+OK"},
		{"wrong password", "alice@sakes.example", "simsim", nil, "-ERR [AUTH]"},
		{"unknown user", "bob@sakes.example", "sesame", nil, "-ERR [AUTH]"},
		{"unknown domain", "alice@far.example", "sesame", nil, "-ERR [AUTH]"},
		{"name that is none", "alice@", "sesame", nil, "-ERR [AUTH]"},
		{"outage", "alice", "sesame", down(backends.Fail(backends.Temporary, "down")), "-ERR [SYS/TEMP]"},
		{"error of no kind", "alice", "sesame", down(errors.New("boom")), "-ERR [SYS/TEMP]"},
		{"not allowed", "alice", "sesame", down(backends.Fail(backends.Permanent, "disabled")), "-ERR [SYS/PERM]"},
		{"the store holds it", "alice", "sesame", down(backends.Fail(backends.InUse, "busy")), "-ERR [IN-USE]"},
		{"the store throttles", "alice", "sesame", down(backends.Fail(backends.Throttled, "slow")), "-ERR [SYS/TEMP]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			if test.change != nil {
				test.change(g)
			}
			drop, err := g.session().Password(t.Context(), test.user, []byte(test.password))
			if got := code(err); got != test.want {
				t.Fatalf("got %s, want %s", got, test.want)
			}
			if err == nil {
				_ = drop.Close()
			}
			g.idle()
			if strings.Contains(g.log.String(), test.password) {
				t.Error("the password is in the log")
			}
		})
	}
}

func TestRefusalsAreAlike(t *testing.T) {
	g := newGateway(t)
	var texts []string
	for _, user := range []string{"alice@sakes.example", "bob@sakes.example", "alice@far.example", "@"} {
		_, err := g.session().Password(t.Context(), user, []byte("wrong"))
		reply, ok := errors.AsType[*pop3.Error](err)
		if !ok {
			t.Fatal(err)
		}
		texts = append(texts, reply.Code+reply.Text)
	}
	if len(slices.Compact(texts)) != 1 {
		t.Errorf("the answers differ: %q", texts)
	}
}

func TestAuthenticate(t *testing.T) {
	for _, test := range []struct {
		name, mechanism string
		responses       []string
		actAs           string
		want            string
	}{
		{"PLAIN", "PLAIN", []string{"\x00alice\x00sesame"}, "", "+OK"},
		{"PLAIN for another mailbox", "PLAIN", []string{"boss@sakes.example\x00alice\x00sesame"}, "boss@sakes.example", "+OK"},
		{"LOGIN", "LOGIN", []string{"alice", "sesame"}, "", "+OK"},
		{"wrong password", "PLAIN", []string{"\x00alice\x00simsim"}, "", "-ERR [AUTH]"},
		{"malformed", "PLAIN", []string{"alice"}, "", "-ERR [AUTH]"},
		{"no such mechanism", "X-NONE", nil, "", "-ERR []"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			drop, err := authenticate(t, g, test.mechanism, test.responses)
			if got := code(err); got != test.want {
				t.Fatalf("got %s, want %s", got, test.want)
			}
			if err == nil {
				_ = drop.Close()
				if g.store.seen.Credential.ActAs != test.actAs {
					t.Errorf("acts as %q", g.store.seen.Credential.ActAs)
				}
			}
			g.idle()
		})
	}
}

func authenticate(t *testing.T, g *gateway, mechanism string, responses []string) (*pop3.Login, error) {
	exchange, err := g.session().Authenticate(t.Context(), mechanism)
	if err != nil {
		return nil, err
	}
	for _, response := range responses {
		_, drop, err := exchange.Next(t.Context(), []byte(response))
		if err != nil || drop != nil {
			return drop, err
		}
	}
	return nil, errors.New("the exchange goes on")
}

func TestPasswordsNeedTLS(t *testing.T) {
	g := newGateway(t, func(o *maildrop.Options) { o.PlaintextLogin = false })
	var state *tls.ConnectionState
	session, err := g.backend.NewSession(t.Context(), pop3.Conn{ID: "s1", TLS: func() *tls.ConnectionState { return state }})
	if err != nil {
		t.Fatal(err)
	}
	if m := session.Mechanisms(); len(m) != 0 {
		t.Errorf("mechanisms without TLS: %v", m)
	}
	if _, err := session.Password(t.Context(), "alice", []byte("sesame")); err == nil {
		t.Error("PASS was taken without TLS")
	}
	if _, err := session.Authenticate(t.Context(), "PLAIN"); err == nil {
		t.Error("AUTH was taken without TLS")
	}
	if g.store.opened != 0 {
		t.Error("the store was asked")
	}
	state = &tls.ConnectionState{}
	drop, err := session.Password(t.Context(), "alice", []byte("sesame"))
	if err != nil || len(session.Mechanisms()) != 2 {
		t.Fatal(err)
	}
	_ = drop.Close()
	if peer := g.store.seen.Credential.Peer; !peer.TLS || peer.Session != "s1" || peer.Protocol != "pop3" {
		t.Errorf("peer is %+v", peer)
	}
}

func TestLock(t *testing.T) {
	g := newGateway(t)
	first := g.login()
	_, err := g.session().Password(t.Context(), "alice", []byte("sesame")) // another name, the same account
	if got := code(err); got != "-ERR [IN-USE]" {
		t.Errorf("second session: %s", got)
	}
	if n := g.store.open(); n != 1 {
		t.Errorf("%d of the store's maildrops are open", n)
	}
	g.store.onClose = func() error { return errors.New("the plugin died") }
	if err := first.Close(); err == nil {
		t.Error("the failure to close is lost")
	}
	g.idle()
	g.store.onClose = nil
	g.login()
	_ = first.Close() // again: must not release the other's lock
	if g.locks.Len() != 1 {
		t.Error("a second Close released another session's lock")
	}
}

func TestLockIsReleasedWhenListingFails(t *testing.T) {
	for _, test := range []struct {
		name    string
		onEntry func(ctx context.Context, i int) error
		want    string
	}{
		{"at the start", func(_ context.Context, i int) error { return backends.Fail(backends.Temporary, "down") }, "-ERR [SYS/TEMP]"},
		{"in the middle", func(_ context.Context, i int) error {
			if i == 2 {
				return errors.New("the plugin died")
			}
			return nil
		}, "-ERR [SYS/TEMP]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			for i := range 4 {
				g.store.add(fmt.Sprint("m", i), "x\r\n")
			}
			g.store.onEntry = test.onEntry
			_, err := g.session().Password(t.Context(), "alice", []byte("sesame"))
			if got := code(err); got != test.want {
				t.Errorf("got %s", got)
			}
			g.idle()
		})
	}
}

// TestListThatEndsWithoutAWord: a store that is cut off must not make a mailbox look shorter.
func TestListThatEndsWithoutAWord(t *testing.T) {
	g := newGateway(t)
	g.store.add("m1", "x\r\n")
	ctx, cancel := context.WithCancel(t.Context())
	g.store.onEntry = func(context.Context, int) error { cancel(); return nil }
	_, err := g.session().Password(ctx, "alice", []byte("sesame"))
	if got := code(err); got != "-ERR [SYS/TEMP]" {
		t.Errorf("got %s", got)
	}
	g.idle()
}

func TestOneSessionAmongMany(t *testing.T) {
	g := newGateway(t)
	g.store.add("m", "x\r\n")
	var mu sync.Mutex
	var open, most int
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				drop, err := g.session().Password(t.Context(), "alice", []byte("sesame"))
				if err != nil {
					if code(err) != "-ERR [IN-USE]" {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				open++
				most = max(most, open)
				mu.Unlock()
				mu.Lock()
				open--
				mu.Unlock()
				_ = drop.Close()
			}
		})
	}
	wg.Wait()
	if most != 1 {
		t.Errorf("%d sessions had the maildrop at once", most)
	}
	g.idle()
}
