//go:build linux

package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// readyNow gives out a destination if one is ready; else it is nil.
func readyNow(t testing.TB, s *Spool) *destination {
	t.Helper()
	for {
		d, at, _ := s.schedule.first()
		if d != nil || at > time.Now().UnixMicro() {
			return d
		}
		if err := s.schedule.loadMore(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// nothing looks whether no destination is ready.
func nothing(t testing.TB, s *Spool) {
	t.Helper()
	if d := readyNow(t, s); d != nil {
		t.Fatalf("%s is ready", d.name)
	}
}

// TestReady: a destination is given out once until it is given back, and not before its back-off ends.
func TestReady(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		accept(t, s, to("1", "a@x.example"), "text")
		accept(t, s, to("2", "a@x.example"), "text")
		if n := next(t, s); n != "x.example" {
			t.Fatalf("%q is ready", n)
		}
		accept(t, s, to("3", "a@x.example"), "text")
		nothing(t, s)
		settle(t, s, all(claim(t, s, "x.example", 1)[0], Outcome{State: Delivered}))
		again := time.Now().Add(50 * time.Millisecond)
		s.Done("x.example", again)
		nothing(t, s)
		accept(t, s, to("4", "a@x.example"), "text")
		if n := next(t, s); n != "x.example" || time.Now().Before(again) {
			t.Errorf("%q is ready %s before the back-off's end", n, time.Until(again))
		}
		if got := len(claim(t, s, "x.example", 10)); got != 3 {
			t.Errorf("%d were claimed", got)
		}
		s.Done("x.example", time.Time{})
		nothing(t, s)
	})
}

// TestDue: what waits until a time makes its destination ready then, also after a new start.
func TestDue(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		accept(t, s, to("1", "a@x.example"), "text")
		accept(t, s, to("2", "a@y.example"), "text")
		for range 2 {
			name := next(t, s)
			until := time.Now().Add(300 * time.Millisecond)
			if name == "y.example" {
				until = time.Now().Add(time.Hour)
			}
			settle(t, s, all(one(t, s, name), Outcome{State: Waiting, Until: until, At: time.Now()}))
			s.Done(name, time.Time{})
		}
		// The rows tell it.
		if err := s.schedule.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		nothing(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = start(t, o)
		if n := next(t, s); n != "x.example" {
			t.Fatalf("%q is ready", n)
		}
		if got := one(t, s, "x.example").Recipients[0]; got.State != Waiting || got.Attempts != 1 {
			t.Errorf("it is %+v", got)
		}
		nothing(t, s)
	})
}

// TestRows: a destination's row goes once it has no mail, and comes again; that of one that has is never
// later than its mail.
func TestRows(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		for i := range 3 {
			accept(t, s, to(fmt.Sprint(i), "a@x.example"), "text")
			if n := count(t, s, "spool_destinations"); n != 1 {
				t.Fatalf("there are %d rows", n)
			}
			name := next(t, s)
			settle(t, s, all(one(t, s, name), Outcome{State: Delivered}))
			s.Done(name, time.Time{})
			if err := s.schedule.refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := count(t, s, "spool_destinations"); n != 0 {
				t.Fatalf("%d rows are left", n)
			}
			if n := len(s.schedule.destinations); n != 0 {
				t.Fatalf("%d destinations are left in memory", n)
			}
		}
		// Told to be later, and then something is taken in: the row says so before it is handed out.
		accept(t, s, to("later", "a@x.example"), "text")
		d := one(t, s, next(t, s))
		settle(t, s, all(d, Outcome{State: Waiting, Until: time.Now().Add(time.Hour)}))
		s.Done("x.example", time.Time{})
		if err := s.schedule.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		accept(t, s, to("now", "a@x.example"), "text")
		var due int64
		if err := s.db.QueryRow(t.Context(), "SELECT due FROM spool_destinations").Scan(&due); err != nil || timeOf(due).After(time.Now()) {
			t.Errorf("the row says %s, %v", timeOf(due), err)
		}
	})
}

// TestManyDestinations: more of them than memory has a place for are all given out.
func TestManyDestinations(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		const many = 40
		s := start(t, o, func(o *Options) { o.Destinations = 10 })
		m := to("k")
		for i := range many {
			m.Recipients = append(m.Recipients, to("", fmt.Sprintf("a@d%d.example", i)).Recipients...)
		}
		accept(t, s, m, "text")
		seen := make(map[string]bool)
		for range many {
			name := next(t, s)
			seen[name] = true
			settle(t, s, all(one(t, s, name), Outcome{State: Waiting, Until: time.Now().Add(time.Hour)}))
			s.Done(name, time.Time{})
		}
		if len(seen) != many {
			t.Errorf("%d destinations were given out", len(seen))
		}
		nothing(t, s)
		if err := s.schedule.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(s.schedule.destinations); n > 10 {
			t.Errorf("%d destinations are in memory", n)
		}
	})
}

// counted counts what the database is asked.
type counted struct {
	database
	asked atomic.Int64
}

func (c *counted) Write(ctx context.Context, f func(*state.Tx) error) error {
	c.asked.Add(1)
	return c.database.Write(ctx, f)
}

func (c *counted) Read(ctx context.Context, f func(*state.Tx) error) error {
	c.asked.Add(1)
	return c.database.Read(ctx, f)
}

func (c *counted) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	c.asked.Add(1)
	return c.database.Query(ctx, query, args...)
}

func (c *counted) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	c.asked.Add(1)
	return c.database.QueryRow(ctx, query, args...)
}

// TestIdle: with SQLite nothing is asked of the database while nothing is due, though something waits;
// what is taken in and delivered costs a write for each step.
func TestIdle(t *testing.T) {
	t.Parallel()
	db := &counted{database: databases.Open(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})}
	s, err := open(t.Context(), Options{Log: zerolog.Nop(), Folder: t.TempDir()}, db)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // nothing is written
	<-s.swept
	accept(t, s, to("later", "a@x.example"), "text")
	settle(t, s, all(one(t, s, next(t, s)), Outcome{State: Waiting, Until: time.Now().Add(time.Hour)}))
	s.Done("x.example", time.Time{})
	// It has become quiet when its row is written.
	deadline := time.Now().Add(20 * time.Second)
	for due := int64(0); due < time.Now().UnixMicro(); {
		if time.Now().After(deadline) {
			t.Fatal("the row is never written")
		}
		if err := db.database.QueryRow(t.Context(), "SELECT due FROM spool_destinations").Scan(&due); err != nil {
			t.Fatal(err)
		}
	}
	before := db.asked.Load()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if name, err := s.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%q is ready, %v", name, err)
	}
	if asked := db.asked.Load() - before; asked != 0 {
		t.Errorf("the database was asked %d times in a second of nothing", asked)
	}
	before = db.asked.Load()
	accept(t, s, to("fresh", "a@y.example"), "text")
	settle(t, s, all(one(t, s, next(t, s)), Outcome{State: Delivered}))
	if asked := db.asked.Load() - before; asked != 3 {
		t.Errorf("a message costs %d questions to the database", asked)
	}
}

// TestRoom: a disk that is nearly full takes nothing in, but for what has room inside the database.
func TestRoom(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		const reserve = 1 << 20
		s := start(t, o, func(o *Options) { o.Reserve = reserve })
		accept(t, s, to("k", "a@x.example"), strings.Repeat("x", 100<<10))
		room := func(name string, free, size int64, want error) {
			s.free = func(string) (int64, error) { return free, nil }
			if err := s.Room(t.Context(), size); !errors.Is(err, want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		room("as much as there is", reserve+1000, 1000, nil)
		room("an octet more", reserve+1000, 1001, ErrFull)
		settle(t, s, all(one(t, s, "x.example"), Outcome{State: Delivered}))
		inside := error(nil)
		if s.db.Shared() {
			inside = ErrFull
		}
		room("inside the database", reserve+1000, 50<<10, inside)
		room("too large to be inside", reserve+1000, 200<<10, ErrFull)
		room("no room for the log", reserve/4-1, 10, ErrFull)
		if reply := ErrFull.Reply(); reply.SMTP != 452 || reply.Code != "4.3.1" {
			t.Errorf("the client hears %+v", reply)
		}
	})
}

// TestClosed: who waits is told.
func TestClosed(t *testing.T) {
	s := start(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})
	told := make(chan error)
	go func() {
		_, err := s.Ready(context.Background())
		told <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-told; !errors.Is(err, ErrClosed) {
		t.Errorf("who waits is told %v", err)
	}
	body := full(t, buffer.Options{}, "text")
	if err := s.Accept(t.Context(), to("k", "a@x.example"), body); err != nil {
		t.Errorf("what comes still is written, as long as the database is open: %v", err)
	}
}

// TestClockSetBack: what was taken in by a clock that was set back since is handed out when its time comes
// again, not forgotten.
func TestClockSetBack(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		var back atomic.Int64
		s := start(t, o, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(-time.Duration(back.Load())) } })
		accept(t, s, to("k", "a@x.example"), "text")
		name := next(t, s)
		back.Store(int64(time.Hour))
		if got := claim(t, s, name, 1); len(got) > 0 {
			t.Fatalf("%d were claimed before their time", len(got))
		}
		s.Done(name, time.Time{})
		back.Store(0)
		one(t, s, next(t, s))
	})
}
