package host

import (
	"sync/atomic"
	"time"
)

// pulse is what a plugin's calls say of its life. A health check may have to wait for a thread:
// a server with a pool of them gives one to each call and each open maildrop. So a check that is
// not answered says that the plugin hangs only as far as the calls do not say otherwise.
type pulse struct {
	heard atomic.Int64 // counts what came from the plugin, health checks aside
	owed  atomic.Int64 // calls that wait for the plugin now
}

// beat notes that something came from the plugin, or that it took something.
func (p *pulse) beat() { p.heard.Add(1) }

// await notes that a call waits for the plugin, until the function that it returns is called.
func (p *pulse) await() (over func()) {
	p.owed.Add(1)
	return func() { p.owed.Add(-1) }
}

// silence judges health checks that are not answered.
type silence struct {
	spec  Spec
	row   int   // checks in a row without an answer
	heard int64 // what the pulse had counted when there was a sign of life last
	since time.Time
}

// broken notes a sign of life.
func (s *silence) broken(p *pulse) {
	s.row, s.heard, s.since = 0, p.heard.Load(), time.Now()
}

// grows notes a check without an answer, and says whether the plugin hangs: checks in a row were
// not answered, and all that time nothing was heard of any call.
//
// A plugin without calls has nothing else to do, and hangs then. One that works on calls has as
// long as each of them has. One whose calls all wait for the gateway, a client that reads
// slowly or an idle session, may have no thread left: it has as long as a stream may stall.
func (s *silence) grows(p *pulse, users int) (hangs bool) {
	if heard := p.heard.Load(); heard != s.heard {
		s.broken(p)
	}
	s.row++
	patience := time.Duration(0)
	switch owed := p.owed.Load(); {
	case owed > 0:
		patience = s.spec.CallTimeout
	case users > 0:
		patience = s.spec.StallTimeout
	}
	return s.row >= s.spec.HealthFailures && time.Since(s.since) >= patience
}
