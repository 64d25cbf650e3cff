package smtp

import "time"

// unknownVerb stands in events for what is no command.
const unknownVerb = "unknown"

// EventKind is what an [Event] is about.
type EventKind int

// The kinds of events.
const (
	Connected     EventKind = iota + 1 // a connection was taken
	Refused                            // a connection was not taken, for a limit or the shutdown
	Disconnected                       // Took: the connection's life
	Secured                            // TLS is up
	Authenticated                      // Code: the reply to AUTH
	Replied                            // Verb, Code, Took: a command's
	Finished                           // a transaction came to its message's end: Code, Octets, Recipients, Took
)

// Event is something to count. Which fields are set is said at the kinds.
type Event struct {
	Kind       EventKind
	Conn       string // the session's id
	Verb       string // upper case; "unknown" for what the engine does not know
	Code       int    // of the reply; 0: the client was gone
	Octets     int64  // of the message
	Recipients int
	Took       time.Duration
}

func (s *Server) observe(e Event) {
	if s.Observe != nil {
		s.Observe(e)
	}
}
