//go:build linux

package quota

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

func TestMain(m *testing.M) { databases.Main(m) }

var begin = time.Date(2026, 11, 30, 3, 20, 0, 0, time.UTC)

// counts opens a database; its clock stands where the test has it.
func counts(t *testing.T, o state.Options, now *time.Time) *Counts {
	t.Helper()
	o.Log = zerolog.Nop()
	db, err := state.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &Counts{db: db, now: func() time.Time { return *now }}
}

// take wants recipients, and expects so many, and when there are more.
func (c *Counts) take(t *testing.T, want, perDay, taken int, when time.Time) {
	t.Helper()
	got, at, err := c.Take(t.Context(), "route:a", want, perDay)
	if err != nil || got != taken || !at.Equal(when) {
		t.Fatalf("%d of %d recipients, more at %s, %v; want %d, at %s", got, want, at, err, taken, when)
	}
}

// TestTake: what was taken counts for a day, the hour that it was counted in included, over restarts, and for its
// destination alone; what is given back does not.
func TestTake(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		now := begin
		c := counts(t, o, &now)
		never := time.Time{}
		c.take(t, 4, 10, 4, never)
		now = begin.Add(2 * time.Hour)
		first, second := begin.Truncate(time.Hour).Add(25*time.Hour), begin.Truncate(time.Hour).Add(27*time.Hour)
		c.take(t, 7, 10, 6, first)
		c.take(t, 1, 10, 0, first)
		if err := c.db.Close(); err != nil {
			t.Fatal(err)
		}
		c = counts(t, o, &now)
		if left, when, err := c.Left(t.Context(), "route:a", 10); err != nil || left != 0 || !when.Equal(first) {
			t.Errorf("%d are left, more at %s, %v", left, when, err)
		}
		if left, _, err := c.Left(t.Context(), "route:b", 10); err != nil || left != 10 {
			t.Errorf("%d are left of another destination, %v", left, err)
		}
		c.take(t, 1, 4, 0, second) // the bound is another one now
		now = begin.Add(10 * time.Hour)
		if err := c.GiveBack(t.Context(), "route:a", 2); err != nil {
			t.Fatal(err)
		}
		c.take(t, 5, 10, 2, first)
		now = first.Add(-time.Second)
		c.take(t, 1, 10, 0, first)
		now = first
		c.take(t, 5, 10, 4, second)
		now = second.Add(25 * time.Hour)
		if rows, err := c.Task().Do(t.Context(), 100); err != nil || rows != 5 {
			t.Errorf("%d rows are cleaned up, %v", rows, err)
		}
		c.take(t, 11, 10, 10, now.Truncate(time.Hour).Add(25*time.Hour))
	})
}

// TestTakeAtOnce: those who take at the same time do not get more together than there may be.
func TestTakeAtOnce(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		now := begin
		c := counts(t, o, &now)
		var all sync.WaitGroup
		var mu sync.Mutex
		sum := 0
		for range 8 {
			all.Go(func() {
				taken, _, err := c.Take(context.WithoutCancel(t.Context()), "x.example", 3, 10)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				sum += taken
			})
		}
		all.Wait()
		if sum != 10 {
			t.Errorf("%d recipients were taken", sum)
		}
	})
}

// TestGiveBackLater: what is given back in another hour than it was counted in does not count twice for it, when that
// hour is over.
func TestGiveBackLater(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		now := begin
		c := counts(t, o, &now)
		c.take(t, 4, 10, 4, time.Time{})
		now = begin.Add(time.Hour)
		c.take(t, 6, 10, 6, time.Time{})
		if err := c.GiveBack(t.Context(), "route:a", 8); err != nil { // of both hours
			t.Fatal(err)
		}
		c.take(t, 8, 10, 8, time.Time{})
		first, second := begin.Truncate(time.Hour).Add(25*time.Hour), begin.Truncate(time.Hour).Add(26*time.Hour)
		c.take(t, 1, 10, 0, first)
		now = first
		c.take(t, 10, 10, 2, second)
	})
}

// TestClockIsSetBack: what was counted while the clock was wrong does not keep mail until that time comes. A little ahead
// is another gateway's clock.
func TestClockIsSetBack(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		now := begin.AddDate(10, 0, 0)
		c := counts(t, o, &now)
		c.take(t, 10, 10, 10, time.Time{})
		now = begin.Add(time.Hour)
		c.take(t, 3, 10, 3, time.Time{})
		now = begin
		c.take(t, 8, 10, 7, begin.Truncate(time.Hour).Add(25*time.Hour))
		if left, _, err := c.Left(t.Context(), "route:a", 20); err != nil || left != 10 {
			t.Errorf("%d are left, %v", left, err)
		}
		if rows, err := c.Task().Do(t.Context(), 100); err != nil || rows != 1 {
			t.Errorf("%d rows are cleaned up, %v", rows, err)
		}
	})
}
