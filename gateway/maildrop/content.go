package maildrop

import (
	"context"
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
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

// content passes a store's content on. It counts a whole message as the client gets it, with CRLF
// at the end of each line (RFC 1939 §11), so that a size that was not the message's is right the
// next time it is told, and it tells when the store does not come to the message's end.
type content struct {
	backends.Content
	ctx   context.Context //nolint:containedctx // of the reading: whether it has been given up
	drop  *drop
	index int
	top   int // as asked for; below zero: the whole message
	// client says that the one who reads is the goroutine that serves the client: failures count.
	client bool
	since  int64 // what was under way when it was asked for
	size   int64 // that the store has told with it; -1: none
	told   int64 // what the client was told for it, if the store told a size with it; -1: nothing exact
	count  crlf.Counter
}

// writerContent is a content whose inner one can write itself.
type writerContent struct{ *content }

// watched is a message, or the top of one, being read.
func (d *drop) watched(ctx context.Context, i, top int, client bool, since int64, inner backends.Content) pop3.Content {
	c := &content{Content: inner, ctx: ctx, drop: d, index: i, top: top, client: client, since: since, size: -1, told: -1}
	if size := inner.Size(); top < 0 && size >= 0 {
		c.size, c.told = size, d.announced(i, size)
	}
	if _, ok := inner.(io.WriterTo); ok {
		return writerContent{c}
	}
	return c
}

// announced takes the size that the store tells with a message for the one in its list (I6), and
// returns what the client is told: -1 if that is nothing yet, as the message is being measured, or an
// estimate. A size that was counted stays: it is that of the form that is sent, and the store's may be
// that of its own form.
func (d *drop) announced(i int, octets int64) int64 {
	told, known := d.list.size(i)
	if !known || d.policy.FastSizes {
		return -1
	}
	if _, counted := d.known.Size(string(d.list.id(i))); counted || told == octets {
		return told
	}
	d.found(i, octets)
	return octets
}

// Read implements [io.Reader].
func (c *content) Read(p []byte) (int, error) {
	n, err := c.Content.Read(p)
	_, _ = c.count.Write(p[:n])
	if err == nil && c.tooLong() || errors.Is(err, io.EOF) {
		err = c.checked(err)
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		if e := c.complete(); e != nil {
			err = e
		}
	default:
		c.failed(err)
	}
	return n, err
}

func (c *content) tooLong() bool { return c.size >= 0 && c.count.Raw() > c.size }

// checked holds the content against its own size, in the store's form or in that which is sent: one
// that contradicts it is not the message (I3).
func (c *content) checked(err error) error {
	if c.size < 0 || c.count.Raw() == c.size || c.count.Octets() == c.size {
		return err
	}
	return backends.Fail(backends.Temporary, "the store said that a message has %d octets, and %d came", c.size, c.count.Raw())
}

func (c *content) failed(err error) {
	if c.client {
		c.drop.failedMidway(c.ctx, c.index, c.top, c.since, err)
	}
}

// sink counts what is written, and tells the errors of a writer from those of who writes.
type sink struct {
	to     io.Writer
	count  *crlf.Counter
	failed bool
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	_, _ = s.count.Write(p[:n])
	s.failed = s.failed || err != nil
	return n, err
}

// WriteTo implements [io.WriterTo].
func (c writerContent) WriteTo(w io.Writer) (int64, error) {
	to := &sink{to: w, count: &c.count}
	n, err := c.Content.(io.WriterTo).WriteTo(to)
	if err == nil {
		err = c.checked(nil)
	}
	switch {
	case err == nil:
		err = c.complete()
	case !to.failed:
		c.failed(err)
	}
	return n, err
}

// complete notes that all of a message came, and how much that was. An error says that the client was
// told another size, which the store has told twice: LIST, STAT and RETR agree, or the message does not
// look complete (I6). The message has done no wrong, and its true size is told from now on.
func (c *content) complete() error {
	if c.top >= 0 {
		return nil
	}
	c.drop.recovered(c.index)
	octets := c.count.Octets()
	c.drop.found(c.index, octets)
	if c.told < 0 || c.told == octets {
		return nil
	}
	return backends.Fail(backends.Temporary, "a message of %d octets in the store has %d as it is sent, and the client was told %d", c.count.Raw(), octets, c.told)
}

// found compares a message's true size with what was told.
func (d *drop) found(i int, octets int64) {
	told, known := d.list.size(i)
	if known && told == octets {
		return
	}
	d.learn(i, octets)
	if known && d.policy.FastSizes {
		return // it was an estimate, and stays one as long as the session does
	}
	if known {
		d.log.Warn().Str("id", string(d.list.id(i))).Int64("told", told).Int64("came", octets).
			Msg("the store told a wrong size; it is remembered, and \"sizes: measure\" in the policy has all sizes counted")
	}
	d.list.setSize(i, octets)
}
