package server

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/spool"
)

const (
	// countEvery is how often mail in transit is counted at the most.
	countEvery = time.Minute
	// countShare bounds the time that counting takes: one part in so many.
	countShare = 100
	// countMost is how long one counting takes at the most.
	countMost = 5 * time.Second
)

// queueCount remembers how much mail is in transit: to count it, all of it is read.
type queueCount struct {
	count func(context.Context) (spool.Summary, error)
	now   func() time.Time

	mu   sync.Mutex
	last spool.Summary
	good bool // it could be counted
	next time.Time
}

// get counts, unless it was done lately. Not ok: it could not be done.
func (c *queueCount) get(log zerolog.Logger) (sum spool.Summary, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := c.now()
	if began.Before(c.next) {
		return c.last, c.good
	}
	ctx, cancel := context.WithTimeout(context.Background(), countMost)
	defer cancel()
	sum, err := c.count(ctx)
	ended := c.now()
	c.next = ended.Add(max(countEvery, countShare*ended.Sub(began)))
	if c.good = err == nil; c.good {
		c.last = sum
	} else {
		log.Warn().Err(err).Msg("mail in transit could not be counted")
	}
	return c.last, c.good
}

// put notes what was counted elsewhere.
func (c *queueCount) put(sum spool.Summary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.good, c.next = sum, true, c.now().Add(countEvery)
}

// queue tells how much mail is in transit.
func (t told) queue(sum spool.Summary) {
	for _, state := range []spool.State{spool.Waiting, spool.InFlight, spool.Uncertain, spool.Held} {
		t.number(prometheus.GaugeValue, "dipylon_queue_recipients", "Recipients of mail in transit, by state. Counted at most once a minute.",
			float64(sum.Recipients[state]), "state", strings.ReplaceAll(state.String(), " ", "_"))
	}
	overdue := 0.0
	if !sum.Due.IsZero() {
		overdue = max(0, sum.At.Sub(sum.Due).Seconds())
	}
	t.number(prometheus.GaugeValue, "dipylon_queue_oldest_due_seconds",
		"For how long the recipient that was to be tried first has been due; 0: none is. Looked up at most once a minute.", overdue)
}

// partitions tells for how long the partitions of contents could not be looked after.
func (t told) partitions(f *spool.PartitionFailure) {
	failing := 0.0
	if f != nil {
		failing = time.Since(f.Since).Seconds()
	}
	t.number(prometheus.GaugeValue, "dipylon_queue_partitions_failing_seconds",
		"For how long partitions of the contents of mail in transit could not be made or dropped in PostgreSQL, by the gateway that does it; 0: all is well.", failing)
}
