//go:build linux

package folder_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/peers"
)

// maildropOf is the key of a mailbox.
func maildropOf(account string) folder.Key { return folder.Key{Store: "s", Account: account} }

// node is a gateway's locks in a database.
func node(t testing.TB, o state.Options, last time.Duration) folder.Locks {
	t.Helper()
	locks := folder.NewLocks(folder.LockOptions{Log: zerolog.Nop(), DB: databases.Open(t, o), Time: last})
	t.Cleanup(locks.Close)
	return locks
}

func acquire(t *testing.T, locks folder.Locks, account string) folder.Lock {
	t.Helper()
	lock, err := locks.Acquire(t.Context(), maildropOf(account))
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func inUse(t *testing.T, locks folder.Locks, account string) {
	t.Helper()
	if _, err := locks.Acquire(t.Context(), maildropOf(account)); backends.KindOf(err) != backends.InUse {
		t.Fatalf("a lock that is held: %v", err)
	}
}

// TestLock: the contract, within one gateway.
func TestLocks(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		locks := node(t, o, time.Minute)
		first := acquire(t, locks, "ada")
		inUse(t, locks, "ada")
		other := acquire(t, locks, "bob")
		for _, similar := range []folder.Key{{Store: "s", Account: "ada", Folder: "x"}, {Store: "sa", Account: "da"}, {Store: "", Account: "sada"}} {
			lock, err := locks.Acquire(t.Context(), similar)
			if err != nil {
				t.Fatalf("%+v: %v", similar, err)
			}
			lock.Release()
		}
		if err := first.Held(t.Context()); err != nil || first.Lost() {
			t.Errorf("%v, lost: %v", err, first.Lost())
		}
		first.Release()
		second := acquire(t, locks, "ada")
		first.Release() // again: it is somebody else's now
		inUse(t, locks, "ada")
		if err := first.Held(t.Context()); err == nil {
			t.Error("a lock that was given back is held")
		}
		if err := second.Held(t.Context()); err != nil {
			t.Error(err)
		}
		second.Release()
		other.Release()
	})
}

// TestOneHolder: among nodes and sessions that all want the same few mailboxes nobody has one
// together with somebody else.
func TestOneHolder(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		nodes := []folder.Locks{node(t, o, time.Minute)}
		if o.URL != "" {
			nodes = append(nodes, node(t, o, time.Minute), node(t, o, time.Minute))
		}
		var holders [3]atomic.Int32
		var taken atomic.Int32
		var sessions sync.WaitGroup
		for i := range 12 {
			sessions.Go(func() {
				for range 40 {
					n := rand.IntN(len(holders))
					lock, err := nodes[i%len(nodes)].Acquire(t.Context(), maildropOf(fmt.Sprint(n)))
					if backends.KindOf(err) == backends.InUse {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					taken.Add(1)
					if holders[n].Add(1) != 1 || lock.Held(t.Context()) != nil {
						t.Error("two sessions have one mailbox")
					}
					holders[n].Add(-1)
					lock.Release()
				}
			})
		}
		sessions.Wait()
		if taken.Load() == 0 {
			t.Error("nobody ever had a lock")
		}
	})
}

// shortLease ends within a test, and is so long that a loaded machine renews it in time.
const shortLease = 2 * time.Second

// TestNodes: two gateways on one database. A lock holds over both, is free at once when it is
// given back, and is renewed as long as its gateway lives.
func TestNodes(t *testing.T) {
	t.Parallel()
	o := state.Options{URL: peers.SharedPostgres(t).Database(t)}
	one, two := node(t, o, shortLease), node(t, o, shortLease)
	lock := acquire(t, one, "ada")
	db := databases.Open(t, o)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	first, now := int64(0), int64(0)
	for deadline := time.Now().Add(time.Minute); now-first <= shortLease.Microseconds(); { // it is renewed, until the first lease is over
		if err := db.QueryRow(t.Context(), "SELECT expires FROM leases").Scan(&now); err != nil {
			t.Fatal(err)
		}
		if first == 0 {
			first = now
		}
		inUse(t, two, "ada")
		if (<-tick.C).After(deadline) {
			t.Fatal("the lease is not renewed")
		}
	}
	if err := lock.Held(t.Context()); err != nil || lock.Lost() {
		t.Errorf("%v, lost: %v", err, lock.Lost())
	}
	lock.Release()
	acquire(t, two, "ada").Release()
	// One that is ended gives back what it has.
	three := node(t, o, time.Hour)
	_ = acquire(t, three, "bob")
	inUse(t, two, "bob")
	folder.CloseForTest(three)
	acquire(t, two, "bob").Release()
}

// TestDeadNode: the locks of a gateway that renews nothing are others' once the lease is over,
// not before; and should it come back, it may not remove anything.
func TestDeadNode(t *testing.T) {
	t.Parallel()
	o := state.Options{URL: peers.SharedPostgres(t).Database(t)}
	dead, alive := node(t, o, shortLease), node(t, o, shortLease)
	folder.Freeze(dead)
	begin := time.Now()
	lock := acquire(t, dead, "ada")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var mine folder.Lock
	for mine == nil {
		got, err := alive.Acquire(t.Context(), maildropOf("ada"))
		if kind := backends.KindOf(err); err != nil && kind != backends.InUse {
			t.Fatal(err)
		}
		if mine = got; err == nil && time.Since(begin) < shortLease {
			t.Errorf("the lease was over after %s", time.Since(begin))
		}
		if (<-tick.C).Sub(begin) > time.Minute {
			t.Fatal("the lease is never over")
		}
	}
	if !lock.Lost() {
		t.Error("the dead node's session thinks that it has the lock")
	}
	if err := lock.Held(t.Context()); backends.KindOf(err) != backends.Temporary {
		t.Errorf("the dead node's session may remove: %v", err)
	}
	lock.Release()
	if err := mine.Held(t.Context()); err != nil {
		t.Errorf("the dead node has taken the lock with it: %v", err)
	}
	inUse(t, dead, "ada")
	mine.Release()
	again := acquire(t, dead, "ada")
	if err := again.Held(t.Context()); err != nil {
		t.Error(err)
	}
	again.Release()
}

// TestDatabaseDown: without the database nobody gets a lock, who has one goes on until the
// lease is over, and nothing may be removed; when it is back the lock is there again.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	server := peers.StartPostgres(t)
	locks := node(t, state.Options{URL: server.Database(t)}, shortLease)
	lock := acquire(t, locks, "ada")
	server.Stop()
	stopped := time.Now()
	if _, err := locks.Acquire(t.Context(), maildropOf("bob")); backends.KindOf(err) != backends.Temporary {
		t.Errorf("a lock without a database: %v", err)
	}
	if err := lock.Held(t.Context()); backends.KindOf(err) != backends.Temporary {
		t.Errorf("a removal without a database: %v", err)
	}
	if lock.Lost() && time.Since(stopped) < shortLease/3 {
		t.Error("the session has ended with the database")
	}
	eventually(t, "the end of the lease", lock.Lost)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lock again", func() bool { return lock.Held(t.Context()) == nil && !lock.Lost() })
	lock.Release()
	acquire(t, locks, "bob").Release()
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for begin := time.Now(); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatalf("%s does not come", what)
		}
	}
}

// TestLostAnswer: a gateway that took a lease and never heard of it does not keep its own users
// out.
func TestLostAnswer(t *testing.T) {
	o := state.Options{URL: peers.SharedPostgres(t).Database(t)}
	locks := node(t, o, time.Hour)
	folder.Forget(locks, acquire(t, locks, "ada"))
	acquire(t, locks, "ada").Release()
}

// TestGivenUp: a login whose client is gone leaves no lock behind in this process.
func TestGivenUp(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		locks := node(t, o, time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if lock, err := locks.Acquire(ctx, maildropOf("ada")); err == nil {
			lock.Release()
		}
		acquire(t, locks, "ada").Release()
	})
}

// BenchmarkLock is taking a lock and giving it back, by so many sessions at once.
func BenchmarkLock(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		for _, callers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", kind, callers), func(b *testing.B) {
				o := state.Options{Folder: b.TempDir()}
				if kind == "postgres" {
					o = state.Options{URL: peers.SharedPostgres(b).Database(b)}
				}
				locks := node(b, o, time.Minute)
				var next atomic.Int64
				var sessions sync.WaitGroup
				b.ResetTimer()
				for i := range callers {
					sessions.Go(func() {
						for next.Add(1) <= int64(b.N) {
							lock, err := locks.Acquire(b.Context(), maildropOf(fmt.Sprint(i)))
							if err != nil {
								b.Error(err)
								return
							}
							lock.Release()
						}
					})
				}
				sessions.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "locks/s")
			})
		}
	}
}
