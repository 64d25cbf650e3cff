//go:build linux

package login

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
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
		all = append(all, share(zerolog.Nop(), db.Quick(), NewMemoryThrottle(ThrottleLimits{}), 20*time.Millisecond))
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
		if err := s.Report(t.Context(), peer, account, false); err != nil {
			t.Fatal(err)
		}
	}
}

// counted is a key's count on a node.
func (s *SharedThrottle) counted(key string) (failures float64, familiar bool) {
	s.MemoryThrottle.mu.Lock()
	defer s.MemoryThrottle.mu.Unlock()
	c := s.find(key, time.Now())
	if c == nil {
		return 0, false
	}
	return c.failures, c.familiar
}

func soon(t *testing.T, what string, f func() bool) {
	t.Helper()
	for begin := time.Now(); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("%s does not come", what)
		}
	}
}

// TestSharedThrottle: what is counted on one node delays on the other, counts of several nodes
// add up, and a pair that was used with success on one is familiar to all.
func TestSharedThrottle(t *testing.T) {
	t.Parallel()
	server := peers.StartPostgres(t)
	nodes, _ := throttles(t, server, 2)
	one, two := nodes[0], nodes[1]
	if err := one.Report(t.Context(), guesser, "owner@a", true); err != nil {
		t.Fatal(err)
	}
	one.fail(t, guesser, "ada@a", 3)
	two.fail(t, guesser, "ada@a", 4)
	for _, node := range nodes {
		soon(t, "the sum", func() bool { n, _ := node.counted(accountKey("ada@a")); return n > 6.5 })
		if n, _ := node.counted(accountKey("ada@a")); n > 7.01 {
			t.Errorf("7 failures are counted as %f", n)
		}
		for peer, account := range map[string]string{"198.51.100.1": "ada@a", "192.0.2.99": "eve@a"} {
			wait, err := node.Admit(t.Context(), netip.MustParseAddr(peer), account)
			if err != nil || wait == 0 {
				t.Errorf("%s from %s waits %s (%v)", account, peer, wait, err)
			}
		}
		soon(t, "the familiar pair", func() bool { _, familiar := node.counted(pairKey(networkKey(guesser), "owner@a")); return familiar })
		if wait, err := node.Admit(t.Context(), guesser, "owner@a"); wait != 0 || err != nil {
			t.Errorf("the owner waits %s (%v)", wait, err)
		}
	}
	// A success clears the pair, everywhere, of what was before it.
	two.fail(t, guesser, "owner@a", 9)
	soon(t, "the owner's delay", func() bool { wait, _ := one.Admit(t.Context(), guesser, "owner@a"); return wait > 0 })
	if err := one.Report(t.Context(), guesser, "owner@a", true); err != nil {
		t.Fatal(err)
	}
	soon(t, "the end of the owner's delay", func() bool { wait, _ := two.Admit(t.Context(), guesser, "owner@a"); return wait == 0 })
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
	nodes, db := throttles(t, peers.StartPostgres(t), 1)
	changed := func() (at int64) {
		// None yet: 0.
		_ = db.QueryRow(t.Context(), "SELECT changed FROM login_failures").Scan(&at)
		return at
	}
	poll := func() {
		if err := nodes[0].Report(t.Context(), guesser, "ada@a", true); err != nil {
			t.Fatal(err)
		}
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
	if wait, err := s.Admit(t.Context(), netip.MustParseAddr("192.0.2.8"), "x"); wait == 0 && err == nil {
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

// TestThrottleChores: counters that nobody has changed for long go.
func TestThrottleChores(t *testing.T) {
	t.Parallel()
	server := peers.StartPostgres(t)
	nodes, db := throttles(t, server, 1)
	err := db.Write(t.Context(), func(tx *state.Tx) error {
		_, err := tx.Exec("INSERT INTO login_failures VALUES ('old', 9, false, 1), ('older', 0, true, 1), ('young', 9, false, " + microseconds + ")")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := nodes[0].Chores()[0].Do(t.Context(), 100); rows != 2 || err != nil {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// TestNewThrottle: with SQLite there is nobody to share with.
func TestNewThrottle(t *testing.T) {
	db, err := state.Open(context.Background(), state.Options{Log: zerolog.New(&bytes.Buffer{}), Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, ok := NewThrottle(zerolog.Nop(), db, ThrottleLimits{}).(*MemoryThrottle); !ok {
		t.Error("the throttle of a gateway alone is shared")
	}
}
