//go:build linux && amd64

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

var clocksFor = flag.Duration("clocks-for", 6*time.Second, "how long clocks are set")

// jumps are how far a clock is set ahead, or back. A day is how old parts of contents and records of all sorts become; mail
// is given up after five.
var jumps = []time.Duration{3 * time.Hour, 26 * time.Hour, -3 * time.Hour, -26 * time.Hour}

// setClocks sets the clock of a gateway and of its plugins, as they are on one machine. Whatever is started after that has
// the machine's own: it has been set back.
func setClocks(t *testing.T, g *harness.Gateway, ahead time.Duration) {
	t.Helper()
	for _, pid := range append([]int{g.PID()}, g.Plugins()...) {
		setClock(t, pid, ahead)
	}
}

// clockBlows set the clock of a gateway and, a moment later, set it right.
func clockBlows(t *testing.T, g *harness.Gateway) (all []blow) {
	for _, ahead := range jumps {
		all = append(all, blow{
			"the clock is " + ahead.String() + " ahead",
			func(*world) { setClocks(t, g, ahead) }, func(*world) { setClocks(t, g, 0) }, false,
		})
	}
	return all
}

// TestNothingLostWhileClocksJump has the gateway's clock jump by hours and by more than a day, ahead and back, beside power
// cuts, kills and a next hop that refuses, so that there is always mail that waits for a time.
func TestNothingLostWhileClocksJump(t *testing.T) {
	seed := aSeed(t)
	w, r := newWorld(t, seed), rand.New(rand.NewPCG(seed, 5))
	blows := append(clockBlows(t, w.gateway), blow{"kill -9 of the gateway", func(w *world) { w.kill() }, nil, true},
		blow{"power cut", func(w *world) { w.cut(); w.retry() }, nil, true}, habit("refuse"), habit("silent"))
	w.dealAll(blows, *clocksFor, r)
	w.deal(lastCut, r)
	w.settleDown()
	w.tell("the gateway is stopped")
	w.gateway.Stop(t)
	w.tell("the judgement")
	w.look(w.judge(true))
}

// TestNothingLostWhileSharedClocksJump has two gateways on one PostgreSQL, whose clocks jump each by itself. Leases do not go
// by them: nobody is taken for dead meanwhile, and one that is frozen is, whatever its clock says. Nor does mail: what one has
// taken in is due for the other.
func TestNothingLostWhileSharedClocksJump(t *testing.T) {
	seed := aSeed(t)
	r := rand.New(rand.NewPCG(seed, 6))
	url := peers.StartPostgres(t).Database(t)
	w, other := sharedWorld(t, url, seed)
	harness.Eventually(t, time.Minute, "both gateways have half of the queue", func() bool { return evenly(t, url) })
	w.dealAll(append(clockBlows(t, w.gateway), clockBlows(t, other)...), *clocksFor, r)
	for _, g := range []*harness.Gateway{w.gateway, other} {
		if g.Log.Has("a gateway gives no sign of life") {
			t.Error("a gateway was taken for dead, as a clock was set")
		}
	}
	w.deal(blow{
		"a gateway whose clock is 26h0m0s behind is frozen",
		func(w *world) {
			setClocks(w.t, other, -26*time.Hour)
			other.Signal(w.t, syscall.SIGSTOP)
		},
		func(w *world) {
			beyondLease(w.t, url)
			other.Signal(w.t, syscall.SIGCONT)
		}, true,
	}, r)
	w.senders.end(t)
	// Nothing has failed but the gateway, so nothing waits for the relay's next attempt, which is after a quarter of an hour.
	harness.Eventually(t, leastFor, "all mail is where it should be", func() bool {
		v := w.judge(false)
		return len(v.Lost) == 0 && v.Relayed > 0
	})
	if n := counted(t, url, "SELECT count(*) FROM spool_recipients WHERE due > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 3600000000"); n > 0 {
		t.Errorf("%d recipients wait for an hour that a wrong clock has named", n)
	}
	other.Stop(t)
	w.gateway.Stop(t)
	w.look(w.judge(true))
}

func counted(t *testing.T, url, query string) (n int) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err == nil {
		defer db.Close()
		err = db.QueryRowContext(t.Context(), query).Scan(&n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// evenly says whether two gateways have the same number of shards.
func evenly(t *testing.T, url string) bool {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var most, nodes int
	err = db.QueryRowContext(t.Context(), "SELECT max(n), count(*) FROM (SELECT count(*) AS n FROM spool_shards WHERE node <> '' GROUP BY node) AS of").Scan(&most, &nodes)
	return err == nil && nodes == 2 && most == 32
}
