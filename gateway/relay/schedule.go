package relay

import (
	"cmp"
	"slices"
	"time"
)

// Schedule says when a message is tried again, and for how long (RFC 5321 §4.5.4.1).
type Schedule struct {
	Retries  []time.Duration // after the first attempt, the second, …; the last one goes on [15 min, 30 min, 1 h, 4 h]
	Lifetime time.Duration   // since it was received [5 days; urgent: 2 days; not urgent: 7 days]
	// Delay is after how long the sender is told that it takes longer [4 h; urgent: 1 h; not urgent: 8 h].
	Delay time.Duration
}

// Schedules are those of each priority (RFC 6710 §5): above 0, 0, and below.
type Schedules struct{ Urgent, Normal, NonUrgent Schedule }

var retries = []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, 4 * time.Hour}

const day = 24 * time.Hour

func (s *Schedules) setDefaults() {
	s.Urgent = s.Urgent.or(2*day, time.Hour)
	s.Normal = s.Normal.or(5*day, 4*time.Hour)
	s.NonUrgent = s.NonUrgent.or(7*day, 8*time.Hour)
}

func (s Schedule) or(lifetime, delay time.Duration) Schedule {
	if len(s.Retries) == 0 {
		s.Retries = retries
	}
	s.Lifetime, s.Delay = cmp.Or(s.Lifetime, lifetime), cmp.Or(s.Delay, delay)
	return s
}

// Of is the schedule of a priority, from -9 to 9.
func (s *Schedules) Of(priority int) Schedule {
	switch {
	case priority > 0:
		return s.Urgent
	case priority < 0:
		return s.NonUrgent
	}
	return s.Normal
}

// after is how long to wait after so many attempts, of which the first is 0.
func after(waits []time.Duration, attempts int) time.Duration {
	return waits[min(max(attempts, 0), len(waits)-1)]
}

// expires is when a message is given up.
func (r *Relay) expires(c Claimed) time.Time {
	if !c.Expires.IsZero() {
		return c.Expires
	}
	return c.Received.Add(r.Schedules.Of(c.Envelope.Priority).Lifetime)
}

// soon are the waits of what is near: a store, or a server that is named, is back in a moment as a rule.
var soon = []time.Duration{30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute}

// backoffMost bounds how long a destination is left alone: an attempt costs one connection, however much mail waits.
const backoffMost = time.Hour

// backoff is how long a destination is left alone after so many failures in a row, of which the first is 0. Mail waits for it
// that is urgent, or not.
func (r *Relay) backoff(route Route, failures int, urgent bool) time.Duration {
	switch {
	case route.Asked: // whoever has asked is there, and its server may take a moment
		return min(r.near(failures), time.Minute)
	case route.Kind == Store, route.Kind == LMTP, route.Kind == Transport, route.FallBack.Destination != "":
		return r.near(failures)
	}
	wait := min(after(r.Schedules.Normal.Retries, failures), backoffMost)
	if urgent {
		wait = min(wait, after(r.Schedules.Urgent.Retries, failures))
	}
	return wait
}

// anyUrgent says whether mail of a priority above 0 is among some.
func anyUrgent(all []Claimed) bool {
	return slices.ContainsFunc(all, func(c Claimed) bool { return c.Envelope.Priority > 0 })
}

// near is how long what is near is left alone, where the schedule of mail is not shorter.
func (r *Relay) near(failures int) time.Duration {
	return min(after(soon, failures), after(r.Schedules.Normal.Retries, failures))
}
