package host

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/mem"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// content is one message of a flow: chunks on their way, or an open file.
type content struct {
	f     *flow
	index int
	ctx   context.Context //nolint:containedctx // of the reading, given with Next

	// Guarded by f.mu.
	head   bool
	size   int64
	chunks []mem.Buffer // come and not yet read
	total  int64        // octets that have come
	over   bool         // nothing follows
	err    error        // why, if not the message's end
	closed bool
	fd     int // the open file that was taken over; -1: none
	offset int64
	length int64
	again  bool // there was a file that cannot be taken: the message is to be asked for in chunks

	// The reader's own.
	from    mem.Buffer // what chunk is the rest of
	chunk   []byte
	text    *crlf.Reader     // of the file
	came    int64            // octets of that which have been read
	instead backends.Content // comes in place of the file
}

var _ io.WriterTo = (*content)(nil)

// begin takes a message's head. f.mu is held, as for all that the receiving goroutine calls.
func (c *content) begin(head *pb.FetchHead) error {
	if c.head {
		return errors.New("a second head of a message")
	}
	c.head, c.size = true, max(-1, head.GetSize())
	return nil
}

// contentMost is where a message is none, but a plugin that goes on for ever: no system has mail
// that large.
const contentMost = 64 << 30

// put takes a chunk.
func (c *content) put(chunk mem.BufferSlice) error {
	n := int64(chunk.Len())
	c.total += n
	c.f.granted -= n
	switch {
	case !c.head:
		return errors.New("a chunk of a message before its head")
	case n == 0 || n > convert.ChunkMost:
		return fmt.Errorf("a chunk of %d octets", n)
	case c.f.granted < 0:
		return errors.New("a chunk that exceeds its window")
	case c.total > contentMost:
		return fmt.Errorf("a message of more than %d octets", int64(contentMost))
	case c.size >= 0 && c.total > c.size:
		return fmt.Errorf("a message that has more than its %d octets", c.size)
	}
	if c.closed {
		c.f.unread += n
		chunk.Free()
		return nil
	}
	c.chunks = append(c.chunks, chunk...)
	return nil
}

// handOver takes a message that stands in an open file, and the file. With an error it has taken
// neither.
func (c *content) handOver(file *pb.File, fd int) error {
	c.offset, c.length = file.GetOffset(), file.GetLength()
	switch {
	case c.head:
		return errors.New("a message that is a file and has a head, too")
	case file.GetWhole() && (c.offset != 0 || c.length < -1):
		return fmt.Errorf("a whole file of %d octets from %d on", c.length, c.offset)
	case c.offset < 0 || c.length < 0 && !file.GetWhole() || c.offset > contentMost || c.length > contentMost:
		return fmt.Errorf("a file with a message of %d octets at %d", c.length, c.offset)
	}
	c.head, c.over, c.size, c.fd = true, true, max(-1, file.GetSize()), fd
	if c.closed {
		c.closeFile()
	} else {
		c.judge(file.GetWhole())
	}
	return nil
}

// judge looks at the file that has come. Where it is not to be read, the message is asked for again. f.mu is held.
func (c *content) judge(whole bool) {
	stored, err := c.f.m.g.files.fit(c.fd)
	switch {
	case whole && errors.Is(err, errNotRegular):
		// The plugin had not looked: so this says nothing of its other files.
	case err != nil:
		c.f.m.g.noFiles(err)
	case whole && (c.length >= 0 && c.length != stored || stored > contentMost):
		c.size = -1 // was of a file of that length
	case whole:
		c.length = stored
		return
	default:
		return
	}
	c.again = true
	c.closeFile()
}

// finish is the message's end.
func (c *content) finish(err error) {
	if c.over {
		return
	}
	switch {
	case err != nil:
	case !c.head:
		err = errors.New("a fetch was answered with nothing")
	case c.size >= 0 && c.total < c.size:
		err = fmt.Errorf("a message ended after %d of %d octets", c.total, c.size)
	}
	if err != nil && !errors.As(err, new(*backends.Failure)) {
		err = c.f.m.g.invalid(err)
	}
	c.over, c.err = true, err
}

func (c *content) awaitHead() error {
	for {
		c.f.mu.Lock()
		head, over, err := c.head, c.over, c.err
		c.f.mu.Unlock()
		if head {
			return nil // how it ends is told at its end
		}
		if over {
			return err
		}
		if err := c.awaitMore(); err != nil {
			return err
		}
	}
}

// awaitMore waits until something has come. What came for messages that were passed over may have
// taken all of the window, and is granted again first.
func (c *content) awaitMore() error {
	c.f.read(0)
	return c.f.m.wait(c.ctx, c.f.more)
}

// Size is the number of octets that will come; -1: not known.
func (c *content) Size() int64 { return c.size }

// Read reads; io.EOF comes only after the plugin has said that the message is complete (I3), or
// when all of its file has been read.
func (c *content) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	switch {
	case c.again:
		return c.readInstead(p)
	case c.fd >= 0:
		return c.readFile(p)
	}
	chunk, err := c.fill()
	if err != nil {
		return 0, err
	}
	n := copy(p, chunk)
	c.consume(n)
	return n, nil
}

// WriteTo writes the message to w chunk by chunk.
func (c *content) WriteTo(w io.Writer) (int64, error) {
	switch {
	case c.again:
		return c.writeInstead(w)
	case c.fd >= 0:
		return c.writeFile(w)
	}
	return wire.WriteChunks(w, c.fill, c.consume)
}

// fill gives what is not read yet of a chunk, or says why there is none.
func (c *content) fill() ([]byte, error) {
	// Neither a session that is closed nor a context that has ended is read from, though all may have come by then.
	if c.f.m.shut.Load() {
		return nil, c.f.m.end()
	}
	if err := context.Cause(c.ctx); err != nil {
		return nil, backends.AsFailure(err)
	}
	for len(c.chunk) == 0 {
		c.f.mu.Lock()
		var chunk mem.Buffer
		if len(c.chunks) > 0 {
			chunk = c.chunks[0]
			c.chunks[0] = nil
			c.chunks = c.chunks[1:]
		}
		over, err, closed := c.over, c.err, c.closed
		c.f.mu.Unlock()
		switch {
		case closed:
			return nil, errClosedContent
		case chunk != nil:
			c.from, c.chunk = chunk, chunk.ReadOnlyData()
		case over && err == nil:
			return nil, io.EOF
		case over:
			return nil, err
		default:
			if err := c.awaitMore(); err != nil {
				return nil, err
			}
		}
	}
	return c.chunk, nil
}

var errClosedContent = errors.New("the content is closed")

// consume takes n octets off the chunk.
func (c *content) consume(n int) {
	c.chunk = c.chunk[n:]
	if len(c.chunk) == 0 {
		c.from.Free()
		c.from = nil
	}
	c.f.read(n)
}

// Close gives up what has not been read.
func (c *content) Close() error {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.drop()
	return nil
}

// drop frees what has come of a message and was not read. f.mu is held.
func (c *content) drop() {
	if c.closed {
		return
	}
	c.closed = true
	chunks := mem.BufferSlice(c.chunks)
	c.f.unread += int64(chunks.Len() + len(c.chunk))
	chunks.Free()
	if c.from != nil {
		c.from.Free()
	}
	c.chunks, c.from, c.chunk = nil, nil, nil
	if c.text != nil {
		c.text.Release()
	}
	if c.instead != nil {
		_ = c.instead.Close()
	}
	c.closeFile()
}
