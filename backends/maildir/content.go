package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// Fetch implements [backends.Maildrop]. The rendering does not matter: messages are served as
// they were taken.
func (m *maildrop) Fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	if err := m.usable(); err != nil {
		return nil, err
	}
	id := string(request.ID)
	if !isID(id) {
		return nil, gone(id)
	}
	f, stored, err := m.openFile(ctx, id)
	switch {
	case errors.Is(err, errNoMessage):
		return nil, backends.Fail(backends.Poison, "message %q is no regular file", id)
	case errors.Is(err, errNotFound):
		return nil, gone(id)
	case err != nil:
		return nil, storageFailure("opening a message", err)
	}
	c := &content{
		drop: m, id: id, file: f,
		promised: m.promised(id, stored),
		src:      fileReader{ctx: ctx, drop: m, src: f, left: stored},
	}
	c.reader = crlf.NewReader(&c.src)
	if request.Top {
		c.promised = -1
		return &topContent{Reader: crlf.Top(c.reader, request.Lines), content: c}, nil
	}
	return c, nil
}

func gone(id string) error {
	return backends.Fail(backends.NotFound, "message %q is gone", id).Say("there is no such message any more")
}

// isID says whether a string can be the id of a message here, and not lead somewhere else.
func isID(id string) bool {
	return id != "" && len(id) <= mostName && id[0] != '.' && !strings.ContainsAny(id, "/\\\x00"+string(infoSeparator))
}

// openFile opens a message. errNoMessage: it is not a regular file.
func (m *maildrop) openFile(ctx context.Context, id string) (f readable, stored int64, err error) {
	err = m.locate(ctx, id, func(r record) (err error) {
		f, err = m.store.disk.Open(r.path(m.folder.dir))
		return err
	})
	if isNoFile(err) {
		return nil, 0, errNoMessage
	}
	if err != nil {
		return nil, 0, err
	}
	stored, regular, err := f.stat()
	if err == nil && !regular {
		err = errNoMessage
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, stored, nil
}

// errNotFound says that a folder has no such message.
var errNotFound = errors.New("no such message")

// locate calls act with the record of a message, and again when another program has renamed
// the file since the folder was read.
func (m *maildrop) locate(ctx context.Context, id string, act func(record) error) error {
	return m.locateSince(ctx, id, new(bool), act)
}

// locateSince is locate for one of many messages: fresh is set when the folder has been read for
// one of them, and then the others that are not in it are gone. Reading it again for each would
// take quadratic time where much is gone.
func (m *maildrop) locateSince(ctx context.Context, id string, fresh *bool, act func(record) error) error {
	r, found := m.scanned().find(id)
	if found {
		if err := act(r); !isGone(err) {
			return err
		}
	} else if *fresh {
		return errNotFound
	}
	*fresh = true
	var err error
	for range mostScans {
		l, scanning := m.scan(ctx)
		if scanning != nil {
			return scanning
		}
		r, found := l.find(id)
		if !found {
			return errNotFound
		}
		if err = act(r); !isGone(err) {
			return err
		}
	}
	return fmt.Errorf("the message is there and cannot be reached: %w", err)
}

// promised is what the list says, or would say, of a file of this length; -1: nothing.
func (m *maildrop) promised(id string, stored int64) int64 {
	if size, ok := m.remembered(id); ok {
		return size
	}
	size, ok := canonicalSize(id)
	if s, also := storedSize(id); ok && also && s == stored && isOurs(id) {
		return size
	}
	return -1
}

// content is a message on its way out.
type content struct {
	drop     *maildrop
	id       string
	file     readable
	src      fileReader
	reader   *crlf.Reader
	promised int64 // octets; -1: not known
	given    int64
	together *closing // where it is one of several messages
}

// Size implements [backends.Content].
func (c *content) Size() int64 { return c.promised }

// Read implements [backends.Content].
func (c *content) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	c.given += int64(n)
	return n, c.ended(err)
}

// WriteTo spares a copy.
func (c *content) WriteTo(w io.Writer) (int64, error) {
	n, err := c.reader.WriteTo(w)
	c.given += n
	if err == nil {
		if err = c.ended(io.EOF); err == io.EOF {
			err = nil
		}
	}
	return n, err
}

// ended looks at what ended the message. Octets that were promised and did not come, or came
// without having been promised, are an error (I3, I6); the next session will be told the
// right number.
func (c *content) ended(err error) error {
	if err != io.EOF {
		return err
	}
	if c.given != c.promised {
		c.drop.knownSizes().set(c.id, c.given)
	}
	if c.promised >= 0 && c.given != c.promised {
		return backends.Fail(backends.Temporary, "message %q has %d octets and not %d: another program has changed it", c.id, c.given, c.promised)
	}
	return io.EOF
}

// Close implements [backends.Content].
func (c *content) Close() error {
	c.reader.Release()
	if c.together != nil && c.together.add(c.file) {
		return nil
	}
	return c.file.Close()
}

// topContent is the top of a message.
type topContent struct {
	io.Reader
	content *content
}

// Size implements [backends.Content].
func (t *topContent) Size() int64 { return -1 }

// Close implements [backends.Content].
func (t *topContent) Close() error { return t.content.Close() }

// fileReader reads a message's file, and fails where that is cut short by the caller, by the
// session's end, or by another program.
type fileReader struct {
	ctx  context.Context
	drop *maildrop
	src  io.Reader
	left int64 // octets that the file had when it was opened, and that have not come yet
}

func (r *fileReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, backends.Fail(backends.Temporary, "reading a message: %w", err)
	}
	if err := r.drop.usable(); err != nil {
		return 0, err
	}
	n, err := r.src.Read(p)
	r.left -= int64(n)
	switch {
	case err == io.EOF && r.left != 0:
		return n, backends.Fail(backends.Temporary, "a message's file was changed while it was read")
	case err != nil && err != io.EOF:
		return n, storageFailure("reading a message", err)
	}
	return n, err
}
