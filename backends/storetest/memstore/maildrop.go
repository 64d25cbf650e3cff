package memstore

import (
	"bytes"
	"context"
	"io"
	"iter"
	"slices"

	"github.com/dipylon/dipylon/backends"
)

// maildrop is one open folder.
type maildrop struct {
	store   *Store
	account *account
	folder  *folder
	path    string
	// alive ends with Close, and with the store's.
	alive context.Context
	end   context.CancelFunc
}

// Open logs in and opens a folder.
func (s *Store) Open(ctx context.Context, request backends.OpenRequest) (backends.Maildrop, error) {
	if err := s.enter(ctx, "open"); err != nil {
		return nil, err
	}
	a, err := s.login(request.Credential)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.folder(a.User, request.Folder)
	if err != nil {
		return nil, err
	}
	// Not the call's context: that bounds the opening alone.
	alive, end := context.WithCancel(s.alive)
	return &maildrop{store: s, account: a, folder: f, path: request.Folder, alive: alive, end: end}, nil
}

// Opened implements [backends.Maildrop].
func (d *maildrop) Opened() backends.Opened {
	return backends.Opened{Account: d.account.public(), FolderID: "/" + d.path}
}

func (d *maildrop) Close() error {
	d.end()
	return nil
}

// enter is how every call of a maildrop begins.
func (d *maildrop) enter(ctx context.Context, call string) error {
	if d.alive.Err() != nil {
		return backends.Fail(backends.Temporary, "%s: the maildrop is closed", call)
	}
	return d.store.enter(ctx, call)
}

// List yields a copy of the folder's list as it is now.
func (d *maildrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		if err := d.enter(ctx, "list"); err != nil {
			yield(backends.Entry{}, err)
			return
		}
		d.store.mu.Lock()
		snapshot := slices.Clone(d.folder.messages)
		grow := d.store.growth()
		d.store.mu.Unlock()
		for _, m := range snapshot {
			if ctx.Err() != nil || d.alive.Err() != nil {
				yield(backends.Entry{}, backends.Fail(backends.Temporary, "list: it ended before the list did"))
				return
			}
			entry := backends.Entry{ID: m.id, Size: int64(len(m.data)) + grow, Exact: true, Received: m.received, Seen: m.seen}
			if !yield(entry, nil) {
				return
			}
		}
		if err := d.store.leave(ctx, "list"); err != nil {
			yield(backends.Entry{}, err)
		}
	}
}

// Fetch opens a message. It stays readable when it is removed meanwhile.
func (d *maildrop) Fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	if err := d.enter(ctx, "fetch"); err != nil {
		return nil, err
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	i := d.folder.find(request.ID)
	if i < 0 {
		return nil, backends.Fail(backends.NotFound, "message %q is gone", request.ID)
	}
	data := d.folder.messages[i].data
	if request.Top {
		data = top(data, request.Lines)
	}
	return d.store.content(ctx, d.alive, data), nil
}

// Measure implements [backends.Measurer].
func (d *maildrop) Measure(ctx context.Context, request backends.MeasureRequest) iter.Seq2[backends.Measured, error] {
	return func(yield func(backends.Measured, error) bool) {
		for _, id := range request.IDs {
			if err := d.enter(ctx, "measure"); err != nil {
				yield(backends.Measured{}, err)
				return
			}
			if !yield(d.measured(id, request), nil) {
				return
			}
		}
	}
}

func (d *maildrop) measured(id backends.MessageID, request backends.MeasureRequest) backends.Measured {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	m := backends.Measured{ID: id, Size: -1}
	i := d.folder.find(id)
	if i < 0 {
		m.Failure = backends.Fail(backends.NotFound, "message %q is gone", id)
		return m
	}
	data := d.folder.messages[i].data
	if request.Sizes {
		m.Size = int64(len(data))
	}
	if head := top(data, request.Lines); request.Top && len(head) <= backends.MeasureTopMost {
		m.Top = head
	}
	return m
}

// Remove removes messages, or moves them to the trash.
func (d *maildrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	if err := d.enter(ctx, "remove"); err != nil {
		return nil, err
	}
	if disposal != backends.DisposalRemove && disposal != backends.DisposalTrash {
		return nil, backends.Fail(backends.Unsupported, "disposal %d", disposal)
	}
	d.store.mu.Lock()
	removals := make([]backends.Removal, 0, len(ids))
	for _, id := range ids {
		if i := d.folder.find(id); i >= 0 && d.store.strike("remove", within, "") == nil {
			d.dispose(i, disposal)
		}
		removals = append(removals, backends.Removal{ID: id}) // gone, now or before
	}
	d.store.mu.Unlock()
	return removals, d.store.leave(ctx, "remove")
}

// MarkSeen implements [backends.Marker].
func (d *maildrop) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	if err := d.enter(ctx, "mark"); err != nil {
		return err
	}
	d.store.mu.Lock()
	for _, id := range ids {
		if i := d.folder.find(id); i >= 0 {
			d.folder.messages[i].seen = true
		}
	}
	d.store.mu.Unlock()
	return d.store.leave(ctx, "mark")
}

// dispose takes the folder's message i out of it. The caller holds the store's lock.
func (d *maildrop) dispose(i int, disposal backends.Disposal) {
	if disposal == backends.DisposalTrash {
		bin := d.account.folders[trash]
		if bin == nil {
			bin = &folder{}
			d.account.folders[trash] = bin
		}
		d.store.add(bin, d.folder.messages[i].data) // another folder, another id
	}
	d.folder.messages = slices.Delete(d.folder.messages, i, i+1)
}

// top is the header, the empty line and the first lines of the body (RFC 1939 §7).
func top(data []byte, lines int) []byte {
	header, body, found := bytes.Cut(data, []byte("\r\n\r\n"))
	if !found {
		return data
	}
	end := len(header) + 4
	for ; lines > 0 && len(body) > 0; lines-- {
		line := bytes.IndexByte(body, '\n') + 1
		end, body = end+line, body[line:]
	}
	return data[:end]
}

// content is a message on its way out.
type content struct {
	store *Store
	ctx   context.Context // the fetch's: it covers the reading too
	alive context.Context // the maildrop's
	data  []byte
	read  int
	fault *Fault
	ended bool
}

func (c *content) Size() int64 { return int64(len(c.data)) }

func (c *content) Close() error {
	c.ended = true
	return nil
}

func (c *content) Read(p []byte) (int, error) {
	switch {
	case c.ended || c.alive.Err() != nil:
		return 0, backends.Fail(backends.Temporary, "read: the content is closed")
	case c.ctx.Err() != nil:
		return 0, backends.Fail(backends.Temporary, "read: %w", c.ctx.Err())
	}
	end := len(c.data)
	if c.fault != nil && c.fault.After < end {
		end = c.fault.After
	}
	if c.read == end && end < len(c.data) {
		if c.fault.Drop {
			return 0, io.EOF // the lie
		}
		if err := c.store.suffer(c.ctx, c.fault); err != nil {
			return 0, err
		}
		c.fault, end = nil, len(c.data) // it was a delay
	}
	if c.read == end {
		return 0, io.EOF
	}
	n := copy(p, c.data[c.read:end])
	c.read += n
	return n, nil
}
