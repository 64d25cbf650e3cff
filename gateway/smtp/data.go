package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// data takes a message up to CRLF.CRLF. RFC 5321 §4.1.1.4.
func (s *session) data(args string) reply {
	switch {
	case args != "":
		return refuse(501, "5.5.4", "DATA has no parameters")
	case s.tx == nil:
		return refuse(503, "5.5.1", "say MAIL first")
	case s.tx.transfer != nil:
		return refuse(503, "5.5.1", "the message has begun with BDAT") // RFC 3030 §2
	case s.tx.recipients == 0:
		return refuse(554, "5.5.1", "no valid recipients") // RFC 2920 §3.1
	case s.spoke():
		return hangUp(554, "5.5.0", "wait for the reply to DATA")
	}
	if err := s.say(ok(354, "", "go on, and end with a dot on a line of its own")); err != nil {
		return reply{close: true}
	}
	if err := s.flush(); err != nil {
		return reply{close: true}
	}
	s.in.grow()
	ctx, cancel, onEnd := s.dataContext()
	defer cancel()
	b := s.newBody(&dotSource{in: s.in, fill: s.fillData}, onEnd)
	text, err := s.callData(ctx, b)
	b.close()
	if fatal(err) {
		return s.finish(b, text, err)
	}
	b.drain(err != nil, &s.discard, func() bool { return !b.ended })
	return s.finish(b, text, err)
}

// fatal says that the backend wants the connection closed: then nothing is drained.
func fatal(err error) bool {
	e, is := errors.AsType[*Error](err)
	return is && e.Fatal
}

func (s *session) newBody(src source, onEnd func()) *body {
	rules := canonical{limits: s.limits, normalise: s.server.BareNewlines == NormaliseBareNewlines}
	return newBody(src, rules, s.received(time.Now()), onEnd)
}

// dataContext bounds Data: by the session's end while the message comes in, and by the time
// that the client waits once it has come.
func (s *session) dataContext() (context.Context, context.CancelFunc, func()) {
	commit := s.server.timeouts.Commit
	ctx, cancel := context.WithCancelCause(s.ctx)
	stop := func() { cancel(context.DeadlineExceeded) }
	timers := make([]*time.Timer, 0, 2)
	if commit >= 0 && !s.end.IsZero() {
		timers = append(timers, time.AfterFunc(time.Until(s.end)+commit, stop))
	}
	onEnd := func() {
		if commit >= 0 {
			timers = append(timers, time.AfterFunc(commit, stop))
		}
	}
	return ctx, func() {
		cancel(nil)
		for _, t := range timers {
			t.Stop()
		}
	}, onEnd
}

// callData gives the message to the backend. A panic there ends this session alone.
func (s *session) callData(ctx context.Context, b *body) (text string, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("a session panicked")
			text, err = "", &Error{Code: 421, Enhanced: "4.3.0", Text: "a local error, try again later", Fatal: true}
		}
	}()
	return s.backend.Data(ctx, b)
}

// finish ends the transaction and says what became of the message.
func (s *session) finish(b *body, text string, err error) reply {
	tx := s.tx
	s.endTransaction(s.backend)
	r := s.verdict(b, text, err)
	if r.code == 250 {
		s.accepted++
		s.faults, s.junk, s.refusals = 0, 0, 0
	}
	s.log.Info().Str("transaction", tx.id).Str("from", tx.reversePath).Int("recipients", tx.recipients).Int("refused", tx.refused).
		Int64("size", b.canon.size).Int("code", r.code).Str("enhanced", r.enhanced).Str("reply", r.text).
		AnErr("cause", r.cause).Dur("took", time.Since(tx.began)).Msg("message")
	s.server.observe(Event{
		Kind: Finished, Conn: s.id, Code: r.code, Octets: b.canon.size, Recipients: tx.recipients, Took: time.Since(tx.began),
	})
	return r
}

// verdict is the reply to a message. A rule that it breaks goes before what the backend
// says; 250 is what the backend alone can say (I1).
func (s *session) verdict(b *body, text string, err error) reply {
	rule, broken := errors.AsType[*Error](b.err)
	switch {
	case b.gone == errDiscard && broken:
		return reply{code: rule.Code, enhanced: rule.Enhanced, text: rule.Text, close: true}
	case b.gone == errDiscard:
		r := failure(err)
		r.close = true
		return r
	case errors.Is(b.gone, os.ErrDeadlineExceeded):
		return reply{code: 421, enhanced: "4.4.2", text: "time-out, the message is not taken", close: true, cause: b.gone}
	case b.gone != nil:
		return reply{close: true, cause: b.gone}
	case broken:
		return failure(rule)
	case err != nil:
		return failure(err)
	}
	if text == "" {
		text = "message " + s.lastID() + " taken"
	}
	return ok(250, "2.0.0", text)
}

func (s *session) lastID() string { return fmt.Sprintf("%s.%d", s.id, s.transactions) }

// transfer is a message on its way with BDAT (RFC 3030). Data runs in a goroutine of its own
// from the first chunk on, and reads the connection itself; between two chunks it waits for
// the session, and within one the session waits for it. So there is one at a time who reads.
type transfer struct {
	body   *body
	chunks *chunkSource
	onEnd  func()
	cancel context.CancelFunc

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
		return hangUp(501, "5.5.4", "BDAT goes on with a size, and LAST perhaps")
	}
	refusal := none
	switch {
	case s.tx == nil:
		refusal = refuse(503, "5.5.1", "say MAIL first")
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
			return hangUp(421, "4.4.2", "time-out, closing the connection")
		case err != nil:
			return reply{close: true}
		}
	}
}

func (s *session) startTransfer(size int64, last bool) *transfer {
	ctx, cancel, onEnd := s.dataContext()
	t := &transfer{cancel: cancel, done: make(chan struct{})}
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
	<-t.done
	t.cancel()
	t.body.close()
}
