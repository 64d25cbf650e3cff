package maildrop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	contents "github.com/dipylon/dipylon/gateway/content"
)

// opened is a whole message of the store's with its TNEF opened.
func (d *drop) opened(ctx context.Context, i int, inner backends.Content) io.ReadCloser {
	opening := d.o.Winmail.Reader(ctx, &entire{Content: inner}, func(o contents.Opened) {
		if o.Kept != nil {
			d.log(zerolog.InfoLevel).Str("id", string(d.list.id(i))).AnErr("cause", o.Kept).Msg("a winmail.dat is given as it came: it cannot be opened whole")
		}
	})
	return blameless{opening}
}

// toldOpened returns the size that the client is told for a message whose form is made here; -1: none is exact.
func (d *drop) toldOpened(i int) int64 {
	told, known := d.list.size(i)
	if !known || d.policy.FastSizes {
		return -1
	}
	return told
}

// openedTop is the top of a message with its TNEF opened. The whole message is fetched if that changes the top that the
// store gives.
func (d *drop) openedTop(ctx context.Context, i, lines int, inner backends.Content) (backends.Content, error) {
	head, opens, err := contents.PeekWinmail(inner)
	if err == nil && (opens == contents.OpensNothing || opens == contents.OpensBody && lines == 0) {
		return topContent{io.MultiReader(bytes.NewReader(head), inner), inner}, nil
	}
	if e := inner.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	whole, err := d.inner.Fetch(ctx, d.request(i, -1))
	if err != nil {
		return nil, err
	}
	opened := d.opened(ctx, i, whole)
	return topContent{crlf.Top(crlf.NewReader(opened), lines), opened}, nil // a store may have other line ends
}

// topContent is the top of a message.
type topContent struct {
	io.Reader
	io.Closer
}

// Size implements [backends.Content].
func (topContent) Size() int64 { return -1 }

// entire is a message of the store's that fails at its end if another number of octets has come than the store has said
// (I3): what is made of it does not show that.
type entire struct {
	backends.Content
	passed crlf.Counter
}

// Read implements [io.Reader].
func (e *entire) Read(p []byte) (int, error) {
	n, err := e.Content.Read(p)
	_, _ = e.passed.Write(p[:n]) // it does not fail
	size := e.Size()
	ended := errors.Is(err, io.EOF)
	if size < 0 || !ended && e.passed.Raw() <= size || ended && (e.passed.Raw() == size || e.passed.Octets() == size) {
		return n, err
	}
	return n, backends.Fail(backends.Temporary, "the store said that a message has %d octets, and %d came", size, e.passed.Raw())
}

// blameless is a message whose failures are the gateway's own where its disk has failed: no message is held for them.
type blameless struct{ io.ReadCloser }

// diskWait is when a client may try again after that.
const diskWait = time.Minute

// Read implements [io.Reader].
func (b blameless) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if storage := (*buffer.StorageError)(nil); errors.As(err, &storage) {
		err = backends.Fail(backends.Temporary, "a message could not be kept to open its winmail.dat: %w", err).After(diskWait)
	}
	return n, err
}
