package smtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/sasl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// message is what the fake backend has taken.
type message struct {
	trace string
	from  string
	opts  MailOptions
	to    []string
	body  string
}

// fake is a backend that takes everything, and fails where a test wants it to. It holds
// what the engine promises about the order of calls, and says so in faults.
type fake struct {
	mechanisms []string
	notifies   bool
	requires   bool
	priority   *int                         // nil: it does not prioritize
	dequeue    func(Node) (Dequeued, error) // nil: no mail waits until it is asked for
	mayNot     bool                         // the client may not ask for any
	newSession func(Conn) error
	mail       func(from string, o MailOptions) error
	rcpt       func(to string) error
	data       func(ctx context.Context, body io.Reader) (string, error)
	traced     func(trace string, body io.Reader) (string, error)
	auth       func(mechanism string) (sasl.Exchange[sasl.Accepted], error)

	mu       sync.Mutex
	calls    []string
	messages []message
	mails    []MailOptions
	rcpts    []RcptOptions
	faults   []string
	closed   int
	conns    []Conn
}

func (f *fake) NewSession(_ context.Context, conn Conn) (Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = append(f.conns, conn)
	if f.newSession != nil {
		if err := f.newSession(conn); err != nil {
			return nil, err
		}
	}
	return &fakeSession{fake: f}, nil
}

// call notes a call and checks that no other one is under way.
func (f *fake) call(s *fakeSession, name string, legal bool) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, name)
	if !legal {
		f.faults = append(f.faults, "out of order: "+name)
	}
	if s.busy {
		f.faults = append(f.faults, "at the same time: "+name)
	}
	s.busy = true
	return func() { f.mu.Lock(); s.busy = false; f.mu.Unlock() }
}

func (f *fake) taken() []message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.messages)
}

func (f *fake) called() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fake) check(t testing.TB) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.faults {
		t.Error("the engine called the backend", fault)
	}
}

type fakeSession struct {
	fake   *fake
	tx     *message
	done   bool // Data was called
	busy   bool
	closed bool
}

func (s *fakeSession) Mechanisms() []string { return s.fake.mechanisms }

// Notifies implements [Notifies].
func (s *fakeSession) Notifies() bool { return s.fake.notifies }

// RequiresTLS implements [RequiresTLS].
func (s *fakeSession) RequiresTLS() bool { return s.fake.requires }

// Priority implements [Prioritizes].
func (s *fakeSession) Priority() (most int, ok bool) {
	if s.fake.priority == nil {
		return 0, false
	}
	return *s.fake.priority, true
}

// Dequeues implements [Dequeues].
func (s *fakeSession) Dequeues() (exists, may bool) {
	return s.fake.dequeue != nil, s.fake.dequeue != nil && !s.fake.mayNot
}

// Dequeue implements [Dequeues].
func (s *fakeSession) Dequeue(_ context.Context, node Node) (Dequeued, error) {
	defer s.fake.call(s, "ETRN "+node.String(), s.tx == nil && !s.closed)()
	return s.fake.dequeue(node)
}

func (s *fakeSession) Authenticate(_ context.Context, mechanism string) (sasl.Exchange[sasl.Accepted], error) {
	defer s.fake.call(s, "AUTH "+mechanism, s.tx == nil && !s.closed)()
	return s.fake.auth(mechanism)
}

func (s *fakeSession) Mail(_ context.Context, path address.Path, o MailOptions) error {
	from := path.String()
	defer s.fake.call(s, "MAIL "+from, s.tx == nil && !s.closed)()
	s.tx = &message{from: from, opts: o}
	s.fake.mails = append(s.fake.mails, o)
	if s.fake.mail != nil {
		return s.fake.mail(from, o)
	}
	return nil
}

func (s *fakeSession) Rcpt(_ context.Context, path address.Path, o RcptOptions) error {
	to := path.String()
	s.fake.rcpts = append(s.fake.rcpts, o)
	defer s.fake.call(s, "RCPT "+to, s.tx != nil && !s.done && !s.closed)()
	if s.fake.rcpt != nil {
		if err := s.fake.rcpt(to); err != nil {
			return err
		}
	}
	s.tx.to = append(s.tx.to, to)
	return nil
}

func (s *fakeSession) Data(ctx context.Context, trace string, body io.Reader) (string, error) {
	defer s.fake.call(s, "DATA", s.tx != nil && len(s.tx.to) > 0 && !s.done && !s.closed)()
	s.done = true
	if s.fake.traced != nil {
		return s.fake.traced(trace, body)
	}
	if s.fake.data != nil {
		return s.fake.data(ctx, body)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	s.tx.trace, s.tx.body = trace, string(b)
	s.fake.mu.Lock()
	s.fake.messages = append(s.fake.messages, *s.tx)
	s.fake.mu.Unlock()
	return "taken", nil
}

func (s *fakeSession) Reset() {
	defer s.fake.call(s, "reset", s.tx != nil && !s.closed)()
	s.tx, s.done = nil, false
}

func (s *fakeSession) Close() {
	defer s.fake.call(s, "close", s.tx == nil && !s.closed)()
	s.closed = true
	s.fake.mu.Lock()
	s.fake.closed++
	s.fake.mu.Unlock()
}

// pipeListener hands over one end of each pipe, so that tests have connections without a
// network, and time-outs under synctest.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial(t testing.TB) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	select {
	case l.conns <- server:
	case <-l.closed:
		t.Fatal("the listener is closed")
	}
	return client
}

// testServer is a server with the settings that tests want: no wait for early talkers.
func testServer(b Backend) *Server {
	return &Server{Backend: b, Hostname: "mx.example", AllowEarlyTalkers: true}
}

// run serves until the test's end, and joins.
func run(t testing.TB, s *Server, l net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error("Serve:", err)
		}
		if f, is := s.Backend.(*fake); is {
			f.check(t)
		}
	})
}

// onTCP serves on loopback and gives the address.
func onTCP(t testing.TB, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run(t, s, l)
	return l.Addr().String()
}

// client is the other end of a conversation.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, address string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

// talk begins a conversation with a server of its own.
func talk(t testing.TB, s *Server) *client {
	t.Helper()
	return dial(t, onTCP(t, s))
}

func newClient(t testing.TB, conn net.Conn) *client {
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	return &client{t: t, conn: conn, r: bufio.NewReader(conn)}
}

func (c *client) send(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, raw); err != nil {
		c.t.Fatalf("send %.60q: %v", raw, err)
	}
}

// reply reads one, of one line or several.
func (c *client) reply() (code int, lines []string) {
	c.t.Helper()
	code, lines, err := readReply(c.r)
	if err != nil {
		c.t.Fatalf("reading a reply: %v (so far %q)", err, lines)
	}
	return code, lines
}

func readReply(r *bufio.Reader) (code int, lines []string, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, lines, err
		}
		text, is := strings.CutSuffix(line, "\r\n")
		if !is || len(text) < 4 || len(line) > mostReplyOctets {
			return 0, lines, errors.New("no reply line: " + strconv.Quote(line))
		}
		n, err := strconv.Atoi(text[:3])
		if err != nil || code != 0 && n != code {
			return 0, lines, errors.New("no reply line: " + strconv.Quote(line))
		}
		code = n
		lines = append(lines, text[4:])
		if text[3] == ' ' {
			return code, lines, nil
		}
	}
}

// expect wants the next reply to begin with this.
func (c *client) expect(prefix string) []string {
	c.t.Helper()
	code, lines := c.reply()
	got := strconv.Itoa(code) + " " + lines[len(lines)-1]
	if !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("got %q, want %q", got, prefix)
	}
	return lines
}

func (c *client) closed() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err == nil {
		rest, _ := c.r.ReadString('\n')
		c.t.Fatalf("got %q, want the connection closed", string(b)+rest)
	} else if e, is := errors.AsType[net.Error](err); is && e.Timeout() {
		c.t.Fatal("the connection is not closed")
	}
}

// play goes through a script: "> x" sends a line, "~ x" sends a Go string as it is (without
// the quotes), "< x" expects a reply that begins so, "!" expects the connection to close.
func (c *client) play(script string) {
	c.t.Helper()
	for line := range strings.SplitSeq(script, "\n") {
		line = strings.TrimLeft(line, "\t")
		kind, text, _ := strings.Cut(line, " ")
		switch kind {
		case "":
		case ">":
			c.send(text + "\r\n")
		case "~":
			raw, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
			if err != nil {
				c.t.Fatalf("%q: %v", line, err)
			}
			c.send(raw)
		case "<":
			c.expect(text)
		case "!":
			c.closed()
		default:
			c.t.Fatalf("no script: %q", line)
		}
	}
}

// content is a message, which has a trace field of our own hop.
func content(t testing.TB, m message) string {
	t.Helper()
	if !strings.HasPrefix(m.trace, "Received: ") || !strings.HasSuffix(m.trace, "\r\n") {
		t.Fatalf("no trace field: %q", m.trace)
	}
	return m.body
}

// certificate is self-signed, for mx.example.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate()}}
}

func clientTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "mx.example"}
}

// upgrade makes the handshake.
func (c *client) upgrade() {
	c.t.Helper()
	if n := c.r.Buffered(); n > 0 {
		c.t.Fatalf("%d octets wait in plaintext", n)
	}
	conn := tls.Client(c.conn, clientTLS())
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.r = conn, bufio.NewReader(conn)
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
