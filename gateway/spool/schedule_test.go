//go:build linux

package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
		if d != nil || at > s.o.Now().UnixMicro() {
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

// clock is one that a test sets forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) set(o *Options) {
	o.Now = func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }
}

// refreshed writes the rows of quiet destinations, beside the spool that does it, too, until something is so.
func refreshed(t testing.TB, s *Spool, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		if err := s.schedule.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if is() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to be that %s", what)
		}
	}
}

// inMemory is how many destinations a spool knows.
func inMemory(s *Spool) int {
	s.schedule.mu.Lock()
	defer s.schedule.mu.Unlock()
	return len(s.schedule.destinations)
}

// TestReady: a destination is given out once until it is given back, and not before its back-off ends.
func TestReady(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		var clock clock
		s := start(t, o, clock.set)
		accept(t, s, to("1", "a@x.example"), "text")
		accept(t, s, to("2", "a@x.example"), "text")
		if n := next(t, s); n != "x.example" {
			t.Fatalf("%q is ready", n)
		}
		accept(t, s, to("3", "a@x.example"), "text")
		nothing(t, s)
		settle(t, s, all(claim(t, s, "x.example", 1)[0], Outcome{State: Delivered}))
		s.Done("x.example", time.Now().Add(time.Hour))
		nothing(t, s)
		accept(t, s, to("4", "a@x.example"), "text")
		nothing(t, s)
		clock.ahead.Store(int64(time.Hour))
		if n := next(t, s); n != "x.example" {
			t.Errorf("%q is ready", n)
		}
		deliveries := claim(t, s, "x.example", 10)
		if len(deliveries) != 3 {
			t.Errorf("%d were claimed", len(deliveries))
		}
		s.Done("x.example", time.Time{})
		nothing(t, s)
		// Who waits is woken when it is due.
		until := s.o.Now().Add(50 * time.Millisecond)
		settle(t, s, all(deliveries[0], Outcome{State: Waiting, Until: until}))
		if n := next(t, s); n != "x.example" || s.o.Now().Before(until) {
			t.Errorf("%q is ready %s before its mail is due", n, until.Sub(s.o.Now()))
		}
	})
}

// TestLiftIf: it ends back-offs of destinations in memory, of those that are given out at this moment, and of those that
// are in the database alone, as after a start.
func TestLiftIf(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		isX := func(name string) bool { return strings.HasPrefix(name, "x") }
		names := []string{"x1.example", "x2.example", "y.example"}
		for i, name := range names {
			accept(t, s, to(strconv.Itoa(i), "a@"+name), "text")
		}
		hour := time.Now().Add(time.Hour)
		for range names {
			s.Done(next(t, s), hour)
		}
		lift := func() {
			t.Helper()
			if err := s.LiftIf(t.Context(), time.Time{}, isX); err != nil {
				t.Fatal(err)
			}
		}
		lift()
		ready := []string{next(t, s), next(t, s)}
		nothing(t, s)
		lift() // they are given out
		for _, name := range ready {
			s.Done(name, hour)
		}
		ready = []string{next(t, s), next(t, s)}
		slices.Sort(ready)
		if !slices.Equal(ready, names[:2]) {
			t.Errorf("ready are %q", ready)
		}
		for _, name := range ready {
			s.Done(name, hour)
		}
		nothing(t, s)
		refreshed(t, s, "the rows tell it", func() bool {
			var n int
			err := s.db.QueryRow(t.Context(), "SELECT count(*) FROM spool_destinations WHERE due > $1", time.Now().UnixMicro()).Scan(&n)
			return err == nil && n == len(names)
		})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = start(t, o)
		nothing(t, s)
		lift()
		ready = []string{next(t, s), next(t, s)}
		slices.Sort(ready)
		if !slices.Equal(ready, names[:2]) {
			t.Errorf("after a start, ready are %q", ready)
		}
		nothing(t, s)
	})
}

// TestLiftIfBefore: back-offs that last longer stay, whether they are in memory or in the database alone.
func TestLiftIfBefore(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		soon, later := time.Now().Add(10*time.Minute), time.Now().Add(time.Hour)
		lift := func() {
			t.Helper()
			if err := s.LiftIf(t.Context(), soon.Add(time.Second), func(string) bool { return true }); err != nil {
				t.Fatal(err)
			}
		}
		accept(t, s, to("1", "a@soon.example"), "text")
		accept(t, s, to("2", "a@later.example"), "text")
		until := map[string]time.Time{"soon.example": soon, "later.example": later}
		for range until {
			name := next(t, s)
			s.Done(name, until[name])
		}
		for _, what := range []string{"in memory", "in the database"} {
			nothing(t, s)
			lift()
			if n := next(t, s); n != "soon.example" {
				t.Errorf("%s: %q is ready", what, n)
			}
			nothing(t, s)
			s.Done("soon.example", soon)
			refreshed(t, s, "the rows tell it", func() bool {
				var n int
				err := s.db.QueryRow(t.Context(), "SELECT count(*) FROM spool_destinations WHERE until > $1", time.Now().UnixMicro()).Scan(&n)
				return err == nil && n == 2
			})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = start(t, o)
		}
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
			until := time.Now().Add(time.Hour)
			if name == "y.example" {
				until = until.Add(time.Hour)
			}
			settle(t, s, all(one(t, s, name), Outcome{State: Waiting, Until: until, At: time.Now()}))
			s.Done(name, time.Time{})
		}
		refreshed(t, s, "the rows tell it", func() bool {
			var n int
			err := s.db.QueryRow(t.Context(), "SELECT count(*) FROM spool_destinations WHERE due > $1", time.Now().UnixMicro()).Scan(&n)
			return err == nil && n == 2
		})
		nothing(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var clock clock
		clock.ahead.Store(int64(90 * time.Minute))
		s = start(t, o, clock.set)
		if n := next(t, s); n != "x.example" {
			t.Fatalf("%q is ready", n)
		}
		if got := one(t, s, "x.example").Recipients[0]; got.State != Waiting || got.Attempts != 1 {
			t.Errorf("it is %+v", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if n, err := s.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%q is ready, %v", n, err)
		}
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
			refreshed(t, s, "nothing is left of it", func() bool { return count(t, s, "spool_destinations") == 0 && inMemory(s) == 0 })
		}
		// Told to be later, and then something is taken in: the row says so before it is handed out.
		accept(t, s, to("later", "a@x.example"), "text")
		d := one(t, s, next(t, s))
		settle(t, s, all(d, Outcome{State: Waiting, Until: time.Now().Add(time.Hour)}))
		s.Done("x.example", time.Time{})
		var due int64
		refreshed(t, s, "the row is later", func() bool {
			err := s.db.QueryRow(t.Context(), "SELECT due FROM spool_destinations").Scan(&due)
			return err == nil && state.TimeOf(due).After(time.Now())
		})
		accept(t, s, to("now", "a@x.example"), "text")
		if err := s.db.QueryRow(t.Context(), "SELECT due FROM spool_destinations").Scan(&due); err != nil || state.TimeOf(due).After(time.Now()) {
			t.Errorf("the row says %s, %v", state.TimeOf(due), err)
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
		refreshed(t, s, "memory has no more than its bound", func() bool { return inMemory(s) <= 10 })
	})
}

// counted counts what the database is asked.
type counted struct {
	database
	asked   atomic.Int64
	queries atomic.Int64 // of those, by Query
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
	c.queries.Add(1)
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
	deadline := time.Now().Add(time.Minute)
	for due := int64(0); due < time.Now().UnixMicro(); {
		if time.Now().After(deadline) {
			t.Fatal("the row is never written")
		}
		if err := db.database.QueryRow(t.Context(), "SELECT due FROM spool_destinations").Scan(&due); err != nil {
			t.Fatal(err)
		}
	}
	before := db.asked.Load()
	if err := s.schedule.refresh(t.Context()); err != nil {
		t.Error(err)
	}
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

// TestReadyAfterTheClockWasSetBack: what is taken in then does not wait for the time at which its destination had its turn
// before. What was to wait until a time waits for that.
func TestReadyAfterTheClockWasSetBack(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		var clock clock
		s := start(t, o, clock.set)
		accept(t, s, to("1", "a@x.example"), "text")
		accept(t, s, to("2", "a@y.example"), "text")
		for range 2 {
			n := next(t, s)
			outcome := Outcome{State: Delivered}
			if n == "y.example" {
				outcome = Outcome{State: Waiting, Until: s.o.Now().Add(time.Minute)}
			}
			settle(t, s, all(claim(t, s, n, 1)[0], outcome))
			s.Done(n, time.Time{})
		}
		clock.ahead.Store(-int64(24 * time.Hour))
		accept(t, s, to("3", "a@x.example"), "text")
		if d := readyNow(t, s); d == nil || d.name != "x.example" {
			t.Fatalf("%v is ready", d)
		}
		if got := claim(t, s, "x.example", 9); len(got) != 1 || got[0].Key != "3" {
			t.Errorf("%v were claimed", got)
		}
		s.Done("x.example", time.Time{})
		nothing(t, s)
		clock.ahead.Store(int64(2 * time.Minute))
		if d := readyNow(t, s); d == nil || d.name != "y.example" {
			t.Errorf("%v is ready", d)
		}
	})
}
