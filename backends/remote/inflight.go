package remote

import (
	"context"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

// InFlight lets one delivery under a key go on at a time: two retries that both look before
// either has delivered would both deliver (I2). The zero value is ready.
type InFlight struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when the key is free
}

// Begin waits until nobody delivers under the key, and returns what frees it.
func (f *InFlight) Begin(ctx context.Context, key string) (end func(), err error) {
	for {
		f.mu.Lock()
		free, busy := f.busy[key]
		if !busy {
			if f.busy == nil {
				f.busy = make(map[string]chan struct{})
			}
			mine := make(chan struct{})
			f.busy[key] = mine
			f.mu.Unlock()
			return func() {
				f.mu.Lock()
				delete(f.busy, key)
				f.mu.Unlock()
				close(mine)
			}, nil
		}
		f.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return nil, backends.Fail(backends.Temporary, "another delivery under the same key goes on: %w", context.Cause(ctx))
		}
	}
}
