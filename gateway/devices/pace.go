package devices

import (
	"sync"
	"time"
)

// paces says of each device when its next message may leave, by the generic cell rate algorithm: so many at once, and
// from then on one after another. Each process counts by itself.
type paces struct {
	mu   sync.Mutex
	next map[string][2]time.Time // by the id of a device's password: for a minute, and for an hour
}

// per are the times of the two rates, in their order, with how many messages each has; 0: any number.
func (s Sending) per() [2]rate {
	return [2]rate{{s.PerMinute, time.Minute}, {s.PerHour, time.Hour}}
}

type rate struct {
	most int
	in   time.Duration
}

// longestWait is how far ahead messages are taken: what is more than a day's is not a peak, but a fault.
const longestWait = 24 * time.Hour

// take counts a message, and says how long it waits. It is not counted if that is too long.
func (p *paces) take(id string, s Sending, now time.Time) (wait time.Duration, ok bool) {
	if s.PerMinute == 0 && s.PerHour == 0 {
		return 0, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.next[id]
	for i, rate := range s.per() {
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
	p.next[id] = next
	return wait, true
}

// giveBack takes a message off that was counted, and was not taken in the end: others would wait for it.
func (p *paces) giveBack(id string, s Sending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next, counted := p.next[id]
	if !counted {
		return
	}
	for i, rate := range s.per() {
		if rate.most > 0 {
			next[i] = next[i].Add(-rate.in / time.Duration(rate.most))
		}
	}
	p.next[id] = next
}

// keep forgets the devices that are not there any more. One that was added again under its name is another one.
func (p *paces) keep(there map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.next {
		if !there[id] {
			delete(p.next, id)
		}
	}
}
