//go:build linux

package spool

import (
	"context"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/databases"
)

// hearing is a node that hears what others tell: it looks by itself so rarely that nothing is found so.
func hearing(t testing.TB, s *Spool) *Spool {
	t.Helper()
	for until := time.Now().Add(time.Minute); !s.notifier.hears.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it hears nothing")
		}
	}
	return s
}

func hears(o *Options) { o.Lease, o.Poll, o.deaf = time.Hour, time.Hour, false }

// TestTold: a node hears at once of mail for its shards, from another one that takes it in, and from a command that
// releases it.
func TestTold(t *testing.T) {
	t.Parallel()
	o := shared(t)
	a, b := start(t, o, slow), start(t, o, hears)
	tick(t, a, b)
	name := nameOf(hearing(t, b))
	accept(t, a, to("k", "a@"+name), "text")
	if got := next(t, b); got != name {
		t.Errorf("it is given %s", got)
	}
	settle(t, b, all(one(t, b, name), Outcome{State: Held, At: time.Now()}))
	b.Done(name, time.Time{})
	s, err := Attach(Options{DB: databases.Open(t, o), Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Release(t.Context(), Filter{}, Place{}); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := next(t, b); got != name {
		t.Errorf("it is given %s", got)
	}
}

// TestHeard: what is for others, or is no word at all, wakes nobody.
func TestHeard(t *testing.T) {
	t.Parallel()
	o := shared(t)
	a, b := start(t, o, slow), start(t, o, slow)
	tick(t, a, b)
	n := newNotifier(b) // nobody waits for this one
	n.hears.Store(true)
	for _, word := range []string{"", "x", "x y", b.leases.node + " 0", "x 0", words(a)} {
		if n.heard(word); len(n.look) > 0 {
			t.Errorf("%q wakes it", word)
			<-n.look
		}
	}
	if n.heard(words(b)); len(n.look) == 0 {
		t.Error("what is for it does not wake it")
	}
}

// words are those that tell a node of one of its shards.
func words(s *Spool) string {
	db := &spoken{database: s.db}
	other := &Spool{o: s.o, db: db}
	other.leases = newLeases(other, "other")
	n := newNotifier(other)
	n.tell([]announcement{{shard: s.leases.mine()[0]}})
	n.send(context.Background())
	return db.word
}

// spoken keeps what is told.
type spoken struct {
	database
	word string
}

func (s *spoken) Notify(_ context.Context, word string) error {
	s.word = word
	return nil
}

// TestListensAgain: a connection that is lost is made again, and what was told meanwhile is looked for.
func TestListensAgain(t *testing.T) {
	t.Parallel()
	o := shared(t)
	a, b := start(t, o, slow), start(t, o, hears, func(o *Options) { o.Poll = 20 * time.Millisecond })
	tick(t, a, b)
	name := nameOf(hearing(t, b))
	b.notifier.hears.Store(false)
	var ended int
	err := b.db.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE query LIKE 'LISTEN %' || md5(current_schema()) || '%' AND pid <> pg_backend_pid()`).Scan(&ended)
	if err != nil || ended != 1 {
		t.Fatalf("%d connections were ended: %v", ended, err)
	}
	hearing(t, b)
	accept(t, a, to("k", "a@"+name), "text")
	if got := next(t, b); got != name {
		t.Errorf("it is given %s", got)
	}
}

// BenchmarkOtherNode is how long it takes until a node gives out what another one has taken in.
func BenchmarkOtherNode(b *testing.B) {
	for name, change := range map[string]func(*Options){
		"told": func(o *Options) { o.deaf = false }, "looked for": func(o *Options) { o.Poll = time.Second },
	} {
		b.Run(name, func(b *testing.B) {
			o := shared(b)
			from, to1 := start(b, o, slow), start(b, o, change)
			for _, s := range []*Spool{from, to1, from, to1} {
				if err := s.leases.tick(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			if name == "told" {
				hearing(b, to1)
			}
			destination := nameOf(to1)
			for b.Loop() {
				accept(b, from, to(time.Now().String(), "a@"+destination), "text")
				got := next(b, to1)
				b.StopTimer()
				settle(b, to1, all(one(b, to1, got), Outcome{State: Delivered, At: time.Now()}))
				to1.Done(got, time.Time{})
				b.StartTimer()
			}
		})
	}
}
