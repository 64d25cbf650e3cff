package relay

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// commons is what is known of what destinations have in common ([Route.Common]), where that has failed: the token that all
// of them need, the server that all of them are sent through. They wait together, and one message of one of them is the probe
// that shows that it works again. The zero value is ready.
type commons struct {
	mu    sync.Mutex
	known map[string]*common
}

// common is one that has failed lately.
type common struct {
	failures int
	until    time.Time // zero: it is not known to be down
	since    time.Time
	why      verdict
	// row are destinations that have failed as a whole with nothing delivered since: of so many it is what they have in
	// common that is at fault, whatever each was told. Of three mailboxes that are blocked that is wrong: so they are
	// the last that try.
	row      map[string]bool
	inferred bool      // it is down by row alone
	last     string    // the destination by whose failure it is down
	others   time.Time // until when those in row let others try; zero: none of them has wanted to yet
	probe    string
	by       time.Time // when the probe has had its time
}

const (
	// commonMost is how many destinations in a row fail before all of them wait.
	commonMost = 3
	// probeMost is how long a probe may take before another destination makes one, and probeAgain how often the others
	// ask meanwhile.
	probeMost, probeAgain = 20 * time.Minute, 5 * time.Second

	// namesMost bounds what is remembered. The names are of the configuration, so it is not reached.
	namesMost = 10_000
)

// ask says until when a destination waits for what it has in common with others; zero: it does not. If it is the one that
// tries whether that works again, probe is set.
func (c *commons) ask(name, destination string, now time.Time) (until time.Time, why verdict, probe bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.known[name]
	switch {
	case name == "" || s == nil || s.until.IsZero():
		return time.Time{}, verdict{}, false
	case now.Before(s.until) && s.until.Sub(now) <= backoffMost: // else the clock was set back
		return s.until, s.why, false
	case (s.inferred && s.row[destination] || s.last == destination) && s.lets(now):
		return s.others, s.why, false
	case s.probe != "" && s.probe != destination && now.Before(s.by):
		return now.Add(probeAgain), s.why, false
	case s.probe != destination:
		s.probe, s.by = destination, now.Add(probeMost)
	}
	return time.Time{}, s.why, true
}

// lets says whether those who have failed wait for somebody else who may try first, and show that it is their own failure.
func (s *common) lets(now time.Time) bool {
	if s.others.IsZero() {
		s.others = now.Add(probeAgain)
	}
	return now.Before(s.others) && s.others.Sub(now) <= probeAgain // else the clock was set back
}

// failed notes that a destination has failed as a whole. If all wait now, until is when one of them tries again: after the
// longer of what was asked for and what wait says after so many failures. It is news where they have not waited before.
func (c *commons) failed(name, destination string, v verdict, wait func(failures int) time.Duration, now time.Time) (until time.Time, news bool) {
	if name == "" {
		return time.Time{}, false
	}
	now = now.Round(0) // by the clock of the queue
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.at(name)
	s.row[destination] = true
	again := !s.until.IsZero() && s.probe == destination
	switch {
	case now.Before(s.until) && s.until.Sub(now) <= backoffMost:
		return s.until, false // it is the same failure, seen by another destination
	case !s.until.IsZero() && !again:
		return time.Time{}, false // it was under way since before: the probe alone counts, as in works
	case v.whole, len(s.row) >= commonMost, again && s.inferred:
	case again:
		s.probe = "" // it was this destination's own failure: another one tries
		return time.Time{}, false
	default:
		return time.Time{}, false
	}
	asked := v.wait
	if !v.whole {
		asked = 0 // what one was asked to wait is no matter of the others'
	}
	if s.until.IsZero() {
		s.since = now
	}
	s.until, s.why, s.inferred, s.probe = now.Add(min(max(wait(s.failures), asked), backoffMost)), v, !v.whole, ""
	s.last, s.others = destination, time.Time{}
	if s.failures++; v.whole || len(s.row) >= namesMost {
		clear(s.row)
	}
	return s.until, true
}

// at is what is known of a name. The lock is held.
func (c *commons) at(name string) *common {
	if c.known == nil {
		c.known = make(map[string]*common)
	}
	if c.known[name] == nil {
		if len(c.known) >= namesMost {
			forgetSome(c.known)
		}
		c.known[name] = &common{row: make(map[string]bool)}
	}
	return c.known[name]
}

// works notes that a destination's mail was answered. While all wait, that of the probe alone counts: others may have
// connections from before. It says whether all were waiting.
func (c *commons) works(name, destination string) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.known[name]
	if s == nil || !s.until.IsZero() && s.probe != destination {
		return false
	}
	delete(c.known, name)
	return !s.until.IsZero()
}

// leaves has another destination make the probe that this one was to make, as it has nothing more to send.
func (c *commons) leaves(name, destination string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.known[name]; s != nil && s.probe == destination {
		s.probe = ""
	}
}

// Down is what destinations have in common, where all of them wait for it.
type Down struct {
	Common string // [Route.Common]
	Since  time.Time
	Until  time.Time // when it is tried again
	Code   string    // enhanced status code
	Cause  error
}

// Down is for what all that leaves by a provider, or by a store's transport, waits now.
func (r *Relay) Down() (all []Down) {
	r.commons.mu.Lock()
	defer r.commons.mu.Unlock()
	for name, s := range r.commons.known {
		if !s.until.IsZero() {
			all = append(all, Down{name, s.since, s.until, s.why.code, s.why.cause})
		}
	}
	slices.SortFunc(all, func(a, b Down) int { return strings.Compare(a.Common, b.Common) })
	return all
}

// Again has what fails for all tried by the next destination that is given out, as somebody may have put it right: the
// back-off in the queue is the caller's to end.
func (r *Relay) Again() {
	r.commons.mu.Lock()
	defer r.commons.mu.Unlock()
	for _, s := range r.commons.known {
		if !s.until.IsZero() {
			s.until, s.failures, s.probe = time.Unix(0, 0), 0, ""
		}
	}
}

// waitsForCommon gives the destination back, with what was claimed, while what it has in common with others is down.
func (d *destination) waitsForCommon() bool {
	if d.route.Common == "" || !d.out && len(d.backlog) == 0 {
		return false
	}
	until, why, probe := d.r.commons.ask(d.route.Common, d.name, d.r.Now())
	if d.probing = probe; until.IsZero() {
		return false
	}
	why.until = until
	d.die(why, nil)
	return true
}

// answeredWell notes that the destination's next hop has answered for a message.
func (d *destination) answeredWell() {
	d.r.backoffs.works(d.name)
	if d.r.commons.works(d.route.Common, d.name) {
		d.probing = false
		d.r.Log.Info().Str("common", d.route.Common).Str("destination", d.name).Msg("a provider or a store's transport works again: what waited for it goes out")
	}
}

// commonFails notes that the destination has failed as a whole; until is when all that have something in common with it are
// tried again, if they wait now.
func (d *destination) commonFails(v verdict, now time.Time) (until time.Time) {
	until, news := d.r.commons.failed(d.route.Common, d.name, v, d.r.near, now)
	if !news {
		return until
	}
	d.r.observe(Event{Kind: CommonDown, Class: d.route.Kind})
	d.r.Log.Error().Err(v.cause).Str("common", d.route.Common).Str("destination", d.name).Str("enhanced", v.code).Time("until", until).
		Msg("a provider or a store's transport as a whole takes no mail now: all that goes through it waits, and one message tries again")
	return until
}
