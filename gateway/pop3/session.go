package pop3

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/endpoint"
	"github.com/dipylon/dipylon/gateway/events"
)

// The states of a session (RFC 1939 §3). UPDATE is the QUIT of a transaction.
type state uint8

const (
	authorization state = 1 << iota
	transaction

	anyState = authorization | transaction
)

// tlsConn is a connection with TLS: a *tls.Conn, or what wraps one.
type tlsConn interface {
	net.Conn
	HandshakeContext(ctx context.Context) error
	ConnectionState() tls.ConnectionState
}

// session is one connection. It belongs to the goroutine of serve; what others may use is
// under mu.
type session struct {
	server          *Server
	info            Conn
	address         string // for the limit by address
	unauthenticated bool   // not logged in; the server\'s, under its lock
	wire            *wire
	in              input
	out             output

	serving context.Context // of the Serve that it is of
	ctx     context.Context // ends with that, or by force
	cancel  context.CancelCauseFunc

	state    state
	began    time.Time
	backend  Session
	user     string
	warned   bool // USER was refused for want of TLS
	utf8     bool
	mechs    []string    // as offered when the login came
	drop     *Login      // nil before the login, and once it is closed
	unwatch  func() bool // ends the wait for drop's own end; nil: it tells of none
	marks    marks
	highest  highest
	idle     time.Duration // between commands, once logged in
	ends     time.Time     // of the session; zero: whenever
	failures int           // logins
	mistakes int
	patience time.Time // when the line that is awaited must be there; zero: not waiting
	lastOK   bool
	// healthCheck says that a balancer speaks for itself, counted that it said more than checks say.
	healthCheck, counted bool

	watch *watch // over the call of the backend under way
	sum   Summary

	certificate endpoint.Certificate

	mu       sync.Mutex
	conn     net.Conn  // wire, or TLS over it
	secure   tlsConn   // conn, where it is TLS
	waiting  bool      // for the client
	retiring *farewell // what to say instead of waiting for the client again; nil: nothing
}

var errStopped = errors.New("the server was stopped")

func newSession(ctx context.Context, server *Server, conn net.Conn) *session {
	w := newWire(conn, server.writeTimeout())
	s := &session{server: server, wire: w, conn: w, state: authorization, began: time.Now()}
	s.secure, _ = conn.(tlsConn)
	s.address = addressKey(conn.RemoteAddr())
	s.out.to = pacer{s}
	s.serving = ctx
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.info = Conn{ID: newID(), Remote: conn.RemoteAddr(), Local: conn.LocalAddr(), TLS: s.tlsState, Certificate: s.certificate.DER}
	s.sum.Session = s.info.ID
	s.healthCheck = events.IsHealthCheck(conn)
	return s
}

// log begins a line of the log. A session has no logger of its own, which would cost an idle one 512
// octets.
func (s *session) log(level zerolog.Level) *zerolog.Event {
	return s.server.Log.WithLevel(level).Str(events.Session, s.info.ID).Stringer(events.Remote, stringer{s.info.Remote})
}

// stringer makes a log field of an address that may be nil.
type stringer struct{ addr net.Addr }

func (s stringer) String() string {
	if s.addr == nil {
		return ""
	}
	return s.addr.String()
}

// newID is a name for a session, 13 characters that no other session has had.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func (s *session) tlsState() *tls.ConnectionState {
	s.mu.Lock()
	secure := s.secure
	s.mu.Unlock()
	if secure == nil {
		return nil
	}
	state := secure.ConnectionState()
	return &state
}

func (s *session) overTLS() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.secure != nil
}

// serve is the whole life of a connection that is registered. An idle one waits below it, in a stack that the collector
// makes 4 KiB where less than a quarter of 8 KiB is in use: so there are few frames, and small ones, down to the wait.
func (s *session) serve() {
	defer s.leave()
	s.opened()
	err := s.contain("session", (*session).converse)
	s.end(err)
	_ = s.contain("close", (*session).closeBackend)
	s.report(err)
}

// leave is the last that a session does.
func (s *session) leave() {
	s.cancel(nil)
	s.server.unregister(s)
}

func (s *session) opened() {
	s.log(zerolog.DebugLevel).Str(events.Event, events.SessionStart).Stringer("local", stringer{s.info.Local}).Msg("connected")
	s.server.observer().SessionOpened(s.info)
}

// contain makes an error of a panic: one session's trouble is no other's (I8).
func (s *session) contain(where string, f func(*session) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log(zerolog.ErrorLevel).Str("in", where).Str("panic", fmt.Sprint(r)).Bytes("stack", debug.Stack()).Msg("panic in a session")
			err = &drop{reason: "panic"}
		}
	}()
	return f(s)
}

// converse is the greeting and what follows, until something ends it.
func (s *session) converse() error {
	if err := s.secureFirst(); err != nil {
		return err
	}
	if err := s.greet(); err != nil {
		return err
	}
	for {
		s.in.auth = s.authBound()
		line, err := s.readLine(maxCommandLine)
		s.in.auth = 0
		if err == nil || isFlawed(err) {
			err = s.command(line, err)
		}
		s.in.shrink()
		if err != nil {
			return err
		}
	}
}

// authBound is how long an AUTH command may be. QUIRK, see QuirkLongAuth.
func (s *session) authBound() int {
	if s.state == authorization && s.server.quirk(QuirkLongAuth) {
		return maxSASLLine + maxMechanism
	}
	return 0
}

// secureFirst makes the TLS of a connection that begins with it (RFC 8314 §3).
func (s *session) secureFirst() error {
	if s.server.ImplicitTLS {
		return s.startTLS()
	}
	if s.secure != nil { // the listener's
		return s.handshake(s.secure)
	}
	return nil
}

func (s *session) startTLS() error {
	conn := tls.Server(s.wire, s.certificate.Watch(s.server.TLSConfig))
	if err := s.handshake(conn); err != nil {
		return err
	}
	s.mu.Lock()
	s.conn, s.secure = conn, conn
	s.mu.Unlock()
	return nil
}

// reasonTLS ends a session for which no TLS came about.
const reasonTLS = "tls"

func (s *session) handshake(conn tlsConn) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.server.loginTimeout())
	defer cancel()
	_ = s.wire.SetReadDeadline(time.Time{})
	if err := conn.HandshakeContext(ctx); err != nil {
		return &drop{reason: reasonTLS, err: err}
	}
	return nil
}

// greet asks the backend for its session, and says hello (RFC 1939 §4).
func (s *session) greet() error {
	ctx, done := s.begin(false)
	defer done()
	backend, err := s.server.Backend.NewSession(ctx, s.info)
	if err != nil {
		e := answer(err)
		s.log(zerolog.WarnLevel).Str(events.Event, events.SessionRefused).Str(events.Reason, "backend").Err(cause(ctx, err)).Msg("session refused")
		return &farewell{reason: "refused", code: e.Code, text: e.Text}
	}
	s.backend = backend
	greeting := strings.ReplaceAll(s.server.Greeting, "<", "")
	if greeting == "" {
		greeting = "POP3 server ready"
	}
	s.ok(greeting)
	return nil
}

// readLine takes the client's next line, waiting for it if need be. Responses leave before
// the wait, and not earlier: those of pipelined commands go together.
func (s *session) readLine(limit int) ([]byte, error) {
	if last := s.lastWord(); last != nil {
		return nil, last
	}
	s.patience = time.Time{}
	line, err := s.in.line(limit, s.server.quirk(QuirkBareLF), s)
	if err != nil {
		return nil, s.unread(err)
	}
	return line, s.checkLogin(nil)
}

// unread says what it means that no line could be read.
func (s *session) unread(err error) error {
	switch {
	case isFlawed(err):
		return s.checkLogin(err)
	case errors.Is(err, errEndlessLine):
		return &farewell{reason: "endless line", text: "line too long"}
	}
	return s.lost(err)
}

// isFlawed knows the errors of a line that the session goes on after.
func isFlawed(err error) bool { return errors.Is(err, errLongLine) || errors.Is(err, errBareLF) }

// checkLogin bounds what is sent before a login.
func (s *session) checkLogin(err error) error {
	if s.state == authorization && s.in.total > maxLoginOctets {
		return &farewell{reason: "too much before login", text: "too much before login"}
	}
	return err
}

var (
	errRetired = &farewell{reason: "shutdown", code: "SYS/TEMP", text: "the server is shutting down"}
	// As with any time-out nothing is removed (RFC 1939 §3).
	errSessionOver  = &farewell{reason: "session limit", code: "SYS/TEMP", text: "the session has lasted for too long, log in again"}
	errMaildropLost = &farewell{reason: "maildrop lost", code: "SYS/TEMP", text: "the mailbox has become unreachable, log in again"}
)

// lost says what an error of reading means.
func (s *session) lost(err error) error {
	var ended *farewell
	var gone *drop
	switch {
	case errors.As(err, &ended) || errors.As(err, &gone):
		return err
	case isTimeout(err):
		if last := s.lastWord(); last != nil {
			return last
		}
		return &farewell{reason: "time-out", text: "timed out"}
	case isGone(err):
		return &drop{reason: "gone"}
	}
	return &drop{reason: "gone", err: err}
}

// fill reads from the connection. A line has one deadline for all of its octets: RFC 1939 §3
// wants a command to reset the clock.
func (s *session) fill(p []byte) (int, error) {
	if err := s.out.flush(); err != nil {
		return 0, &drop{reason: "gone", err: err}
	}
	conn, err := s.await()
	if err != nil {
		return 0, err
	}
	// A client's next command is often on its way. Whoever else has work goes first, and the read finds the command there
	// then, where it would have found nothing and had to wait for the poller.
	runtime.Gosched()
	n, err := conn.Read(p)
	s.mu.Lock()
	s.waiting = false
	s.mu.Unlock()
	if n > 0 && s.in.total == 0 && p[0] == tlsHandshake && !s.overTLS() {
		return 0, errTLSTooEarly
	}
	return n, err
}

// tlsHandshake begins a connection of a client that was told to use TLS from the first octet
// (RFC 8446 §5.1), and has the port where TLS comes with STLS. It would wait for our answer as we
// wait for its line's end.
const tlsHandshake = 0x16

var errTLSTooEarly = &farewell{reason: "TLS on a port without", text: "TLS begins with STLS on this port; the port for implicit TLS is another one, usually 995"}

func (s *session) await() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retiring != nil {
		return nil, s.retiring
	}
	if s.patience.IsZero() {
		s.patience = s.deadline()
	}
	s.waiting = true
	return s.conn, s.conn.SetReadDeadline(s.patience)
}

func (s *session) deadline() time.Time {
	if s.state == transaction {
		deadline := time.Now().Add(s.idle)
		if !s.ends.IsZero() && s.ends.Before(deadline) {
			return s.ends
		}
		return deadline
	}
	deadline := time.Now().Add(s.server.loginTimeout())
	if last := s.began.Add(loginLimit); last.Before(deadline) {
		return last
	}
	return deadline
}

// retire ends the session when it next waits for its client, or now if it does.
func (s *session) retire(last *farewell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retiring = last
	if s.waiting {
		_ = s.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// lastWord is why the session takes no further command: what retire has been told, or its limit.
// nil: it goes on.
func (s *session) lastWord() *farewell {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retiring == nil && !s.ends.IsZero() && !time.Now().Before(s.ends) {
		return errSessionOver
	}
	return s.retiring
}

// kill ends the session by force, whatever it does.
func (s *session) kill(err error) {
	s.cancel(err)
	_ = s.wire.Conn.Close()
}
