package main

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

// TestPaceFollowsGoroutines: it is set when it changes, and not again at each collection.
func TestPaceFollowsGoroutines(t *testing.T) {
	var set []int
	var goroutines int
	p := &pacing{goroutines: func() int { return goroutines }, set: func(percent int) int { set = append(set, percent); return 0 }, last: 100}
	for _, goroutines = range []int{10, 255, 256, 500, 767, 768, 50_000, 1000, 300, 20, 20} {
		p.look()
	}
	if want := []int{50, 25, 50, 100}; !slices.Equal(set, want) {
		t.Errorf("the pace was set to %d, want %d", set, want)
	}
}

// TestAfterCollections: the function is called after the first collection, and after those that follow.
func TestAfterCollections(t *testing.T) {
	called := make(chan struct{}, 1)
	afterCollections(func() {
		select {
		case called <- struct{}{}:
		default: // of another collection, whose end nobody waits for
		}
	})
	for range 3 {
		runtime.GC()
		select {
		case <-called:
		case <-time.After(time.Minute):
			t.Fatal("it is not called after a collection")
		}
	}
}
