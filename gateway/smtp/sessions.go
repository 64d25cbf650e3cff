package smtp

import "github.com/dipylon/dipylon/gateway/events"

// Sessions are those that are open now, in no order.
func (s *Server) Sessions() []events.Connection {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]events.Connection, 0, len(s.sessions))
	for session := range s.sessions {
		all = append(all, events.Connection{ID: session.id, Remote: session.raw.RemoteAddr(), Since: session.began})
	}
	return all
}
