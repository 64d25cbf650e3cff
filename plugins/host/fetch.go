package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/mem"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// Fetch opens a message. It returns when the plugin has it; the chunks come meanwhile.
func (m *maildrop) Fetch(ctx context.Context, request backends.FetchRequest) (c backends.Content, err error) {
	err = m.patiently(ctx, messageKey(request.ID), func() error {
		c, err = m.fetch(ctx, request)
		return err
	})
	return c, err
}

func (m *maildrop) fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	window := int64(m.g.spec.FetchWindow)
	fetch, err := convert.FetchToProto(request, window)
	if err != nil {
		return nil, refused(err)
	}
	c := &content{m: m, ctx: ctx, window: window, granted: window, size: -1, more: make(chan struct{}, 1)}
	c.id, err = m.begin(ctx, c, func(id uint64) *pb.MaildropRequest {
		return &pb.MaildropRequest{Id: id, Request: &pb.MaildropRequest_Fetch{Fetch: fetch}}
	})
	if err != nil {
		return nil, err
	}
	if err := c.awaitHead(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// content is a message on its way. The receiving goroutine of the maildrop puts chunks in, as
// many as the window allows, and its reader takes them out and grants more.
type content struct {
	m      *maildrop
	ctx    context.Context
	id     uint64
	window int64
	more   chan struct{} // holds a token when something has come

	mu      sync.Mutex
	head    bool
	size    int64
	chunks  []mem.Buffer // come and not yet read
	granted int64        // octets that may still come
	total   int64        // octets that have come
	over    bool         // nothing follows
	err     error        // why, if not the message's end
	closed  bool

	// The reader's own.
	from  mem.Buffer // what chunk is the rest of
	chunk []byte
	owed  int64 // octets read and not yet granted again
}

var _ io.WriterTo = (*content)(nil)

func (c *content) answer(a answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.wake()
	if a.chunk != nil {
		return c.put(a.chunk)
	}
	f, ok := a.message.GetResponse().(*pb.MaildropResponse_Head)
	if !ok || c.head {
		return errors.New("an answer to a fetch that is none, or a second head")
	}
	c.head, c.size = true, max(-1, f.Head.GetSize())
	return nil
}

// contentMost is where a message is none, but a plugin that goes on for ever: no system has mail
// that large.
const contentMost = 64 << 30

// put takes a chunk. c.mu is held.
func (c *content) put(chunk mem.BufferSlice) error {
	n := int64(chunk.Len())
	c.total += n
	c.granted -= n
	switch {
	case !c.head:
		return errors.New("a chunk of a message before its head")
	case n == 0 || n > convert.ChunkMost:
		return fmt.Errorf("a chunk of %d octets", n)
	case c.granted < 0:
		return errors.New("a chunk that exceeds its window")
	case c.total > contentMost:
		return fmt.Errorf("a message of more than %d octets", int64(contentMost))
	case c.size >= 0 && c.total > c.size:
		return fmt.Errorf("a message that has more than its %d octets", c.size)
	}
	if c.closed {
		chunk.Free()
		return nil
	}
	c.chunks = append(c.chunks, chunk...)
	return nil
}

func (c *content) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.wake()
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
		err = c.m.g.invalid(err)
	}
	c.over, c.err = true, err
}

func (c *content) wake() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *content) awaitHead() error {
	for {
		c.mu.Lock()
		head, over, err := c.head, c.over, c.err
		c.mu.Unlock()
		if head {
			return nil // how it ends is told at its end
		}
		if over {
			return err
		}
		if err := c.m.wait(c.ctx, c.more); err != nil {
			return err
		}
	}
}

// Size is the number of octets that will come; -1: not known.
func (c *content) Size() int64 { return c.size }

// Read reads; io.EOF comes only after the plugin has said that the message is complete (I3).
func (c *content) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := c.fill(); err != nil {
		return 0, err
	}
	n := copy(p, c.chunk)
	c.consume(n)
	return n, nil
}

// WriteTo writes the message to w chunk by chunk.
func (c *content) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if err := c.fill(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(c.chunk)
		c.consume(n)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// fill makes sure that there is a chunk to read, or says why there is none.
func (c *content) fill() error {
	for len(c.chunk) == 0 {
		c.mu.Lock()
		var chunk mem.Buffer
		if len(c.chunks) > 0 {
			chunk = c.chunks[0]
			c.chunks[0] = nil
			c.chunks = c.chunks[1:]
		}
		over, err, closed := c.over, c.err, c.closed
		c.mu.Unlock()
		switch {
		case closed:
			return errClosedContent
		case chunk != nil:
			c.from, c.chunk = chunk, chunk.ReadOnlyData()
		case over && err == nil:
			return io.EOF
		case over:
			return err
		default:
			if err := c.m.wait(c.ctx, c.more); err != nil {
				return err
			}
		}
	}
	return nil
}

var errClosedContent = errors.New("the content is closed")

// consume takes n octets off the chunk, and grants them to the plugin again when half of the
// window has been read: a message that fits the window's half costs no frame for it.
func (c *content) consume(n int) {
	c.chunk = c.chunk[n:]
	if len(c.chunk) == 0 {
		c.from.Free()
		c.from = nil
	}
	if c.owed += int64(n); c.owed < c.window/2 {
		return
	}
	c.mu.Lock()
	over := c.over
	c.granted += c.owed
	c.mu.Unlock()
	if !over {
		c.m.tell(&pb.MaildropRequest{Id: c.id, Request: &pb.MaildropRequest_Window{Window: &pb.Window{Octets: c.owed}}})
	}
	c.owed = 0
}

// Close gives up what has not been read.
func (c *content) Close() error {
	c.mu.Lock()
	cancel := !c.over && !c.closed
	chunks := c.chunks
	c.closed, c.chunks = true, nil
	c.mu.Unlock()
	mem.BufferSlice(chunks).Free()
	if cancel {
		c.m.giveUp(c.id)
	}
	return nil
}
