package maildrop

import (
	"context"
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends"
	contents "github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/pop3"
)

// shown is a content in the form that the client takes. Its octets are as many in either.
func (d *drop) shown(ctx context.Context, c pop3.Content) pop3.Content {
	if d.utf8 {
		return c
	}
	return contents.Surrogate(ctx, c)
}

// content passes a store's content on. It counts a whole message, so that a size that was not
// the message's is right the next time it is told, and it tells when the store does not come to
// the message's end.
type content struct {
	backends.Content
	ctx   context.Context //nolint:containedctx // of the reading: whether it has been given up
	drop  *drop
	index int
	whole bool
	count int64
}

// writerContent is a content whose inner one can write itself.
type writerContent struct{ *content }

// watched is a message, or the top of one, being read.
func (d *drop) watched(ctx context.Context, i int, whole bool, inner backends.Content) pop3.Content {
	c := &content{Content: inner, ctx: ctx, drop: d, index: i, whole: whole}
	if _, ok := inner.(io.WriterTo); ok {
		return writerContent{c}
	}
	return c
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.Content.Read(p)
	c.count += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		c.complete()
	case err != nil:
		c.drop.failed(c.ctx, c.index, err)
	}
	return n, err
}

// sink tells the errors of a writer from those of who writes.
type sink struct {
	to     io.Writer
	failed bool
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	s.failed = s.failed || err != nil
	return n, err
}

// WriteTo implements [io.WriterTo].
func (c writerContent) WriteTo(w io.Writer) (int64, error) {
	to := &sink{to: w}
	n, err := c.Content.(io.WriterTo).WriteTo(to)
	c.count += n
	switch {
	case err == nil:
		c.complete()
	case !to.failed:
		c.drop.failed(c.ctx, c.index, err)
	}
	return n, err
}

// complete compares what came with what was told.
func (c *content) complete() {
	if !c.whole {
		return
	}
	c.drop.recovered(c.index)
	told, known := c.drop.list.size(c.index)
	if known && told == c.count {
		return
	}
	c.drop.learn(c.index, c.count)
	if known && c.drop.policy.FastSizes {
		return // it was an estimate, and stays one as long as the session does
	}
	if known {
		c.drop.log.Warn().Str("id", string(c.drop.list.id(c.index))).Int64("told", told).Int64("came", c.count).
			Msg("the store told a wrong size")
	}
	c.drop.list.setSize(c.index, c.count)
}
