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
	c, err := m.open(ctx, request.ID, false)
	if err != nil {
		return nil, err
	}
	if request.Top {
		c.promised = -1
		return &topContent{Reader: crlf.Top(c.reader, request.Lines), content: c}, nil
	}
	return c, nil
}

// open opens a message. With later, a file whose size is known is not looked at before somebody wants to know more of it: a
// gateway that takes the open file over looks itself.
func (m *maildrop) open(ctx context.Context, message backends.MessageID, later bool) (*content, error) {
	if err := m.usable(); err != nil {
		return nil, err
	}
	id := string(message)
	if !isID(id) {
		return nil, gone(id)
	}
	f, err := m.openPath(ctx, id)
	if err != nil {
		return nil, notOpened(id, err)
	}
	c := &content{drop: m, id: id, file: f, unseen: true, src: fileReader{ctx: ctx, drop: m, src: f}}
	c.promised, c.expected = m.promised(id)
	c.reader = crlf.NewReader(&c.src)
	if later && c.promised >= 0 {
		return c, nil
	}
	if c.look(); c.failed != nil {
		_ = f.Close()
		return nil, c.failed
	}
	return c, nil
}

// notOpened is what a caller is told of a message that could not be opened.
func notOpened(id string, err error) error {
	switch {
	case errors.Is(err, errNoMessage):
		return backends.Fail(backends.Poison, "message %q is no regular file", id)
	case errors.Is(err, errNotFound):
		return gone(id)
	}
	return storageFailure("opening a message", err)
}

func gone(id string) error {
	return backends.Fail(backends.NotFound, "message %q is gone", id).Say("there is no such message any more")
}

// isID says whether a string can be the id of a message here, and not lead somewhere else.
func isID(id string) bool {
	return id != "" && len(id) <= mostName && id[0] != '.' && !strings.ContainsAny(id, "/\\\x00"+string(infoSeparator))
}

// openFile opens a message, and says how many octets its file has. errNoMessage: it is not a regular file.
func (m *maildrop) openFile(ctx context.Context, id string) (f readable, stored int64, err error) {
	if f, err = m.openPath(ctx, id); err != nil {
		return nil, 0, err
	}
	if stored, err = lengthOf(f); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, stored, nil
}

// openPath opens whatever has a message's name. errNoMessage: it is nothing that can be opened like a file.
func (m *maildrop) openPath(ctx context.Context, id string) (f readable, err error) {
	err = m.locate(ctx, id, func(r record) (err error) {
		f, err = m.store.disk.Open(r.path(m.folder.dir))
		return err
	})
	if isNoFile(err) {
		return nil, errNoMessage
	}
	return f, err
}

// lengthOf is how many octets an open file has. errNoMessage: it is not a regular file.
func lengthOf(f readable) (int64, error) {
	now, regular, err := f.stat()
	if err == nil && !regular {
		err = errNoMessage
	}
	return now.Size, err
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

// promised is what the list says, or would say, of a message whose file has so many octets as expected; -1: nothing, and
// any number of octets.
func (m *maildrop) promised(id string) (size, expected int64) {
	if size, ok := m.remembered(id); ok {
		return size, -1
	}
	size, ok := canonicalSize(id)
	if stored, also := storedSize(id); ok && also && isOurs(id) {
		return size, stored
	}
	return -1, -1
}

// content is a message on its way out.
type content struct {
	drop     *maildrop
	id       string
	file     readable
	src      fileReader
	reader   *crlf.Reader
	promised int64 // octets; -1: not known
	expected int64 // octets that the file has where that is right; -1: any number
	unseen   bool  // the file has not been looked at
	failed   error // what was wrong with it then
	given    int64
	together *closing // where it is one of several messages
}

// look asks the system, once, how long the file is. Where another program has changed the length, the size that was
// promised for it is not.
func (c *content) look() {
	if !c.unseen {
		return
	}
	c.unseen = false
	stored, err := lengthOf(c.file)
	if err != nil {
		c.failed, c.promised = notOpened(c.id, err), -1
		return
	}
	c.src.left = stored
	if c.expected >= 0 && c.expected != stored {
		c.promised = -1
	}
}

// Size implements [backends.Content].
func (c *content) Size() int64 {
	c.look()
	return c.promised
}

// Read implements [backends.Content].
func (c *content) Read(p []byte) (int, error) {
	if c.look(); c.failed != nil {
		return 0, c.failed
	}
	n, err := c.reader.Read(p)
	c.given += int64(n)
	return n, c.ended(err)
}

// WriteTo spares a copy.
func (c *content) WriteTo(w io.Writer) (int64, error) {
	if c.look(); c.failed != nil {
		return 0, c.failed
	}
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
