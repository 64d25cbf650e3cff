package maildrop

import (
	"context"
	"sync"
	"time"
)

const (
	measuredAtOnce = 4
	measuredOctets = 32 << 20
)

// Measuring bounds, for each store, the messages that are read only to learn their sizes (I6, I11): how
// many at once (of a store that measures, requests), and how many octets a second. A size has to be known in octets with CRLF
// (RFC 1939 §11), which some stores cannot tell. One Measuring is shared by everything that opens
// maildrops.
type Measuring struct {
	AtOnce int   // [4]
	Octets int64 // a second; a client that waits for a size does not wait for this [32 MiB]

	mu     sync.Mutex
	stores map[string]*pace
}

// pace is one store's share.
type pace struct {
	slots  chan struct{}
	octets int64 // a second

	mu   sync.Mutex
	next time.Time // when the octets that were read are paid for
}

func (m *Measuring) pace(store string) *pace {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.stores[store]
	if p == nil {
		if m.stores == nil {
			m.stores = make(map[string]*pace)
		}
		atOnce, octets := m.AtOnce, m.Octets
		if atOnce <= 0 {
			atOnce = measuredAtOnce
		}
		if octets <= 0 {
			octets = measuredOctets
		}
		p = &pace{slots: make(chan struct{}, atOnce), octets: octets}
		m.stores[store] = p
	}
	return p
}

// rest waits until the octets that were read are paid for.
func (p *pace) rest(ctx context.Context) error {
	p.mu.Lock()
	rest := time.Until(p.next)
	p.mu.Unlock()
	return pause(ctx, rest)
}

// begin waits for a turn.
func (p *pace) begin(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *pace) end(octets int64) {
	p.mu.Lock()
	if now := time.Now(); p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(octets) / float64(p.octets) * float64(time.Second)))
	p.mu.Unlock()
	<-p.slots
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
