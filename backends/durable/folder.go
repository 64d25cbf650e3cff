package durable

import (
	"fmt"
	"sync"
)

// Folder is a folder whose syncs are shared, as [Folders] shares them. Make it with NewFolder.
type Folder struct {
	path string
	sync func(path string) error
	all  Folders
}

// NewFolder returns a folder to sync.
func NewFolder(path string) *Folder { return &Folder{path: path, sync: SyncFolder} }

// Mark is to be taken before a name is added or removed, see [Folders.Mark].
func (f *Folder) Mark() Mark { return f.all.Mark(f.path) }

// Sync makes durable all names that were added or removed since the mark was taken, and before it was called, as [SyncFolder] does.
func (f *Folder) Sync(mark Mark) error { return f.all.Sync(f.path, mark, f.sync) }

// Folders syncs folders for those who come at the same time: those that wait for the same folder share a sync. One that is under
// way when somebody comes may have begun before their name was there, so they wait for the next one, with all who come until
// then.
//
// The system tells of a failure once, and what it could not write is whatever was there to be written: so a sync that fails has failed for
// every name that was added or removed since before its end, whoever asked for it. A mark that was taken before the name was touched shows
// that. The zero value is ready.
type Folders struct {
	mu     sync.Mutex
	under  map[string]*sharedSync // what comes behind the sync under way; nil: nobody waits for it yet
	failed map[string]failures    // of folders of which a sync has failed
}

// Mark is how many syncs of a folder had failed.
type Mark int

// failures are those of a folder's syncs.
type failures struct {
	times Mark
	last  error
}

// sharedSync is a sync of a folder that somebody waits for.
type sharedSync struct {
	turn  chan struct{} // closed when the sync before it has ended; whoever made it syncs then
	done  chan struct{} // closed when it has ended itself
	asOf  Mark          // the failures before it; set before done is closed
	older error         // the last of these
	err   error
}

// of is what it has come to for a name that was added or removed after a mark.
func (s *sharedSync) of(mark Mark) error {
	if mark != s.asOf {
		return fmt.Errorf("a sync of the folder before this one: %w", s.older)
	}
	return s.err
}

// Mark is to be taken before a name is added to a folder, or removed from it, and given to Sync.
func (f *Folders) Mark(folder string) Mark {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed[folder].times
}

// Sync makes the names durable that were added to a folder or removed from it since a mark was taken, and before Sync was called, by do or
// another's do that begins after that. It fails if any sync of the folder has since the mark.
func (f *Folders) Sync(folder string, mark Mark, do func(string) error) error {
	f.mu.Lock()
	mine, busy := f.under[folder]
	switch {
	case !busy:
		mine = &sharedSync{done: make(chan struct{})}
		f.begin(folder, mine)
		f.mu.Unlock()
	case mine != nil:
		f.mu.Unlock()
		<-mine.done
		return mine.of(mark)
	default:
		mine = &sharedSync{turn: make(chan struct{}), done: make(chan struct{})}
		f.under[folder] = mine
		f.mu.Unlock()
		<-mine.turn
		f.mu.Lock()
		f.begin(folder, mine)
		f.mu.Unlock()
	}
	mine.err = do(folder)
	f.end(folder, mine.err)
	close(mine.done)
	return mine.of(mark)
}

// begin says that a sync is under way that nobody else may share any more. f.mu is held.
func (f *Folders) begin(folder string, s *sharedSync) {
	if f.under == nil {
		f.under = map[string]*sharedSync{}
	}
	f.under[folder] = nil
	before := f.failed[folder]
	s.asOf, s.older = before.times, before.last
}

// end gives the turn to those who have come meanwhile, and notes that the sync has failed.
func (f *Folders) end(folder string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		if f.failed == nil {
			f.failed = map[string]failures{}
		}
		f.failed[folder] = failures{f.failed[folder].times + 1, err}
	}
	if next := f.under[folder]; next != nil {
		close(next.turn)
	} else {
		delete(f.under, folder)
	}
}
