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
	opened, err := c.drop.Fetch(ctx, c.request.One(c.given-1))
	if one, is := opened.(*content); is {
		one.together = &c.read
	}
	return opened, err
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
	f, ok := c.file.(backends.OpenFile)
	if !ok || c.promised < 0 || c.given > 0 {
		return nil, 0, 0
	}
	return f, 0, c.src.left
}
