package routing

import (
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Confirmed remembers which recipients stores have confirmed. While a store does not answer, mail for these is
// taken in and waits in the queue; others may not exist, and their clients hear 4xx.
type Confirmed struct {
	mu sync.Mutex
	// When each was confirmed, in two generations: the older one goes when the younger one is full (I11).
	young, old map[string]time.Time
}

const (
	confirmedMost = 100_000             // of each generation
	confirmedFor  = 14 * 24 * time.Hour // an account may be gone by then
)

func confirmedKey(store, address string) string { return store + "\x00" + address }

// note remembers that a store has confirmed a recipient now. A nil one remembers nothing.
func (c *Confirmed) note(store, address string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= confirmedMost {
		c.old, c.young = c.young, nil
	}
	if c.young == nil {
		c.young = make(map[string]time.Time)
	}
	c.young[confirmedKey(store, address)] = time.Now()
}

// forget is for a recipient that a store has refused.
func (c *Confirmed) forget(store, address string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, confirmedKey(store, address))
	delete(c.old, confirmedKey(store, address))
}

// has says whether a store has confirmed a recipient not too long ago.
func (c *Confirmed) has(store, address string) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := confirmedKey(store, address)
	at, known := c.young[key]
	if !known {
		at = c.old[key]
	}
	return time.Since(at) < confirmedFor
}

// outage says whether a store has not answered, as opposed to having said that it does not take the message.
func outage(err error) bool {
	switch backends.KindOf(err) {
	case backends.Temporary, backends.Uncertain, backends.Throttled:
		return true
	default:
		return false
	}
}
