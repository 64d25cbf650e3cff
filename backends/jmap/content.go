package jmap

import (
	"context"
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/crlf"
)

// content is a message in canonical form.
type content struct {
	*crlf.Reader
	blob *blob
	size int64
}

func (c *content) Size() int64 { return c.size }

func (c *content) Close() error {
	c.Release()
	return c.blob.close()
}

// blob is a download. One that is shorter than the message's size may have been cut, and is
// not passed off as whole (I3); a server whose sizes are wrong is believed no more.
type blob struct {
	body   io.ReadCloser
	store  *Store
	want   int64
	got    int64
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // to tell why reading ended
}

func (b *blob) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.got += int64(n)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		if b.got != b.want && !b.store.liar.Swap(true) && b.got < b.want {
			return n, backends.Fail(backends.Temporary, "a message has %d octets and the server said %d; its sizes count as estimates from now on", b.got, b.want)
		}
	case context.Cause(b.ctx) != nil:
		err = backends.Fail(backends.Temporary, "download: %w", context.Cause(b.ctx))
	default:
		err = backends.Fail(backends.Temporary, "download: %w", err)
	}
	return n, err
}

func (b *blob) close() error {
	b.cancel()
	return b.body.Close()
}
