package maildrop_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// serve puts the engine before the gateway, on a real socket.
func (g *gateway) serve() (dial func() *textproto.Conn) {
	g.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	server := &pop3.Server{Backend: g.backend, InsecureAuth: true}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), listener) }()
	g.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			g.t.Error(err)
		}
		if err := <-served; err != nil {
			g.t.Error(err)
		}
		g.idle()
	})
	return func() *textproto.Conn {
		conn, err := textproto.Dial("tcp", listener.Addr().String())
		if err != nil {
			g.t.Fatal(err)
		}
		g.t.Cleanup(func() { _ = conn.Close() })
		ask(g.t, conn, "", "+OK")
		return conn
	}
}

// ask sends a line, reads one, and wants it to begin like this.
func ask(t *testing.T, conn *textproto.Conn, line, want string) {
	t.Helper()
	if line != "" {
		if err := conn.PrintfLine("%s", line); err != nil {
			t.Fatal(err)
		}
	}
	got, err := conn.ReadLine()
	if err != nil || !strings.HasPrefix(got, want) {
		t.Fatalf("%s: got %q, %v, want %q", line, got, err, want)
	}
}

func lines(t *testing.T, conn *textproto.Conn) string {
	t.Helper()
	all, err := conn.ReadDotLines()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "|")
}

func TestThroughTheEngine(t *testing.T) {
	g := newGateway(t)
	g.store.add("m1", letter)
	g.store.add("m 2", ".dot\r\n\r\n..\r\n")
	dial := g.serve()
	conn := dial()
	ask(t, conn, "USER alice@sakes.example", "+OK")
	ask(t, conn, "PASS wrong", "-ERR [AUTH]")
	ask(t, conn, "USER alice@sakes.example", "+OK")
	ask(t, conn, "PASS sesame", "+OK")
	ask(t, conn, "STAT", "+OK 2 32")
	ask(t, conn, "UIDL 1", "+OK 1 m1")
	ask(t, conn, "UIDL 2", "+OK 2 ~1")
	ask(t, conn, "RETR 2", "+OK")
	if got := lines(t, conn); got != ".dot||.." {
		t.Errorf("RETR gave %q", got)
	}
	ask(t, conn, "DELE 2", "+OK")
	other := dial()
	ask(t, other, "USER alice", "+OK")
	ask(t, other, "PASS sesame", "-ERR [IN-USE]")
	ask(t, conn, "QUIT", "+OK")
	if _, err := conn.ReadLine(); err == nil {
		t.Error("the connection goes on after QUIT")
	}
	if got := g.store.removed; len(got) != 1 || got[0] != "m 2" {
		t.Errorf("removed %q", got)
	}
}

func TestDroppedConnectionLeavesNothingBehind(t *testing.T) {
	g := newGateway(t)
	g.store.add("m1", letter)
	released := make(chan struct{})
	g.store.onClose = func() error { close(released); return nil }
	conn := g.serve()()
	ask(t, conn, "USER alice", "+OK")
	ask(t, conn, "PASS sesame", "+OK")
	ask(t, conn, "DELE 1", "+OK")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	<-released
	if got := g.store.batches; len(got) != 1 || got[0] != 0 { // the question whether it can be deleted
		t.Errorf("a dropped connection removed something: %v", got)
	}
}

// TestDropIsNotSeenBeforeTheLockIsFree: who sees that the gateway has cut a message off may come back
// at once.
func TestDropIsNotSeenBeforeTheLockIsFree(t *testing.T) {
	g := newGateway(t)
	g.store.add("m1", letter)
	g.store.onFetch = func(context.Context, backends.FetchRequest) (backends.Content, error) {
		return &fakeContent{Reader: io.MultiReader(strings.NewReader(strings.Repeat(letter, 10_000)), failing{errors.New("lost")})}, nil
	}
	seen := make(chan struct{})
	var closed atomic.Int32
	g.store.onClose = func() error {
		if closed.Add(1) > 1 {
			return nil // the second session's
		}
		select {
		case <-seen:
			t.Error("the client sees the end while the maildrop is open")
		case <-time.After(300 * time.Millisecond): // as a slow store
		}
		return nil
	}
	dial := g.serve()
	conn := dial()
	ask(t, conn, "USER alice", "+OK")
	ask(t, conn, "PASS sesame", "+OK")
	ask(t, conn, "RETR 1", "+OK")
	if _, err := conn.ReadDotBytes(); err == nil {
		t.Error("a message that was cut off looks complete")
	}
	close(seen)
	again := dial()
	ask(t, again, "USER alice", "+OK")
	ask(t, again, "PASS sesame", "+OK")
	ask(t, again, "QUIT", "+OK")
}

// TestGreetingAsksNoStore: nobody waits for a store before a login, however slow it is.
func TestGreetingAsksNoStore(t *testing.T) {
	g := newGateway(t)
	g.store.add("m1", letter)
	g.store.onOpen = func(context.Context) error { t.Error("the store is asked"); return nil }
	conn := g.serve()()
	ask(t, conn, "CAPA", "+OK")
	if got := lines(t, conn); !strings.Contains(got, "UIDL") {
		t.Errorf("CAPA gave %q", got)
	}
	ask(t, conn, "USER alice", "+OK")
	ask(t, conn, "QUIT", "+OK")
}

// TestBareAuth has old Outlooks ask for the mechanisms: AUTH without one lists those that the
// store can check, as CAPA does.
func TestBareAuth(t *testing.T) {
	for _, test := range []struct {
		name string
		said backends.Description
		want string
		user bool // USER is offered
	}{
		{"passwords", backends.Description{}, "PLAIN|LOGIN", true},
		{"tokens", backends.Description{Credentials: []backends.CredentialKind{backends.CredentialToken}}, "OAUTHBEARER|XOAUTH2", false},
		{"both", backends.Description{Credentials: []backends.CredentialKind{backends.CredentialPassword, backends.CredentialToken}}, "OAUTHBEARER|XOAUTH2|PLAIN|LOGIN", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.store.said = test.said
			conn := g.serve()()
			ask(t, conn, "AUTH", "+OK")
			if got := lines(t, conn); got != test.want {
				t.Errorf("AUTH lists %s", got)
			}
			ask(t, conn, "CAPA", "+OK")
			capabilities := "|" + lines(t, conn) + "|"
			if !strings.Contains(capabilities, "|SASL "+strings.ReplaceAll(test.want, "|", " ")+"|") || strings.Contains(capabilities, "|USER|") != test.user {
				t.Errorf("CAPA lists %s", capabilities)
			}
			if !test.user {
				ask(t, conn, "USER alice", "-ERR USER is not available")
			}
		})
	}
}

// counting is a store that counts how often it is asked for its description.
type counting struct {
	*fakeStore
	asked int
}

func (u *counting) Describe(context.Context) (backends.Description, error) {
	u.asked++
	return backends.Description{}, nil
}

// TestCAPAAsksNoPlugin: what CAPA tells of stores, before the login and after it, is what they have
// said already.
func TestCAPAAsksNoPlugin(t *testing.T) {
	store := &counting{fakeStore: &fakeStore{}}
	said := backends.Description{Capabilities: backends.CapabilitiesOf(store), Credentials: []backends.CredentialKind{backends.CredentialPassword, backends.CredentialToken}}
	table := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.
		In(stores.Plugin{Backend: store, Description: func() *backends.Description { return &said }}))
	g := newGateway(t, func(o *maildrop.Options) {
		o.Authenticator = login.NewAuthenticator(login.AuthenticatorOptions{
			Log: zerolog.Nop(), Guard: login.NewGuard(login.GuardOptions{Log: zerolog.Nop(), Floor: time.Millisecond}),
			Table: func() *stores.Table { return table },
		})
	})
	g.store = store.fakeStore
	conn := g.serve()()
	ask(t, conn, "CAPA", "+OK")
	lines, err := conn.ReadDotLines()
	if err != nil || !slices.Contains(lines, "SASL OAUTHBEARER XOAUTH2 PLAIN LOGIN") || !slices.Contains(lines, "USER") {
		t.Errorf("%q, %v", lines, err)
	}
	ask(t, conn, "USER alice", "+OK")
	ask(t, conn, "PASS sesame", "+OK")
	ask(t, conn, "CAPA", "+OK")
	if _, err := conn.ReadDotLines(); err != nil {
		t.Error(err)
	}
	ask(t, conn, "QUIT", "+OK")
	if store.asked > 0 {
		t.Errorf("the store was asked %d times", store.asked)
	}
}
