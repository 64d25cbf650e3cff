package maildrop

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
)

// marksTimeout bounds the time that marking messages as read may take at a session's end.
const marksTimeout = 5 * time.Second

// readMarks are the messages that the client has fetched whole with RETR. The store is told of all of
// them at the session's end, which saves a round trip for each.
type readMarks struct {
	mu   sync.Mutex
	read map[int]bool
}

func (r *readMarks) add(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read == nil {
		r.read = make(map[int]bool)
	}
	r.read[i] = true
}

// forget takes out messages that were removed.
func (r *readMarks) forget(removed []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range removed {
		delete(r.read, i)
	}
}

// markRead tells the store to mark the messages that were fetched. A failure is logged only, as the
// client has left.
func (d *drop) markRead() {
	ids := d.fetched()
	if len(ids) == 0 {
		return
	}
	marker, ok := d.inner.(backends.Marker)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), marksTimeout)
	defer cancel()
	if err := marker.MarkSeen(ctx, ids); err != nil {
		d.log(zerolog.WarnLevel).Err(err).Int("messages", len(ids)).Msg("what was fetched is not marked as read")
	}
}

// fetched returns the ids of the messages that the client has fetched, in the list's order.
func (d *drop) fetched() []backends.MessageID {
	d.marks.mu.Lock()
	defer d.marks.mu.Unlock()
	var at []int
	for i := range d.marks.read {
		at = append(at, i)
	}
	slices.Sort(at)
	var ids []backends.MessageID
	for _, i := range at {
		ids = append(ids, d.list.id(i))
	}
	return ids
}
