package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/peek"
	"github.com/dipylon/dipylon/gateway/endpoint"
	"github.com/dipylon/dipylon/gateway/events"
)

// session is one connection. It is one goroutine's, but for what stands behind mu and the
// atomics, and but for the input, which Data's goroutine has while a chunk of BDAT comes in.
type session struct {
	server *Server
	limits Limits
	ctx    context.Context
	cancel context.CancelFunc
	log    zerolog.Logger
	id     string
	conn   net.Conn // TCP, or TLS on it
	raw    net.Conn // TCP
	began  time.Time
	end    time.Time
	in     *input
	out    []byte

	backend Session
	state   // what the commands have said so far
	// healthCheck says that a balancer speaks for itself, counted that it said more than checks say.
	healthCheck, counted bool

	counts // for limits and the log

	mu       sync.Mutex
	waiting  bool // for a command: may be interrupted
	draining bool // no further command is taken

	tlsState    atomic.Pointer[tls.ConnectionState]
	certificate endpoint.Certificate
	heloName    atomic.Pointer[string]
}

// state is what STARTTLS forgets (RFC 3207 §4.2), TLS itself aside.
type state struct {
	helo   string
	esmtp  bool // the client has said EHLO
	authed bool
	known  bool         // the backend knows it without AUTH
	tx     *transaction // nil: none
}

// transaction is what lives from MAIL to the message's end, and no longer.
type transaction struct {
	id          string
	reversePath address.Path
	options     MailOptions
	size        int64 // of the largest message that is taken; negative: any
	recipients  int
	recipient   address.Path // the first
	refused     int
	transfer    *transfer // BDAT has begun
	began       time.Time
}

// counts of a connection.
type counts struct {
	transactions, accepted, authFailures int
	tally
	forgiven tally // what stood in tally when a message was last accepted
	discard  int64 // octets that may still be thrown away
}

// tally is what a client did that brought no mail.
type tally struct{ faults, junk, refusals int }

var (
	errDraining = errors.New("smtp: the server is shutting down")
	errClosed   = errors.New("smtp: the session has been closed")
	errQuit     = errors.New("smtp: the client has said QUIT")
)

func (s *session) conninfo() Conn {
	return Conn{
		ID: s.id, Remote: s.raw.RemoteAddr(), Local: s.raw.LocalAddr(),
		TLS: s.tlsState.Load, Certificate: s.certificate.DER,
		Helo: func() string { return *s.heloName.Load() },
	}
}

// serve is a connection's life.
func (s *session) serve() {
	defer s.cancel()
	defer context.AfterFunc(s.ctx, func() { s.raw.Close() })()
	began := time.Now()
	err := s.run()
	s.raw.Close()
	s.in.release()
	e := s.log.Info()
	if s.isNoNews(err) {
		e = s.log.Debug()
	}
	reason, cause := endReason(err)
	if cause != nil {
		e = e.AnErr("error", cause)
	}
	events.TLS(e.Str(events.Event, events.SessionEnd), s.tlsState.Load()).Str(events.Reason, reason).
		Int("messages", s.accepted).Int("transactions", s.transactions).Int("errors", s.faults).Int("refused", s.refusals).
		Int64("octets_in", s.in.total).Dur(events.TookMS, time.Since(began)).Msg("disconnected")
	s.server.observe(Event{Kind: Disconnected, Conn: s.id, Took: time.Since(began)})
}

// isNoNews knows the sessions that are a health check: nobody spoke, or a balancer that speaks for
// itself said nothing but what such checks say.
func (s *session) isNoNews(err error) bool {
	if failed, noTLS := errors.AsType[*handshakeError](err); noTLS && !events.Silent(failed.err) {
		return false
	}
	return s.in.total == 0 || s.healthCheck && !s.counted
}

// endReason says why a session ended, and by which error where the reason does not say it all.
func endReason(err error) (reason string, cause error) {
	if failed, noTLS := errors.AsType[*handshakeError](err); noTLS {
		return "tls", failed.err
	}
	network, failed := errors.AsType[*net.OpError](err)
	switch {
	case err == errQuit:
		return "quit", nil
	case err == nil, err == errClosed:
		return "closed", nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "gone", nil
	case errors.Is(err, errDraining):
		return "shutdown", nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "time-out", nil
	case failed:
		return "gone", network.Err
	}
	return err.Error(), nil
}

// run greets, and takes commands until the session's end. A panic, ours or the backend's,
// ends this session and no other.
func (s *session) run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(p)
		}
	}()
	defer s.forget()
	if err := s.open(); err != nil {
		return err
	}
	for {
		line, err := s.command()
		r := lineFault(err)
		s.counted = s.counted || r.code != none.code
		switch {
		case err == nil:
			r = s.dispatch(line)
		case r.code == none.code:
			return s.farewell(err)
		}
		if err := s.say(s.charge(r)); err != nil {
			return err
		}
	}
}

// lineFault is the reply to a line that could not be taken for a command.
func lineFault(err error) reply {
	switch err {
	case errLineTooLong:
		return refuse(500, "5.5.2", "line too long")
	case errBareLF:
		// Further lines may be text that somebody made a client send: hang up.
		return hangUp(521, "5.5.2", "a command ends in CR LF, not in LF alone")
	}
	return none
}

func (s *session) panicked(p any) error {
	s.log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("a session panicked")
	s.out = s.out[:0]
	_ = s.say(hangUp(421, "4.3.0", "a local error, try again later"))
	return errors.New("smtp: panic")
}

// forget ends what the backend holds.
func (s *session) forget() {
	if s.backend == nil {
		return
	}
	backend := s.backend
	s.backend = nil
	defer backend.Close()
	s.endTransaction(backend)
}

// open brings the connection to its greeting (RFC 5321 §3.1).
func (s *session) open() error {
	if s.server.ImplicitTLS {
		if err := s.handshake(); err != nil {
			return err
		}
	}
	if s.talksEarly() {
		s.log.Warn().Msg("early talker")
		return s.say(hangUp(554, "5.5.0", "wait for the greeting before the first command"))
	}
	ctx, cancel := within(s.ctx, s.server.timeouts.Backend)
	defer cancel()
	backend, err := s.server.Backend.NewSession(ctx, s.conninfo())
	if err != nil {
		return s.say(noService(failure(err)))
	}
	s.backend = backend
	return s.say(ok(220, "", s.server.Hostname+" ESMTP"))
}

// noService makes a reply one of the two that can stand in a greeting's place.
func noService(r reply) reply {
	r.close = true
	if r.code >= 500 {
		r.code = 554
	} else {
		r.code = 421
	}
	return r
}

// talksEarly looks whether the client has spoken before the greeting: it did not wait for us and speaks no SMTP (RFC
// 5321 §4.3.1). It waits as long as the server is to, or, where only waiting tells, a moment.
func (s *session) talksEarly() bool {
	if !s.server.rejectsEarlyTalkers() {
		return false
	}
	if arrived, known := peek.Arrived(s.conn); s.server.GreetDelay <= 0 && known && !arrived {
		return false
	}
	if err := s.conn.SetReadDeadline(time.Now().Add(max(s.server.GreetDelay, time.Millisecond))); err != nil {
		return false
	}
	return s.in.fill(s.conn) == nil
}

// within bounds a context; a negative time-out is none.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// deadline is d from now, and never after the session's end.
func (s *session) deadline(d time.Duration) time.Time {
	var t time.Time
	if d >= 0 {
		t = time.Now().Add(d)
	}
	if t.IsZero() || !s.end.IsZero() && s.end.Before(t) {
		return s.end
	}
	return t
}

// command takes the next command line, and waits for it where it has to.
func (s *session) command() ([]byte, error) {
	s.in.shrink()
	return s.line(commandBound)
}

func (s *session) line(bound func([]byte) int) ([]byte, error) {
	if err := s.setWaiting(true); err != nil {
		return nil, err
	}
	line, err := s.in.line(bound, s.server.BareNewlines == NormaliseBareNewlines, s.fill)
	if e := s.setWaiting(false); e != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = e
	}
	return line, err
}

// setWaiting opens and closes the time in which the server's shutdown ends the session. A
// message whose chunks are still coming is not cut short.
func (s *session) setWaiting(on bool) error {
	idle := s.tx == nil || s.tx.transfer == nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = on && idle
	if s.draining && idle {
		return errDraining
	}
	if on {
		return s.conn.SetReadDeadline(s.deadline(s.server.timeouts.Command))
	}
	return nil
}

// drain lets a command under way finish, and takes no further one.
func (s *session) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if s.waiting {
		_ = s.raw.SetReadDeadline(time.Unix(1, 0)) // one that has passed
	}
}

// fill waits for octets. Whatever we have said goes out first: a client that waits for it
// would otherwise wait for ever (RFC 2920 §3.2).
func (s *session) fill() error {
	if err := s.flush(); err != nil {
		return err
	}
	return s.in.fill(s.conn)
}

// fillData is fill for a message: it may take as long as it likes while it makes progress.
func (s *session) fillData() error {
	if s.in.filled() {
		s.in.grow()
	}
	if err := s.conn.SetReadDeadline(s.deadline(s.server.timeouts.Data)); err != nil {
		return err
	}
	return s.fill()
}

// say queues a reply. It fails when the session is over, with this reply or before.
func (s *session) say(r reply) error {
	if r.code != none.code {
		s.out = r.naming(s.id).appendTo(s.out)
	}
	if r.close {
		err := s.flush()
		if t, is := s.conn.(*tls.Conn); is {
			_ = t.CloseWrite() // close_notify, RFC 8446 §6.1
		}
		if r.code != 221 { // who says QUIT has said it all
			s.linger()
		}
		switch {
		case r.ended != nil:
			err = r.ended
		case err != nil:
		case r.code == 221:
			err = errQuit
		default:
			err = errClosed
		}
		return err
	}
	if len(s.out) >= mostQueued {
		return s.flush()
	}
	return nil
}

const mostQueued = 4 << 10 // octets of replies that wait for a group's end

func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	var t time.Time
	if d := s.server.timeouts.Write; d >= 0 {
		t = time.Now().Add(d)
	}
	if err := s.conn.SetWriteDeadline(t); err != nil {
		return err
	}
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err
}

// linger keeps the last reply from being lost: a TCP connection that is closed with octets
// unread is reset, and a reset overtakes what the client has not read yet.
func (s *session) linger() {
	half, is := s.raw.(interface{ CloseWrite() error })
	if !is || half.CloseWrite() != nil {
		return
	}
	_ = s.raw.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, io.LimitReader(s.raw, 256<<10))
}

// farewell says why there will be no further command.
func (s *session) farewell(err error) error {
	var r reply
	switch {
	case errors.Is(err, errDraining):
		r = hangUp(421, "4.3.2", s.server.Hostname+" is shutting down, try again later")
	case errors.Is(err, os.ErrDeadlineExceeded):
		r = hangUp(421, "4.4.2", "time-out, closing the connection")
	case errors.Is(err, errLineEndless):
		r = hangUp(421, "4.7.0", "line too long, closing the connection")
	default:
		return err
	}
	_ = s.say(r)
	return err
}
