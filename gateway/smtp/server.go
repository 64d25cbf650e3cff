package smtp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/crew"
	"github.com/dipylon/dipylon/gateway/events"
)

// Role is what a server is for.
type Role int

const (
	// MX takes mail from other servers, for recipients that the backend knows.
	MX Role = iota
	// Submission takes mail from users (RFC 6409): MAIL needs AUTH before it, and AUTH needs
	// TLS.
	Submission
)

// Server serves connections. Its fields are set before Serve and left alone then. The zero
// value of each is a sensible default, Backend and Hostname aside.
type Server struct {
	Backend Backend
	Role    Role
	// Hostname is what the server calls itself: greeting, EHLO, Received.
	Hostname string
	// TLSConfig is for STARTTLS (RFC 3207); without a certificate in it STARTTLS is not
	// offered. Session tickets are off, so that none is accepted that another listener gave.
	TLSConfig *tls.Config
	// ImplicitTLS begins each connection with TLS (RFC 8314 §3).
	ImplicitTLS bool
	// AllowInsecureAuth offers AUTH without TLS.
	AllowInsecureAuth bool
	// BareNewlines is for messages with a bare CR or LF.
	BareNewlines BareNewlines
	// AllowEarlyTalkers lets a client of an [MX] go on that does not wait for a reply where it has to:
	// before the greeting, and behind EHLO, HELO, STARTTLS, AUTH and DATA (RFC 2920 §3.1). It gets
	// 554 5.5.0 otherwise, and is hung up on. Clients of a [Submission] may. What comes in plaintext
	// behind STARTTLS is thrown away even so (CVE-2011-0411).
	AllowEarlyTalkers bool
	// Quirks are for old devices; 0 means DefaultQuirks with [Submission], and none with [MX].
	Quirks Quirks
	// GreetDelay is how long the greeting is delayed where early talkers are rejected. Without a
	// delay, only clients that speak at once are found.
	GreetDelay time.Duration
	// HideClient keeps the client's name and address out of the Received line.
	HideClient bool
	Limits     Limits
	Timeouts   Timeouts
	Log        zerolog.Logger
	// Observe receives events, for metrics; it may be nil. It is called by the connections'
	// goroutines, several at a time, and must not block.
	Observe func(Event)

	prepare  sync.Once
	limits   Limits
	timeouts Timeouts
	tls      *tls.Config
	buffers  *pools

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	sessions  map[*session]netip.Prefix
	addresses map[netip.Prefix]int
	emptied   chan struct{} // closed with the last session, once closing
}

func (s *Server) init() {
	s.prepare.Do(func() {
		s.limits = s.Limits.withDefaults()
		s.timeouts = s.Timeouts.withDefaults()
		s.buffers = newPools()
		s.listeners = map[net.Listener]struct{}{}
		s.sessions = map[*session]netip.Prefix{}
		s.addresses = map[netip.Prefix]int{}
		s.emptied = make(chan struct{})
		if c := s.TLSConfig; c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil) {
			s.tls = c.Clone()
			s.tls.SessionTicketsDisabled = true
		}
	})
}

// Serve takes connections from a listener until ctx ends, which ends them at once, or
// Shutdown is called, or somebody closes the listener, which leaves the sessions that there are
// alone. It closes the listener and returns when its last session is over: nil then, and
// otherwise why the listener failed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.init()
	defer l.Close()
	if s.ImplicitTLS && s.tls == nil {
		return errors.New("smtp: implicit TLS needs a certificate")
	}
	if !s.addListener(l) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()

	var sessions crew.Crew
	err := s.accept(ctx, l, &sessions)
	if s.removeListener(l) || ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		err = nil
	} else {
		cancel()
	}
	sessions.Wait()
	return err
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.listeners[l] = struct{}{}
	}
	return !s.closing
}

// removeListener says whether it was ended on purpose.
func (s *Server) removeListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	return s.closing
}

// accept gives each connection a goroutine. When the process is out of files or
// memory, it waits for better times instead of spinning.
func (s *Server) accept(ctx context.Context, l net.Listener, sessions *crew.Crew) error {
	const first, most = 5 * time.Millisecond, time.Second
	wait := first
	for {
		conn, err := l.Accept()
		if err == nil {
			wait = first
			sessions.Go(func() { s.serve(ctx, conn) })
			continue
		}
		if !transient(err) {
			return err
		}
		s.Log.Error().Err(err).Dur("wait_ms", wait).Msg("cannot accept a connection")
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, most)
	}
}

func transient(err error) bool {
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, syscall.EAGAIN,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// serve is a connection from its accept to its close.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	session := s.newSession(ctx, conn)
	if refusal := s.enter(session); refusal.code != none.code {
		session.log.Warn().Str(events.Event, events.SessionRefused).Str(events.Reason, refusal.text).Msg("connection refused")
		s.observe(Event{Kind: Refused, Conn: session.id})
		if !s.ImplicitTLS {
			session.out = refusal.naming(session.id).appendTo(nil)
			_ = session.flush() // and no lingering: these are the connections that are too many
		}
		session.cancel()
		conn.Close()
		return
	}
	defer s.leave(session)
	session.log.Debug().Str(events.Event, events.SessionStart).Stringer("local", conn.LocalAddr()).Msg("connected")
	s.observe(Event{Kind: Connected, Conn: session.id})
	session.serve()
}

func (s *Server) newSession(ctx context.Context, conn net.Conn) *session {
	n := &session{
		server: s, limits: s.limits, conn: conn, raw: conn,
		id: strings.ToLower(rand.Text()[:12]),
		in: newInput(s.buffers), began: time.Now(),
	}
	n.ctx, n.cancel = context.WithCancel(ctx)
	n.log = s.Log.With().Str(events.Session, n.id).Stringer(events.Remote, conn.RemoteAddr()).Logger()
	n.heloName.Store(new(string))
	n.discard = s.limits.Discard
	n.healthCheck = events.IsHealthCheck(conn)
	if d := s.timeouts.Session; d >= 0 {
		n.end = time.Now().Add(d)
	}
	return n
}

// enter counts a connection in, or says why it cannot be.
func (s *Server) enter(n *session) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	address := addressKey(n.raw.RemoteAddr())
	switch {
	case s.closing:
		return hangUp(421, "4.3.2", s.Hostname+" is shutting down, try again later")
	case over(len(s.sessions)+1, s.limits.Connections):
		return hangUp(421, "4.7.0", "too many connections, try again later")
	case address.IsValid() && over(s.addresses[address]+1, s.limits.PerAddress):
		return hangUp(421, "4.7.0", "too many connections from your address, try again later")
	}
	s.sessions[n] = address
	s.addresses[address]++
	return none
}

func (s *Server) leave(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	address := s.sessions[n]
	delete(s.sessions, n)
	if s.addresses[address]--; s.addresses[address] == 0 {
		delete(s.addresses, address)
	}
	if s.closing && len(s.sessions) == 0 {
		close(s.emptied)
	}
}

// addressKey is whom the limits take for one: an IPv4 address, an IPv6 /64.
func addressKey(a net.Addr) netip.Prefix {
	tcp, is := a.(*net.TCPAddr)
	if !is {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits)
	return p
}

// Shutdown closes the listeners, tells idle sessions 421 4.3.2, and waits for the others to
// finish the command that they are at, a message included. When ctx ends before, it ends
// them at once and gives the context's error. The server is of no use after it.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	for _, n := range s.close() {
		n.drain()
	}
	select {
	case <-s.emptied:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.sessions {
		n.cancel()
	}
	return ctx.Err()
}

// close takes no more connections, and gives those that there are.
func (s *Server) close() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.closing = true
		if len(s.sessions) == 0 {
			close(s.emptied)
		}
	}
	for l := range s.listeners {
		l.Close()
	}
	sessions := make([]*session, 0, len(s.sessions))
	for n := range s.sessions {
		sessions = append(sessions, n)
	}
	return sessions
}

func (s *Server) rejectsEarlyTalkers() bool {
	return s.Role == MX && !s.AllowEarlyTalkers
}
