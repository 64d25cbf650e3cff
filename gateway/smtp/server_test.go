package smtp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/address"
)

func shutdown(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error("Shutdown:", err)
	}
}

// inBubble runs a conversation on a pipe whose clock is the bubble's.
func inBubble(t *testing.T, s *Server, talk func(t *testing.T, c *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		run(t, s, l)
		c := &client{t: t, conn: l.dial(t)}
		c.r = newClient(t, c.conn).r
		_ = c.conn.SetDeadline(time.Time{})
		talk(t, c)
	})
}

func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		name, script, want string
		after              time.Duration
	}{
		{"idle", "< 220", "421 4.4.2", 5 * time.Minute},
		{"in half a command", "< 220\n~ EHL", "421 4.4.2", 5 * time.Minute},
		{"in a transaction", begin, "421 4.4.2", 5 * time.Minute},
		{"before the message", begin + "> DATA\n< 354", "421 4.4.2", 3 * time.Minute},
		{"in the message", begin + "> DATA\n< 354\n~ x\\r\\n.\\r", "421 4.4.2", 3 * time.Minute},
		{"in a chunk", begin + "~ BDAT 5\\r\\nhell", "421 4.4.2", 3 * time.Minute},
		{"between chunks", begin + "~ BDAT 5\\r\\nhello\n< 250", "421 4.4.2", 5 * time.Minute},
		{"in a chunk that nobody wants", "< 220\n~ BDAT 5\\r\\nhell", "421 4.4.2", 3 * time.Minute},
		{"in AUTH", "< 220\n> EHLO c\n< 250\n> AUTH PLAIN\n< 334", "421 4.4.2", 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := plainBackend()
			s := testServer(f)
			s.AllowInsecureAuth = true
			var log syncBuffer
			s.Log = zerolog.New(&log)
			inBubble(t, s, func(t *testing.T, conn *client) {
				conn.play(c.script)
				began := time.Now()
				conn.play("< " + c.want + "\n!")
				if took := time.Since(began); took != c.after {
					t.Errorf("after %v, want %v", took, c.after)
				}
				if len(f.taken()) > 0 {
					t.Error("taken")
				}
				synctest.Wait()
				if !strings.Contains(log.String(), `"reason":"time-out"`) {
					t.Errorf("the log has another reason: %s", &log)
				}
			})
		})
	}
}

// A slow client has all the time it wants for a message while it makes progress, and for a
// command line it has not: one octet a minute is no way to hold a connection.
func TestSlowClients(t *testing.T) {
	drip := func(t *testing.T, conn *client, text string) error {
		for i := range len(text) {
			time.Sleep(2 * time.Minute)
			if _, err := io.WriteString(conn.conn, text[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	t.Run("message", func(t *testing.T) {
		inBubble(t, testServer(&fake{}), func(t *testing.T, conn *client) {
			conn.play(begin + "> DATA\n< 354")
			if err := drip(t, conn, "hello\r\n.\r\n"); err != nil {
				t.Fatal(err)
			}
			conn.play("< 250")
		})
	})
	t.Run("command", func(t *testing.T) {
		inBubble(t, testServer(&fake{}), func(t *testing.T, conn *client) {
			conn.play("< 220")
			var dripping sync.WaitGroup
			dripping.Go(func() { _ = drip(t, conn, "NOOP\r\n") })
			conn.play("< 421 4.4.2\n!")
			dripping.Wait()
		})
	})
	t.Run("session", func(t *testing.T) {
		s := testServer(&fake{})
		s.Timeouts.Session = 10 * time.Minute
		inBubble(t, s, func(t *testing.T, conn *client) {
			began := time.Now()
			conn.play(begin + "> DATA\n< 354")
			var dripping sync.WaitGroup
			dripping.Go(func() { _ = drip(t, conn, "hello, I am slow\r\n.\r\n") })
			conn.play("< 421 4.4.2\n!")
			if took := time.Since(began); took != 10*time.Minute {
				t.Errorf("after %v", took)
			}
			dripping.Wait()
		})
	})
	t.Run("does not read", func(t *testing.T) {
		s := testServer(&fake{})
		inBubble(t, s, func(t *testing.T, conn *client) {
			conn.play("< 220")
			_, _ = io.WriteString(conn.conn, strings.Repeat("HELP\r\n", 300))
			time.Sleep(2 * time.Minute)
			if _, err := io.WriteString(conn.conn, "NOOP\r\n"); err == nil {
				t.Error("still connected")
			}
		})
	})
}

// What the backend waits for ends before the client's patience does.
func TestBackendTimeouts(t *testing.T) {
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	t.Run("RCPT", func(t *testing.T) {
		inBubble(t, &Server{Backend: waitingBackend{wait}, Hostname: "h", AllowEarlyTalkers: true}, func(t *testing.T, conn *client) {
			conn.play("< 220\n> EHLO c\n< 250\n> MAIL FROM:<>")
			began := time.Now()
			conn.play("< 451 4.3.0")
			if took := time.Since(began); took != 4*time.Minute {
				t.Errorf("after %v", took)
			}
		})
	})
	t.Run("DATA", func(t *testing.T) {
		f := &fake{data: func(ctx context.Context, body io.Reader) (string, error) {
			_, _ = io.Copy(io.Discard, body)
			return "", wait(ctx)
		}}
		inBubble(t, testServer(f), func(t *testing.T, conn *client) {
			conn.play(begin + "> DATA\n< 354\n> .")
			began := time.Now()
			conn.play("< 451 4.3.0")
			if took := time.Since(began); took != 9*time.Minute {
				t.Errorf("after %v", took)
			}
		})
	})
	t.Run("BDAT, given up", func(t *testing.T) {
		f := &fake{data: func(ctx context.Context, body io.Reader) (string, error) {
			_, _ = io.Copy(io.Discard, body)
			return "", wait(ctx)
		}}
		inBubble(t, testServer(f), func(t *testing.T, conn *client) {
			conn.play(begin + "~ BDAT 1\\r\\nx\n< 250\n> RSET")
			began := time.Now()
			conn.play("< 250")
			if took := time.Since(began); took != 4*time.Minute {
				t.Errorf("after %v", took)
			}
		})
	})
	t.Run("BDAT, nothing is read", func(t *testing.T) {
		f := &fake{data: func(ctx context.Context, _ io.Reader) (string, error) { return "", wait(ctx) }}
		inBubble(t, testServer(f), func(t *testing.T, conn *client) {
			began := time.Now()
			conn.play(begin + "~ BDAT 2 LAST\\r\\n\\r\\n\n< 451 4.3.0")
			if took := time.Since(began); took != 2*time.Hour+9*time.Minute {
				t.Errorf("after %v", took)
			}
		})
	})
}

// waitingBackend waits in every Mail.
type waitingBackend struct{ wait func(context.Context) error }

func (w waitingBackend) NewSession(context.Context, Conn) (Session, error) {
	return &waitingSession{fakeSession{fake: &fake{}}, w.wait}, nil
}

type waitingSession struct {
	fakeSession
	wait func(context.Context) error
}

func (s *waitingSession) Mail(ctx context.Context, _ address.Path, _ MailOptions) error {
	return s.wait(ctx)
}

func TestEarlyTalkerBeforeTheGreeting(t *testing.T) {
	s := testServer(&fake{})
	s.AllowEarlyTalkers, s.GreetDelay = false, 5*time.Second
	inBubble(t, s, func(t *testing.T, conn *client) {
		time.Sleep(3 * time.Second)
		conn.play("> EHLO bot\n< 554 5.5.0\n!")
	})
	s = testServer(&fake{})
	s.AllowEarlyTalkers, s.GreetDelay = false, 5*time.Second
	inBubble(t, s, func(t *testing.T, conn *client) {
		conn.play("< 220\n> EHLO c\n< 250\n> QUIT\n< 221\n!")
	})
}

// Without a delay, who has spoken before it was its turn is found, and nobody else is.
func TestEarlyTalkerWithoutDelay(t *testing.T) {
	for name, script := range map[string]string{
		"speaks": "< 554 5.5.0\n!", "waits": "< 220\n> EHLO c\n< 250\n> QUIT\n< 221\n!",
	} {
		t.Run(name, func(t *testing.T) {
			s := testServer(&fake{})
			s.AllowEarlyTalkers = false
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			conn := dial(t, l.Addr().String())
			if name == "speaks" { // before the server has begun
				conn.play("> EHLO bot")
			}
			run(t, s, l)
			conn.play(script)
		})
	}
}

func TestLineLimits(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       string
	}{
		{"a command", "NOOP " + strings.Repeat("x", 505), "250"},
		{"a long command", "NOOP " + strings.Repeat("x", 506), "500 5.5.2"},
		{"no command", strings.Repeat("x", 10_000), "500 5.5.2"},
		{"a very long one", "NOOP " + strings.Repeat("x", 500_000), "500 5.5.2"},
		{"MAIL with all it can have", "MAIL FROM:<a@b.example> " + strings.Repeat(" ", 900) + "SIZE=1", "250"},
		{"a long MAIL", "MAIL FROM:<a@b.example> " + strings.Repeat(" ", 1100) + "SIZE=1", "500 5.5.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := talk(t, testServer(&fake{}))
			conn.play("< 220\n> EHLO c\n< 250\n> " + c.line + "\n< " + c.want + "\n> NOOP\n< 250 2.0.0")
		})
	}
}

func TestErrorLimit(t *testing.T) {
	s := testServer(&fake{})
	s.Limits.Errors = 2
	conn := talk(t, s)
	conn.play("< 220\n> X\n< 500\n> RCPT TO:<x>\n< 503\n> X\n< 500\n< 421 4.7.0 too many errors\n!")
	conn = dial(t, onTCP(t, &Server{Backend: s.Backend, Hostname: "h", AllowEarlyTalkers: true, Limits: Limits{Errors: 2}}))
	conn.play(begin + "> X\n< 500\n> X\n< 500\n> DATA\n< 354\n> .\n< 250\n> X\n< 500\n> X\n< 500\n> NOOP\n< 250")
}

// Commands that bring no mail are free up to a point.
func TestJunkLimit(t *testing.T) {
	s := testServer(&fake{})
	s.Limits.Errors = 3
	conn := talk(t, s)
	conn.play("< 220")
	for range mostJunk + 3 {
		conn.play("> NOOP\n< 250")
	}
	conn.play("> NOOP\n< 250\n< 421 4.7.0\n!")
}

func TestRefusalLimit(t *testing.T) {
	f := &fake{rcpt: func(to string) error {
		switch {
		case strings.HasPrefix(to, "no"):
			return &Error{Code: 550, Enhanced: "5.1.1", Text: "no such user"}
		case strings.HasPrefix(to, "later"):
			return &Error{Code: 450, Enhanced: "4.2.1", Text: "later"}
		}
		return nil
	}}
	s := testServer(f)
	s.Limits.Refusals = 2
	conn := talk(t, s)
	conn.play(begin + "> RCPT TO:<later@x.example>\n< 450\n> RCPT TO:<later@x.example>\n< 450\n> RCPT TO:<later@x.example>\n< 450\n" +
		"> RCPT TO:<no@x.example>\n< 550\n> RCPT TO:<no@x.example>\n< 550\n> RCPT TO:<no@x.example>\n< 550\n< 421 4.7.0\n!")
}

func TestRecipientLimit(t *testing.T) {
	f := &fake{}
	s := testServer(f)
	s.Limits.Recipients = 1 // the RFC's 100, then
	conn := talk(t, s)
	conn.play("< 220\n> EHLO c\n< 250 LIMITS MAILMAX=1000 RCPTMAX=100\n> MAIL FROM:<>\n< 250")
	for range 100 {
		conn.play("> RCPT TO:<a@b.example>\n< 250")
	}
	conn.play("> RCPT TO:<a@b.example>\n< 452 4.5.3\n> DATA\n< 354\n> .\n< 250")
	if n := len(f.taken()[0].to); n != 100 {
		t.Errorf("%d recipients", n)
	}
}

func TestMessageCountLimit(t *testing.T) {
	s := testServer(&fake{})
	s.Limits.Messages = 2
	conn := talk(t, s)
	conn.play("< 220\n> EHLO c\n< 250 LIMITS MAILMAX=2\n> MAIL FROM:<>\n< 250\n> RSET\n< 250\n> MAIL FROM:<>\n< 250\n> RSET\n< 250\n> MAIL FROM:<>\n< 421 4.7.0\n!")
}

func TestConnectionLimits(t *testing.T) {
	for _, limits := range []Limits{{Connections: 2}, {PerAddress: 2}} {
		s := testServer(&fake{})
		s.Limits = limits
		address := onTCP(t, s)
		first, second := dial(t, address), dial(t, address)
		first.play("< 220")
		second.play("< 220")
		dial(t, address).play("< 421 4.7.0 too many connections\n!")
		first.play("> QUIT\n< 221\n!")
		// The place is free once the session is over, which the client cannot see.
		for deadline := time.Now().Add(time.Minute); ; {
			conn := dial(t, address)
			if code, _ := conn.reply(); code == 220 {
				break
			} else if time.Now().After(deadline) {
				t.Fatal("the place is never free")
			}
			conn.conn.Close()
		}
	}
}

func TestAddressKey(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1": "fe80::/64",
	} {
		if got := addressKey(&net.TCPAddr{IP: net.ParseIP(in)}).String(); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// Idle sessions are told; a message under way is finished, chunked or not.
func TestShutdown(t *testing.T) {
	for _, c := range []struct{ name, before, after string }{
		{"idle", "< 220", "< 421 4.3.2\n!"},
		{"in a transaction", begin, "< 421 4.3.2\n!"},
		{"in AUTH", "< 220\n> EHLO c\n< 250\n> AUTH PLAIN\n< 334", "< 421 4.3.2\n!"},
		{"in DATA", begin + "> DATA\n< 354\n~ hel", "~ lo\\r\\n.\\r\\n\n< 250 2.0.0 taken\n< 421 4.3.2\n!"},
		{"between chunks", begin + "~ BDAT 3\\r\\nhel\n< 250", "~ BDAT 4 LAST\\r\\nlo\\r\\n\n< 250 2.0.0 taken\n< 421 4.3.2\n!"},
		{"in a chunk", begin + "~ BDAT 3\\r\\nhe", "~ lBDAT 4 LAST\\r\\nlo\\r\\n\n< 250\n< 250 2.0.0 taken\n< 421 4.3.2\n!"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := plainBackend()
			s := testServer(f)
			s.AllowInsecureAuth = true
			inBubble(t, s, func(t *testing.T, conn *client) {
				conn.play(c.before)
				synctest.Wait()
				began, done := time.Now(), make(chan error, 1)
				go func() { done <- s.Shutdown(context.Background()) }()
				synctest.Wait()
				conn.play(c.after)
				if err := <-done; err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("after %v", took)
				}
			})
		})
	}
}

func TestShutdownThatTakesTooLong(t *testing.T) {
	got := make(chan error, 1)
	f := &fake{data: func(_ context.Context, body io.Reader) (string, error) {
		_, err := io.Copy(io.Discard, body)
		got <- err
		return "", err
	}}
	s := testServer(f)
	inBubble(t, s, func(t *testing.T, conn *client) {
		conn.play(begin + "> DATA\n< 354\n~ hello")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		conn.play("!")
		if err := <-got; err == nil {
			t.Error("the message came whole")
		}
	})
}

func TestShutdownBeforeServe(t *testing.T) {
	s := testServer(&fake{})
	shutdown(t, s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), l); err != nil {
		t.Error(err)
	}
	shutdown(t, s) // a second time
}

// failingListener fails as often as it is told, and then is closed.
type failingListener struct {
	*pipeListener
	left  atomic.Int32
	err   error
	tries atomic.Int32
}

func (l *failingListener) Accept() (net.Conn, error) {
	l.tries.Add(1)
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: l.err}
	}
	return l.pipeListener.Accept()
}

// Out of files the server waits, longer and longer, and comes back (Stalwart spun here).
func TestAcceptBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &failingListener{pipeListener: newPipeListener(), err: syscall.EMFILE}
		l.left.Store(20)
		run(t, testServer(&fake{}), l)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := l.tries.Load(); n > 10 {
			t.Errorf("%d tries in a second", n)
		}
		c := newClient(t, l.dial(t))
		_ = c.conn.SetDeadline(time.Time{})
		c.play("< 220")
	})
}

func TestAcceptFails(t *testing.T) {
	l := &failingListener{pipeListener: newPipeListener(), err: syscall.EINVAL}
	l.left.Store(1)
	if err := testServer(&fake{}).Serve(t.Context(), l); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("got %v", err)
	}
}

// Who closes a listener takes no more connections there, and leaves the sessions alone: so a
// reload can move a port.
func TestListenerClosedByItsOwner(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := testServer(&fake{})
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context(), l) }()
	conn := dial(t, l.Addr().String())
	conn.play("< 220")
	l.Close()
	conn.play("> EHLO c\n< 250\n> QUIT\n< 221\n!")
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A panic in the backend ends its session, and no other.
func TestPanics(t *testing.T) {
	f := &fake{
		mail: func(from string, _ MailOptions) error {
			if from == "" {
				panic("in Mail")
			}
			return nil
		},
		data: func(context.Context, io.Reader) (string, error) { panic("in Data") },
	}
	s := testServer(f)
	address := onTCP(t, s)
	other := dial(t, address)
	other.play("< 220\n> EHLO c\n< 250")
	for _, script := range []string{
		"< 220\n> EHLO c\n< 250\n> MAIL FROM:<>",
		begin + "> DATA\n< 354\n~ hello\\r\\n",
		begin + "~ BDAT 5\\r\\nhello",
		begin + "~ BDAT 5\\r\\nhell",
	} {
		dial(t, address).play(script + "\n< 421 4.3.0\n!")
	}
	other.play("> NOOP\n< 250\n> QUIT\n< 221\n!")
	shutdown(t, s)
	if f.closed != 5 {
		t.Errorf("%d sessions closed", f.closed)
	}
}

// TestBuffersGrowWithTheMessage: what comes in small pieces needs no large buffer, and what fills one is read in larger pieces, with
// nothing lost between.
func TestBuffersGrowWithTheMessage(t *testing.T) {
	for _, c := range []struct{ piece, want int }{{1 << 10, middleBuffer}, {middleBuffer / 2, middleBuffer}, {1 << 20, largeBuffer}} {
		in, sent, got := newInput(newPools()), bytes.Repeat([]byte("0123456789\n"), 20_000), []byte(nil)
		from := bytes.NewReader(sent)
		in.grow()
		for from.Len() > 0 {
			if in.filled() {
				in.grow()
			}
			if err := in.fill(io.LimitReader(from, int64(c.piece))); err != nil {
				t.Fatal(err)
			}
			took := len(in.unread()) - len(in.unread())/7 // a part is left for the next time
			got = append(got, in.unread()[:took]...)
			in.consume(took)
		}
		if got = append(got, in.unread()...); !bytes.Equal(got, sent) || len(in.buf) != c.want {
			t.Errorf("pieces of %d: %d octets of %d, a buffer of %d", c.piece, len(got), len(sent), len(in.buf))
		}
	}
}

// TestNothingIsLentDuringTheCommit: while a backend writes a message down that has come, the connection has no large buffer, and what
// the client has sent behind it is kept.
func TestNothingIsLentDuringTheCommit(t *testing.T) {
	var s *Server
	s = testServer(&fake{data: func(_ context.Context, body io.Reader) (string, error) {
		b, err := io.ReadAll(body)
		s.mu.Lock()
		defer s.mu.Unlock()
		for session := range s.sessions { // it is the goroutine of the only one
			if session.in.lent != nil || len(b) < 2*largeBuffer {
				t.Errorf("of a message of %d octets a buffer of %d is left", len(b), len(session.in.buf))
			}
		}
		return "", err
	}})
	conn := dial(t, onTCP(t, s))
	conn.play(begin + "> DATA\n< 354\n")
	if _, err := io.WriteString(conn.conn, strings.Repeat("0123456789\r\n", largeBuffer/4)+".\r\nNOOP\r\n"); err != nil {
		t.Fatal(err)
	}
	conn.play("< 250\n< 250 2.0.0\n> QUIT\n< 221\n!")
}

// An idle connection costs little: the large buffer is there for messages only.
func TestIdleMemory(t *testing.T) {
	in := newInput(newPools())
	if len(in.buf) > 2<<10 {
		t.Errorf("%d octets at the start", len(in.buf))
	}
	in.grow()
	if len(in.buf) > 8<<10 {
		t.Errorf("%d octets for a short message", len(in.buf))
	}
	in.grow()
	in.grow()
	in.shrink()
	if len(in.buf) > 2<<10 || in.lent != nil {
		t.Errorf("%d octets after a message", len(in.buf))
	}
}
