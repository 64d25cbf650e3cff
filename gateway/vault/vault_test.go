//go:build linux

package vault_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	contract "github.com/dipylon/dipylon/backends/vault"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/vault"
	"github.com/dipylon/dipylon/test/databases"
)

func TestMain(m *testing.M) { databases.Main(m) }

// each runs a test on the vault of each database, and on the one in memory. node gives a further gateway's view of it: with
// SQLite there is one gateway.
func each(t *testing.T, f func(t *testing.T, node func() contract.Vault)) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		f(t, func() contract.Vault {
			if db.Shared() {
				return vault.New(databases.Open(t, o)).Of(vault.Store("a"))
			}
			return vault.New(db).Of(vault.Store("a"))
		})
	})
	t.Run("memory", func(t *testing.T) {
		m := &contract.Memory{}
		f(t, func() contract.Vault { return m })
	})
}

func get(t *testing.T, v contract.Vault, name string) contract.Entry {
	t.Helper()
	e, err := v.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func put(t *testing.T, v contract.Vault, name string, c contract.Change) bool {
	t.Helper()
	stored, err := v.Put(t.Context(), name, c)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func lease(t *testing.T, v contract.Vault, name string, life time.Duration) contract.Lease {
	t.Helper()
	l, err := v.Lease(t.Context(), name, life)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestPut: what one gateway puts another one has, unless it has seen an older one.
func TestPut(t *testing.T) {
	each(t, func(t *testing.T, node func() contract.Vault) {
		one, two := node(), node()
		if e := get(t, one, "login"); e.Value != nil || e.Version != 0 {
			t.Errorf("an empty vault has %+v", e)
		}
		if !put(t, one, "login", contract.Change{Value: []byte("first")}) {
			t.Fatal("the first value is not stored")
		}
		seen := get(t, two, "login")
		if string(seen.Value) != "first" || seen.Age < 0 || seen.Age > time.Minute {
			t.Errorf("the other gateway has %+v", seen)
		}
		if put(t, two, "login", contract.Change{Value: []byte("blind")}) {
			t.Error("a value takes the place of one that was not read")
		}
		if !put(t, two, "login", contract.Change{Value: []byte("second"), Version: seen.Version}) {
			t.Error("a value that was read cannot be replaced")
		}
		if put(t, one, "login", contract.Change{Value: []byte("late"), Version: seen.Version}) {
			t.Error("a value that was replaced is replaced once more")
		}
		if e := get(t, one, "login"); string(e.Value) != "second" || e.Version <= seen.Version {
			t.Errorf("there is %+v", e)
		}
	})
}

// TestLease: one of many has the lease, until it puts something, gives it back, or says nothing for too long.
func TestLease(t *testing.T) {
	each(t, func(t *testing.T, node func() contract.Vault) {
		one, two := node(), node()
		first := lease(t, one, "token", time.Minute)
		if first.ID == "" || first.Abandoned || first.Value != nil {
			t.Fatalf("the first lease is %+v", first)
		}
		if second := lease(t, two, "token", time.Minute); second.ID != "" {
			t.Fatalf("two have the lease: %+v", second)
		}
		if err := two.Release(t.Context(), "token", "not the lease"); err != nil {
			t.Fatal(err)
		}
		if second := lease(t, two, "token", time.Minute); second.ID != "" {
			t.Fatal("somebody else has given the lease back")
		}
		if !put(t, one, "token", contract.Change{Value: []byte("x"), Version: first.Version, Lease: first.ID}) {
			t.Fatal("who has the lease cannot put")
		}
		second := lease(t, two, "token", time.Millisecond)
		if second.ID == "" || second.Abandoned || string(second.Value) != "x" {
			t.Fatalf("a lease that is over: %+v", second)
		}
		time.Sleep(5 * time.Millisecond) // as long as the lease lasts
		third := lease(t, one, "token", time.Minute)
		if third.ID == "" || !third.Abandoned {
			t.Fatalf("a lease that nobody gave back: %+v", third)
		}
		if err := one.Release(t.Context(), "token", third.ID); err != nil {
			t.Fatal(err)
		}
		if fourth := lease(t, two, "token", time.Minute); fourth.ID == "" || fourth.Abandoned {
			t.Fatalf("a lease that was given back: %+v", fourth)
		}
	})
}

// TestAbandon: a lease whose holder has died is had at once by the next one, who is told.
func TestAbandon(t *testing.T) {
	each(t, func(t *testing.T, node func() contract.Vault) {
		one, two := node(), node()
		l := lease(t, one, "login", time.Minute)
		abandon := func(id string) {
			if err := one.(contract.Abandoner).Abandon(t.Context(), "login", id); err != nil {
				t.Error(err)
			}
		}
		abandon("another")
		abandon("")
		if lease(t, two, "login", time.Minute).ID != "" {
			t.Error("a lease is over that was not abandoned")
		}
		abandon(l.ID)
		next := lease(t, two, "login", time.Minute)
		if next.ID == "" || !next.Abandoned {
			t.Errorf("the next one has %+v", next)
		}
		abandon(l.ID) // another one's by now
		if lease(t, one, "login", time.Minute).ID != "" {
			t.Error("who is gone ends the lease of another one")
		}
	})
}

// TestExtend: who has a lease can have it last longer, and nobody else.
func TestExtend(t *testing.T) {
	each(t, func(t *testing.T, node func() contract.Vault) {
		one, two := node(), node()
		extend := func(v contract.Vault, id string, life time.Duration) bool {
			t.Helper()
			held, err := v.(contract.Extender).Extend(t.Context(), "login", id, life)
			if err != nil {
				t.Error(err)
			}
			return held
		}
		l := lease(t, one, "login", time.Minute)
		if extend(two, "another", time.Millisecond) || extend(two, "", time.Millisecond) || lease(t, two, "login", time.Minute).ID != "" {
			t.Error("somebody else has the say of a lease")
		}
		if !extend(one, l.ID, time.Millisecond) {
			t.Error("a lease cannot be extended")
		}
		time.Sleep(5 * time.Millisecond) // as long as it lasts
		if !extend(one, l.ID, time.Minute) || lease(t, two, "login", time.Minute).ID != "" {
			t.Error("a lease that nobody has taken cannot be extended")
		}
		if !put(t, one, "login", contract.Change{Value: []byte("x"), Lease: l.ID}) || extend(one, l.ID, time.Minute) {
			t.Error("a lease goes on that ended with what was put")
		}
		for _, life := range []time.Duration{0, contract.LeaseMost + 1} {
			if _, err := one.(contract.Extender).Extend(t.Context(), "login", l.ID, life); err == nil {
				t.Errorf("a lease is extended for %s", life)
			}
		}
	})
}

// TestLeaseOfMany: of many who ask at once one has it, whoever they are.
func TestLeaseOfMany(t *testing.T) {
	each(t, func(t *testing.T, node func() contract.Vault) {
		var have, stored atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			v := node()
			for range 4 {
				all.Go(func() {
					l := lease(t, v, "token", time.Minute)
					if l.ID != "" {
						have.Add(1)
					}
					if put(t, v, "other", contract.Change{Value: []byte("x")}) {
						stored.Add(1)
					}
				})
			}
		}
		all.Wait()
		if have.Load() != 1 || stored.Load() != 1 {
			t.Errorf("%d have the lease, %d have put the first value", have.Load(), stored.Load())
		}
	})
}

// TestExpires: what is worth nothing any more is not given, is removed, and does not come back under a version that it had.
func TestExpires(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		v := vault.New(db)
		part := v.Of(vault.Route("a"))
		put(t, part, "stays", contract.Change{Value: []byte("x")})
		put(t, part, "goes", contract.Change{Value: []byte("x"), Keep: time.Microsecond})
		time.Sleep(time.Millisecond) // as long as it is kept
		gone := get(t, part, "goes")
		if gone.Value != nil || gone.Version == 0 {
			t.Errorf("there is still %+v", gone)
		}
		rows, err := v.Tasks()[0].Do(t.Context(), 10)
		if err != nil || rows != 1 {
			t.Errorf("%d rows are removed, %v", rows, err)
		}
		if put(t, part, "goes", contract.Change{Value: []byte("y"), Version: gone.Version}) {
			t.Error("a value that was removed is replaced")
		}
		put(t, part, "goes", contract.Change{Value: []byte("y")})
		if e := get(t, part, "goes"); e.Version <= gone.Version {
			t.Errorf("the version %d comes after %d", e.Version, gone.Version)
		}
		if e := get(t, part, "stays"); e.Value == nil {
			t.Error("what is to stay has gone")
		}
	})
}

// TestOwners: nobody has what somebody else has put under the same name.
func TestOwners(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		v := vault.New(databases.Open(t, o))
		put(t, v.Of(vault.Store("a")), "login", contract.Change{Value: []byte("a's")})
		for _, owner := range []string{vault.Store("b"), vault.Route("a"), vault.Collect("a")} {
			if e := get(t, v.Of(owner), "login"); e.Value != nil || e.Version != 0 {
				t.Errorf("the %s has %+v", owner, e)
			}
			if l := lease(t, v.Of(owner), "login", time.Minute); l.ID == "" {
				t.Errorf("the %s waits for somebody else's lease", owner)
			}
		}
	})
}

// TestForget: who keeps something that does not go by itself is named, and what is forgotten is gone for who was about to put the next
// one, too.
func TestForget(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		v := vault.New(databases.Open(t, o))
		kept, passing := v.Of(vault.Store("a")), v.Of(vault.Route("b"))
		put(t, kept, "login", contract.Change{Value: []byte("x")})
		put(t, kept, "token", contract.Change{Value: []byte("x"), Keep: time.Hour})
		put(t, passing, "token", contract.Change{Value: []byte("x"), Keep: time.Hour})
		lease(t, passing, "other", time.Minute)
		l := lease(t, kept, "login", time.Minute)
		if owners, err := v.Keepers(t.Context()); err != nil || len(owners) != 1 || owners[0] != "store a" {
			t.Errorf("%q keep something, %v", owners, err)
		}
		if n, err := v.Forget(t.Context(), vault.Store("a")); err != nil || n != 2 {
			t.Errorf("%d entries are forgotten, %v", n, err)
		}
		if put(t, kept, "login", contract.Change{Value: []byte("y"), Version: l.Version, Lease: l.ID}) {
			t.Error("what was forgotten comes back")
		}
		if owners, err := v.Keepers(t.Context()); err != nil || len(owners) > 0 {
			t.Errorf("%q keep something, %v", owners, err)
		}
		if get(t, passing, "token").Value == nil {
			t.Error("what somebody else has is forgotten")
		}
	})
}

// TestKeeps: one of very many keepers is found, though not all of them are named.
func TestKeeps(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		v, owner := vault.New(db), vault.Collect("z")
		put(t, v.Of(owner), "token", contract.Change{Value: []byte("x"), Keep: time.Hour})
		keeps := func() bool {
			t.Helper()
			is, err := v.Keeps(t.Context(), owner)
			if err != nil {
				t.Error(err)
			}
			return is
		}
		if keeps() {
			t.Error("a token that goes by itself is taken for a login")
		}
		put(t, v.Of(owner), "login", contract.Change{Value: []byte("x")})
		if err := db.Write(t.Context(), func(tx *state.Tx) error {
			for i := range 1000 {
				_, err := tx.Exec("INSERT INTO vault (owner, name, value, version, changed, expires, holder, until) VALUES ($1, 'login', $2, 1, 0, 0, '', 0)",
					vault.Collect(fmt.Sprint("a", i)), []byte("x"))
				if err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if owners, err := v.Keepers(t.Context()); err != nil || len(owners) != 1000 || slices.Contains(owners, owner) {
			t.Fatalf("%d keep something, %v", len(owners), err)
		}
		if !keeps() {
			t.Error("a login that is not named is not found")
		}
	})
}

// TestBounds: what is too much, or no name, is refused, and says so.
func TestBounds(t *testing.T) {
	each(t, func(t *testing.T, node func() contract.Vault) {
		v := node()
		for _, name := range []string{"", "Login", "a/b", "a b", "store b", string(bytes.Repeat([]byte("a"), contract.NameMost+1))} {
			if _, err := v.Get(t.Context(), name); err == nil {
				t.Errorf("Get takes the name %q", name)
			}
			if _, err := v.Lease(t.Context(), name, time.Second); err == nil {
				t.Errorf("Lease takes the name %q", name)
			}
			if _, err := v.Put(t.Context(), name, contract.Change{Value: []byte("x")}); err == nil {
				t.Errorf("Put takes the name %q", name)
			}
			if err := v.Release(t.Context(), name, "x"); err == nil {
				t.Errorf("Release takes the name %q", name)
			}
		}
		for _, c := range []contract.Change{{}, {Value: make([]byte, contract.ValueMost+1)}, {Value: []byte("x"), Keep: -1}} {
			if _, err := v.Put(t.Context(), "a", c); err == nil {
				t.Errorf("a value of %d octets for %s is taken", len(c.Value), c.Keep)
			}
		}
		for _, life := range []time.Duration{0, -1, contract.LeaseMost + 1} {
			if _, err := v.Lease(t.Context(), "a", life); err == nil {
				t.Errorf("a lease of %s is taken", life)
			}
		}
	})
}

// TestFull: an owner has a bounded number of entries, and others are not bound by his.
func TestFull(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		v := vault.New(db)
		err := db.Write(t.Context(), func(tx *state.Tx) error {
			for i := range contract.EntriesMost {
				if _, err := tx.Exec("INSERT INTO vault (owner, name, value, version, changed, expires, holder, until) VALUES ('store a', $1, $2, 1, 0, 0, '', 0)", fmt.Sprintf("n%d", i), []byte("x")); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		a := v.Of(vault.Store("a"))
		if _, err := a.Put(t.Context(), "more", contract.Change{Value: []byte("x")}); backends.KindOf(err) != backends.OverQuota {
			t.Errorf("one more: %v", err)
		}
		if _, err := a.Lease(t.Context(), "more", time.Second); backends.KindOf(err) != backends.OverQuota {
			t.Errorf("a lease on one more: %v", err)
		}
		if !put(t, a, "n1", contract.Change{Value: []byte("y"), Version: 1}) {
			t.Error("what is there cannot be changed")
		}
		if !put(t, v.Of(vault.Store("b")), "more", contract.Change{Value: []byte("x")}) {
			t.Error("another store has no room")
		}
	})
}

// TestLarge: what an owner has is bounded in octets, too; what has expired makes room, and what is there can be put anew and be made
// smaller.
func TestLarge(t *testing.T) {
	each(t, func(t *testing.T, node func() contract.Vault) {
		v, value := node(), make([]byte, contract.ValueMost)
		put(t, v, "goes", contract.Change{Value: value, Keep: time.Microsecond})
		most := contract.OctetsMost / contract.ValueMost
		for i := range most { // the last one takes the place of what has expired
			if !put(t, v, fmt.Sprintf("n%d", i), contract.Change{Value: value}) {
				t.Fatal("a value is not stored")
			}
		}
		if stored, err := v.Put(t.Context(), "more", contract.Change{Value: []byte("x")}); err == nil || stored {
			t.Errorf("one octet more is taken: %v", err)
		}
		e := get(t, v, "n1")
		if !put(t, v, "n1", contract.Change{Value: value, Version: e.Version}) {
			t.Error("a value cannot be put anew")
		}
		e = get(t, v, "n1")
		if !put(t, v, "n1", contract.Change{Value: value[1:], Version: e.Version}) || !put(t, v, "more", contract.Change{Value: []byte("x")}) {
			t.Error("what was made smaller makes no room")
		}
	})
}

// TestGrows: what is there may grow although the owner has no room, as the next refresh token may be longer; all together by no more
// than one value has.
func TestGrows(t *testing.T) {
	each(t, func(t *testing.T, node func() contract.Vault) {
		v, value := node(), make([]byte, contract.ValueMost)
		has := func(name string, octets int) (stored bool) {
			t.Helper()
			stored, err := v.Put(t.Context(), name, contract.Change{Value: value[:octets], Version: get(t, v, name).Version})
			return stored && err == nil
		}
		for i := range contract.OctetsMost/contract.ValueMost - 1 {
			if !has(fmt.Sprintf("n%d", i), contract.ValueMost) {
				t.Fatal("a value is not stored")
			}
		}
		if !has("login", 1) || !has("other", contract.ValueMost-1) || has("more", 1) {
			t.Error("it is not full")
		}
		if !has("login", contract.ValueMost) {
			t.Error("a login that has become longer is lost")
		}
		if has("more", 1) {
			t.Error("there is room for one more")
		}
		if !has("n1", 1) || !has("n2", 1) || !has("n1", contract.ValueMost) || !has("n2", contract.ValueMost) {
			t.Error("what was made smaller makes no room")
		}
		if !has("n1", 1) || !has("n2", 1) || !has("more", contract.ValueMost-1) || !has("n1", contract.ValueMost) {
			t.Error("what is there does not grow")
		}
		if has("n2", contract.ValueMost) {
			t.Error("what is there grows beyond the bound")
		}
	})
}
