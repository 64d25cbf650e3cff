package stores

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Counters count and time the calls to all stores. The zero value is ready. There is one count for
// each store and call, however many calls there are.
type Counters struct {
	mu  sync.Mutex
	all map[counted]*Count
}

type counted struct{ store, call string }

// Count is what became of one kind of call to one store.
type Count struct {
	Call    string // as in [Call.Name]
	Calls   int64  // that have ended
	Open    int64  // that have not
	Refused int64  // that failed for good: a wrong password; verdicts on recipients are no failures
	Failed  int64  // that failed for now: an outage, a busy store
	Took    time.Duration
	Longest time.Duration
}

// Middleware counts calls. It is a [Middleware].
func (c *Counters) Middleware(ctx context.Context, call Call, next func(context.Context) error) error {
	count := c.begin(call)
	begin := time.Now()
	ended := false
	defer func() {
		if !ended { // by a panic
			c.end(count, time.Since(begin), backends.Fail(backends.Temporary, "the call panicked"))
		}
	}()
	err := next(ctx)
	ended = true
	c.end(count, time.Since(begin), err)
	return err
}

func (c *Counters) begin(call Call) *Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = make(map[counted]*Count)
	}
	key := counted{call.Store, call.Name}
	count := c.all[key]
	if count == nil {
		count = &Count{Call: call.Name}
		c.all[key] = count
	}
	count.Open++
	return count
}

func (c *Counters) end(count *Count, took time.Duration, err error) {
	failure := backends.AsFailure(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	count.Open--
	count.Calls++
	count.Took += took
	count.Longest = max(count.Longest, took)
	switch {
	case failure == nil:
	case failure.Temporary():
		count.Failed++
	default:
		count.Refused++
	}
}

// Of gives the counts of a store, ordered by the calls' names.
func (c *Counters) Of(store string) (counts []Count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, count := range c.all {
		if key.store == store {
			counts = append(counts, *count)
		}
	}
	slices.SortFunc(counts, func(a, b Count) int { return cmp.Compare(a.Call, b.Call) })
	return counts
}

// Forget forgets the counts of a store that is not in the configuration any more.
func (c *Counters) Forget(store string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.all {
		if key.store == store {
			delete(c.all, key)
		}
	}
}
