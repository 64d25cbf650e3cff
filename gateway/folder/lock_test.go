package folder_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
)

// ada is whose maildrop is locked.
var ada = folder.Key{Store: "mail", Account: "ada"}

// TestAwait: a lock that its holder gives back in time is taken; one that stays is refused in time.
func TestAwait(t *testing.T) {
	const most = time.Second
	for name, c := range map[string]struct {
		held, most time.Duration
		taken      bool
	}{
		"it is free":                   {held: 0, most: most, taken: true},
		"its session ends soon":        {held: 70 * time.Millisecond, most: most, taken: true},
		"its session ends at the last": {held: most - time.Nanosecond, most: most, taken: true},
		"its session goes on":          {held: time.Hour, most: most},
		"nobody waits":                 {held: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				locks := &folder.MemoryLocks{}
				held, err := locks.Acquire(t.Context(), ada)
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				time.AfterFunc(c.held, held.Release)
				if c.held == 0 {
					held.Release()
				}
				lock, err := folder.Await(t.Context(), locks, ada, c.most)
				if taken := err == nil; taken != c.taken {
					t.Fatalf("taken: %v (%v)", taken, err)
				}
				if took := time.Since(begun); took > min(c.most, c.held+200*time.Millisecond) {
					t.Errorf("it took %s", took)
				}
				if c.taken {
					lock.Release()
				} else if backends.KindOf(err) != backends.InUse {
					t.Error(err)
				}
			})
		})
	}
}

// TestAwaitEnds: whoever is gone waits no longer.
func TestAwaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locks := &folder.MemoryLocks{}
		if _, err := locks.Acquire(t.Context(), ada); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if _, err := folder.Await(ctx, locks, ada, time.Hour); backends.KindOf(err) != backends.InUse || time.Since(begun) != time.Second {
			t.Errorf("%v, after %s", err, time.Since(begun))
		}
	})
}
