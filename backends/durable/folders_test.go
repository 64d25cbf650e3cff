package durable

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// TestFolders: who comes while a folder is synced does not rely on that sync, and shares the next one with the others, or its failure.
func TestFolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var syncs Folders
		var begun []string
		var mu sync.Mutex
		proceed := make(chan error)
		do := func(folder string) error {
			mu.Lock()
			begun = append(begun, folder)
			mu.Unlock()
			return <-proceed
		}
		var callers sync.WaitGroup
		var ends []string
		start := func(folder string, n int) {
			for range n {
				callers.Go(func() {
					err := syncs.Sync(folder, syncs.Mark(folder), do)
					mu.Lock()
					defer mu.Unlock()
					ends = append(ends, fmt.Sprint(folder, " ", err))
				})
			}
			synctest.Wait()
		}
		expect := func(when string, list *[]string, want ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if slices.Sort(*list); !slices.Equal(*list, want) {
				t.Errorf("%s: %q, want %q", when, *list, want)
			}
			*list = nil
		}
		start("a", 1)
		start("a", 3)
		expect("behind the first", &begun, "a")
		start("b", 1)
		expect("another folder", &begun, "b")
		proceed <- nil
		proceed <- nil
		expect("when they have ended", &begun, "a")
		expect("of the first ones", &ends, "a <nil>", "b <nil>")
		start("a", 2)
		waits := syncs.Mark("a")
		proceed <- errors.New("the disk is broken")
		const broken = "a the disk is broken"
		expect("of three together", &ends, broken, broken, broken)
		proceed <- nil
		const before = "a a sync of the folder before this one: the disk is broken"
		expect("of two whose names may have been among what was not written", &ends, before, before)
		expect("for the last two", &begun, "a")
		callers.Wait()
		callers.Go(func() {
			if err := syncs.Sync("a", waits, do); err == nil {
				t.Error("a name from before the failure, whose sync is asked for after it, is durable")
			}
		})
		synctest.Wait()
		proceed <- nil
		callers.Wait()
		expect("for it", &begun, "a")
		if len(syncs.under) != 0 {
			t.Errorf("%d folders are remembered behind a failure", len(syncs.under))
		}
		start("a", 1)
		expect("later", &begun, "a")
		proceed <- nil
		callers.Wait()
		if len(syncs.under) != 0 {
			t.Errorf("%d folders are remembered", len(syncs.under))
		}
	})
}
