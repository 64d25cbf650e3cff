//go:build linux

package devices

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// asked is a registry whose database is asked in a test's own way, and how often it was.
type asked struct {
	*Registry
	times int
}

func newAsked(answer func(ctx context.Context, time int) (*table, error)) *asked {
	a := &asked{Registry: New(Options{})}
	a.look = func(ctx context.Context, _ *table) (*table, error) {
		a.times++ // one at a time asks
		return answer(ctx, a.times)
	}
	return a
}

// TestOneAsks: however many devices say something at once, one question goes to the database, and another one when the answer
// is old.
func TestOneAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newAsked(func(_ context.Context, n int) (*table, error) {
			time.Sleep(freshFor / 2)
			return newTable(int64(n), nil), nil
		})
		all := func(want int64) {
			t.Helper()
			var saying sync.WaitGroup
			for range 500 {
				saying.Go(func() {
					if got, err := b.now(t.Context()); err != nil || got.version != want {
						t.Errorf("got %+v, %v, not version %d", got, err, want)
					}
				})
			}
			saying.Wait()
		}
		all(1)
		all(1)
		time.Sleep(freshFor/2 - 1) // the answer counts from when it was asked for
		all(1)
		if b.times != 1 {
			t.Errorf("asked %d times", b.times)
		}
		time.Sleep(time.Nanosecond)
		all(2)
	})
}

// TestOldAnswerIsAskedForAgain: a slow answer is none for whoever came long after the question: what was changed between is
// not in it.
func TestOldAnswerIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newAsked(func(_ context.Context, n int) (*table, error) {
			time.Sleep(askMost / 2)
			return newTable(int64(n), nil), nil
		})
		var early, late *table
		var both sync.WaitGroup
		both.Go(func() { early, _ = b.now(t.Context()) })
		time.Sleep(freshFor)
		both.Go(func() { late, _ = b.now(t.Context()) })
		both.Wait()
		if early.version != 1 || late.version != 2 || b.times != 2 {
			t.Errorf("versions %d and %d, asked %d times", early.version, late.version, b.times)
		}
	})
}

// TestDatabaseDoesNotAnswer: open sessions go on, nobody waits longer than for one question, and a failure is no reason for each
// to ask by itself.
func TestDatabaseDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down, failure := false, errors.New("down")
		b := newAsked(func(ctx context.Context, n int) (*table, error) {
			if down {
				<-ctx.Done()
				return nil, failure
			}
			return newTable(int64(n), []*Device{{Name: "scanner"}}), nil
		})
		session, err := b.Session(t.Context(), "scanner")
		if err != nil {
			t.Fatal(err)
		}
		down = true
		time.Sleep(freshFor)
		began := time.Now()
		if err := session.Over(t.Context()); err != nil || time.Since(began) > overMost {
			t.Errorf("an open session: %v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Session(ctx, "scanner"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a session for which nobody waits: %v", err)
		}
		synctest.Wait()
		if _, err := b.Session(t.Context(), "scanner"); !errors.Is(err, failure) {
			t.Errorf("a new session: %v", err)
		}
		down = false
		time.Sleep(freshFor)
		if _, err := b.Session(t.Context(), "scanner"); err != nil {
			t.Errorf("once it answers: %v", err)
		}
	})
}

// TestFailureIsForAll: what failed at once is asked for again as seldom as what did not.
func TestFailureIsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newAsked(func(context.Context, int) (*table, error) { return nil, errors.New("down") })
		for range 100 {
			if _, err := b.now(t.Context()); err == nil {
				t.Error("no error")
			}
		}
		if b.times != 1 {
			t.Errorf("asked %d times", b.times)
		}
	})
}
