package relay

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestWindowSize: one more for each round that succeeds, half of it when it was too much, and never less than one.
func TestWindowSize(t *testing.T) {
	w := newWindow(4)
	var seen []int
	for range 8 {
		seen = append(seen, w.connections())
		w.grow()
	}
	for range 3 {
		w.shrink()
		seen = append(seen, w.connections())
	}
	for i, want := range []int{2, 2, 2, 3, 3, 3, 4, 4, 2, 1, 1} {
		if seen[i] != want {
			t.Fatalf("got %v: %d is wrong", seen, i)
		}
	}
	if n := newWindow(1).connections(); n != 1 {
		t.Errorf("it begins with %d of one", n)
	}
}

// TestPlaces: who waits gets a place in its turn, before those that would only like one more, and an idle connection
// hears of it.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(1)
		if !p.try() || p.try() || p.crowded() {
			t.Fatal("one place is not one")
		}
		got := make(chan int, 3)
		ended, end := context.WithCancel(t.Context())
		for i, ctx := range []context.Context{t.Context(), ended, t.Context()} {
			go func() {
				if p.acquire(ctx) == nil {
					got <- i
				} else {
					got <- -1
				}
			}()
			synctest.Wait()
		}
		if !p.crowded() {
			t.Error("three wait, and it is not crowded")
		}
		<-p.hurry // an idle connection hears of it
		end()
		synctest.Wait()
		for _, want := range []int{-1, 0, 2} {
			if n := <-got; n != want {
				t.Errorf("%d is served, not %d", n, want)
			}
			if p.release(); want < 0 {
				continue
			}
			synctest.Wait()
		}
	})
}

// TestRate: a minute's messages, spread over it.
func TestRate(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	r := newRate(60, at)
	for _, c := range []struct {
		after      time.Duration
		most, want int
		again      time.Duration
	}{
		{0, 50, 50, 0},
		{0, 50, 10, 0},
		{0, 1, 0, time.Second},
		{time.Second / 2, 1, 0, time.Second / 2},
		{time.Second / 2, 5, 1, 0},
		{time.Hour, 100, 60, 0},
	} {
		at = at.Add(c.after)
		taken, again := r.take(c.most, at)
		if taken != c.want || taken == 0 && again.Sub(at).Round(10*time.Millisecond) != c.again {
			t.Fatalf("%+v: %d, %s", c, taken, again.Sub(at))
		}
	}
	r.giveBack(7)
	if taken, _ := r.take(100, at); taken != 7 {
		t.Errorf("%d of 7 that were given back", taken)
	}
	if taken, _ := newRate(0, at).take(9, at); taken != 9 {
		t.Error("no bound is one")
	}
}
