package crew

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestTogether: all that is asked for runs at the same time, and Wait waits for the last of it.
func TestTogether(t *testing.T) {
	const many = 3 * spare
	var c Crew
	var done atomic.Int32
	begun, end := make(chan struct{}), make(chan struct{})
	for range many {
		c.Go(func() {
			begun <- struct{}{}
			<-end
			done.Add(1)
		})
	}
	for range many {
		<-begun
	}
	close(end)
	c.Wait()
	if n := done.Load(); n != many {
		t.Errorf("%d of %d have ended", n, many)
	}
}

// TestKept: goroutines are kept for the next function, no more than some, and none behind Wait.
func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Crew
		free := func() int {
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.free)
		}
		for range 10 {
			c.Go(func() {})
			if n := free(); n != 1 {
				t.Fatalf("%d goroutines wait after functions one by one", n)
			}
		}
		end := make(chan struct{})
		for range 2 * spare {
			c.Go(func() { <-end })
		}
		if n := free(); n != 0 {
			t.Errorf("%d goroutines wait while all have work", n)
		}
		close(end)
		if n := free(); n != spare {
			t.Errorf("%d goroutines wait, not %d", n, spare)
		}
		c.Wait() // the bubble fails if one is left
	})
}

// BenchmarkStack compares functions that need a large stack, one after the other.
func BenchmarkStack(b *testing.B) {
	for name, run := range map[string]func(func()){"crew": new(Crew).Go, "go": func(f func()) { go f() }} {
		b.Run(name, func(b *testing.B) {
			done := make(chan struct{})
			for b.Loop() {
				run(func() {
					deep(100)
					done <- struct{}{}
				})
				<-done
			}
		})
	}
}

//go:noinline
func deep(n int) (sum byte) {
	var frame [128]byte
	if n > 0 {
		frame[n] = deep(n - 1)
	}
	for _, b := range frame {
		sum += b
	}
	return sum
}
