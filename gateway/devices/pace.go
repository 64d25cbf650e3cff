package devices

import (
	"sync"
	"time"
)

// paces says of each device when its next message may leave, by the generic cell rate algorithm: so many at once, and
// from then on one after another. Each process counts by itself.
type paces struct {
	mu   sync.Mutex
	next map[string][2]time.Time // by device: for a minute, and for an hour
}

// longestWait is how far ahead messages are taken: what is more than a day's is not a peak, but a fault.
const longestWait = 24 * time.Hour

// take counts a message, and says how long it waits. It is not counted if that is too long.
func (p *paces) take(name string, s Sending, now time.Time) (wait time.Duration, ok bool) {
	if s.PerMinute == 0 && s.PerHour == 0 {
		return 0, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.next[name]
	for i, rate := range []struct {
		most int
		in   time.Duration
	}{{s.PerMinute, time.Minute}, {s.PerHour, time.Hour}} {
		if rate.most == 0 {
			continue
		}
		if next[i].Before(now) {
			next[i] = now
		}
		next[i] = next[i].Add(rate.in / time.Duration(rate.most))
		wait = max(wait, next[i].Sub(now)-rate.in)
	}
	if wait > longestWait {
		return 0, false
	}
	if p.next == nil {
		p.next = make(map[string][2]time.Time)
	}
	p.next[name] = next
	return wait, true
}

// keep forgets the devices that are not there any more.
func (p *paces) keep(there func(name string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.next {
		if !there(name) {
			delete(p.next, name)
		}
	}
}
