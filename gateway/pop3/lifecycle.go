package pop3

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"time"
)

// Shutdown stops all of Serve: no connection is accepted any more, sessions that wait for
// their client are told and closed, and the others once their command is done. Messages
// that were marked stay, as no client has said QUIT. When the context ends first, the rest is
// closed by force, and the context's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	drained := s.stop()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
	}
	for _, session := range s.current() {
		session.kill(errStopped)
	}
	return ctx.Err()
}

// stop closes the listeners and asks each session to end.
func (s *Server) stop() <-chan struct{} {
	s.mu.Lock()
	s.stopping = true
	for l := range s.listeners {
		_ = l.Close()
	}
	if s.drained == nil {
		s.drained = make(chan struct{})
		if len(s.sessions) == 0 {
			close(s.drained)
		}
	}
	s.mu.Unlock()
	for _, session := range s.current() {
		session.retire(errRetired)
	}
	return s.drained
}

func (s *Server) current() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*session, 0, len(s.sessions))
	for session := range s.sessions {
		all = append(all, session)
	}
	return all
}

func (s *Server) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	if s.listeners == nil {
		s.listeners = map[net.Listener]struct{}{}
		s.sessions = map[*session]struct{}{}
		s.addresses = map[string]int{}
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) unlisten(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// register counts a session, or names the limit that is in its way.
func (s *Server) register(session *session) (limit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping:
		return "shutdown"
	case reached(len(s.sessions), s.MaxConnections, 10000):
		return "connections"
	case reached(s.unauthenticated, s.MaxUnauthenticated, 5000):
		return "unauthenticated"
	case session.address != "" && reached(s.addresses[session.address], s.MaxPerAddress, 100):
		return "address"
	}
	s.sessions[session] = struct{}{}
	s.unauthenticated++
	session.unauthenticated = true
	if session.address != "" {
		s.addresses[session.address]++
	}
	return ""
}

func (s *Server) unregister(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, session)
	s.known(session)
	if session.address != "" {
		if s.addresses[session.address]--; s.addresses[session.address] == 0 {
			delete(s.addresses, session.address)
		}
	}
	if s.drained != nil && len(s.sessions) == 0 {
		close(s.drained)
	}
}

// entered counts a session as one that has logged in.
func (s *Server) entered(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known(session)
}

// known takes a session out of those that have not logged in. The lock is held.
func (s *Server) known(session *session) {
	if session.unauthenticated {
		session.unauthenticated = false
		s.unauthenticated--
	}
}

// reached says whether n has come up to a limit.
func reached(n, limit, standard int) bool {
	limit = cmp.Or(limit, standard)
	return limit > 0 && n >= limit
}

// addressKey is what connections are counted by: an IPv4 address, or the /64 that an IPv6
// host has for itself. Empty: no IP address.
func addressKey(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return ""
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return ""
	}
	return prefix.String()
}

func (s *Server) observer() Observer {
	if s.Observer == nil {
		return nobody{}
	}
	return s.Observer
}

// A time-out always is: one that is not above zero is the standard one.
func timeout(d, standard time.Duration) time.Duration {
	if d <= 0 {
		return standard
	}
	return d
}

func (s *Server) idleTimeout() time.Duration {
	return timeout(s.IdleTimeout, 10*time.Minute+30*time.Second)
}
func (s *Server) loginTimeout() time.Duration { return timeout(s.LoginTimeout, time.Minute) }
func (s *Server) writeTimeout() time.Duration { return timeout(s.WriteTimeout, 5*time.Minute) }
