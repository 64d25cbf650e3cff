package login

import (
	"cmp"
	"context"
	"math"
	"net/netip"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Throttle makes guessers wait. An implementation may be shared by several gateways.
type Throttle interface {
	// Begin waits until an attempt may be made, and counts it as a failure from then on. The
	// account is a login name in lower case, or empty where it is not known yet: then the network
	// alone counts. A failure of the kind [backends.Throttled] says that it would have to wait for
	// too long, and that the attempt is not to be made.
	Begin(ctx context.Context, peer netip.Addr, account string) (Turn, error)
}

// Turn is an attempt that has begun.
type Turn interface {
	// Prove says that the attempt is no guess: others at the same time are delayed by it no more. Its outcome is still to be given.
	Prove()
	// End gives its outcome, and for whom it was, if that was not known at its beginning.
	// After the first time it does nothing.
	End(account string, outcome Outcome)
}

// Outcome is the result of an attempt.
type Outcome int

// The outcomes. Unknown is not counted: the store could not tell, or the client had left.
const (
	Unknown Outcome = iota
	Good
	Wrong
)

// ThrottleLimits tunes a throttle. Zero values take the defaults in brackets.
type ThrottleLimits struct {
	Free     float64       // failures without any delay [4]
	Base     time.Duration // the first delay; each further failure doubles it [500 ms]
	Most     time.Duration // the longest delay between two attempts [15 s]
	Queue    time.Duration // how long an attempt waits for its turn [30 s]
	HalfLife time.Duration // in which a count halves [10 min]
	Entries  int           // counters kept; the one not used for longest goes first [100,000]
}

func (l ThrottleLimits) withDefaults() ThrottleLimits {
	defaultTo(&l.Free, 4)
	defaultTo(&l.Base, 500*time.Millisecond)
	defaultTo(&l.Most, 15*time.Second)
	defaultTo(&l.Queue, 30*time.Second)
	defaultTo(&l.HalfLife, 10*time.Minute)
	defaultTo(&l.Entries, 100_000)
	return l
}

func defaultTo[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// Delay is how long after an attempt the next one may begin: it grows twofold with each failure
// beyond the free ones.
func (l ThrottleLimits) Delay(failures float64) time.Duration {
	if failures < l.Free-0.5 { // counts are fractions: they decay
		return 0
	}
	factor := math.Exp2(min(max(failures-l.Free, 0), 40))
	return time.Duration(min(float64(l.Base)*factor, float64(l.Most)))
}

// MemoryThrottle is a Throttle in this process's memory. Make it with [NewMemoryThrottle].
//
// Three things are counted, each with a count that halves every HalfLife:
//
//   - a network (an IPv4 /24, an IPv6 /64)
//   - an account, from wherever
//   - the pair of a single address and an account, once it has been used with success: it is known
//     from then on, and only its own failures delay it. Neither a neighbour in the same network or
//     behind the same NAT nor a guesser elsewhere does.
//
// An attempt counts as a failure from its beginning on, so that those at the same time are delayed
// by each other, and is taken back when it was good, or an outage; one that has shown a good password, and waits for its store, delays
// nobody. Beyond Free failures, attempts
// begin one after another with a growing delay between them. Who would have to wait for longer than
// Queue is refused; only an account's count refuses nobody, since a stranger must not be able to
// push its owner out: after that time the attempt is made.
type MemoryThrottle struct {
	counters
	// counted is told of each outcome that counts, see SharedThrottle; nil: nobody is. The pair's
	// counter has changed where there is news.
	counted func(keys attemptKeys, good, news bool)
}

// NewMemoryThrottle makes an empty throttle.
func NewMemoryThrottle(limits ThrottleLimits) *MemoryThrottle {
	return &MemoryThrottle{counters: counters{limits: limits.withDefaults()}}
}

// SetLimits puts other limits to use.
func (m *MemoryThrottle) SetLimits(limits ThrottleLimits) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits = limits.withDefaults()
}

// turn is an attempt that waits or has begun.
type turn struct {
	throttle *MemoryThrottle
	peer     netip.Addr
	account  string
	arrived  time.Time

	// The rest is under the throttle's lock.
	counters []*counter // that it waits for, or counts in
	ended    bool
}

// Begin implements [Throttle].
func (m *MemoryThrottle) Begin(ctx context.Context, peer netip.Addr, account string) (Turn, error) {
	t := &turn{throttle: m, peer: peer, account: account, arrived: time.Now()}
	for {
		ready, news, err := m.try(t)
		if err != nil {
			return nil, err
		}
		if len(news) == 0 {
			return t, nil
		}
		if err := await(ctx, time.Until(ready), news); err != nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			t.leave()
			return nil, err
		}
	}
}

// await waits for a time, or for news of one of at most two counters.
func await(ctx context.Context, d time.Duration, news []<-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-news[0]:
	case <-news[len(news)-1]:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// try begins an attempt if its time has come; otherwise it says when that will be, and what may
// change it.
func (m *MemoryThrottle) try(t *turn) (ready time.Time, news []<-chan struct{}, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	first := t.counters == nil
	t.leave()
	keys := keysOf(t.peer, t.account)
	t.counters = m.of(keys, now)
	ready = now
	for _, c := range t.counters {
		at, refused := m.readyAt(c, t.arrived, now, first)
		if c.key == keys.account {
			at, refused = earlier(at, t.arrived.Add(m.limits.Queue)), false
		}
		if refused {
			t.counters = nil
			return ready, nil, backends.Fail(backends.Throttled, "too many failed logins: %s", c.key).
				Say("too many failed logins, try again later").After(m.limits.Queue)
		}
		if at.After(ready) {
			ready = at
		}
	}
	if !ready.After(now) {
		for _, c := range t.counters {
			c.underWay, c.begun = c.underWay+1, now
		}
		return ready, nil, nil
	}
	for _, c := range t.counters {
		c.waiting++
		news = append(news, c.listen())
	}
	return ready, news, nil
}

// of are the counters that an attempt waits for: the pair's where it is known, or else those of
// network and account.
func (m *MemoryThrottle) of(keys attemptKeys, now time.Time) []*counter {
	if pair := m.find(keys.pair, now); pair != nil && pair.known {
		return []*counter{pair}
	}
	all := []*counter{m.touch(keys.network, now)}
	if keys.account != "" {
		all = append(all, m.touch(keys.account, now))
	}
	return all
}

// readyAt is when the next attempt may begin, and whether one that has arrived then would have to
// wait for too long: it has already, or those who wait before it would take that long.
func (m *MemoryThrottle) readyAt(c *counter, arrived, now time.Time, first bool) (at time.Time, refused bool) {
	delay := m.limits.Delay(c.failures + float64(c.underWay))
	if delay == 0 {
		return now, false
	}
	at = c.begun.Add(delay)
	queue := time.Duration(c.waiting+1) * m.limits.Delay(c.failures)
	return at, at.Sub(arrived) > m.limits.Queue || first && at.After(now) && queue > m.limits.Queue
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// leave takes a turn that waits out of the queues. The lock is held.
func (t *turn) leave() {
	for _, c := range t.counters {
		c.waiting--
	}
	t.counters = nil
}

// End implements [Turn].
func (t *turn) End(account string, outcome Outcome) {
	keys := keysOf(t.peer, cmp.Or(account, t.account))
	good, news := outcome == Good, false
	if !t.settle(keys, outcome, &news) {
		return
	}
	if counted := t.throttle.counted; counted != nil && outcome != Unknown {
		counted(keys, good, news)
	}
}

// settle takes an attempt back, or counts it for good.
func (t *turn) settle(keys attemptKeys, outcome Outcome, news *bool) (first bool) {
	m := t.throttle
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.ended {
		return false
	}
	t.ended = true
	now := time.Now()
	switch outcome {
	case Good:
		*news = m.good(keys, now)
	case Wrong:
		*news = m.wrong(keys, now)
	}
	t.over()
	return true
}

// Prove implements [Turn].
func (t *turn) Prove() {
	t.throttle.mu.Lock()
	defer t.throttle.mu.Unlock()
	if !t.ended {
		t.over()
	}
}

// over takes an attempt that has begun out of those that are under way. The lock is held.
func (t *turn) over() {
	for _, c := range t.counters {
		c.underWay--
		c.tell()
		t.throttle.drop(c)
	}
	t.counters = nil
}

// good clears the pair alone: somebody with an account of their own must not be able to wash the
// network's count, nor an owner's every poll the account's.
func (m *MemoryThrottle) good(keys attemptKeys, now time.Time) (news bool) {
	if keys.pair == "" {
		return false
	}
	pair := m.touch(keys.pair, now)
	news = !pair.known || pair.failures > 0
	pair.failures, pair.known = 0, true
	return news
}

// wrong counts a failure for the network, the account, and the pair where it is known.
func (m *MemoryThrottle) wrong(keys attemptKeys, now time.Time) (pairToo bool) {
	m.touch(keys.network, now).failures++
	if keys.account == "" {
		return false
	}
	m.touch(keys.account, now).failures++
	pair := m.find(keys.pair, now)
	if pair != nil {
		pair.failures++
	}
	return pair != nil
}
