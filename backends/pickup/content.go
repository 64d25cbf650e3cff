package pickup

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// Sight is what a file looks like: what is written into it shows in one or the other.
type Sight struct {
	Size    int64 // octets
	Changed time.Time
}

// Same says whether a file looks as it did.
func (s Sight) Same(now Sight) bool { return s.Size == now.Size && s.Changed.Equal(now.Changed) }

// File is a file that was picked up.
type File interface {
	io.ReaderAt
	io.Closer
	// Look is what it looks like now.
	Look() (Sight, error)
}

// Content is the message in a file, behind its envelope, with CRLF at the ends of its lines. A file that has changed since it was
// opened is no complete message: its end is an error then (I3). It implements [backends.Content].
type Content struct {
	ctx    context.Context //nolint:containedctx // the request's, which covers the reading
	file   File
	was    Sight
	lines  *crlf.Reader
	failed func(error) error
	err    error // the end
}

// NewContent returns the message that begins at an octet of a file, which looked so when it was opened. It closes the file. failed makes
// a failure of the store's of what the disk says.
func NewContent(ctx context.Context, file File, was Sight, begins int64, failed func(error) error) *Content {
	return &Content{ctx: ctx, file: file, was: was, lines: crlf.NewReader(io.NewSectionReader(file, begins, was.Size-begins)), failed: failed}
}

var errChanged = errors.New("it has changed since it was opened: a message gets its name, or is put into new, when it is complete")

// Read implements [io.Reader].
func (c *Content) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, backends.Fail(backends.Temporary, "reading a message: %w", err)
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.lines.Read(p)
	switch {
	case err == io.EOF:
		now, odd := c.file.Look()
		if odd == nil && !c.was.Same(now) {
			odd = errChanged
		}
		if odd != nil {
			err = c.failed(odd)
		}
	case err != nil:
		err = c.failed(err)
	}
	c.err = err
	return n, err
}

// Size implements [backends.Content]: the octets are not counted before.
func (c *Content) Size() int64 { return -1 }

// Close implements [io.Closer].
func (c *Content) Close() error {
	c.lines.Release()
	return c.file.Close()
}
