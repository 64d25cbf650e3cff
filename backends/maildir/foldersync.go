package maildir

import "sync"

// folderSyncs syncs folders for deliveries that come at the same time: those that wait for the same folder share a
// sync. One that is under way when a delivery comes may have begun before the delivery's name was there, so it waits
// for the next one, with all who come until then. The zero value is ready.
type folderSyncs struct {
	mu    sync.Mutex
	under map[string]*sharedSync // what comes behind the sync under way; nil: nobody waits for it yet
}

// sharedSync is a sync of a folder that somebody waits for.
type sharedSync struct {
	turn chan struct{} // closed when the sync before it has ended; whoever made it syncs then
	done chan struct{} // closed when it has ended itself
	err  error
}

// sync makes the names durable that are in a folder now, by do or another's do that begins after now. A failure is
// that of all who share it.
func (f *folderSyncs) sync(folder string, do func(string) error) error {
	f.mu.Lock()
	next, busy := f.under[folder]
	switch {
	case !busy:
		next = &sharedSync{done: make(chan struct{})}
		f.begin(folder)
		f.mu.Unlock()
	case next != nil:
		f.mu.Unlock()
		<-next.done
		return next.err
	default:
		next = &sharedSync{turn: make(chan struct{}), done: make(chan struct{})}
		f.under[folder] = next
		f.mu.Unlock()
		<-next.turn
		f.mu.Lock()
		f.begin(folder)
		f.mu.Unlock()
	}
	defer f.end(folder)
	next.err = do(folder)
	close(next.done)
	return next.err
}

// begin says that a sync is under way that nobody else may share any more. f.mu is held.
func (f *folderSyncs) begin(folder string) {
	if f.under == nil {
		f.under = map[string]*sharedSync{}
	}
	f.under[folder] = nil
}

// end gives the turn to those who have come meanwhile.
func (f *folderSyncs) end(folder string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if next := f.under[folder]; next != nil {
		close(next.turn)
	} else {
		delete(f.under, folder)
	}
}
