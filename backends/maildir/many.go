package maildir

import (
	"context"
	"io"

	"github.com/dipylon/dipylon/backends"
)

// FetchMany implements [backends.ManyFetcher]: a file is opened when its turn comes, as there is
// no round trip to hide.
func (m *maildrop) FetchMany(_ context.Context, request backends.FetchManyRequest) (backends.Contents, error) {
	if err := m.usable(); err != nil {
		return nil, err
	}
	return &contents{drop: m, request: request}, nil
}

// contents are the messages of one request.
type contents struct {
	drop    *maildrop
	request backends.FetchManyRequest
	given   int
	read    closing
}

// Next implements [backends.Contents].
func (c *contents) Next(ctx context.Context) (backends.Content, error) {
	if c.given == len(c.request.IDs) {
		return nil, io.EOF
	}
	c.given++
	if c.request.Top {
		return c.drop.Fetch(ctx, c.request.One(c.given-1))
	}
	opened, err := c.drop.open(ctx, c.request.IDs[c.given-1], true)
	if err != nil {
		return nil, err // and not a content that is a nil *content
	}
	opened.together = &c.read
	return opened, nil
}

// Close implements [backends.Contents]. Each content is its reader's; the files of those that are
// closed already are closed with it.
func (c *contents) Close() error {
	c.read.end()
	return nil
}

// File implements [backends.FileContent]. A message whose size is not known is counted here, so
// that it is known the next time; so is one of which some has been read.
func (c *content) File() (file backends.OpenFile, offset, length int64) {
	c.look()
	f, ok := c.file.(backends.OpenFile)
	if !ok || c.promised < 0 || c.given > 0 {
		return nil, 0, 0
	}
	return f, 0, c.src.left
}

// WholeFile implements [backends.WholeFileContent]. A file that nobody has looked at is handed over like that.
func (c *content) WholeFile() (file backends.OpenFile, size, length int64) {
	f, ok := c.file.(backends.OpenFile)
	if !ok || !c.unseen {
		return nil, 0, 0
	}
	return f, c.promised, c.expected
}
