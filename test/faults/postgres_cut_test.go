//go:build linux

package faults

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

var belowFor = flag.Duration("below-for", 2*time.Second, "how long the power is cut below PostgreSQL")

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

// TestMissingSyncBelowPostgresIsFound has the server not sync, on a disk that has nothing then of what came after its last
// settling: with this seed nothing else survives the cut.
func TestMissingSyncBelowPostgresIsFound(t *testing.T) {
	const nothingSurvives = 3
	w, database := belowWorld(t, nothingSurvives, "fsync=off")
	w.sink.tell(t, "refuse") // what waits is in the database alone
	harness.Eventually(t, leastFor, "some messages", func() bool { return w.taken() > 40 })
	w.senders.end(t)
	w.kill()
	cutPostgres(w, database)
	startPostgres(t, database)
	v := w.judge(true)
	t.Logf("%d of %d are lost; spool: %s", len(v.Lost), v.Recipients, v.Spool)
	if len(v.Lost) == 0 {
		t.Error("the server does not sync, and nothing is lost")
	}
}

// belowWorld has one gateway whose state is PostgreSQL's. What has been made until the senders start is durable.
func belowWorld(t *testing.T, seed uint64, settings ...string) (*world, *peers.Postgres) {
	t.Helper()
	w := unbegun(t)
	at := t.TempDir()
	if err := os.Chmod(filepath.Dir(at), 0o755); err != nil { // the server has a user of its own
		t.Fatal(err)
	}
	w.layer = launch(t, nil, harness.Helper(t, "./test/faults/powercut"), "--backing", t.TempDir(), "--mount", at, "--seed", fmt.Sprint(seed))
	w.layer.ask(t, "settle") // it is mounted now
	database := peers.StartPostgresIn(t, at, settings...)
	w.state = database.Database(t)
	w.gateway = w.prepare(w.startSink(), harness.Mapping{
		"state": w.state, "state_folder": "own", "timeouts": harness.Mapping{"drain": "2s", "lease": sharedLease.String()},
	})
	w.addUsers()
	w.gateway.Run(t)
	w.layer.ask(t, "settle")
	w.send(seed, w.gateway.Address("submission"))
	return w, database
}

// cutPostgres is a power cut of the machine that PostgreSQL is on: its disk first, then its processes, with their memory.
func cutPostgres(w *world, p *peers.Postgres) {
	w.t.Helper()
	w.layer.ask(w.t, "freeze")
	killPostgres(w.t, p)
	w.layer.ask(w.t, "cut")
}

// startPostgres starts it on a machine that has just begun to run: the process that its file names is none of its own.
func startPostgres(t *testing.T, p *peers.Postgres) {
	t.Helper()
	if err := os.Remove(filepath.Join(p.Data(), "postmaster.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
}
