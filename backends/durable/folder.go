package durable

import "sync"

// Folder is a folder whose syncs are shared: whoever comes while one is under way waits for the next one, which is for all who have come
// by then. Make it with NewFolder.
type Folder struct {
	path string
	sync func(path string) error

	turn chan struct{} // has a token while the folder is synced
	mu   sync.Mutex
	next *round // that has not begun; nil: there is none
}

// round is one sync for all who wait for it.
type round struct {
	done chan struct{}
	err  error // once done is closed; before that, of the sync that was under way when the first one came
}

// NewFolder returns a folder to sync.
func NewFolder(path string) *Folder {
	return &Folder{path: path, sync: SyncFolder, turn: make(chan struct{}, 1)}
}

// Sync makes durable all names that were added or removed before it was called, as [SyncFolder] does.
func (f *Folder) Sync() error {
	f.mu.Lock()
	mine := f.next
	if mine != nil {
		f.mu.Unlock()
		<-mine.done
		return mine.err
	}
	mine = &round{done: make(chan struct{})}
	f.next = mine
	f.mu.Unlock()
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	f.mu.Lock()
	f.next = nil // who comes from now on may have changed something too late for this one
	before := mine.err
	f.mu.Unlock()
	if before == nil {
		mine.err = f.synced()
	}
	close(mine.done)
	return mine.err
}

// synced syncs the folder. If that fails it has failed for those, too, who have come meanwhile: their names may be among those that it was to
// write, and a system tells of a lost write once. Another sync that goes well would say nothing of them.
func (f *Folder) synced() error {
	err := f.sync(f.path)
	if err != nil {
		f.mu.Lock()
		if f.next != nil {
			f.next.err = err
		}
		f.mu.Unlock()
	}
	return err
}
