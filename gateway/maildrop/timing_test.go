package maildrop_test

import (
	"context"
	"encoding/base64"
	"net"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// noThrottle counts nothing: what is measured is the answer to one attempt.
type noThrottle struct{}

func (n noThrottle) Begin(context.Context, netip.Addr, string) (login.Turn, error) { return n, nil }
func (noThrottle) Prove()                                                          {}
func (noThrottle) End(string, login.Outcome)                                       {}

// tellTale is a store that tells by its time who there is: it takes a while to compare the
// password of a user who is there, and no time for others.
type tellTale struct {
	*fakeStore
	hash time.Duration
}

func (s *tellTale) Describe(context.Context) (backends.Description, error) {
	return backends.Description{Name: "fake", Credentials: []backends.CredentialKind{backends.CredentialPassword, backends.CredentialToken}}, nil
}

func (s *tellTale) Open(ctx context.Context, request backends.OpenRequest) (backends.Maildrop, error) {
	if strings.HasPrefix(request.Credential.User, "alice") {
		time.Sleep(s.hash) // the store's work
	}
	return s.fakeStore.Open(ctx, request)
}

// guarded is a backend over a tell-tale store, behind a guard with this floor.
func guarded(t *testing.T, hash, floor time.Duration) *maildrop.Backend {
	table, err := stores.NewTable(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(&tellTale{&fakeStore{}, hash})))
	if err != nil {
		t.Fatal(err)
	}
	return maildrop.New(maildrop.Options{Log: zerolog.Nop(), PlaintextLogin: true, Authenticator: login.NewAuthenticator(login.AuthenticatorOptions{
		Log: zerolog.Nop(), Guard: login.NewGuard(login.GuardOptions{Log: zerolog.Nop(), Throttle: noThrottle{}, Floor: floor}),
		Table: func() *stores.Table { return table },
	})})
}

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// tries are what a guesser sends, and how the answer has to begin. Nothing in them is right.
var tries = map[string][]string{
	"wrong password": {"USER alice@sakes.example", "PASS wrong"},
	"unknown user":   {"USER bob@sakes.example", "PASS wrong"},
	"unknown domain": {"USER alice@far.example", "PASS wrong"},
	"no name":        {"USER @", "PASS wrong"},
	"PLAIN, wrong":   {"AUTH PLAIN " + b64("\x00alice@sakes.example\x00wrong")},
	"PLAIN, unknown": {"AUTH PLAIN " + b64("\x00bob@sakes.example\x00wrong")},
	"token, wrong":   {"AUTH XOAUTH2 " + b64("user=alice@sakes.example\x01auth=Bearer old\x01\x01"), ""},
	"token, unknown": {"AUTH XOAUTH2 " + b64("user=bob@sakes.example\x01auth=Bearer old\x01\x01"), ""},
}

// try makes one attempt on a connection of its own and says how long it took.
func try(t *testing.T, raw net.Conn, lines []string) time.Duration {
	conn := textproto.NewConn(raw)
	defer conn.Close()
	if _, err := conn.ReadLine(); err != nil {
		t.Error(err)
	}
	began := time.Now()
	answer := ""
	for _, line := range lines {
		err := conn.PrintfLine("%s", line)
		if err == nil {
			answer, err = conn.ReadLine()
		}
		if err != nil {
			t.Error(err)
		}
	}
	if !strings.HasPrefix(answer, "-ERR [AUTH] ") {
		t.Errorf("%q is answered %q", lines, answer)
	}
	return time.Since(began)
}

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

// TestRefusalsTakeTheSameTime is exact: on a clock that nothing but waiting moves, each refusal
// takes the guard's floor, to the nanosecond.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	for name, lines := range tries {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := make(pipes)
				server := &pop3.Server{Backend: guarded(t, 300*time.Millisecond, time.Second), InsecureAuth: true}
				ctx, cancel := context.WithCancel(t.Context())
				var serving sync.WaitGroup
				serving.Go(func() { _ = server.Serve(ctx, listener) })
				left, right := net.Pipe()
				listener <- left
				if took := try(t, right, lines); took != time.Second {
					t.Errorf("took %v", took)
				}
				close(listener)
				cancel()
				serving.Wait()
			})
		})
	}
}

// TestRefusalsTakeTheSameTimeOnASocket measures what a guesser over TCP could: pairs of attempts,
// one for a user who is there and one for a user who is not, from several sides at once so that
// a busy machine slows both. Where nothing hid the difference it would be the store's 100 ms, each time;
// a difference that the machine's other work has made is gone when it is measured again.
func TestRefusalsTakeTheSameTimeOnASocket(t *testing.T) {
	const hash, floor, times = 100 * time.Millisecond, 250 * time.Millisecond, 8
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &pop3.Server{Backend: guarded(t, hash, floor), InsecureAuth: true}
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ctx, listener) })
	defer serving.Wait()
	defer cancel()
	for range times {
		median := refusalsDiffer(t, listener.Addr().String())
		if median.Abs() <= hash/3 {
			return
		}
		t.Logf("a user who is there takes %v longer", median)
	}
	t.Errorf("a user who is there takes longer, %d times", times)
}

// refusalsDiffer is how much longer a user takes who is there, the median of pairs of attempts.
func refusalsDiffer(t *testing.T, address string) time.Duration {
	const sides, pairs = 8, 4
	attempt := func(name string) time.Duration {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return 0
		}
		return try(t, conn, tries[name])
	}
	differences := make([][]time.Duration, sides)
	var measuring sync.WaitGroup
	for side := range sides {
		measuring.Go(func() {
			for pair := range pairs {
				if pair%2 == 0 {
					there := attempt("wrong password")
					differences[side] = append(differences[side], there-attempt("unknown user"))
				} else {
					nobody := attempt("unknown user")
					differences[side] = append(differences[side], attempt("wrong password")-nobody)
				}
			}
		})
	}
	measuring.Wait()
	all := slices.Sorted(slices.Values(slices.Concat(differences...)))
	return all[len(all)/2]
}
