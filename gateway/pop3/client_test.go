package pop3

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// pipeListener accepts connections that are made with net.Pipe.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial() net.Conn {
	near, far := net.Pipe()
	l.conns <- far
	return near
}

// running is a server under test, and what it told.
type running struct {
	*Server
	t     testing.TB
	fake  *fakeBackend
	pipe  *pipeListener
	tcp   net.Listener
	log   *syncBuffer
	seen  *recorder
	ended chan error
}

// start serves a backend, on a pipe and on TCP, until the test is over. Then nothing of the
// backend may be open.
func start(t testing.TB, fake *fakeBackend, change func(*Server)) *running {
	t.Helper()
	r := prepare(t, fake, change)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.tcp = tcp
	r.serve(r.pipe, r.tcp)
	return r
}

func prepare(t testing.TB, fake *fakeBackend, change func(*Server)) *running {
	r := &running{t: t, fake: fake, pipe: newPipeListener(), log: &syncBuffer{}, seen: &recorder{}, ended: make(chan error, 2)}
	r.Server = &Server{Backend: fake, InsecureAuth: true, Observer: r.seen, Log: zerolog.New(r.log)}
	if change != nil {
		change(r.Server)
	}
	return r
}

func (r *running) serve(listeners ...net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	for _, l := range listeners {
		go func() { r.ended <- r.Serve(ctx, l) }()
	}
	r.t.Cleanup(func() {
		cancel()
		for range listeners {
			if err := <-r.ended; err != nil && !errors.Is(err, ErrServerClosed) {
				r.t.Errorf("Serve: %v", err)
			}
		}
		if sessions, drops := r.fake.left(); sessions != 0 || drops != 0 {
			r.t.Errorf("%d sessions and %d maildrops were not closed (once)", sessions, drops)
		}
		if strings.Contains(r.log.String(), "panic") && !strings.Contains(r.t.Name(), "Panic") {
			r.t.Errorf("a session panicked: %s", r.log.String())
		}
	})
}

func (r *running) dialPipe() *client {
	r.t.Helper()
	return r.client(r.pipe.dial())
}

func (r *running) dialTCP() *client {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.tcp.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	return r.client(conn)
}

func (r *running) client(conn net.Conn) *client {
	c := &client{t: r.t, conn: conn, r: bufio.NewReader(conn)}
	r.t.Cleanup(func() {
		_ = conn.Close()
		if c.sent != nil {
			<-c.sent
		}
	})
	return c
}

// client is a POP3 client that expects.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	sent chan struct{} // closed when all that was sent is with the server
}

// send writes, without waiting for the server to take it: a pipe has no buffer.
func (c *client) send(text string) {
	c.t.Helper()
	before, done, conn := c.sent, make(chan struct{}), c.conn
	c.sent = done
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		_, _ = io.WriteString(conn, text) // a server may have hung up: reading will tell
	}()
}

func (c *client) line() string {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read: %v, after %q", err, line)
	}
	if len(line) > maxResponse && !strings.HasPrefix(line, "+ ") {
		c.t.Errorf("a response line of %d octets", len(line))
	}
	if !strings.HasSuffix(line, "\r\n") {
		c.t.Errorf("line %q does not end in CRLF", line)
	}
	return c.unnamed(strings.TrimSuffix(line, "\r\n"))
}

// sessionNamed is what each refusal ends in.
var sessionNamed = regexp.MustCompile(` \(session [a-z2-7]{13}\)$`)

// namedLine is the same in front of a line's end.
var namedLine = regexp.MustCompile(` \(session [a-z2-7]{13}\)\r\n`)

// unnamed takes the session's id off a refusal, which has to have it.
func (c *client) unnamed(line string) string {
	if !strings.HasPrefix(line, "-ERR") {
		return line
	}
	if !sessionNamed.MatchString(line) {
		c.t.Errorf("a refusal without the session's id: %q", line)
	}
	return sessionNamed.ReplaceAllString(line, "")
}

// expect reads a line; want may end in "…" for any more.
func (c *client) expect(want string) string {
	c.t.Helper()
	got := c.line()
	if !matches(got, want) {
		c.t.Fatalf("got %q, want %q", got, want)
	}
	return got
}

func matches(got, want string) bool {
	if prefix, ok := strings.CutSuffix(want, "…"); ok {
		return strings.HasPrefix(got, prefix)
	}
	return got == want
}

// do sends a command and expects a line.
func (c *client) do(command, want string) string {
	c.t.Helper()
	c.send(command + "\r\n")
	return c.expect(want)
}

// lines reads a multi-line response after its first line, and takes the stuffing off.
func (c *client) lines() []string {
	c.t.Helper()
	var all []string
	for {
		line := c.line()
		if line == "." {
			return all
		}
		all = append(all, strings.TrimPrefix(line, "."))
	}
}

// closed expects the end of the connection and nothing before it.
func (c *client) closed() {
	c.t.Helper()
	if rest := c.rest(); rest != "" {
		c.t.Fatalf("got %q, want the end of the connection", rest)
	}
}

// rest reads all there is, to the end of the connection.
func (c *client) rest() string {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	rest, err := io.ReadAll(c.r)
	if isTimeout(err) {
		c.t.Fatalf("the connection is still open, after %q", rest)
	}
	return string(rest)
}

func (c *client) login() *client {
	c.t.Helper()
	c.expect("+OK POP3 server ready")
	c.do("USER bob", "+OK…")
	c.do("PASS secret", "+OK…")
	return c
}

// stls turns TLS on.
func (c *client) stls() {
	c.t.Helper()
	c.do("STLS", "+OK…")
	c.handshake()
}

func (c *client) handshake() {
	c.t.Helper()
	secure := tls.Client(c.conn, &tls.Config{RootCAs: testCA().pool, ServerName: "pop.example"})
	if err := secure.HandshakeContext(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.r = secure, bufio.NewReader(secure)
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// recorder is an Observer that keeps all it hears.
type recorder struct {
	mu         sync.Mutex
	opened     int
	refused    []string
	closed     []Summary
	logins     []error
	commands   []CommandEvent
	mismatches []SizeMismatch
	onClosed   chan Summary
}

func (r *recorder) SessionOpened(Conn) { r.mu.Lock(); defer r.mu.Unlock(); r.opened++ }
func (r *recorder) SessionRefused(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = append(r.refused, s)
}

func (r *recorder) Command(e CommandEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commands = append(r.commands, e)
}

func (r *recorder) SizeMismatch(m SizeMismatch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mismatches = append(r.mismatches, m)
}

func (r *recorder) Login(_ Conn, _ string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logins = append(r.logins, err)
}

func (r *recorder) SessionClosed(s Summary) {
	r.mu.Lock()
	r.closed = append(r.closed, s)
	ch := r.onClosed
	r.mu.Unlock()
	if ch != nil {
		ch <- s
	}
}

type authority struct {
	config *tls.Config
	pool   *x509.CertPool
}

// testCA makes one certificate for all tests.
var testCA = sync.OnceValue(func() authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pop.example"}, DNSNames: []string{"pop.example"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return authority{config: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool: pool}
})
