package login

import (
	"container/list"
	"context"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Throttle counts failed logins and says how long the next attempt has to wait. An
// implementation may be shared by several gateways.
type Throttle interface {
	// Admit is asked before an attempt: how long it has to wait. The account is a login name in
	// lower case, or empty where it is not known yet: then the peer alone counts. A failure of the kind
	// [backends.Throttled] says that it would be too long, and that the attempt is not to be made.
	Admit(ctx context.Context, peer netip.Addr, account string) (time.Duration, error)
	// Report says how an attempt ended, where the store could tell: an outage is not reported.
	Report(ctx context.Context, peer netip.Addr, account string, good bool) error
}

// MemoryThrottle is a Throttle in this process's memory. Make it with [NewMemoryThrottle].
//
// Three things are counted, each with a count that halves every HalfLife:
//
//   - a network (an IPv4 /24, an IPv6 /64): beyond Free failures its attempts are admitted one
//     after another, with a growing delay between them, however many connections there are.
//   - an account: beyond Free failures, from wherever, each attempt waits. Attempts do not queue:
//     a stranger must not be able to push an account's owner out for good.
//   - the pair of both. Once it has been used with success it is familiar, and only its own
//     failures count: neither a neighbour behind the same NAT nor a guesser elsewhere delays it.
type MemoryThrottle struct {
	limits ThrottleLimits
	mu     sync.Mutex
	byKey  map[string]*list.Element
	recent *list.List // of *counter; front: used last
}

// ThrottleLimits tunes a MemoryThrottle. Zero values take the defaults in brackets.
type ThrottleLimits struct {
	Free     float64       // failures without any delay [4]
	Base     time.Duration // the first delay; each further failure doubles it [500 ms]
	Most     time.Duration // the longest delay [15 s]
	Queue    time.Duration // how far ahead a network's attempts may queue [30 s]
	HalfLife time.Duration // in which a count halves [10 min]
	Entries  int           // counters kept; the one not used for longest goes first [100,000]
	Now      func() time.Time
}

type counter struct {
	key      string
	failures float64
	at       time.Time // when failures was right
	next     time.Time // the earliest time of the next attempt
	familiar bool
}

// NewMemoryThrottle makes an empty throttle.
func NewMemoryThrottle(limits ThrottleLimits) *MemoryThrottle {
	defaultTo(&limits.Free, 4)
	defaultTo(&limits.Base, 500*time.Millisecond)
	defaultTo(&limits.Most, 15*time.Second)
	defaultTo(&limits.Queue, 30*time.Second)
	defaultTo(&limits.HalfLife, 10*time.Minute)
	defaultTo(&limits.Entries, 100_000)
	if limits.Now == nil {
		limits.Now = time.Now
	}
	return &MemoryThrottle{limits: limits, byKey: make(map[string]*list.Element), recent: list.New()}
}

func defaultTo[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// Admit implements [Throttle].
func (m *MemoryThrottle) Admit(_ context.Context, peer netip.Addr, account string) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.limits.Now()
	network := networkKey(peer)
	if pair := m.find(pairKey(network, account), now); pair != nil && pair.familiar {
		return m.delay(pair), nil
	}
	wait := m.delay(m.find(accountKey(account), now))
	if c := m.find(network, now); c != nil {
		queued, ok := m.reserve(c, now)
		if !ok {
			return 0, backends.Fail(backends.Throttled, "too many failed logins from %s", network).
				Say("too many failed logins, try again later").After(m.limits.Queue)
		}
		wait = max(wait, queued)
	}
	return wait, nil
}

// reserve takes the network's next free moment.
func (m *MemoryThrottle) reserve(c *counter, now time.Time) (wait time.Duration, ok bool) {
	delay := m.delay(c)
	if delay == 0 {
		return 0, true
	}
	start := now.Add(delay)
	if c.next.After(start) {
		start = c.next
	}
	if start.Sub(now) > m.limits.Queue {
		return 0, false
	}
	c.next = start.Add(delay)
	return start.Sub(now), true
}

// delay grows twofold with each failure beyond the free ones.
func (m *MemoryThrottle) delay(c *counter) time.Duration {
	if c == nil || c.failures < m.limits.Free-0.5 { // counts are fractions: they decay
		return 0
	}
	factor := math.Exp2(min(c.failures-m.limits.Free, 40))
	return time.Duration(min(float64(m.limits.Base)*factor, float64(m.limits.Most)))
}

// Report implements [Throttle].
func (m *MemoryThrottle) Report(_ context.Context, peer netip.Addr, account string, good bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.limits.Now()
	network := networkKey(peer)
	if good {
		// Only the pair is cleared: somebody with an account of their own must not be able to
		// wash the network's count, nor an owner's every poll the account's.
		pair := m.touch(pairKey(network, account), now)
		pair.failures, pair.familiar = 0, true
		return nil
	}
	m.touch(network, now).failures++
	if account == "" {
		return nil
	}
	m.touch(accountKey(account), now).failures++
	if pair := m.find(pairKey(network, account), now); pair != nil {
		pair.failures++
	}
	return nil
}

// find returns a key's counter as of now, nil where there is none.
func (m *MemoryThrottle) find(key string, now time.Time) *counter {
	element, ok := m.byKey[key]
	if !ok {
		return nil
	}
	m.recent.MoveToFront(element)
	c := element.Value.(*counter)
	if past := now.Sub(c.at); past > 0 {
		c.failures *= math.Exp2(-float64(past) / float64(m.limits.HalfLife))
		c.at = now
	}
	return c
}

// touch is find, and makes the counter where there is none.
func (m *MemoryThrottle) touch(key string, now time.Time) *counter {
	if c := m.find(key, now); c != nil {
		return c
	}
	for len(m.byKey) >= m.limits.Entries {
		oldest := m.recent.Remove(m.recent.Back()).(*counter)
		delete(m.byKey, oldest.key)
	}
	c := &counter{key: key, at: now}
	m.byKey[key] = m.recent.PushFront(c)
	return c
}

// Len is the number of counters kept.
func (m *MemoryThrottle) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.byKey)
}

func accountKey(account string) string       { return "a " + account }
func pairKey(network, account string) string { return "p " + network + " " + account }

// networkKey is what one guesser usually has: an IPv4 /24, an IPv6 /64.
func networkKey(peer netip.Addr) string {
	peer = peer.Unmap().WithZone("")
	bits := 64
	if peer.Is4() {
		bits = 24
	}
	prefix, err := peer.Prefix(bits)
	if err != nil {
		return "n local" // a unix socket or a pipe
	}
	return "n " + prefix.String()
}
