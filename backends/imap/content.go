package imap

import (
	"context"
	"io"
	"sync"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/crlf"
)

// partsAhead is how many parts of one message are asked for at once while it is read.
const partsAhead = 4

// Fetch asks for the first part and waits for it, so that a message that is gone is told here.
func (m *maildrop) Fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	uid, ok := m.uid(request.ID)
	if !ok {
		return nil, backends.Fail(backends.NotFound, "no message %q in this mailbox", request.ID)
	}
	if err := m.replaced(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	size, listed := m.sizes[uid]
	m.mu.Unlock()
	if !listed {
		size = -1
	}
	if !m.busy() {
		// A server may go on giving a message that another session has expunged, until it
		// has told this one of it, which it does not do within a FETCH (RFC 9051 §7.5.1).
		news := m.conn.client.Noop() // sent before the FETCH
		m.background(func() { _ = news.Wait() }, nil)
	}
	r := &parts{ctx: ctx, maildrop: m, uid: uid, size: size}
	r.ask()
	if !request.Top && size > firstPart {
		r.ask() // most longer messages end within the second part: they cost one round trip, too
	}
	if err := r.next(); err != nil && err != io.EOF {
		return nil, err
	}
	if request.Top {
		return &content{Reader: crlf.NewReader(crlf.Top(r, request.Lines)), parts: r, size: -1}, nil
	}
	if m.store.liar.Load() {
		size = -1
	}
	return &content{Reader: crlf.NewReader(r), parts: r, size: size}, nil
}

// content is a message in canonical form. What a server gives is canonical already, but for
// messages that were appended without a last CRLF, or by force.
type content struct {
	*crlf.Reader
	parts *parts
	size  int64
}

func (c *content) Size() int64 { return c.size }

func (c *content) Close() error {
	c.Release()
	c.parts.close()
	return nil
}

// parts reads a message part after part, asking ahead while it is being read.
type parts struct {
	ctx      context.Context
	maildrop *maildrop
	uid      imap.UID
	size     int64 // as listed; -1: unknown

	asked  int64 // octets asked for so far
	got    int64 // octets arrived so far
	ahead  []request
	unread []byte
	once   sync.Once
	err    error
}

type request struct {
	*part
	length int64
}

func (r *parts) ask() {
	length := partLength(r.asked)
	r.ahead = append(r.ahead, request{r.maildrop.fetchPart(r.uid, r.asked), length})
	r.asked += length
}

// next waits for the oldest part asked for.
func (r *parts) next() error {
	oldest := r.ahead[0]
	select {
	case <-oldest.arrived:
	case <-r.ctx.Done():
		return backends.Fail(backends.Temporary, "fetch: %w", context.Cause(r.ctx))
	}
	r.ahead = r.ahead[1:]
	switch {
	case oldest.err != nil:
		return oldest.err
	case !oldest.found && r.got == 0:
		return backends.Fail(backends.NotFound, "message %d is gone from the server", r.uid)
	case !oldest.found:
		return backends.Fail(backends.Temporary, "message %d went from the server while it was read", r.uid)
	}
	if r.got == 0 && len(oldest.octets) == 0 && r.size > 0 {
		// What Dovecot says of a message that another session has expunged.
		return backends.Fail(backends.NotFound, "message %d has nothing in it any more", r.uid)
	}
	r.unread = oldest.octets
	r.got += int64(len(oldest.octets))
	if int64(len(oldest.octets)) < oldest.length {
		return r.end()
	}
	return nil
}

// end is reached by the part that is shorter than what was asked for. A message that is
// shorter than its size was said to be may have been cut (I3): it is not passed off as whole.
func (r *parts) end() error {
	r.ahead = nil
	switch {
	case r.size < 0 || r.got == r.size:
	case r.got < r.size && !r.maildrop.store.liar.Load():
		r.maildrop.store.distrust(r.uid, r.size, r.got)
		return backends.Fail(backends.Temporary, "message %d has %d octets and the server said %d; its sizes count as estimates from now on", r.uid, r.got, r.size)
	default:
		r.maildrop.store.distrust(r.uid, r.size, r.got)
	}
	r.err = io.EOF
	return nil
}

// Read gives the octets as the server keeps them.
func (r *parts) Read(p []byte) (int, error) {
	for len(r.unread) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.askAhead()
		if err := r.next(); err != nil {
			r.err = err
			return 0, err
		}
	}
	n := copy(p, r.unread)
	r.unread = r.unread[n:]
	return n, nil
}

// askAhead asks for the parts up to the size. The last of them goes beyond it, so that a
// server that tells too small a size is found out.
func (r *parts) askAhead() {
	for len(r.ahead) == 0 || len(r.ahead) < partsAhead && r.asked <= r.size {
		r.ask()
	}
}

// close makes further reads fail. Parts under way are taken off the connection in the
// background, by those who asked for them.
func (r *parts) close() {
	r.once.Do(func() {
		r.err = backends.Fail(backends.Temporary, "fetch: %w", errClosed)
		r.unread, r.ahead = nil, nil
	})
}
