package maildrop

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/pop3"
)

// marksTimeout bounds the time that marking messages as read may take at a session's end.
const marksTimeout = 5 * time.Second

// readMarks are the messages that the client has fetched whole. The store is told of them
// together, at the session's end: marking is worth no round trip for each.
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

// forget is for messages that are removed.
func (r *readMarks) forget(removed []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range removed {
		delete(r.read, i)
	}
}

// noting notes when a message that a client has asked for is read to its end. Those that are
// read ahead, or to know their sizes, are nobody's yet, and so is a notice.
func (d *drop) noting(i, top int, c pop3.Content) pop3.Content {
	if _, held := d.unavailable.entry(i, folder.Held); held || top >= 0 || !d.policy.MarkRead {
		return c
	}
	n := &notedContent{Content: c, done: func() { d.marks.add(i) }}
	if _, ok := c.(io.WriterTo); ok {
		return writerNotedContent{n}
	}
	return n
}

type notedContent struct {
	pop3.Content
	done func()
}

func (n *notedContent) Read(p []byte) (int, error) {
	got, err := n.Content.Read(p)
	if errors.Is(err, io.EOF) {
		n.done()
	}
	return got, err
}

// writerNotedContent is one that can write itself.
type writerNotedContent struct{ *notedContent }

// WriteTo implements [io.WriterTo].
func (n writerNotedContent) WriteTo(w io.Writer) (int64, error) {
	got, err := n.Content.(io.WriterTo).WriteTo(w)
	if err == nil {
		n.done()
	}
	return got, err
}

// markRead has the store mark what was fetched. That it cannot is for the log: the client has
// left.
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
		d.log.Warn().Err(err).Int("messages", len(ids)).Msg("what was fetched is not marked as read")
	}
}

// fetched are the ids of what the client has fetched, in the list's order.
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
