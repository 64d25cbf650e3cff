package login

import (
	"container/list"
	"math"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// counters are those of a throttle, a bounded number of them. Their zero value, with limits, is
// ready; what is not exported is to be called under the lock.
type counters struct {
	limits ThrottleLimits
	mu     sync.Mutex
	byKey  map[string]*list.Element
	recent list.List // of *counter; front: used last
}

type counter struct {
	key      string
	failures float64
	at       time.Time // when failures was right
	known    bool      // a pair that was used with success
	underWay int       // attempts that have begun and not ended
	waiting  int       // attempts that wait for their turn
	begun    time.Time // when the last attempt began
	news     chan struct{}
}

// listen gives what is closed when an attempt has ended.
func (c *counter) listen() <-chan struct{} {
	if c.news == nil {
		c.news = make(chan struct{})
	}
	return c.news
}

func (c *counter) tell() {
	if c.news != nil {
		close(c.news)
		c.news = nil
	}
}

// busy says that somebody holds on to the counter.
func (c *counter) busy() bool { return c.underWay > 0 || c.waiting > 0 }

// find returns a key's counter as of now, nil where there is none.
func (m *counters) find(key string, now time.Time) *counter {
	element, ok := m.byKey[key]
	if !ok {
		return nil
	}
	m.recent.MoveToFront(element)
	c := element.Value.(*counter)
	c.failures = decayed(c.failures, now.Sub(c.at), m.limits.HalfLife)
	c.at = now
	return c
}

func decayed(failures float64, past, halfLife time.Duration) float64 {
	return failures * math.Exp2(-float64(max(past, 0))/float64(halfLife))
}

// touch is find, and makes the counter where there is none.
func (m *counters) touch(key string, now time.Time) *counter {
	if c := m.find(key, now); c != nil {
		return c
	}
	if m.byKey == nil {
		m.byKey = make(map[string]*list.Element)
	}
	for element := m.recent.Back(); element != nil && len(m.byKey) >= m.limits.Entries; {
		oldest := element
		element = element.Prev()
		if c := oldest.Value.(*counter); !c.busy() { // those are as many as connections, at the most
			m.remove(oldest)
		}
	}
	c := &counter{key: key, at: now}
	m.byKey[key] = m.recent.PushFront(c)
	return c
}

// drop forgets a counter that has nothing to tell.
func (m *counters) drop(c *counter) {
	element := m.byKey[c.key]
	if element != nil && element.Value == c && !c.busy() && !c.known && c.failures < 0.01 {
		m.remove(element)
	}
}

func (m *counters) remove(element *list.Element) {
	m.recent.Remove(element)
	delete(m.byKey, element.Value.(*counter).key)
}

// Len is the number of counters kept.
func (m *counters) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.byKey)
}

// attemptKeys are what an attempt is counted under; account and pair are empty where its name is
// not known.
type attemptKeys struct{ network, account, pair string }

func keysOf(peer netip.Addr, account string) attemptKeys {
	k := attemptKeys{network: networkKey(peer)}
	if account != "" {
		k.account, k.pair = accountKey(account), pairKey(peer, account)
	}
	return k
}

func accountKey(account string) string { return "a " + account }

// pairKey is of a single address: a neighbour's failures are not its own.
func pairKey(peer netip.Addr, account string) string {
	address := "local" // a unix socket or a pipe
	if peer.IsValid() {
		address = peer.Unmap().WithZone("").String()
	}
	return "p " + address + " " + account
}

// networkKey is what one guesser usually has: an IPv4 /24, an IPv6 /64.
func networkKey(peer netip.Addr) string {
	peer = peer.Unmap().WithZone("")
	bits := 64
	if peer.Is4() {
		bits = 24
	}
	prefix, err := peer.Prefix(bits)
	if err != nil {
		return "n local"
	}
	return "n " + prefix.String()
}

// countOf reads a key.
func countOf(key string) (c Count) {
	kind, rest, _ := strings.Cut(key, " ")
	switch kind {
	case "n":
		c.Network = rest
	case "a":
		c.Account = rest
	default:
		c.Address, c.Account, _ = strings.Cut(rest, " ")
	}
	return c
}

func (c Count) key() string {
	switch {
	case c.Network != "":
		return "n " + c.Network
	case c.Address != "":
		return "p " + c.Address + " " + c.Account
	}
	return accountKey(c.Account)
}
