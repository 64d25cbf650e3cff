//go:build linux

package faults

import (
	"database/sql"
	"flag"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

var sharedFor = flag.Duration("shared-for", 4*time.Second, "how long faults are made with two gateways on PostgreSQL")

// sharedLease is how long a gateway that says nothing keeps its part of the queue.
const sharedLease = 2 * time.Second

// TestNothingLostOnPostgres has two gateways on one PostgreSQL server, which is killed at random moments, and one of
// which is frozen beyond its lease and thawed.
func TestNothingLostOnPostgres(t *testing.T) {
	seed := aSeed(t)
	r := rand.New(rand.NewPCG(seed, 2))
	database := peers.StartPostgres(t)
	url := database.Database(t)
	w, frozen := sharedWorld(t, url, seed)
	blows := []blow{
		{"kill -9 of PostgreSQL", func(w *world) { killPostgres(w.t, database) }, func(w *world) {
			if err := database.Start(); err != nil {
				w.t.Fatal(err)
			}
		}, true},
		{"a gateway is frozen", func(w *world) { frozen.Signal(w.t, syscall.SIGSTOP) }, func(w *world) {
			beyondLease(w.t, url)
			frozen.Signal(w.t, syscall.SIGCONT)
		}, true},
	}
	for dealt := 0; w.goesOn(*sharedFor, dealt, blows); dealt++ {
		w.moment(r)
		w.deal(blows[dealt%len(blows)], r)
	}
	w.senders.end(t)
	harness.Eventually(t, leastFor, "most mail is where it should be", func() bool {
		v := w.judge(false)
		return 2*v.Delivered > v.Recipients && v.Relayed > 0
	})
	frozen.Stop(t)
	w.gateway.Stop(t)
	w.look(w.judge(true))
}

// sharedWorld has two gateways on one database. The senders know one of them, each has half of the queue.
func sharedWorld(t *testing.T, url string, seed uint64) (w *world, other *harness.Gateway) {
	t.Helper()
	w = unbegun(t)
	w.state = url
	hop := w.startSink()
	settings := func() harness.Mapping {
		return harness.Mapping{
			"state": url, "state_folder": "own", "timeouts": harness.Mapping{"drain": "2s", "lease": sharedLease.String()},
		}
	}
	w.gateway, other = w.prepare(hop, settings()), w.prepare(hop, settings())
	w.addUsers()
	w.gateway.Run(t)
	other.Run(t)
	w.send(seed, w.gateway.Address("submission"))
	return w, other
}

// killPostgres kills the server and all of its processes, as if its machine had stopped, but for what the system has yet
// to write.
func killPostgres(t *testing.T, p *peers.Postgres) {
	t.Helper()
	pids := append([]int{p.PID()}, harness.Children(p.PID())...)
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // a session may have ended meanwhile
	}
	p.Kill()
	for _, pid := range pids[1:] {
		harness.Eventually(t, time.Minute, "the end of a session", func() bool { return !harness.Alive(pid) })
	}
}

// beyondLease waits until a gateway that is frozen is taken for dead.
func beyondLease(t *testing.T, url string) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	harness.Eventually(t, time.Minute, "the end of the frozen gateway's lease", func() bool {
		var nodes int
		return db.QueryRowContext(t.Context(), "SELECT count(*) FROM spool_nodes").Scan(&nodes) == nil && nodes == 1
	})
}
