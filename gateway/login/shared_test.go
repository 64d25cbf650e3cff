//go:build linux

package login

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/peers"
)

// throttles are the throttles of gateways that share a database.
func throttles(t *testing.T, server *peers.Postgres, n int) (all []*SharedThrottle, db *state.DB) {
	t.Helper()
	db, err := state.Open(t.Context(), state.Options{Log: zerolog.Nop(), URL: server.Database(t)})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		all = append(all, share(zerolog.Nop(), tableOf(db), NewMemoryThrottle(ThrottleLimits{}), 20*time.Millisecond))
	}
	t.Cleanup(func() {
		for _, s := range all {
			s.Close()
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return all, db
}

var guesser = netip.MustParseAddr("192.0.2.7")

func (s *SharedThrottle) fail(t *testing.T, peer netip.Addr, account string, times int) {
	t.Helper()
	for range times {
		s.outcome(t, peer, account, Wrong)
	}
}

// outcome is an attempt's that does not wait for its turn.
func (s *SharedThrottle) outcome(t *testing.T, peer netip.Addr, account string, outcome Outcome) {
	t.Helper()
	(&turn{throttle: s.MemoryThrottle, peer: peer}).End(account, outcome)
}

// delayed says whether the next attempt would have to wait, were another one under way.
func (s *SharedThrottle) delayed(peer netip.Addr, account string) bool {
	m := s.MemoryThrottle
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.of(keysOf(peer, account), time.Now()) {
		if m.limits.Delay(c.failures) > 0 {
			return true
		}
	}
	return false
}

// counted is a key's count on a node.
func (s *SharedThrottle) counted(key string) (failures float64, known bool) {
	s.MemoryThrottle.mu.Lock()
	defer s.MemoryThrottle.mu.Unlock()
	c := s.find(key, time.Now())
	if c == nil {
		return 0, false
	}
	return c.failures, c.known
}

func soon(t *testing.T, what string, f func() bool) {
	t.Helper()
	for begin := time.Now(); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatalf("%s does not come", what)
		}
	}
}

// TestLearnsAllThatHasChanged: bursts of counts, as many as a gateway tells at a time, hide no later ones,
// neither from a gateway that starts nor from one that runs.
func TestLearnsAllThatHasChanged(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		tell := func(counts map[string]count) {
			t.Helper()
			if err := tableOf(db).tell(t.Context(), counts, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		const bursts = 2
		for burst := range bursts {
			counts := make(map[string]count)
			for i := range unsharedMost {
				counts[accountKey(fmt.Sprintf("%d-%d@a", burst, i))] = count{failures: 1}
			}
			tell(counts)
		}
		tell(map[string]count{accountKey("last@a"): {failures: 1}})
		s := share(zerolog.Nop(), tableOf(db), NewMemoryThrottle(ThrottleLimits{}), time.Hour)
		defer s.Close()
		tell(map[string]count{accountKey("later@a"): {failures: 1}})
		before, _ := s.counted(accountKey("last@a"))
		s.exchange()
		if after, _ := s.counted(accountKey("later@a")); before < 0.5 || after < 0.5 {
			t.Errorf("the last count before the start is %f, the one after it %f", before, after)
		}
		if all, err := Counts(t.Context(), db, ThrottleLimits{}); len(all) != bursts*unsharedMost+2 || err != nil {
			t.Errorf("%d counts are told (%v)", len(all), err)
		}
	})
}

// TestSharedThrottle: what is counted on one node delays on the other, counts of several nodes
// add up, and a pair that was used with success on one is known to all.
func TestSharedThrottle(t *testing.T) {
	t.Parallel()
	server := peers.SharedPostgres(t)
	nodes, _ := throttles(t, server, 2)
	one, two := nodes[0], nodes[1]
	one.outcome(t, guesser, "owner@a", Good)
	one.fail(t, guesser, "ada@a", 3)
	two.fail(t, guesser, "ada@a", 4)
	for _, node := range nodes {
		soon(t, "the sum", func() bool { n, _ := node.counted(accountKey("ada@a")); return n > 6.5 })
		if n, _ := node.counted(accountKey("ada@a")); n > 7.01 {
			t.Errorf("7 failures are counted as %f", n)
		}
		for peer, account := range map[string]string{"198.51.100.1": "ada@a", "192.0.2.99": "eve@a"} {
			if !node.delayed(netip.MustParseAddr(peer), account) {
				t.Errorf("%s from %s does not wait", account, peer)
			}
		}
		soon(t, "the known pair", func() bool { _, known := node.counted(pairKey(guesser, "owner@a")); return known })
		if node.delayed(guesser, "owner@a") {
			t.Error("the owner waits")
		}
	}
	// A success clears the pair, everywhere, of what was before it.
	two.fail(t, guesser, "owner@a", 9)
	soon(t, "the owner's delay", func() bool { return one.delayed(guesser, "owner@a") })
	one.outcome(t, guesser, "owner@a", Good)
	soon(t, "the end of the owner's delay", func() bool { return !two.delayed(guesser, "owner@a") })
	// A node that comes later knows all.
	late := share(zerolog.Nop(), one.db, NewMemoryThrottle(ThrottleLimits{}), time.Hour)
	late.exchange()
	if n, _ := late.counted(accountKey("ada@a")); n < 6.5 {
		t.Errorf("a node that came later has %f failures", n)
	}
	late.Close()
}

// TestPollsAreNotShared: successes that say nothing new cost the database nothing.
func TestPollsAreNotShared(t *testing.T) {
	t.Parallel()
	nodes, db := throttles(t, peers.SharedPostgres(t), 1)
	changed := func() (at int64) {
		// None yet: 0.
		_ = db.QueryRow(t.Context(), "SELECT changed FROM login_failures").Scan(&at)
		return at
	}
	poll := func() {
		nodes[0].outcome(t, guesser, "ada@a", Good)
	}
	poll()
	soon(t, "the first success", func() bool { return changed() > 0 })
	first := changed()
	poll()
	nodes[0].mu.Lock()
	waiting := len(nodes[0].unshared)
	nodes[0].mu.Unlock()
	if waiting != 0 || changed() != first {
		t.Errorf("%d counters wait to be told after a second success", waiting)
	}
}

// TestUnsharedIsBounded: what cannot be told is not kept without end, and odd names are not told.
func TestUnsharedIsBounded(t *testing.T) {
	t.Parallel()
	server := peers.StartPostgres(t)
	nodes, db := throttles(t, server, 1)
	s := nodes[0]
	server.Stop()
	for n := range unsharedMost {
		s.fail(t, guesser, fmt.Sprint(n), 1)
	}
	s.mu.Lock()
	waiting := len(s.unshared)
	s.mu.Unlock()
	if waiting > unsharedMost {
		t.Errorf("%d counters wait to be told", waiting)
	}
	if !s.delayed(netip.MustParseAddr("192.0.2.8"), "x") {
		t.Error("without the database nobody is delayed")
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	for _, odd := range []string{"\xff", "a\x00b", strings.Repeat("x", 1000)} {
		s.fail(t, guesser, odd, 1)
	}
	soon(t, "what was counted meanwhile", func() bool {
		var failures float64
		err := db.QueryRow(t.Context(), "SELECT failures FROM login_failures WHERE key = $1", networkKey(guesser)).Scan(&failures)
		return err == nil && failures > unsharedMost-10
	})
}

// TestThrottleTasks: counters that nobody has changed for long go.
func TestThrottleTasks(t *testing.T) {
	t.Parallel()
	server := peers.SharedPostgres(t)
	nodes, db := throttles(t, server, 1)
	err := db.Write(t.Context(), func(tx *state.Tx) error {
		_, err := tx.Exec("INSERT INTO login_failures VALUES ('old', 9, false, 1), ('older', 0, true, 1), ('young', 9, false, " + microseconds + ")")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := nodes[0].Tasks()[0].Do(t.Context(), 100); rows != 2 || err != nil {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// TestThrottleOutlastsARestart: with SQLite, too, what was counted and who is known is there again
// from the first login on, and an administrator can look at it and reset it while the gateway runs.
func TestThrottleOutlastsARestart(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		beside := databases.Open(t, o) // the command line
		start := func() *SharedThrottle {
			return share(zerolog.Nop(), tableOf(db), NewMemoryThrottle(ThrottleLimits{}), 20*time.Millisecond)
		}
		s := start()
		owner := netip.MustParseAddr("198.51.100.7")
		s.outcome(t, owner, "ada@a", Good)
		s.fail(t, guesser, "ada@a", 7)
		s.fail(t, owner, "ada@a", 6)
		s.Close()
		s = start()
		defer s.Close()
		if _, known := s.counted(pairKey(owner, "ada@a")); !known || !s.delayed(guesser, "ada@a") || !s.delayed(owner, "ada@a") {
			t.Errorf("after a restart: known %v, the guesser is delayed: %v", known, s.delayed(guesser, "ada@a"))
		}
		all, err := Counts(t.Context(), beside, ThrottleLimits{})
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]Count{}
		for _, c := range all {
			told[c.Network+"|"+c.Address+"|"+c.Account] = c
		}
		if c := told["192.0.2.0/24||"]; len(all) != 4 || c.Failures < 6.9 || c.Failures > 7 {
			t.Errorf("told: %+v", all)
		}
		if c := told["|198.51.100.7|ada@a"]; !c.Known || c.Failures < 5.9 || time.Since(c.Changed).Abs() > time.Minute {
			t.Errorf("told: %+v", all)
		}
		if n, err := Reset(t.Context(), beside, []Count{{Network: "192.0.2.0/24"}, {Account: "nobody"}}); n != 1 || err != nil {
			t.Errorf("%d are reset, %v", n, err)
		}
		soon(t, "the network's reset", func() bool { n, _ := s.counted("n 192.0.2.0/24"); return n == 0 })
		if n, _ := s.counted(accountKey("ada@a")); n < 12 {
			t.Errorf("the account was reset, too: %f", n)
		}
		if n, err := Reset(t.Context(), beside, nil); n != 3 || err != nil {
			t.Errorf("%d are reset, %v", n, err)
		}
		soon(t, "the reset of all", func() bool { return !s.delayed(guesser, "ada@a") && !s.delayed(owner, "ada@a") })
		if _, known := s.counted(pairKey(owner, "ada@a")); !known {
			t.Error("who is known was forgotten")
		}
	})
}

// partsTable takes counts in parts, of which some fail.
type partsTable struct {
	throttleTable
	parts int
	told  map[string]float64
	t     *testing.T
}

func (p *partsTable) tell(ctx context.Context, counts map[string]count, _ time.Duration) error {
	if _, ends := ctx.Deadline(); !ends || len(counts) > rowsMost {
		p.t.Errorf("%d counters at once, with an end: %v", len(counts), ends)
	}
	if p.parts++; p.parts == 2 {
		return context.DeadlineExceeded
	}
	for key, c := range counts {
		p.told[key] += c.failures
	}
	return nil
}

func (p *partsTable) learn(_ context.Context, _ int64, _ string, _ int64, most int, _ func(throttleRow)) error {
	if most > rowsMost {
		p.t.Errorf("%d counters are asked for at once", most)
	}
	return nil
}

// TestClockIsSetBack: when the clock of the database is set back, nodes go on learning what others count, and a count whose time is yet to
// come grows by what is added to it, and no more.
func TestClockIsSetBack(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		table := tableOf(db)
		tell := func(key string) {
			t.Helper()
			if err := table.tell(t.Context(), map[string]count{key: {failures: 1}}, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		before, after := accountKey("before@a"), accountKey("after@a")
		tell(before)
		if err := db.Write(t.Context(), func(tx *state.Tx) error { // as if it were five hours later then
			_, err := tx.Exec("UPDATE login_failures SET changed = changed + $1", (5 * time.Hour).Microseconds())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		s := share(zerolog.Nop(), table, NewMemoryThrottle(ThrottleLimits{}), time.Hour)
		defer s.Close()
		if known, _ := s.counted(before); known < 0.5 {
			t.Errorf("what was counted is %f at the start", known)
		}
		tell(after)
		s.exchange()
		if known, _ := s.counted(after); known < 0.5 {
			t.Errorf("what another node counts is %f", known)
		}
		tell(before)
		s.exchange()
		if known, _ := s.counted(before); known < 1 || known > 2 {
			t.Errorf("two failures are %f", known)
		}
	})
}

// TestTellsInParts: a slow database gets on with what it is told, and is told nothing twice.
func TestTellsInParts(t *testing.T) {
	table := &partsTable{told: make(map[string]float64), t: t}
	s := share(zerolog.Nop(), table, NewMemoryThrottle(ThrottleLimits{}), time.Hour)
	const keys = 3*rowsMost + 1
	s.mu.Lock()
	for i := range keys {
		s.note(accountKey(fmt.Sprint(i)), count{failures: 1})
	}
	s.mu.Unlock()
	s.exchange()
	if len(table.told) != rowsMost {
		t.Errorf("%d are told before the failure", len(table.told))
	}
	s.Close()
	for key, failures := range table.told {
		if failures != 1 {
			t.Errorf("%s is told as %f", key, failures)
		}
	}
	if len(table.told) != keys {
		t.Errorf("%d are told", len(table.told))
	}
}
