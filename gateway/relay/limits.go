package relay

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// Limits bound what one destination gets at once.
type Limits struct {
	Connections int // at the same time [20]
	Messages    int // on one connection [100]
	PerMinute   int // messages; 0: any number
	// RecipientsPerDay are those that get mail in a day, over restarts and all gateways; 0: any number. It takes a
	// [Relay.Quota].
	RecipientsPerDay int
	// RecipientsPerMessage are those of one transaction; a message that has more is parted. 0: any number.
	RecipientsPerMessage int
	Idle                 time.Duration // how long a connection without work stays [2 s]
}

func (l Limits) or(other Limits) Limits {
	return Limits{
		Connections: cmp.Or(l.Connections, other.Connections), Messages: cmp.Or(l.Messages, other.Messages),
		PerMinute: cmp.Or(l.PerMinute, other.PerMinute), RecipientsPerDay: cmp.Or(l.RecipientsPerDay, other.RecipientsPerDay),
		RecipientsPerMessage: cmp.Or(l.RecipientsPerMessage, other.RecipientsPerMessage), Idle: cmp.Or(l.Idle, other.Idle),
	}
}

var defaultLimits = Limits{Connections: 20, Messages: 100, Idle: 2 * time.Second}

// window is how many connections a destination may have at the moment. It grows by one for each round of
// deliveries that succeed, and is halved when the destination shows that it is too much.
type window struct {
	size float64
	most int
}

// windowFirst is what a destination begins with.
const windowFirst = 2

func newWindow(most int) *window { return &window{size: float64(min(windowFirst, most)), most: most} }

func (w *window) connections() int { return int(w.size) }

func (w *window) grow() { w.size = min(w.size+1/w.size, float64(w.most)) }

func (w *window) shrink() { w.size = max(w.size/2, 1) }

// rate bounds messages a minute. The bound is spread over the minute, and at most that of one minute is
// saved up.
type rate struct {
	perMinute float64 // 0: no bound
	left      float64
	at        time.Time
	// carried is when a message last got through. It is known here, as between two messages that the bound keeps apart nobody works on
	// the destination.
	carried time.Time
}

func newRate(perMinute int, now time.Time) *rate {
	return &rate{perMinute: float64(perMinute), left: float64(perMinute), at: now}
}

// take takes as many as there are, at most so many. If there is none, again is when there will be one.
func (r *rate) take(most int, now time.Time) (taken int, again time.Time) {
	if r.perMinute <= 0 {
		return most, time.Time{}
	}
	r.left = min(r.left+now.Sub(r.at).Minutes()*r.perMinute, r.perMinute)
	r.at = now
	if r.left < 1 {
		missing := (1 - r.left) / r.perMinute
		return 0, now.Add(time.Duration(missing*float64(time.Minute)) + time.Millisecond)
	}
	taken = min(most, int(r.left))
	r.left -= float64(taken)
	return taken, time.Time{}
}

// giveBack returns what was taken and not used.
func (r *rate) giveBack(n int) { r.left = min(r.left+float64(n), r.perMinute) }

// places bounds connections in all. Who waits gets one in its turn.
type places struct {
	mu      sync.Mutex
	free    int
	waiting []chan struct{}
	// hurry tells one connection that has nothing to do that its place is wanted.
	hurry chan struct{}
}

func newPlaces(most int) *places { return &places{free: most, hurry: make(chan struct{})} }

// acquire waits for a place.
func (p *places) acquire(ctx context.Context) error {
	p.mu.Lock()
	if p.free > 0 && len(p.waiting) == 0 {
		p.free--
		p.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	p.waiting = append(p.waiting, mine)
	p.mu.Unlock()
	select {
	case p.hurry <- struct{}{}: // who was idle goes, and gives its place back
		select {
		case <-mine:
			return nil
		case <-ctx.Done():
		}
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	p.leave(mine)
	return context.Cause(ctx)
}

// leave takes a waiter out, or gives back the place that it has got meanwhile.
func (p *places) leave(mine chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range p.waiting {
		if w == mine {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			return
		}
	}
	p.pass()
}

// try takes a place if there is one that nobody waits for.
func (p *places) try() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == 0 || len(p.waiting) > 0 {
		return false
	}
	p.free--
	return true
}

func (p *places) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pass()
}

// pass gives a place to who waits longest.
func (p *places) pass() {
	if len(p.waiting) == 0 {
		p.free++
		return
	}
	close(p.waiting[0])
	p.waiting = p.waiting[1:]
}

// crowded says whether somebody waits.
func (p *places) crowded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting) > 0
}
