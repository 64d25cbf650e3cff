package serve

import (
	"context"
	"math"
	"sync"
)

// credit is a request's window: what it may send before the gateway grants more.
type credit struct {
	mu   sync.Mutex
	left int64
	more chan struct{} // holds one token when left has grown
}

func newCredit(n int64) *credit {
	return &credit{left: max(0, n), more: make(chan struct{}, 1)}
}

func (c *credit) grant(n int64) {
	if n <= 0 {
		return
	}
	c.mu.Lock()
	if c.left > math.MaxInt64-n {
		c.left = math.MaxInt64
	} else {
		c.left += n
	}
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// take waits until there is credit, and takes at most most of it. One goroutine calls it.
func (c *credit) take(ctx context.Context, most int) (int, error) {
	for {
		c.mu.Lock()
		n := min(c.left, int64(most))
		c.left -= n
		c.mu.Unlock()
		if n > 0 {
			return int(n), nil
		}
		select {
		case <-c.more:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
