package serve

import (
	"errors"
	"fmt"
	"io"

	"github.com/dipylon/dipylon/plugins/proto/convert"
)

// emptyReadsMost is how often a content may give nothing, and no error, in a row.
const emptyReadsMost = 100

// enough is how many octets are worth a chunk of their own: a store that gives them slowly
// should not be waited for until a whole chunk is full.
const enough = 64 << 10

// readEnough fills buf from r with enough octets, or all that fits; less comes with the error
// that ended it, io.EOF included.
func readEnough(r io.Reader, buf []byte) (n int, err error) {
	for empty := 0; n < min(enough, len(buf)) && err == nil; {
		var m int
		m, err = r.Read(buf[n:])
		if m < 0 || m > len(buf)-n {
			return n, errors.New("the backend's content says that it read more than fits")
		}
		n += m
		if m > 0 {
			empty = 0
		} else if empty++; empty > emptyReadsMost {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// roomFor is the buffer that a content of a size fits into with one octet to spare, so that
// the read that fills it meets the end as well. A size that is not known: as large as a chunk.
func roomFor(size int64) int {
	if size < 0 || size >= convert.ChunkMost {
		return convert.ChunkMost
	}
	return int(size) + 1
}

// counter compares what a content gives with what it said it would give: a message that ends
// early is a part, whatever its reader says (I3), and one that does not end is not that
// message (I6).
type counter struct {
	size  int64 // -1: not known
	total int64
}

// add takes the outcome of a read and returns the error that it amounts to.
func (c *counter) add(n int, err error) error {
	c.total += int64(n)
	switch {
	case c.size < 0:
		return err
	case c.total > c.size:
		return fmt.Errorf("the content has more than the %d octets that were announced", c.size)
	case err == io.EOF && c.total < c.size:
		return fmt.Errorf("the content ended after %d of %d octets", c.total, c.size)
	}
	return err
}
