package maildir

import (
	"context"
	"sync"
)

// keyLocks let one delivery at a time run under a key: the gateway may try again while the
// first attempt, which it has given up, is still writing.
type keyLocks struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

type keyLock struct {
	turn    chan struct{} // holds one token while the key is free
	waiting int
}

func newKeyLocks() *keyLocks { return &keyLocks{held: map[string]*keyLock{}} }

// lock waits for the key as long as ctx lasts.
func (k *keyLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	l := k.held[key]
	if l == nil {
		l = &keyLock{turn: make(chan struct{}, 1)}
		l.turn <- struct{}{}
		k.held[key] = l
	}
	l.waiting++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.waiting--; l.waiting == 0 {
			delete(k.held, key)
		}
	}
	select {
	case <-l.turn:
		return func() { l.turn <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// recentDeliveries is how many deliveries are remembered.
const recentDeliveries = 10_000

// recentKeys remembers, for the last deliveries, that they were made, even when the message
// has been read and removed since; or that a sync failed, so that what may be found of them
// is not to be trusted (I1).
type recentKeys struct {
	mu    sync.Mutex
	state map[recentKey]deliveryState
	most  int
	ring  []recentKey // in the order of their deliveries, from next on; it grows to most
	next  int
}

type recentKey struct {
	to  address
	key string
}

type deliveryState uint8

const (
	unknown deliveryState = iota
	delivered
	suspect
)

func newRecentKeys(n int) *recentKeys {
	return &recentKeys{state: make(map[recentKey]deliveryState), most: n}
}

func (r *recentKeys) get(to address, key string) deliveryState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state[recentKey{to, key}]
}

func (r *recentKeys) set(to address, key string, state deliveryState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := recentKey{to, key}
	switch {
	case r.state[k] != unknown:
	case len(r.ring) < r.most:
		r.ring = append(r.ring, k)
	default:
		delete(r.state, r.ring[r.next])
		r.ring[r.next] = k
		r.next = (r.next + 1) % len(r.ring)
	}
	r.state[k] = state
}
