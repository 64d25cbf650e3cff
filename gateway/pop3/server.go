package pop3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/gateway/crew"
	"github.com/dipylon/dipylon/gateway/events"
)

// Server serves POP3. Its fields are set before the first Serve, and left alone after it. A
// zero value means the default; one of the Max limits below zero means that there is none.
type Server struct {
	Backend  Backend        // required
	Log      zerolog.Logger // the zero value says nothing
	Observer Observer       // may be nil

	// TLSConfig has the certificates. It offers STLS, unless ImplicitTLS is set. For
	// certificates that change, use its GetConfigForClient.
	TLSConfig *tls.Config
	// ImplicitTLS makes TLS with TLSConfig come first on each connection (RFC 8314 §3). A
	// listener that does TLS itself needs neither; what it accepts must be a *tls.Conn.
	ImplicitTLS bool
	// InsecureAuth lets passwords and tokens come in without TLS: USER, PASS, and the SASL
	// mechanisms PLAIN, LOGIN, XOAUTH2 and OAUTHBEARER, as far as the backend takes them.
	InsecureAuth bool

	// Greeting is the text after the first +OK: printable ASCII. A "<" in it would promise
	// APOP (RFC 1939 §7), and is left out. Default: "POP3 server ready".
	Greeting string
	// Implementation is for CAPA (RFC 2449 §6.9). Empty: not said.
	Implementation string
	// Expire is for CAPA (RFC 2449 §6.7): "NEVER", or days ("0", "30"), both perhaps followed
	// by " USER". Empty: not said.
	Expire string
	// LoginDelay is for CAPA (RFC 2449 §6.5), in whole seconds; the backend enforces it. 0:
	// not said.
	LoginDelay time.Duration
	// Quirks are for old clients; 0 means DefaultQuirks.
	Quirks Quirks

	// IdleTimeout is how long a client that has logged in may say nothing; RFC 1939 §3 wants
	// 10 minutes at least. Default: 10 minutes and 30 seconds.
	IdleTimeout time.Duration
	// SessionLimit is how long a session may last from its login on, unless a maildrop has a
	// limit of its own; it ends between two commands. 0: no limit.
	SessionLimit time.Duration
	// LoginTimeout is how long a client may say nothing before it has logged in. Default: 1 minute.
	LoginTimeout time.Duration
	// WriteTimeout is how long a client may take for a KiB of what is sent to it. One that takes
	// more than that, however slowly, is served. Default: 5 minutes.
	WriteTimeout time.Duration

	MaxConnections int // at a time; default 10000
	// MaxUnauthenticated is how many connections may be in the AUTHORIZATION state at a time, so that
	// clients that only connect do not keep out those that log in. Default: 5000.
	MaxUnauthenticated int
	// MaxPerAddress is the number of connections from one IPv4 address, or one IPv6 /64.
	// Default: 100. Connections that have no IP address (unix sockets) are not counted.
	MaxPerAddress int
	MaxLogins     int // failed ones, before the connection is closed; default 5
	// MaxErrors is how many mistakes (unknown commands, bad arguments, …) a client may make,
	// before the connection is closed. Default: 20.
	MaxErrors int

	mu              sync.Mutex
	stopping        bool
	listeners       map[net.Listener]struct{}
	sessions        map[*session]struct{}
	addresses       map[string]int
	unauthenticated int           // sessions that have not logged in
	drained         chan struct{} // made by Shutdown, closed when there is no session
}

const (
	loginLimit     = 5 * time.Minute // that a client may take in all to log in
	backendTimeout = 5 * time.Minute // of one call of the backend, or one piece of a message
	maxLoginOctets = 64 << 10        // that a client may send before it has logged in
)

// ErrServerClosed is returned by a Serve that is called after Shutdown.
var ErrServerClosed = errors.New("pop3: server closed")

// Serve accepts connections until the context ends, Shutdown is called, or the listener
// fails, and returns when its sessions have ended; nil says that it was told to stop. The
// end of the context is a stop by force: connections are closed. Serve closes the listener.
// It may be called for several listeners.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if err := s.check(); err != nil {
		_ = l.Close()
		return err
	}
	if !s.listen(l) {
		_ = l.Close()
		return ErrServerClosed
	}
	defer s.unlisten(l)
	base, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(base, func() {
		_ = l.Close()
		s.killAll(base)
	})
	defer stop()
	var running crew.Crew
	err := s.accept(base, l, &running)
	if err != nil {
		cancel() // a listener that failed takes its sessions with it
	}
	running.Wait()
	_ = l.Close()
	if ctx.Err() != nil || s.isStopping() {
		return nil
	}
	return err
}

// check refuses settings that no session could work with.
func (s *Server) check() error {
	switch {
	case s.Backend == nil:
		return errors.New("pop3: no backend")
	case s.ImplicitTLS && s.TLSConfig == nil:
		return errors.New("pop3: implicit TLS without a TLS configuration")
	case s.Expire != "" && !validExpire(s.Expire):
		return fmt.Errorf("pop3: EXPIRE %q is not NEVER or a number of days", s.Expire)
	}
	return nil
}

func validExpire(v string) bool {
	if n := len(v) - len(" USER"); n > 0 && v[n:] == " USER" {
		v = v[:n]
	}
	if v == "NEVER" {
		return true
	}
	_, err := strconv.ParseUint(v, 10, 31)
	return err == nil
}

// accept hands out connections until the listener is closed. Running out of files or memory
// is no reason to stop: sessions that end will give some back.
func (s *Server) accept(ctx context.Context, l net.Listener, running *crew.Crew) error {
	var delay time.Duration
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			delay = 0
			s.admit(ctx, conn, running)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		case !isShortage(err):
			return fmt.Errorf("pop3: accept: %w", err)
		default:
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.Log.Warn().Err(err).Dur("pause_ms", delay).Msg("cannot accept connections")
			if !pause.For(ctx, delay) {
				return nil
			}
		}
	}
}

// isShortage says whether Accept may work again later.
func isShortage(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// admit starts a session, or refuses it.
func (s *Server) admit(ctx context.Context, conn net.Conn, running *crew.Crew) {
	session := newSession(ctx, s, conn)
	if limit := s.register(session); limit != "" {
		s.refuse(session, limit)
		return
	}
	if ctx.Err() != nil { // killAll may have been before it was registered
		session.kill(nil)
	}
	running.Go(session.serve)
}

// killAll ends the sessions of a Serve whose context has ended. Each of them could wait for that itself, which would cost
// an idle session 500 octets.
func (s *Server) killAll(serving context.Context) {
	for _, session := range s.current() {
		if session.serving == serving {
			session.kill(nil)
		}
	}
}

// refuse says why there is no greeting. A new connection has room for a line, so this does
// not keep the accept loop. Where TLS comes first nothing can be said.
func (s *Server) refuse(session *session, limit string) {
	defer session.kill(nil)
	s.observer().SessionRefused(limit)
	session.log(zerolog.WarnLevel).Str(events.Event, events.SessionRefused).Str(events.Reason, limit).Msg("connection refused")
	if !s.ImplicitTLS && !session.overTLS() {
		_ = session.wire.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = session.wire.Conn.Write([]byte("-ERR [SYS/TEMP] too many connections, try again later " + session.named() + "\r\n"))
	}
}
