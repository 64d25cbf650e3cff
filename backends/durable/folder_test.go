package durable

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestFolderShares: who comes while a folder is synced waits for the next sync, which is one for all of them, and its failure is theirs.
func TestFolderShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := errors.New("the disk has failed")
		first := make(chan struct{})
		var times atomic.Int64
		f := NewFolder("folder")
		f.sync = func(path string) error {
			if path != "folder" {
				t.Errorf("%q is synced", path)
			}
			if times.Add(1) == 1 {
				<-first
				return nil
			}
			return failed
		}
		var all sync.WaitGroup
		all.Go(func() {
			if err := f.Sync(f.Mark()); err != nil {
				t.Errorf("the first: %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			all.Go(func() {
				if err := f.Sync(f.Mark()); !errors.Is(err, failed) {
					t.Errorf("one that came later: %v", err)
				}
			})
		}
		synctest.Wait()
		if n := times.Load(); n != 1 {
			t.Errorf("%d syncs at once", n)
		}
		close(first)
		all.Wait()
		if n := times.Load(); n != 2 {
			t.Errorf("%d syncs for 11", n)
		}
		if err := f.Sync(f.Mark()); !errors.Is(err, failed) || times.Load() != 3 {
			t.Errorf("a later one is no sync of its own: %v", err)
		}
	})
}

// TestFolderFailsForThoseWhoWait: a sync that fails has failed for all who came before its end, and the next one that goes well is no success of
// theirs. It is of those who come later.
func TestFolderFailsForThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed, first := errors.New("the disk has failed"), make(chan struct{})
		var times atomic.Int64
		f := NewFolder("folder")
		f.sync = func(string) error {
			if times.Add(1) == 1 {
				<-first
				return failed
			}
			return nil
		}
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if err := f.Sync(f.Mark()); !errors.Is(err, failed) {
					t.Errorf("one that came before its end: %v", err)
				}
			})
			synctest.Wait()
		}
		close(first)
		all.Wait()
		if err := f.Sync(f.Mark()); err != nil || times.Load() != 3 {
			t.Errorf("a later one: %v, after %d syncs", err, times.Load())
		}
	})
}

// TestNewFolder: it is the folder itself that is synced.
func TestNewFolder(t *testing.T) {
	if err := NewFolder(t.TempDir()).Sync(0); err != nil {
		t.Error(err)
	}
}
