package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// transfer is a message on its way with BDAT (RFC 3030). Data runs in a goroutine of its own
// from the first chunk on, and reads the connection itself; between two chunks it waits for
// the session, and within one the session waits for it. So there is one at a time who reads.
type transfer struct {
	body   *body
	chunks *chunkSource
	cancel context.CancelFunc
	grace  time.Duration // for Data to return once the message is given up

	done chan struct{} // closed when Data has returned
	text string
	err  error

	small int
}

// chunkSource gives the octets of the chunks, one after the other.
type chunkSource struct {
	in    *input
	fill  func() error
	left  int64 // of this chunk
	last  bool
	empty chan struct{} // a chunk has been read
	more  chan struct{} // there is another one
	stop  chan struct{} // closed: there will be none
}

func (c *chunkSource) next() ([]byte, error) {
	for c.left == 0 {
		if c.last {
			return nil, io.EOF
		}
		select {
		case c.empty <- struct{}{}:
		case <-c.stop:
			return nil, errStopped
		}
		select {
		case <-c.more:
		case <-c.stop:
			return nil, errStopped
		}
	}
	for len(c.in.unread()) == 0 {
		if err := c.fill(); err != nil {
			return nil, lost(err)
		}
	}
	piece := c.in.unread()
	piece = piece[:min(int64(len(piece)), c.left)]
	c.in.consume(len(piece))
	c.left -= int64(len(piece))
	return piece, nil
}

// bdat takes one chunk. RFC 3030 §2: whatever is wrong, the chunk's octets follow the
// command and are taken before the reply.
func (s *session) bdat(args string) reply {
	size, last, err := parseBdat(args)
	if err != nil {
		// What follows cannot be told from commands.
		return hangUp(501, "5.5.4", "syntax error in parameters: BDAT size [LAST]")
	}
	refusal := none
	switch {
	case s.tx == nil:
		refusal = refuse(503, "5.5.1", "bad sequence of commands: MAIL comes first")
	case s.tx.recipients == 0:
		refusal = refuse(503, "5.5.1", "no valid recipients")
	}
	if refusal.code != none.code {
		return s.skipChunk(size, refusal)
	}
	s.in.grow()
	t := s.tx.transfer
	if t == nil {
		t = s.startTransfer(size, last)
		s.tx.transfer = t
	} else {
		t.chunks.left, t.chunks.last = size, last
		select {
		case t.chunks.more <- struct{}{}:
		case <-t.done:
		}
	}
	return s.chunk(t, size, last)
}

func parseBdat(args string) (size int64, last bool, err error) {
	number, rest, more := strings.Cut(strings.TrimRight(args, " "), " ")
	if last = more; more && !strings.EqualFold(strings.TrimLeft(rest, " "), "LAST") {
		return 0, false, errParameter
	}
	if number == "" || strings.Trim(number, "0123456789") != "" {
		return 0, false, errParameter
	}
	size, err = strconv.ParseInt(number, 10, 64)
	return size, last, err
}

// skipChunk throws a chunk away that nobody wants, as far as the allowance goes.
func (s *session) skipChunk(size int64, r reply) reply {
	if s.discard -= size; s.discard < 0 {
		r.close = true
		return r
	}
	skip := chunkSource{in: s.in, fill: s.fillData, left: size, last: true}
	for {
		switch _, err := skip.next(); {
		case err == io.EOF:
			return r
		case errors.Is(err, os.ErrDeadlineExceeded):
			r := hangUp(421, "4.4.2", "time-out, closing the connection")
			r.ended = err
			return r
		case err != nil:
			return goodbye(err)
		}
	}
}

func (s *session) startTransfer(size int64, last bool) *transfer {
	ctx, cancel, onEnd := s.dataContext()
	t := &transfer{cancel: cancel, grace: s.server.timeouts.Backend, done: make(chan struct{})}
	t.chunks = &chunkSource{
		in: s.in, fill: s.fillData, left: size, last: last,
		empty: make(chan struct{}), more: make(chan struct{}), stop: make(chan struct{}),
	}
	t.body = s.newBody(t.chunks, onEnd)
	go func() { // joined by chunk or stop
		defer close(t.done)
		t.text, t.err = s.callData(ctx, t.body)
	}()
	return t
}

// chunk waits until Data has taken the chunk, or has returned.
func (s *session) chunk(t *transfer, size int64, last bool) reply {
	select {
	case <-t.chunks.empty:
	case <-t.done:
		t.stop()
		if !fatal(t.err) {
			s.drainChunk(t)
		}
		if last || t.failed() {
			return s.finish(t.body, t.text, t.err)
		}
	}
	if t.small += isSmall(size, last); over(t.small, s.limits.SmallChunks) {
		return hangUp(421, "4.7.0", "too many small chunks")
	}
	return ok(250, "2.0.0", fmt.Sprintf("%d octets received", size))
}

func isSmall(size int64, last bool) int {
	if size < smallChunk && !last {
		return 1
	}
	return 0
}

// drainChunk reads what Data has left of the chunk, and the message's end behind the last.
func (s *session) drainChunk(t *transfer) {
	b := t.body
	b.drain(t.err != nil, &s.discard, func() bool { return t.chunks.left > 0 || t.chunks.last && !b.ended })
}

// failed says that the message cannot be taken any more.
func (t *transfer) failed() bool {
	return t.err != nil || t.body.gone != nil || t.body.err != nil && t.body.err != io.EOF
}

// stop ends Data, if it has not returned, and waits for it.
func (t *transfer) stop() {
	select {
	case <-t.chunks.stop:
	default:
		close(t.chunks.stop)
	}
	if t.grace >= 0 {
		defer time.AfterFunc(t.grace, t.cancel).Stop()
	}
	<-t.done
	t.body.close()
	t.cancel()
}
