//go:build linux && postgrescut

package faults

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

var belowFor = flag.Duration("below-for", 20*time.Second, "how long the power is cut below PostgreSQL")

// belowPostgres are settings by which more is under way when the power is cut: a checkpoint for each megabyte or so.
var belowPostgres = []string{"max_wal_size=2MB", "checkpoint_timeout=30s"}

// TestNothingLostBelowPostgres has the data of a PostgreSQL server on the disk that loses what was not synced, and cuts its
// power at random moments: that of the server alone, and that of the gateway with it.
func TestNothingLostBelowPostgres(t *testing.T) {
	seed := aSeed(t)
	r := rand.New(rand.NewPCG(seed, 4))
	w, database := belowWorld(t, seed, belowPostgres...)
	cut := func(w *world) { cutPostgres(w, database) }
	start := func(w *world) { startPostgres(w.t, database) }
	blows := []blow{
		{"power cut below PostgreSQL", cut, start, true},
		{"power cut below both", func(w *world) { w.kill(); cut(w); start(w) }, nil, true},
		{"kill -9 of the gateway", func(w *world) { w.kill() }, nil, true},
	}
	w.dealAll(blows, *belowFor, r)
	w.deal(blow{"the last power cut", func(w *world) { w.senders.end(w.t); cut(w); start(w) }, nil, true}, r)
	w.tell("everything runs again")
	harness.Eventually(t, leastFor, "most mail is where it should be", func() bool {
		v := w.judge(false)
		return 2*v.Delivered > v.Recipients && v.Relayed > 0
	})
	w.tell("the gateway is stopped")
	w.gateway.Stop(t)
	w.look(w.judge(true))
}
