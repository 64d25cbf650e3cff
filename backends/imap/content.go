package imap

import (
	"context"
	"io"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/crlf"
)

const (
	// partSize is how many octets one FETCH asks for: it waits in memory until it is read.
	partSize = 256 << 10
	// partsAhead is how many parts of one message are asked for at once while it is read.
	partsAhead = 4
	// topGuess is the first part of a TOP: most headers are shorter (and a line is about 80).
	topGuess = 16 << 10
)

// part is one FETCH under way.
type part struct {
	arrived chan struct{} // closed when octets and err are there
	octets  []byte
	found   bool // the server knows the message
	err     error
}

// fetchPart asks for octets [offset, offset+length) of a message (RFC 9051 §6.4.5). It does
// not wait; the answer is always taken off the connection, wanted or not, as the answers to
// others stand behind it.
func (m *maildrop) fetchPart(uid imap.UID, offset, length int64) *part {
	p := &part{arrived: make(chan struct{})}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		p.err = backends.Fail(backends.Temporary, "fetch: %w", errClosed)
		close(p.arrived)
		return p
	}
	m.parts.Add(1)
	m.waiting++
	m.mu.Unlock()
	go func() {
		defer m.parts.Done()
		defer close(p.arrived)
		p.octets, p.found, p.err = m.receive(uid, offset, length)
		m.mu.Lock()
		m.waiting--
		m.mu.Unlock()
	}()
	return p
}

func (m *maildrop) receive(uid imap.UID, offset, length int64) (octets []byte, found bool, err error) {
	section := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Offset: offset, Size: length}}
	command := m.conn.client.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}})
	var readErr error
	for message := command.Next(); message != nil; message = command.Next() {
		for item := message.Next(); item != nil; item = message.Next() {
			body, ok := item.(imapclient.FetchItemDataBodySection)
			if !ok {
				continue
			}
			found = true
			if body.Literal == nil { // NIL: beyond the end
				continue
			}
			octets = make([]byte, min(body.Literal.Size(), length))
			_, readErr = io.ReadFull(body.Literal, octets)
		}
	}
	if err := command.Close(); err != nil {
		return nil, found, failure("fetch", err, backends.Temporary)
	}
	if readErr != nil {
		return nil, found, backends.Fail(backends.Temporary, "fetch: %w", readErr)
	}
	return octets, found, nil
}

// busy says whether answers are still to come.
func (m *maildrop) busy() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiting > 0
}

// Fetch asks for the first part and waits for it, so that a message that is gone is told here.
func (m *maildrop) Fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	uid, ok := m.uid(request.ID)
	if !ok {
		return nil, backends.Fail(backends.NotFound, "no message %q in this mailbox", request.ID)
	}
	m.mu.Lock()
	size, listed := m.sizes[uid]
	m.mu.Unlock()
	if !listed {
		size = -1
	}
	r := &parts{ctx: ctx, maildrop: m, uid: uid, size: size}
	first := int64(partSize)
	if request.Top {
		first = min(partSize, topGuess+100*int64(max(0, request.Lines)))
	}
	if err := r.begin(first); err != nil {
		return nil, err
	}
	if request.Top {
		return &content{Reader: crlf.NewReader(crlf.Top(r, request.Lines)), parts: r, size: -1}, nil
	}
	if size < 0 || m.store.liar.Load() {
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

// begin asks for the first part and waits for it.
func (r *parts) begin(length int64) error {
	r.ask(length)
	err := r.next()
	if err == io.EOF { // an empty message
		r.err = io.EOF
		return nil
	}
	return err
}

// ask asks for the next part. The last one of a message whose size is known asks for one octet
// more than there should be: a server that tells too small a size is found out by it.
func (r *parts) ask(length int64) {
	if r.size >= 0 {
		length = min(length, r.size-r.asked+1)
	}
	r.ahead = append(r.ahead, request{r.maildrop.fetchPart(r.uid, r.asked, length), length})
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
	r.unread = oldest.octets
	r.got += int64(len(oldest.octets))
	if int64(len(oldest.octets)) < oldest.length {
		return r.end()
	}
	return nil
}

// end is reached by the part that is shorter than what was asked for.
func (r *parts) end() error {
	r.ahead = nil
	if r.size >= 0 && r.got != r.size {
		r.maildrop.store.liar.Store(true)
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

func (r *parts) askAhead() {
	for len(r.ahead) == 0 || len(r.ahead) < partsAhead && (r.size < 0 || r.asked <= r.size) {
		if r.size >= 0 && r.asked > r.size {
			r.size = -1 // it is longer than it was said to be: go on until a part is short
			r.maildrop.store.liar.Store(true)
		}
		r.ask(partSize)
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
