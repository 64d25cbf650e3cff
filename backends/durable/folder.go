package durable

import "sync"

// Folder is a folder whose syncs are shared, as [Folders] shares them. Make it with NewFolder.
type Folder struct {
	path string
	sync func(path string) error
	all  Folders
}

// NewFolder returns a folder to sync.
func NewFolder(path string) *Folder { return &Folder{path: path, sync: SyncFolder} }

// Sync makes durable all names that were added or removed before it was called, as [SyncFolder] does.
func (f *Folder) Sync() error { return f.all.Sync(f.path, f.sync) }

// Folders syncs folders for those who come at the same time: those that wait for the same folder share a sync. One that is under
// way when somebody comes may have begun before their name was there, so they wait for the next one, with all who come until
// then. Where the one under way fails, so does the next, and nothing is synced for it: the system tells of a failure once, and what it
// could not write may have been their names, too. The zero value is ready.
type Folders struct {
	mu    sync.Mutex
	under map[string]*sharedSync // what comes behind the sync under way; nil: nobody waits for it yet
}

// sharedSync is a sync of a folder that somebody waits for.
type sharedSync struct {
	turn   chan struct{} // closed when the sync before it has ended; whoever made it syncs then
	before error         // how the sync before it has failed; set before turn is closed
	done   chan struct{} // closed when it has ended itself
	err    error
}

// Sync makes the names durable that were added to a folder or removed from it before it was called, by do or another's do that begins
// after that. A failure is that of all who share it.
func (f *Folders) Sync(folder string, do func(string) error) error {
	f.mu.Lock()
	mine, busy := f.under[folder]
	switch {
	case !busy:
		mine = &sharedSync{done: make(chan struct{})}
		f.begin(folder)
		f.mu.Unlock()
	case mine != nil:
		f.mu.Unlock()
		<-mine.done
		return mine.err
	default:
		mine = &sharedSync{turn: make(chan struct{}), done: make(chan struct{})}
		f.under[folder] = mine
		f.mu.Unlock()
		<-mine.turn
		f.mu.Lock()
		f.begin(folder)
		f.mu.Unlock()
	}
	if mine.err = mine.before; mine.err == nil {
		mine.err = do(folder)
		f.end(folder, mine.err)
	} else {
		f.end(folder, nil) // whoever has come since that failure was known has a sync of their own
	}
	close(mine.done)
	return mine.err
}

// begin says that a sync is under way that nobody else may share any more. f.mu is held.
func (f *Folders) begin(folder string) {
	if f.under == nil {
		f.under = map[string]*sharedSync{}
	}
	f.under[folder] = nil
}

// end gives the turn to those who have come meanwhile, with the failure of the sync that has ended.
func (f *Folders) end(folder string, failed error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if next := f.under[folder]; next != nil {
		next.before = failed
		close(next.turn)
	} else {
		delete(f.under, folder)
	}
}
