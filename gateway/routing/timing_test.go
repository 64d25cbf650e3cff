package routing_test

import (
	"context"
	"encoding/base64"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// noThrottle counts nothing: what is measured is the answer to one attempt.
type noThrottle struct{}

func (n noThrottle) Begin(context.Context, netip.Addr, string) (login.Turn, error) { return n, nil }
func (noThrottle) Prove()                                                          {}
func (noThrottle) End(string, login.Outcome)                                       {}

// pipes is a listener whose connections are pipes.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// TestRefusalsTakeTheSameTime has a store that takes a while for users who are there, as one
// with a slow hash does that does not hide it. On a clock that nothing but waiting moves, each
// refusal takes the guard's floor, to the nanosecond.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	for name, user := range map[string]string{
		"wrong password": "alice@sakes.example", "unknown user": "bob@sakes.example", "unknown domain": "alice@far.example", "no name": "@",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newFakeStore()
				store.onLogin = func(context.Context) error {
					if strings.HasPrefix(store.seen.User, "alice") {
						time.Sleep(300 * time.Millisecond) // the store's work
					}
					return nil
				}
				table, err := stores.NewTable(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(receiver{store})))
				if err != nil {
					t.Fatal(err)
				}
				backend := routing.NewSubmission(routing.Options{
					Log: zerolog.Nop(), Router: stores.NewRouter(table), PlaintextLogin: true,
					Authenticator: login.NewAuthenticator(login.AuthenticatorOptions{
						Log: zerolog.Nop(), Guard: login.NewGuard(login.GuardOptions{Log: zerolog.Nop(), Throttle: noThrottle{}, Floor: time.Second}),
						Table: func() *stores.Table { return table },
					}),
				})
				server := &smtp.Server{Backend: backend, Role: smtp.Submission, Hostname: "mail.sakes.example", AllowInsecureAuth: true}
				if took := refusal(t, server, "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00wrong"))); took != time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// stuckDedup is a deduplication whose database has stopped answering since the message was begun.
type stuckDedup struct{}

func (stuckDedup) Take(_ context.Context, m routing.Message) (*routing.Attempt, error) {
	return &routing.Attempt{Fingerprint: m.Fingerprint, Key: "key"}, nil
}

func (stuckDedup) Put(ctx context.Context, _ *routing.Attempt) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestNoReplyWaitsForDedup: the client is told what became of its message, before it gives up
// waiting (RFC 5321 §4.5.3.2.6: 10 minutes) and sends it again.
func TestNoReplyWaitsForDedup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, func(g *gateway) { g.options.Dedup = stuckDedup{} })
		began := time.Now()
		if got := send(t, g.mx(), "ann@far.example", []string{"bob@sakes.example"}, letter); got != "250" {
			t.Errorf("got %s", got)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("the reply took %v", took)
		}
		if !strings.Contains(g.log.String(), "the deduplication cannot remember") {
			t.Error("nothing in the log")
		}
	})
}

// refusal is how long a server takes to say 535 to a command.
func refusal(t *testing.T, server *smtp.Server, command string) time.Duration {
	t.Helper()
	listener := make(pipes)
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ctx, listener) })
	defer serving.Wait()
	defer cancel()
	defer close(listener)
	left, right := net.Pipe()
	listener <- left
	conn := textproto.NewConn(right)
	defer conn.Close()
	for _, step := range []struct {
		say  string
		want int
	}{{"", 220}, {"EHLO client.example", 250}} {
		if step.say != "" {
			if err := conn.PrintfLine("%s", step.say); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := conn.ReadResponse(step.want); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if err := conn.PrintfLine("%s", command); err != nil {
		t.Fatal(err)
	}
	if _, text, err := conn.ReadResponse(535); err != nil || !strings.HasPrefix(text, "5.7.8 the user name or the password is wrong (session ") {
		t.Errorf("%q, %v", text, err)
	}
	return time.Since(began)
}
