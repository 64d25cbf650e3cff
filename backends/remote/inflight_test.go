package remote_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dipylon/dipylon/backends/remote"
)

func TestOneDeliveryUnderAKey(t *testing.T) {
	var f remote.InFlight
	var now, most atomic.Int32
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			end, err := f.Begin(t.Context(), "key")
			if err != nil {
				t.Error(err)
				return
			}
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			now.Add(-1)
			end()
		})
	}
	all.Wait()
	if most.Load() != 1 {
		t.Errorf("%d at once", most.Load())
	}
	end, _ := f.Begin(t.Context(), "key")
	defer end()
	if other, err := f.Begin(t.Context(), "other"); err != nil {
		t.Error(err)
	} else {
		other()
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Begin(gone, "key"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
