package maildrop

import (
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends"
	contents "github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/pop3"
)

// shown is a content in the form that the client takes. Its octets are as many in either.
func (d *drop) shown(c pop3.Content) pop3.Content {
	if d.utf8 {
		return c
	}
	return contents.Surrogate(c)
}

// content passes a store's content on and counts a whole message, so that a size that was not
// the message's is right the next time it is told.
type content struct {
	backends.Content
	drop  *drop
	index int
	count int64
}

// writerContent is a content whose inner one can write itself.
type writerContent struct{ *content }

// counted is a whole message, being read.
func (d *drop) counted(i int, inner backends.Content) pop3.Content {
	c := &content{Content: inner, drop: d, index: i}
	if _, ok := inner.(io.WriterTo); ok {
		return writerContent{c}
	}
	return c
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.Content.Read(p)
	c.count += int64(n)
	if errors.Is(err, io.EOF) {
		c.complete()
	}
	return n, err
}

// WriteTo implements [io.WriterTo].
func (c writerContent) WriteTo(w io.Writer) (int64, error) {
	n, err := c.Content.(io.WriterTo).WriteTo(w)
	c.count += n
	if err == nil {
		c.complete()
	}
	return n, err
}

// complete compares what came with what was told.
func (c *content) complete() {
	told, known := c.drop.list.size(c.index)
	if known && told != c.count {
		c.drop.log.Warn().Str("id", string(c.drop.list.id(c.index))).Int64("told", told).Int64("came", c.count).
			Msg("the store told a wrong size")
	}
	c.drop.list.setSize(c.index, c.count)
}
