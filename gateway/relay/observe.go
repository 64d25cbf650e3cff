package relay

import "time"

// EventKind is what an [Event] is about.
type EventKind uint8

// The kinds of events.
const (
	Connected    EventKind = iota + 1 // a connection to a next hop is up
	Disconnected                      // it has ended: Messages
	Unreachable                       // an address could not be connected to, or did not want to talk
	Finished                          // one recipient's attempt: Outcome, Octets, Waited
	BackedOff                         // a destination as a whole is left alone for a while
	CommonDown                        // all destinations that have something in common are left alone for a while
	Untold                            // a recipient has failed, and nobody is told: its message is from the null reverse-path
)

// Event is something to count. Which fields are set is said at the kinds.
type Event struct {
	Kind     EventKind
	Class    Kind // of the next hop
	Outcome  string
	Octets   int64
	Messages int
	Waited   time.Duration // since the message was received
}

func (r *Relay) observe(e Event) {
	if r.Observe != nil {
		r.Observe(e)
	}
}
