package pop3

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/sasl"
)

// I4: only QUIT removes, and exactly what is marked then.
func TestOnlyQuitRemoves(t *testing.T) {
	tests := []struct {
		name, script string
		updates      [][]int
	}{
		{"nothing marked", "C: QUIT\nS: +OK POP3 server signing off\nEND", nil},
		{"marked", "C: DELE 3\nS: +OK…\nC: DELE 1\nS: +OK…\nC: QUIT\nS: +OK POP3 server signing off\nEND", [][]int{{1, 3}}},
		{"unmarked again", "C: DELE 3\nS: +OK…\nC: RSET\nS: +OK…\nC: DELE 2\nS: +OK…\nC: QUIT\nS: +OK POP3 server signing off\nEND", [][]int{{2}}},
		{"all unmarked", "C: DELE 3\nS: +OK…\nC: RSET\nS: +OK…\nC: QUIT\nS: +OK POP3 server signing off\nEND", nil},
		{"connection lost", "C: DELE 1\nS: +OK…", nil},
		{"too many mistakes", "C: DELE 1\nS: +OK…\nC: X\nS: -ERR…\nC: X\nS: -ERR unknown command; too many errors\nEND", nil},
		{"quit with an argument is none", "C: DELE 1\nS: +OK…\nC: QUIT 1\nS: -ERR…", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake(first, second, third)
			r := start(t, fake, func(s *Server) { s.MaxErrors = 2 })
			c := r.dialTCP()
			play(c, tt.script, false)
			_ = c.conn.Close()
			r.wait(1)
			if drop := fake.opened[0]; fmt.Sprint(drop.updates) != fmt.Sprint(tt.updates) {
				t.Errorf("updates %v, want %v", drop.updates, tt.updates)
			}
		})
	}
}

// wait waits for sessions to end.
func (r *running) wait(n int) []Summary {
	r.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); runtime.Gosched() {
		r.seen.mu.Lock()
		closed := slices.Clone(r.seen.closed)
		r.seen.mu.Unlock()
		if len(closed) >= n {
			return closed
		}
	}
	r.t.Fatalf("%d sessions did not end", n)
	return nil
}

// A client need not wait for the outcome of QUIT: many do not.
func TestUpdateGoesOnWhenTheClientIsGone(t *testing.T) {
	fake := newFake()
	started, gone := make(chan struct{}), make(chan struct{})
	finished := make(chan error, 1)
	dropWith(func(d *fakeDrop) {
		d.onUpdate = func(ctx context.Context, _ []int) error {
			close(started)
			<-gone
			select {
			case <-ctx.Done():
			case <-time.After(3 * peekAfter / 2):
			}
			finished <- ctx.Err()
			return nil
		}
	})(fake)
	r := start(t, fake, nil)
	c := r.dialTCP().login()
	c.do("DELE 2", "+OK…")
	c.send("QUIT\r\n")
	<-started
	_ = c.conn.Close()
	close(gone)
	if err := <-finished; err != nil {
		t.Errorf("Update was interrupted: %v", err)
	}
	if sum := r.wait(1)[0]; sum.Deleted != 1 || sum.Reason != "quit" {
		t.Errorf("got %+v", sum)
	}
}

// The lock is free when the client hears of the end: it may come back at once.
func TestMaildropIsClosedBeforeGoodbye(t *testing.T) {
	for _, last := range []string{"QUIT", "XYZZY"} {
		t.Run(last, func(t *testing.T) {
			fake := newFake(first)
			r := start(t, fake, func(s *Server) { s.MaxErrors = 1 })
			c := r.dialPipe().login()
			c.send(last + "\r\n")
			if _, err := io.ReadFull(c.conn, make([]byte, 1)); err != nil { // the rest waits in the pipe
				t.Fatal(err)
			}
			if _, drops := fake.left(); drops != 0 {
				t.Error("the maildrop was still open at the last response")
			}
		})
	}
}

// RFC 1939 §6: what a pipelining client never saw is not removed.
func TestQuitOfAClientThatCouldNotBeAnswered(t *testing.T) {
	fake := newFake(strings.Repeat("x", 1000))
	r := start(t, fake, nil)
	c := r.dialPipe().login()
	c.send("RETR 1\r\nDELE 1\r\nQUIT\r\n")
	<-c.sent
	_ = c.conn.Close()
	r.wait(1)
	if got := fake.opened[0].updates; got != nil {
		t.Errorf("updates %v, want none", got)
	}
}

// I3: a message is complete or visibly not.
func TestNoTerminatorAfterAFailedRead(t *testing.T) {
	small, large := "Subject: x\r\n\r\nhalf a mess", strings.Repeat(strings.Repeat("x", 76)+"\r\n", 10000)
	for _, tt := range []struct {
		name    string
		text    string
		err     error
		command string
		written bool
	}{
		{"small", small, errBroken, "RETR 1", false},
		{"at a line's end", "Subject: x\r\n\r\n", errBroken, "RETR 1", false},
		{"large", large, errBroken, "RETR 1", false},
		{"unexpected EOF", small, io.ErrUnexpectedEOF, "RETR 1", false},
		{"top", small, errBroken, "TOP 1 5", false},
		{"content that writes itself", large, errBroken, "RETR 1", true},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls %v", tt.name, secure), func(t *testing.T) {
				fake := newFake()
				dropWith(func(d *fakeDrop) {
					d.content = func(context.Context, int, int) io.ReadCloser {
						c := &failingContent{tt.text, tt.err}
						if tt.written {
							return writerTo{c}
						}
						return c
					}
				})(fake)
				r := start(t, fake, withTLS)
				c := r.dialTCP()
				if secure {
					c.expect("+OK…")
					c.stls()
					c.do("USER bob", "+OK…")
					c.do("PASS secret", "+OK…")
				} else {
					c.login()
				}
				c.send(tt.command + "\r\nNOOP\r\n")
				_ = c.conn.SetReadDeadline(time.Now().Add(patience))
				rest, err := io.ReadAll(c.r)
				if bytes.Contains(rest, []byte("\r\n.\r\n")) || bytes.Contains(rest, []byte("-ERR")) {
					t.Errorf("the client got %.100q … %q", rest, rest[max(0, len(rest)-100):])
				}
				if isTimeout(err) {
					t.Error("the connection is still open")
				}
				if len(tt.text) < smallOutput && len(rest) > 0 { // nothing is said that need not be
					t.Errorf("the client got %q", rest)
				}
				if sum := r.wait(1)[0]; sum.Reason != "content" || sum.Retr != 0 {
					t.Errorf("got %+v", sum)
				}
				if !strings.Contains(r.log.String(), tt.err.Error()) {
					t.Errorf("the log does not say why: %s", r.log.String())
				}
			})
		}
	}
}

func TestMessagesArriveAsTheyAre(t *testing.T) {
	large := strings.Repeat(".line\r\n..\r\nabc\r\n", 50000)
	var messages []string
	for _, tt := range stuffCases {
		messages = append(messages, tt.content)
	}
	messages = append(messages, large, strings.Repeat("\r\n", 70000), strings.Repeat("y", 200000))
	contents := map[string]func(string) io.ReadCloser{
		"read":    func(s string) io.ReadCloser { return io.NopCloser(onlyReader{strings.NewReader(s)}) },
		"written": func(s string) io.ReadCloser { return writerTo{strings.NewReader(s)} },
		"halves":  func(s string) io.ReadCloser { return io.NopCloser(iotest.HalfReader(strings.NewReader(s))) },
	}
	for name, content := range contents {
		t.Run(name, func(t *testing.T) {
			fake := newFake()
			fake.newDrop = func(string) *fakeDrop {
				return &fakeDrop{messages: messages, content: func(_ context.Context, n, _ int) io.ReadCloser { return content(messages[n-1]) }}
			}
			r := start(t, fake, nil)
			c := r.dialTCP().login()
			for i, message := range messages {
				want := canonical(message)
				c.do(fmt.Sprintf("RETR %d", i+1), fmt.Sprintf("+OK %d octets", len(want)))
				if got := c.content(); got != want {
					t.Fatalf("message %d is %.100q (%d octets), want %.100q (%d)", i+1, got, len(got), want, len(want))
				}
			}
			if len(r.seen.mismatches) != 0 {
				t.Errorf("sizes differ: %v", r.seen.mismatches)
			}
		})
	}
}

// content reads a multi-line response without its first line, strictly.
func (c *client) content() string {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	var response strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		response.WriteString(line)
		if err != nil {
			c.t.Fatalf("read: %v after %.100q", err, response.String())
		}
		if line == ".\r\n" {
			break
		}
	}
	content, ok := unstuff(response.String())
	if !ok {
		c.t.Fatalf("not a multi-line response: %.200q", response.String())
	}
	return content
}

func TestSizeMismatchIsReported(t *testing.T) {
	fake := newFake()
	dropWith(func(d *fakeDrop) { d.sizes = map[int]int64{1: 33} })(fake)
	r := start(t, fake, nil)
	c := r.dialTCP().login()
	c.do("RETR 1", "+OK 33 octets")
	if got := c.content(); got != first {
		t.Errorf("got %q", got)
	}
	c.do("NOOP", "+OK")
	want := []SizeMismatch{{Session: fake.conns[0].ID, Message: 1, Told: 33, Sent: 32}}
	if !slices.Equal(r.seen.mismatches, want) {
		t.Errorf("got %v, want %v", r.seen.mismatches, want)
	}
	if !strings.Contains(r.log.String(), "another size") {
		t.Error("the log says nothing of it")
	}
}

// Commands may come split and packed as they like; responses come in order.
func TestPipelining(t *testing.T) {
	script := "USER bob\r\nPASS secret\r\nSTAT\r\nRETR 1\r\nLIST\r\nbla\r\n\r\nDELE 1\r\nRETR 1\nUIDL 2\r\nQUIT\r\nNOOP\r\n"
	want := strings.Join([]string{
		"+OK POP3 server ready", "+OK send PASS", "+OK maildrop has 2 messages", "+OK 2 58",
		"+OK 32 octets", "Subject: one", "", "Hello.", "Line 2", ".",
		"+OK 2 messages (58 octets)", "1 32", "2 26", ".",
		"-ERR unknown command", "-ERR no command given", "+OK message 1 deleted", "-ERR message already deleted", "+OK 2 uid-2", "+OK POP3 server signing off", "",
	}, "\r\n")
	for piece := range len(script) {
		fake := newFake(first, second)
		r := start(t, fake, nil)
		c := r.dialPipe()
		if piece == 0 {
			c.send(script)
		} else {
			for rest := script; rest != ""; {
				n := min(piece, len(rest))
				c.send(rest[:n])
				rest = rest[n:]
			}
		}
		if got := namedLine.ReplaceAllString(c.rest(), "\r\n"); got != want {
			t.Fatalf("in pieces of %d: got\n%q, want\n%q", piece, got, want)
		}
	}
}

// Responses to pipelined commands leave together.
func TestResponsesAreBatched(t *testing.T) {
	near, far := net.Pipe()
	counted := &countingConn{Conn: far}
	r := start(t, newFake(first), nil)
	r.pipe.conns <- counted
	c := r.client(near)
	c.login()
	before := counted.writes
	c.send(strings.Repeat("NOOP\r\n", 50))
	for range 50 {
		c.expect("+OK")
	}
	if n := counted.writes - before; n != 1 {
		t.Errorf("50 responses in %d writes, want 1", n)
	}
}

type countingConn struct {
	net.Conn
	writes int // by the session, seen by the test after it has read what was written
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}

// A client that sends and never reads must not fill the server's memory (Exchange's KB
// Q230285): it is not read from while its responses cannot leave.
func TestFloodOfCommands(t *testing.T) {
	const n = 100000
	r := start(t, newFake(first), func(s *Server) { s.Observer, s.Log = nil, zerolog.Nop() })
	c := r.dialPipe().login()
	sent := make(chan int, 1)
	go func() {
		total := 0
		for range n {
			_ = c.conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
			k, err := io.WriteString(c.conn, "NOOP\r\n")
			total += k
			if err != nil {
				break
			}
		}
		sent <- total
	}()
	if total := <-sent; total > 16<<10 {
		t.Errorf("the server took %d octets and could not answer", total)
	}
	_ = c.conn.Close()

	c = r.dialTCP().login()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c.send(strings.Repeat("NOOP\r\n", n))
	for range n {
		if line, err := c.r.ReadString('\n'); line != "+OK\r\n" || err != nil {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 2<<20 {
		t.Errorf("memory grew by %d octets", grown)
	}
}

func TestOverlongLines(t *testing.T) {
	long := strings.Repeat("x", 5000)
	r := start(t, newFake(first), nil)
	c := r.dialTCP().login()
	c.do("NOOP "+long, "-ERR line too long")
	c.do("NOOP", "+OK")
	c.send("LIST 1" + strings.Repeat(" ", 300) + "\r\n" + long + "\nSTAT\r\n")
	c.expect("-ERR line too long")
	c.expect("-ERR line too long")
	c.expect("+OK 1 32")
	c.send(strings.Repeat("x", maxDiscarded+maxCommandLine+inputSize))
	c.expect("-ERR line too long")
	c.closed()
}

func TestOctetsBeforeLoginAreBounded(t *testing.T) {
	r := start(t, newFake(first), func(s *Server) { s.MaxErrors = -1 })
	c := r.dialTCP()
	c.expect("+OK…")
	longest := "USER " + strings.Repeat("x", maxCommandLine-len("USER \r\n"))
	for range maxLoginOctets / maxCommandLine {
		c.do(longest, "+OK…")
	}
	c.do(longest, "-ERR too much before login")
	c.closed()
}

func TestLongSASLResponses(t *testing.T) {
	r := start(t, newFake(first), nil)
	c := r.dialTCP()
	c.expect("+OK…")
	c.do("AUTH X-STEPS", "+ bm9uZQ==")
	c.do(strings.Repeat("AAAA", 12288/4), "+ "+base64.StdEncoding.EncodeToString([]byte("none,9216")))
	c.do(strings.Repeat("AAAA", 12288/4+1), "-ERR line too long")
	c.do("USER bob", "+OK…")
	c.do("PASS secret", "+OK…")
}

// An initial response comes with AUTH, and with no other command, and not after the login.
func TestLongInitialResponses(t *testing.T) {
	token := strings.Repeat("AAAA", 12288/4)
	for name, tt := range map[string]struct {
		line, want string
		quirks     Quirks
	}{
		"as much as there may be":       {"AUTH X-STEPS " + token, "+ " + base64.StdEncoding.EncodeToString([]byte("9216")), 0},
		"small letters, and blanks":     {"  auth x-steps " + token, "+ " + base64.StdEncoding.EncodeToString([]byte("9216")), 0},
		"of 300 octets":                 {"AUTH X-STEPS " + strings.Repeat("AAAA", 75), "+ " + base64.StdEncoding.EncodeToString([]byte("225")), 0},
		"more":                          {"AUTH X-STEPS " + token + token[:64], "-ERR line too long", 0},
		"much more":                     {"AUTH X-STEPS " + token + token + token, "-ERR line too long", 0},
		"of a mechanism that is not":    {"AUTH X-OTHER " + token, "-ERR unrecognized authentication type", 0},
		"that is not base64":            {"AUTH X-STEPS " + token[1:], "-ERR invalid base64", 0},
		"another command":               {"USER " + token, "-ERR line too long", 0},
		"a command that begins like it": {"AUTHX " + token, "-ERR line too long", 0},
		"not wanted":                    {"AUTH X-STEPS " + token, "-ERR line too long", NoQuirks},
		"not wanted, of 300 octets":     {"AUTH X-STEPS " + token[:300], "-ERR line too long", NoQuirks},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, newFake(first), quirks(tt.quirks)).dialTCP()
			c.expect("+OK…")
			c.do(tt.line, tt.want)
			if strings.HasPrefix(tt.want, "+") {
				c.do("*", "-ERR…")
			}
			c.do("USER bob", "+OK…")
			c.do("PASS secret", "+OK…")
			c.do("AUTH X-STEPS "+token, "-ERR line too long")
			c.do("NOOP", "+OK")
		})
	}
}

// Passwords do not stay in the buffer that an idle session keeps.
func TestPasswordsAreWiped(t *testing.T) {
	for _, stream := range []string{"USER bob\r\nPASS hunter2\r\n", "AUTH X-STEPS\r\nhunter2=\r\n"} {
		near, far := net.Pipe()
		s := newSession(t.Context(), &Server{Backend: newFake(first), InsecureAuth: true}, &halfPipe{Conn: far, in: bytes.NewReader([]byte(stream)), piece: 4})
		read := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, near)
			close(read)
		}()
		s.serve()
		<-read
		if s.in.buf == nil || bytes.Contains(s.in.buf, []byte("hunter")) {
			t.Errorf("after %q the buffer has %q", stream, bytes.Trim(s.in.buf, "\x00"))
		}
		if len(s.in.buf) > inputSize {
			t.Errorf("after %q the buffer has still %d octets", stream, len(s.in.buf))
		}
	}
}

// closingExchange counts its Close.
type closingExchange struct {
	*steps
	closed *int
}

func (e closingExchange) Close() error { *e.closed++; return nil }

func TestExchangesAreClosed(t *testing.T) {
	for name, lines := range map[string][]string{
		"done": {"AUTH X", "AAAA", "AAAA", "AAAA"}, "cancelled": {"AUTH X", "*"}, "bad": {"AUTH X", "!"}, "lost": {"AUTH X"},
	} {
		t.Run(name, func(t *testing.T) {
			fake, closed := newFake(first), 0
			fake.mechanisms = []string{"X"}
			fake.exchange = func(string) sasl.Exchange[Login] {
				return closingExchange{&steps{session: &fakeSession{fake}}, &closed}
			}
			r := start(t, fake, nil)
			c := r.dialTCP()
			c.expect("+OK…")
			for _, line := range lines {
				c.send(line + "\r\n")
				c.line()
			}
			_ = c.conn.Close()
			r.wait(1)
			if closed != 1 {
				t.Errorf("closed %d times", closed)
			}
		})
	}
}

// nostarttls.secvuln.info: what came in plaintext is forgotten when TLS begins.
func TestSTLSForgetsPlaintext(t *testing.T) {
	fake := newFake(first)
	r := start(t, fake, secureOnly)
	r.InsecureAuth = true // so that USER in plaintext is taken, and then forgotten
	c := r.dialTCP()
	c.expect("+OK…")
	c.do("USER bob", "+OK…")
	c.send("STLS\r\nPASS secret\r\nCAPA\r\nNO") // injected
	c.expect("+OK begin TLS negotiation")
	c.handshake()
	c.do("PASS secret", "-ERR USER first") // and nothing before it
	c.do("USER bob", "+OK…")
	c.do("PASS secret", "+OK…")
	if state := tlsOf(fake.conns[0]); state == nil || !state.HandshakeComplete {
		t.Error("the backend does not see TLS")
	}
	if got := fake.logins; !slices.Equal(got, []string{"bob"}) {
		t.Errorf("logins %q", got)
	}
}

func TestSTLSChangesCapabilities(t *testing.T) {
	r := start(t, newFake(first), secureOnly)
	c := r.dialTCP()
	c.expect("+OK…")
	c.do("CAPA", "+OK…")
	if before := c.lines(); slices.Contains(before, "USER") || !slices.Contains(before, "STLS") || !slices.Contains(before, "SASL X-STEPS") {
		t.Errorf("before TLS: %q", before)
	}
	c.stls()
	c.do("CAPA", "+OK…")
	if after := c.lines(); !slices.Contains(after, "USER") || slices.Contains(after, "STLS") || !slices.Contains(after, "SASL PLAIN X-STEPS") {
		t.Errorf("after TLS: %q", after)
	}
	c.do("STLS", "-ERR TLS is already active")
	c.do("AUTH PLAIN AGJvYgBzZWNyZXQ=", "+OK…")
	c.do("STLS", "-ERR command not valid in this state")
	c.do("RETR 1", "+OK 32 octets")
	if got := c.content(); got != first {
		t.Errorf("got %q", got)
	}
	c.do("QUIT", "+OK POP3 server signing off")
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) { // close_notify came: the end was meant
		t.Errorf("got %v, want io.EOF", err)
	}
}

func TestSTLSWithSomethingElse(t *testing.T) {
	r := start(t, newFake(first), secureOnly)
	c := r.dialTCP()
	c.expect("+OK…")
	c.do("STLS", "+OK…")
	c.send("CAPA\r\n") // no TLS
	_ = c.rest()       // an alert
	if sum := r.wait(1)[0]; sum.Reason != "tls" || sum.Commands != 1 {
		t.Errorf("got %+v", sum)
	}
}

func TestImplicitTLS(t *testing.T) {
	for _, tt := range []struct {
		name    string
		wrapped bool
	}{{"by the server", false}, {"by the listener", true}} {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake(first)
			r := prepare(t, fake, func(s *Server) { s.InsecureAuth = false })
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			r.tcp = l
			if tt.wrapped {
				l = tls.NewListener(l, testCA().config)
			} else {
				withTLS(r.Server)
				r.ImplicitTLS = true
			}
			r.serve(l)
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			c := r.client(conn)
			c.handshake()
			c.expect("+OK POP3 server ready")
			c.do("CAPA", "+OK…")
			if got := c.lines(); slices.Contains(got, "STLS") || !slices.Contains(got, "USER") {
				t.Errorf("got %q", got)
			}
			c.do("STLS", "-ERR TLS is already active")
			c.do("USER bob", "+OK…")
			c.do("PASS secret", "+OK…")
			c.do("RETR 1", "+OK 32 octets")
			if got := c.content(); got != first {
				t.Errorf("got %q", got)
			}
			if tlsOf(fake.conns[0]) == nil {
				t.Error("the backend does not see TLS")
			}
			c.do("QUIT", "+OK POP3 server signing off")
			c.closed()
		})
	}
}

// A panic anywhere in the backend is that session's trouble only.
func TestPanicsAreContained(t *testing.T) {
	for name, change := range map[string]func(*fakeDrop){
		"open":    func(d *fakeDrop) { d.content = func(context.Context, int, int) io.ReadCloser { panic("boom") } },
		"content": func(d *fakeDrop) { d.content = func(context.Context, int, int) io.ReadCloser { return panicking{} } },
		"update":  func(d *fakeDrop) { d.onUpdate = func(context.Context, []int) error { panic("boom") } },
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake()
			dropWith(change)(fake)
			r := start(t, fake, nil)
			other := r.dialTCP().login()
			c := r.dialTCP().login()
			c.do("DELE 3", "+OK…")
			if name == "update" {
				c.send("QUIT\r\n")
			} else {
				c.send("RETR 1\r\nNOOP\r\n")
			}
			if rest := c.rest(); strings.Contains(rest, ".\r\n") {
				t.Errorf("got %q", rest)
			}
			if sum := r.wait(1)[0]; sum.Reason != "panic" {
				t.Errorf("got %+v", sum)
			}
			other.do("NOOP", "+OK")
			if log := r.log.String(); !strings.Contains(log, "boom") || !strings.Contains(log, "stack") {
				t.Errorf("the log is %s", log)
			}
		})
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("boom") }
func (panicking) Close() error             { return nil }

func TestObserverAndLog(t *testing.T) {
	fake := newFake(first, second, third)
	r := start(t, fake, nil)
	c := r.dialTCP()
	c.expect("+OK…")
	c.do("USER bob", "+OK…")
	c.do("PASS hunter2", "-ERR…")
	c.do("AUTH PLAIN", "+ ")
	c.do("AGJvYgBzZWNyZXQ=", "+OK…")
	c.do("RETR 2", "+OK 26 octets")
	c.content()
	c.do("TOP 1 0", "+OK…")
	c.content()
	c.do("XYZZY hunter2", "-ERR…")
	c.do("DELE 2", "+OK…")
	c.do("QUIT", "+OK…")
	sum := r.wait(1)[0]
	id := fake.conns[0].ID
	if len(id) != 13 {
		t.Errorf("session id %q", id)
	}
	if sum.Duration <= 0 || sum.In != int64(len("USER bob\r\nPASS hunter2\r\nAUTH PLAIN\r\nAGJvYgBzZWNyZXQ=\r\nRETR 2\r\nTOP 1 0\r\nXYZZY hunter2\r\nDELE 2\r\nQUIT\r\n")) || sum.Out == 0 {
		t.Errorf("got %+v", sum)
	}
	sum.Duration, sum.In, sum.Out = 0, 0, 0
	want := Summary{Session: id, User: "bob", Reason: "quit", Commands: 8, Errors: 2, Retr: 1, RetrSize: 26, Top: 1, Deleted: 1}
	if sum != want {
		t.Errorf("got %+v, want %+v", sum, want)
	}
	var verbs []string
	for _, e := range r.seen.commands {
		verbs = append(verbs, fmt.Sprint(e.Verb, " ", e.OK))
	}
	if want := []string{"USER true", "PASS false", "AUTH true", "RETR true", "TOP true", "unknown false", "DELE true", "QUIT true"}; !slices.Equal(verbs, want) {
		t.Errorf("commands %q, want %q", verbs, want)
	}
	if sent := r.seen.commands[3].Sent; sent != int64(len("+OK 26 octets\r\n..dot first\r\n\r\n..\r\n...\r\nend\r\n.\r\n")) {
		t.Errorf("RETR sent %d octets", sent)
	}
	if l := r.seen.logins; len(l) != 2 || !errors.Is(l[0], errBadLogin) || l[1] != nil {
		t.Errorf("logins %v", l)
	}
	log := r.log.String()
	for _, secret := range []string{"hunter2", "secret", "AGJv"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log: %s", secret, log)
		}
	}
	if n := strings.Count(log, `"session":"`+id+`"`); n != strings.Count(log, "\n") {
		t.Errorf("not every line names its session: %s", log)
	}
}

func TestSessionIDsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		seen[newID()] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d names for 1000 sessions", len(seen))
	}
}

// A listing of 100,000 messages is streamed.
func TestLargeListing(t *testing.T) {
	const n = 100000
	fake := newFake(make([]string, n)...)
	r := start(t, fake, nil)
	c := r.dialTCP().login()
	for _, verb := range []string{"LIST", "UIDL"} {
		c.do(verb, "+OK…")
		lines := bufio.NewScanner(strings.NewReader(c.content()))
		for i := 1; i <= n; i++ {
			want := fmt.Sprintf("%d 0", i)
			if verb == "UIDL" {
				want = fmt.Sprintf("%d uid-%d", i, i)
			}
			if lines.Scan(); lines.Text() != want {
				t.Fatalf("%s: got %q, want %q", verb, lines.Text(), want)
			}
		}
		if lines.Scan() {
			t.Errorf("%s: %q is too much", verb, lines.Text())
		}
	}
}

// Sizes that stop being known in the middle of a listing end it visibly.
func TestListingThatFailsMidway(t *testing.T) {
	fake := newFake(first, second, third)
	calls := 0
	wrapped := &forgetful{fakeBackend: fake, calls: &calls}
	r := prepare(t, fake, func(s *Server) { s.Backend = wrapped })
	r.serve(r.pipe)
	c := r.dialPipe().login()
	c.send("LIST\r\nNOOP\r\n")
	if rest := c.rest(); strings.Contains(rest, ".\r\n") {
		t.Errorf("got %q", rest)
	}
	if sum := r.wait(1)[0]; sum.Reason != "backend" {
		t.Errorf("got %+v", sum)
	}
}

// forgetful gives each size of three messages once, and then no more.
type forgetful struct {
	*fakeBackend
	calls *int
}

func (b *forgetful) NewSession(ctx context.Context, conn Conn) (Session, error) {
	s, err := b.fakeBackend.NewSession(ctx, conn)
	return forgetfulSession{s, b.calls}, err
}

type forgetfulSession struct {
	Session
	calls *int
}

func (s forgetfulSession) Password(ctx context.Context, user string, password []byte) (*Login, error) {
	opened, err := s.Session.Password(ctx, user, password)
	if err == nil {
		opened.Maildrop = forgetfulDrop{opened.Maildrop, s.calls}
	}
	return opened, err
}

type forgetfulDrop struct {
	Maildrop
	calls *int
}

func (d forgetfulDrop) Size(ctx context.Context, n int) (int64, error) {
	if *d.calls++; *d.calls > 4 {
		return 0, errBroken
	}
	return d.Maildrop.Size(ctx, n)
}

// TestSumsOfSizes: a sum that no number holds is the largest, and a size that changes when its
// message is opened changes every sum that it is in.
func TestSumsOfSizes(t *testing.T) {
	fake := newFake("a\r\n", "b\r\n", "c\r\n")
	sizes := map[int]int64{1: 9e18, 2: 9e18, 3: 100}
	fake.newDrop = func(string) *fakeDrop {
		drop := &fakeDrop{messages: []string{"a\r\n", "b\r\n", "c\r\n"}, sizes: sizes}
		drop.content = func(_ context.Context, n, _ int) io.ReadCloser {
			sizes[n] = 3
			return io.NopCloser(strings.NewReader(drop.messages[n-1]))
		}
		return drop
	}
	r := prepare(t, fake, func(*Server) {})
	r.serve(r.pipe)
	c := r.dialPipe().login()
	c.do("STAT", "+OK 3 9223372036854775807")
	c.do("DELE 1", "+OK message 1 deleted")
	c.do("STAT", "+OK 2 9000000000000000100")
	c.do("RSET", "+OK maildrop has 3 messages")
	for n := 1; n <= 3; n++ {
		c.do(fmt.Sprintf("RETR %d", n), "+OK 3 octets")
		c.lines()
	}
	c.do("STAT", "+OK 3 9")
	c.do("DELE 3", "+OK message 3 deleted")
	c.do("STAT", "+OK 2 6")
	c.do("QUIT", "+OK POP3 server signing off")
}

// TestMarksDoNotLeak: marking and unmarking, again and again, costs no memory that stays.
func TestMarksDoNotLeak(t *testing.T) {
	const rounds = 100_000
	r := start(t, newFake(first), func(s *Server) { s.Observer, s.Log = nil, zerolog.Nop() })
	c := r.dialTCP().login()
	play := func(n int) {
		go func() { _, _ = io.WriteString(c.conn, strings.Repeat("DELE 1\r\nRSET\r\n", n)) }()
		for range 2 * n {
			if line, err := c.r.ReadString('\n'); !strings.HasPrefix(line, "+OK") || err != nil {
				t.Fatalf("got %q, %v", line, err)
			}
		}
	}
	var before, after runtime.MemStats
	play(100)
	runtime.GC()
	runtime.ReadMemStats(&before)
	play(rounds)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("memory grew by %d octets", grown)
	}
	c.do("STAT", "+OK 1…")
}
