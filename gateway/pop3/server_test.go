package pop3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// bubble runs a session over a pipe on a clock of its own.
func bubble(t *testing.T, fake *fakeBackend, change func(*Server), f func(t *testing.T, r *running, c *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := prepare(t, fake, change)
		r.serve(r.pipe)
		f(t, r, r.dialPipe())
	})
}

// expectAfter waits for a line, and says how long that took.
func (c *client) expectAfter(want string) time.Duration {
	c.t.Helper()
	began := time.Now()
	_ = c.conn.SetReadDeadline(time.Now().Add(24 * time.Hour))
	line, err := c.r.ReadString('\n')
	if err != nil || !matches(c.unnamed(strings.TrimSuffix(line, "\r\n")), want) {
		c.t.Fatalf("got %q and %v, want %q", line, err, want)
	}
	return time.Since(began)
}

func TestAutologout(t *testing.T) {
	fake := newFake(first)
	bubble(t, fake, nil, func(t *testing.T, r *running, c *client) {
		c.login()
		c.do("DELE 1", "+OK…")
		time.Sleep(10 * time.Minute) // RFC 1939 §3: at least that
		c.do("NOOP", "+OK")
		if d := c.expectAfter("-ERR timed out"); d < 10*time.Minute || d > 11*time.Minute {
			t.Errorf("closed after %v", d)
		}
		c.closed()
		if sum := r.wait(1)[0]; sum.Reason != "time-out" || fake.opened[0].updates != nil {
			t.Errorf("got %+v, updates %v", sum, fake.opened[0].updates)
		}
	})
}

// A maildrop's own limits go before the server's: of the time between two commands, and of the
// whole session. Neither removes anything.
func TestLimitsOfAMaildrop(t *testing.T) {
	fake := newFake(first)
	fake.newDrop = func(string) *fakeDrop {
		return &fakeDrop{messages: []string{first}, idle: 20 * time.Minute, session: time.Hour}
	}
	t.Run("idle", func(t *testing.T) {
		bubble(t, fake, nil, func(t *testing.T, _ *running, c *client) {
			c.login()
			if d := c.expectAfter("-ERR timed out"); d != 20*time.Minute {
				t.Errorf("closed after %v", d)
			}
		})
	})
	t.Run("session", func(t *testing.T) {
		bubble(t, fake, nil, func(t *testing.T, r *running, c *client) {
			c.login()
			c.do("DELE 1", "+OK…")
			for range 4 {
				time.Sleep(12 * time.Minute)
				c.do("NOOP", "+OK")
			}
			if d := c.expectAfter("-ERR [SYS/TEMP] the session has lasted for too long…"); d != 12*time.Minute {
				t.Errorf("closed after %v", d)
			}
			c.closed()
			if sum := r.wait(1)[0]; sum.Reason != "session limit" || fake.opened[len(fake.opened)-1].updates != nil {
				t.Errorf("got %+v", sum)
			}
		})
	})
	t.Run("the server's", func(t *testing.T) {
		bubble(t, newFake(first), func(s *Server) { s.SessionLimit = 5 * time.Minute }, func(t *testing.T, _ *running, c *client) {
			c.login()
			if d := c.expectAfter("-ERR [SYS/TEMP] the session has lasted for too long…"); d != 5*time.Minute {
				t.Errorf("closed after %v", d)
			}
		})
	})
}

// Octets are no command: they do not put the logout off.
func TestAutologoutOfATrickle(t *testing.T) {
	bubble(t, newFake(first), nil, func(t *testing.T, _ *running, c *client) {
		c.login()
		var trickling sync.WaitGroup
		defer trickling.Wait()
		trickling.Go(func() {
			for {
				if _, err := io.WriteString(c.conn, "x"); err != nil {
					return
				}
				time.Sleep(time.Minute)
			}
		})
		if d := c.expectAfter("-ERR timed out"); d < 10*time.Minute || d > 11*time.Minute {
			t.Errorf("closed after %v", d)
		}
		c.closed()
	})
}

func TestLoginTimeout(t *testing.T) {
	bubble(t, newFake(first), nil, func(t *testing.T, _ *running, c *client) {
		c.expect("+OK…")
		if d := c.expectAfter("-ERR timed out"); d != time.Minute {
			t.Errorf("closed after %v", d)
		}
		c.closed()
	})
}

// A client that keeps talking, and does not log in, has some minutes in all.
func TestLoginLimit(t *testing.T) {
	bubble(t, newFake(first), nil, func(t *testing.T, _ *running, c *client) {
		c.expect("+OK…")
		for range 5 {
			time.Sleep(50 * time.Second)
			c.do("USER bob", "+OK…")
		}
		if d := c.expectAfter("-ERR timed out"); d != 50*time.Second {
			t.Errorf("closed after %v", d)
		}
		c.closed()
	})
}

func TestTimeoutWithinSASL(t *testing.T) {
	bubble(t, newFake(first), nil, func(t *testing.T, _ *running, c *client) {
		c.expect("+OK…")
		c.do("AUTH PLAIN", "+ ")
		c.expectAfter("-ERR timed out")
		c.closed()
	})
}

func TestHandshakeTimeout(t *testing.T) {
	bubble(t, newFake(first), withTLS, func(t *testing.T, r *running, c *client) {
		c.expect("+OK…")
		c.do("STLS", "+OK…")
		time.Sleep(time.Minute)
		synctest.Wait()
		if sum := r.wait(1)[0]; sum.Reason != "tls" || sum.Duration != time.Minute {
			t.Errorf("got %+v", sum)
		}
		c.rest()
	})
}

// A client that takes nothing is dropped, one that takes a little now and then is not.
func TestSlowReaders(t *testing.T) {
	message := strings.Repeat("x", 200<<10)
	t.Run("nothing", func(t *testing.T) {
		bubble(t, newFake(message), nil, func(t *testing.T, r *running, c *client) {
			c.login()
			c.send("RETR 1\r\n")
			c.expect("+OK 204802 octets") // and no more
			began := time.Now()
			time.Sleep(10*time.Minute + time.Second)
			synctest.Wait()
			if sum := r.wait(1)[0]; sum.Reason != "gone" || sum.Retr != 0 {
				t.Errorf("got %+v after %v", sum, time.Since(began))
			}
		})
	})
	t.Run("next to nothing", func(t *testing.T) {
		bubble(t, newFake(message), nil, func(t *testing.T, r *running, c *client) {
			c.login()
			_ = c.conn.SetReadDeadline(time.Time{})
			c.send("RETR 1\r\n")
			began := time.Now()
			got, err := io.ReadAll(&trickle{conn: c.conn, pause: time.Minute, piece: 100})
			if len(got) > 2000 {
				t.Errorf("got %d octets and %v", len(got), err)
			}
			if sum := r.wait(1)[0]; sum.Reason != "gone" || sum.Retr != 0 {
				t.Errorf("got %+v after %v", sum, time.Since(began))
			}
		})
	})
	t.Run("a little", func(t *testing.T) {
		bubble(t, newFake(message), nil, func(t *testing.T, r *running, c *client) {
			c.login()
			_ = c.conn.SetReadDeadline(time.Time{})
			c.send("RETR 1\r\n")
			began := time.Now()
			var got bytes.Buffer
			all := io.LimitReader(&trickle{conn: c.conn, pause: 4 * time.Minute, piece: 4 << 10}, int64(len("+OK 204802 octets\r\n"+message+"\r\n.\r\n")))
			_, err := io.CopyBuffer(struct{ io.Writer }{&got}, all, make([]byte, 4<<10))
			if err != nil || !bytes.HasSuffix(got.Bytes(), []byte("x\r\n.\r\n")) {
				t.Errorf("got %d octets and %v", got.Len(), err)
			}
			if took := time.Since(began); took < 3*time.Hour {
				t.Errorf("that was not slow: %v", took)
			}
		})
	})
}

type trickle struct {
	conn  net.Conn
	pause time.Duration
	piece int
}

func (r *trickle) Read(p []byte) (int, error) {
	time.Sleep(r.pause)
	return r.conn.Read(p[:min(len(p), r.piece)])
}

// A backend that takes too long is left; one that goes on, however slowly, is waited for.
func TestSlowBackend(t *testing.T) {
	t.Run("open", func(t *testing.T) {
		fake := newFake()
		fake.onPassword = func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() }
		bubble(t, fake, nil, func(t *testing.T, r *running, c *client) {
			c.expect("+OK…")
			c.do("USER bob", "+OK…")
			c.send("PASS secret\r\n")
			if d := c.expectAfter("-ERR [SYS/TEMP] cannot do that now, try again later"); d != 5*time.Minute {
				t.Errorf("left after %v", d)
			}
			if !strings.Contains(r.log.String(), errSlowBackend.Error()) {
				t.Errorf("the log is %s", r.log.String())
			}
			c.expect("-ERR timed out") // the login has taken all the time that there is for one
			c.closed()
		})
	})
	t.Run("sizes", func(t *testing.T) {
		fake := newFake()
		dropWith(func(d *fakeDrop) {
			d.onSize = func(ctx context.Context) error {
				select {
				case <-time.After(4 * time.Minute):
				case <-ctx.Done():
				}
				return ctx.Err()
			}
		})(fake)
		bubble(t, fake, nil, func(t *testing.T, _ *running, c *client) {
			c.login()
			c.send("STAT\r\n")
			if d := c.expectAfter("+OK 3 76"); d != 12*time.Minute {
				t.Errorf("that took %v", d)
			}
		})
	})
	t.Run("content", func(t *testing.T) {
		fake := newFake()
		dropWith(func(d *fakeDrop) {
			d.sizes = map[int]int64{1: 300}
			d.content = func(ctx context.Context, n, _ int) io.ReadCloser {
				return &slowContent{ctx: ctx, pause: 4 * time.Minute, pieces: 100, hang: n == 2}
			}
		})(fake)
		bubble(t, fake, nil, func(t *testing.T, r *running, c *client) {
			c.login()
			c.send("RETR 1\r\n")
			if d := c.expectAfter("+OK 300 octets"); d < 6*time.Hour {
				t.Errorf("that was not slow: %v", d)
			}
			if got := c.content(); got != strings.Repeat("x\r\n", 100) {
				t.Errorf("got %q", got)
			}
			c.send("RETR 2\r\n")
			_ = c.conn.SetReadDeadline(time.Now().Add(24 * time.Hour))
			if rest, _ := io.ReadAll(c.r); bytes.Contains(rest, []byte("\r\n.\r\n")) {
				t.Errorf("got %q", rest)
			}
			if sum := r.wait(1)[0]; sum.Reason != "content" {
				t.Errorf("got %+v", sum)
			}
		})
	})
}

// slowContent gives a piece each pause; with hang, the last never comes.
type slowContent struct {
	ctx    context.Context
	pause  time.Duration
	pieces int
	hang   bool
}

func (c *slowContent) Read(p []byte) (int, error) {
	if c.pieces--; c.pieces < 0 {
		return 0, io.EOF
	}
	pause := c.pause
	if c.hang && c.pieces == 0 {
		pause = 1000 * time.Hour
	}
	select {
	case <-time.After(pause):
		return copy(p, "x\r\n"), nil
	case <-c.ctx.Done():
		return 0, c.ctx.Err()
	}
}

func (c *slowContent) Close() error { return nil }

// A long call ends when nobody waits for it any more, and not when the client has only sent
// its next command.
func TestClientThatLeavesMeanwhile(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		t.Run(map[bool]string{true: "leaves", false: "goes on"}[leaves], func(t *testing.T) {
			fake := newFake(first)
			bubble(t, fake, nil, func(t *testing.T, _ *running, c *client) {
				ended := make(chan error, 1)
				fake.onPassword = func(ctx context.Context, _, _ string) error {
					select {
					case <-ctx.Done():
					case <-time.After(time.Minute):
					}
					ended <- context.Cause(ctx)
					return ctx.Err()
				}
				c.expect("+OK…")
				c.do("USER bob", "+OK…")
				c.send("PASS secret\r\n")
				<-c.sent
				if leaves {
					_ = c.conn.Close()
					if err := <-ended; !errors.Is(err, errClientGone) {
						t.Errorf("the call ended with %v", err)
					}
					return
				}
				c.send("STAT\r\n")
				time.Sleep(30 * time.Second)
				c.send("NOOP\r\n")
				if err := <-ended; err != nil {
					t.Errorf("the call ended with %v", err)
				}
				c.expect("+OK maildrop has 1 messages")
				c.expect("+OK 1 32")
				c.expect("+OK")
			})
		})
	}
}

// stuckContent gives a beginning, and then nothing until its context ends.
type stuckContent struct {
	ctx   context.Context
	begin io.Reader
}

func (c *stuckContent) Read(p []byte) (int, error) {
	if n, err := c.begin.Read(p); err == nil {
		return n, nil
	}
	<-c.ctx.Done()
	return 0, c.ctx.Err()
}

func (c *stuckContent) Close() error { return nil }

// A connection that is reset in the middle of a message is nobody's any more, however long the
// backend takes over the rest.
func TestResetInAMessage(t *testing.T) {
	fake := newFake()
	dropWith(func(d *fakeDrop) {
		d.content = func(ctx context.Context, _, _ int) io.ReadCloser {
			return &stuckContent{ctx, strings.NewReader(strings.Repeat("0123456789abcde\r\n", 8<<10))}
		}
	})(fake)
	r := start(t, fake, nil)
	c := r.dialTCP()
	c.login()
	c.send("RETR 1\r\n")
	c.expect("+OK…")
	if _, err := io.ReadFull(c.r, make([]byte, 1<<10)); err != nil {
		t.Fatal(err)
	}
	if err := c.conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = c.conn.Close()
	r.wait(1)
}

// Old scripts send all they have to say, and close their half. That is not leaving.
func TestClientThatHasSaidAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(first)
		fake.onPassword = func(ctx context.Context, _, _ string) error {
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
			return ctx.Err()
		}
		near, far := net.Pipe()
		stream := "USER bob\r\nPASS secret\r\nSTAT\r\nQUIT\r\n"
		conn := &halfPipe{Conn: far, in: bytes.NewReader([]byte(stream))}
		go newSession(t.Context(), &Server{Backend: fake, InsecureAuth: true}, conn).serve()
		got, err := io.ReadAll(near)
		want := "+OK POP3 server ready\r\n+OK send PASS\r\n+OK maildrop has 1 messages\r\n+OK 1 32\r\n+OK POP3 server signing off\r\n"
		if string(got) != want || err != nil {
			t.Errorf("got %q and %v", got, err)
		}
	})
}

// Idle sessions are told, busy ones finish what they do, and nothing is removed.
func TestShutdown(t *testing.T) {
	fake := newFake()
	started, proceed := make(chan struct{}), make(chan struct{})
	dropWith(func(d *fakeDrop) {
		d.content = func(context.Context, int, int) io.ReadCloser {
			close(started)
			<-proceed
			return io.NopCloser(strings.NewReader(second))
		}
	})(fake)
	r := start(t, fake, withTLS)
	idle, busy, anonymous, secure := r.dialTCP().login(), r.dialTCP().login(), r.dialTCP(), r.dialTCP()
	anonymous.expect("+OK…")
	secure.expect("+OK…")
	secure.stls()
	secure.do("CAPA", "+OK…")
	secure.lines()
	idle.do("DELE 1", "+OK…")
	busy.do("DELE 1", "+OK…")
	busy.send("RETR 2\r\nDELE 2\r\nQUIT\r\n")
	<-started
	done := make(chan error, 1)
	go func() { done <- r.Shutdown(context.Background()) }()
	for _, c := range []*client{idle, anonymous, secure} {
		c.expect("-ERR [SYS/TEMP] the server is shutting down")
		c.closed()
	}
	if _, err := net.Dial("tcp", r.tcp.Addr().String()); err == nil {
		t.Error("connections are still accepted")
	}
	close(proceed)
	busy.expect("+OK 26 octets")
	if got := busy.content(); got != second {
		t.Errorf("got %q", got)
	}
	busy.expect("-ERR [SYS/TEMP] the server is shutting down")
	busy.closed()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for _, drop := range fake.opened {
		if drop.updates != nil {
			t.Errorf("updates %v, want none", drop.updates)
		}
	}
	if err := r.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown again: %v", err)
	}
	if err := r.Serve(context.Background(), newPipeListener()); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve after it: %v", err)
	}
}

// TestLostMaildrop: whose maildrop is gone is told at once, even where he says nothing, and what
// he had marked stays. A command that is under way gets its response first.
func TestLostMaildrop(t *testing.T) {
	life, end := context.WithCancel(context.Background())
	fake := newFake()
	started, proceed, ended := make(chan struct{}), make(chan struct{}), make(chan struct{}, 2)
	dropWith(func(d *fakeDrop) {
		d.life, d.told = life, ended
		d.content = func(context.Context, int, int) io.ReadCloser {
			close(started)
			<-proceed
			return io.NopCloser(strings.NewReader(second))
		}
	})(fake)
	r := start(t, fake, nil)
	idle, busy := r.dialTCP().login(), r.dialTCP().login()
	idle.do("DELE 1", "+OK…")
	busy.send("RETR 2\r\nDELE 2\r\nQUIT\r\n")
	<-started
	end()
	const told = "-ERR [SYS/TEMP] the mailbox has become unreachable, log in again"
	idle.expect(told)
	idle.closed()
	for range 2 { // sessions: each hears of it in its own time
		<-ended
	}
	close(proceed)
	busy.expect("+OK 26 octets")
	if got := busy.content(); got != second {
		t.Errorf("got %q", got)
	}
	busy.expect(told)
	busy.closed()
	for _, drop := range fake.opened {
		if drop.updates != nil {
			t.Errorf("updates %v, want none", drop.updates)
		}
	}
}

func TestShutdownByForce(t *testing.T) {
	fake := newFake()
	started := make(chan struct{})
	fake.onPassword = func(ctx context.Context, _, _ string) error {
		close(started)
		<-ctx.Done()
		return ctx.Err()
	}
	r := start(t, fake, nil)
	c := r.dialTCP()
	c.expect("+OK…")
	c.do("USER bob", "+OK…")
	c.send("PASS secret\r\n")
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	c.rest()
	r.wait(1)
}

func TestEndOfServesContext(t *testing.T) {
	fake := newFake(first)
	r := prepare(t, fake, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Serve(ctx, r.pipe) }()
	c := r.dialPipe().login()
	c.do("DELE 1", "+OK…")
	cancel()
	c.rest()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if sessions, drops := fake.left(); sessions+drops != 0 || fake.opened[0].updates != nil {
		t.Errorf("%d sessions and %d maildrops are left, updates %v", sessions, drops, fake.opened[0].updates)
	}
}

// TestEndOfOneServesContext: the sessions of the server's other listeners go on.
func TestEndOfOneServesContext(t *testing.T) {
	r := prepare(t, newFake(first), nil)
	other := newPipeListener()
	r.serve(other)
	staying := r.client(other.dial()).login()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Serve(ctx, r.pipe) }()
	leaving := r.dialPipe()
	leaving.expect("+OK POP3 server ready")
	cancel()
	leaving.rest()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	staying.do("NOOP", "+OK")
	staying.do("QUIT", "+OK…")
}

func TestLimitOfConnections(t *testing.T) {
	const refusal = "-ERR [SYS/TEMP] too many connections, try again later"
	for name, tt := range map[string]struct {
		change func(*Server)
		limit  string
	}{
		"in all":      {func(s *Server) { s.MaxConnections = 2 }, "connections"},
		"per address": {func(s *Server) { s.MaxPerAddress = 2 }, "address"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, newFake(first), tt.change)
			a, b := r.dialTCP().login(), r.dialTCP().login()
			c := r.dialTCP()
			c.expect(refusal)
			c.closed()
			b.do("QUIT", "+OK…")
			r.wait(1)
			c = r.dialTCP()
			for c.line() == refusal { // the count follows the last log line
				c = r.dialTCP()
			}
			a.do("NOOP", "+OK")
			if tt.limit == "address" {
				r.dialPipe().login() // has no address
			}
			if r.seen.refused[0] != tt.limit {
				t.Errorf("refused for %q", r.seen.refused)
			}
		})
	}
}

// TestLimitOfUnauthenticated: connections that have not logged in do not take the places of those who
// could.
func TestLimitOfUnauthenticated(t *testing.T) {
	const refusal = "-ERR [SYS/TEMP] too many connections, try again later"
	r := start(t, newFake(first), func(s *Server) { s.MaxUnauthenticated = 2 })
	var in []*client
	for range 3 { // each has logged in when the next one comes
		in = append(in, r.dialTCP().login())
	}
	a, b := r.dialTCP(), r.dialTCP()
	a.expect("+OK…")
	b.expect("+OK…")
	c := r.dialTCP()
	c.expect(refusal)
	c.closed()
	a.do("USER bob", "+OK…")
	a.do("PASS secret", "+OK…")
	c = r.dialTCP()
	c.expect("+OK…")
	c.do("QUIT", "+OK…")
	b.do("QUIT", "+OK…")
	for _, c := range append(in, a) {
		c.do("QUIT", "+OK…")
	}
	r.wait(6)
	if !slices.Equal(r.seen.refused, []string{"unauthenticated"}) {
		t.Errorf("refused for %q", r.seen.refused)
	}
}

// A client that is still sending when it is hung up on is heard out, so that no reset takes the
// last response from it.
func TestHangingUpOnATalker(t *testing.T) {
	r := start(t, newFake(first), func(s *Server) { s.MaxErrors = 1 })
	c := r.dialTCP().login()
	c.do("XYZZY", "-ERR unknown command; too many errors")
	c.closed()
	for i := range 100 {
		if _, err := io.WriteString(c.conn, "XYZZY\r\n"); err != nil {
			t.Fatalf("after %d more commands: %v", i, err)
		}
	}
}

// A connection that was accepted while Shutdown began is not served.
func TestNoSessionBeginsAfterShutdown(t *testing.T) {
	s := &Server{Backend: newFake(first)}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	defer near.Close()
	session := newSession(t.Context(), s, far)
	defer session.kill(nil)
	if limit := s.register(session); limit != "shutdown" {
		t.Errorf("the limit is %q", limit)
	}
}

// brokenListener fails before it accepts.
type brokenListener struct {
	*pipeListener
	mu       sync.Mutex
	failures []error
}

func (l *brokenListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	if len(l.failures) > 0 {
		err := l.failures[0]
		l.failures = l.failures[1:]
		l.mu.Unlock()
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: err}
	}
	l.mu.Unlock()
	return l.pipeListener.Accept()
}

// Running out of files does not end the server, and does not keep a CPU busy.
func TestAcceptGoesOnWithoutFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prepare(t, newFake(first), nil)
		l := &brokenListener{pipeListener: r.pipe}
		for range 12 {
			l.failures = append(l.failures, syscall.EMFILE)
		}
		began := time.Now()
		r.serve(l)
		r.dialPipe().login()
		if d := time.Since(began); d < 3*time.Second || d > 12*time.Second {
			t.Errorf("12 failures took %v", d)
		}
	})
}

func TestAcceptEndsWithItsListener(t *testing.T) {
	r := prepare(t, newFake(first), nil)
	l := &brokenListener{pipeListener: r.pipe, failures: []error{errBroken}}
	if err := r.Serve(t.Context(), l); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

// An idle session costs little: see also BenchmarkIdleSessions.
func TestIdleSessionsAreSmall(t *testing.T) {
	if perSession := idleMemory(t, 500); perSession > 20<<10 {
		t.Errorf("an idle session takes %d octets", perSession)
	}
}

// idleMemory is what a logged-in session takes that has sent a message and now waits, over
// TCP, with the goroutine's stack; the client's end is in it too.
func idleMemory(t testing.TB, n int) int64 {
	fake := newFake(strings.Repeat("x", 100<<10))
	r := start(t, fake, func(s *Server) { s.Observer, s.Log, s.MaxPerAddress = nil, zerolog.Nop(), -1 })
	conns := make([]net.Conn, 0, n)
	memory := func() int64 {
		runtime.GC()
		runtime.GC() // empties the pools
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	before := memory()
	for range n {
		conn, err := net.Dial("tcp", r.tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, "USER bob\r\nPASS secret\r\nRETR 1\r\nNOOP\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := readUntil(conn, "\r\n.\r\n+OK\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	after := memory()
	runtime.KeepAlive(conns)
	return (after - before) / int64(n)
}

// readUntil reads until the stream ends with a text.
func readUntil(conn net.Conn, end string) error {
	var b [32 << 10]byte
	tail := ""
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for !strings.HasSuffix(tail, end) {
		n, err := conn.Read(b[:])
		if err != nil {
			return err
		}
		tail += string(b[:n])
		tail = tail[max(0, len(tail)-64):]
	}
	return nil
}
