package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

var errStalled = errors.New("nothing was heard from the plugin for too long")

// stalled is the failure of what has stalled.
func (g *generation) stalled() error {
	return backends.Fail(backends.Temporary, "store %q: %w", g.spec.Store, errStalled)
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// stalling makes a context that ends when progress is not made for the stall time-out.
func (g *generation) stalling(ctx context.Context) (context.Context, *stall, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &stall{after: g.spec.StallTimeout}
	s.timer = time.AfterFunc(s.after, func() { cancel(errStalled) })
	return ctx, s, func() {
		s.stop()
		cancel(nil)
	}
}

// Deliver hands a message to the store and returns a verdict for each recipient.
func (s *Store) Deliver(ctx context.Context, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	all := delivery.Recipients
	key := deliveryKey(delivery)
	var paused map[string]*backends.Failure
	if delivery.Recipients, paused = s.splitPaused(key, all); len(paused) > 0 && len(delivery.Recipients) == 0 {
		return s.joinPaused(key, all, nil, paused), nil
	}
	verdicts, err := s.deliver(ctx, delivery, content)
	if err != nil {
		return nil, err
	}
	return s.joinPaused(key, all, verdicts, paused), nil
}

func (s *Store) deliver(ctx context.Context, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	m, err := convert.DeliveryToProto(delivery)
	if err != nil {
		return nil, refused(err)
	}
	g, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	defer g.release()
	if !isReceiver(g.desc.Capabilities) {
		return nil, g.lacks()
	}
	if !g.desc.Capabilities.Deliveries || delivery.Size >= wire.InlineMost || len(delivery.Recipients) > inlineRecipients {
		return g.deliver(ctx, m, delivery.Recipients, content)
	}
	first := wire.Chunks.Get(wire.InlineMost)
	defer wire.Chunks.Put(first)
	n, err := readFull(content, *first)
	switch {
	case err == io.EOF && n < len(*first):
		verdicts, none, err := g.small.deliver(ctx, m, delivery.Recipients, (*first)[:n])
		if !none {
			return verdicts, err
		}
	case err != nil && err != io.EOF:
		return nil, unread(err)
	}
	return g.deliver(ctx, m, delivery.Recipients, io.MultiReader(bytes.NewReader((*first)[:n]), content))
}

// deliver hands a message over that has a stream of its own.
func (g *generation) deliver(ctx context.Context, m *pb.Delivery, recipients []backends.Recipient, content io.Reader) ([]backends.Verdict, error) {
	life, progress, cancel := g.stalling(ctx)
	defer cancel()
	stream, err := g.stub.Deliver(life)
	if err != nil {
		return nil, g.failure(ctx, err)
	}
	up := &upload[pb.DeliverRequest]{
		g:        g,
		start:    &pb.DeliverRequest{Frame: &pb.DeliverRequest_Delivery{Delivery: m}},
		end:      &pb.DeliverRequest{Frame: &pb.DeliverRequest_End{End: &pb.End{}}},
		stream:   stream,
		progress: progress,
	}
	return up.run(ctx, life, stream, recipients, content)
}

// unread is the failure of a message whose content has failed.
func unread(err error) error {
	return backends.Fail(backends.Temporary, "the message could not be read to its end: %w", err)
}

// upload is a message on its way to the plugin: a start, chunks, and an end.
type upload[Frame any] struct {
	g          *generation
	start, end *Frame
	stream     interface {
		Send(*Frame) error
		SendMsg(any) error
	}
	progress *stall
	answered func() bool // nil: a plugin that has answered ends the stream
}

// run delivers the message, and takes the verdicts.
func (u *upload[Frame]) run(ctx, life context.Context, answers grpc.ClientStreamingClient[Frame, pb.Verdicts], recipients []backends.Recipient, content io.Reader) ([]backends.Verdict, error) {
	ended, err := u.send(content)
	if err != nil {
		return nil, err // who ends the stream tells the plugin: there was no end
	}
	over := u.g.pulse.await()
	answer, err := answers.CloseAndRecv()
	over()
	u.g.pulse.beat()
	if err != nil {
		return nil, u.g.lostAnswer(ctx, life, err)
	}
	verdicts, err := convert.VerdictsFromProto(answer, recipients)
	if err == nil && !ended {
		err = takenEarly(verdicts)
	}
	if err != nil {
		return nil, u.g.invalid(err)
	}
	return verdicts, nil
}

// lostAnswer is the failure of a message whose stream has ended without an answer.
func (g *generation) lostAnswer(ctx, life context.Context, err error) error {
	if ctx.Err() == nil && errors.Is(context.Cause(life), errStalled) {
		err = g.stalled()
	}
	return g.failure(ctx, err)
}

// takenEarly: nobody can have taken a message whose end was not sent (I1).
func takenEarly(verdicts []backends.Verdict) error {
	for _, v := range verdicts {
		if v.Failure == nil {
			return errors.New("a verdict says that the message is taken before its end was sent")
		}
	}
	return nil
}

// send sends the frames; ended says whether the end was among them. A plugin may answer before
// that, when it refuses the message for everybody: then the rest is not sent, and its answer counts.
func (u *upload[Frame]) send(content io.Reader) (ended bool, err error) {
	if u.push(func() error { return u.stream.Send(u.start) }) != nil {
		return false, nil
	}
	for room := wire.FirstChunk; ; room = convert.ChunkMost {
		buf := wire.Chunks.Get(room)
		u.progress.stop() // the content's pace is its reader's affair
		n, err := readFull(content, *buf)
		u.progress.progress()
		switch {
		case u.answered != nil && u.answered():
			wire.Chunks.Put(buf)
			return false, nil
		case n == 0:
			wire.Chunks.Put(buf)
		case u.push(func() error { return u.stream.SendMsg(wire.TransferChunk(wire.Filled(buf, n))) }) != nil:
			return false, nil
		}
		switch {
		case err == io.EOF:
			return u.stream.Send(u.end) == nil, nil
		case err != nil:
			return false, unread(err)
		}
	}
}

// push sends a frame. That it was sent means, once the stream's window is full, that the plugin
// has read of it.
func (u *upload[Frame]) push(send func() error) error {
	defer u.g.pulse.await()()
	err := send()
	if err == nil {
		u.g.pulse.beat()
	}
	return err
}

// emptyReadsMost is how often a reader may give nothing, and no error, in a row.
const emptyReadsMost = 100

// readFull fills buf; less than a full buffer comes with the error that ended it.
func readFull(r io.Reader, buf []byte) (n int, err error) {
	for empty := 0; n < len(buf) && err == nil; {
		var m int
		m, err = r.Read(buf[n:])
		n += m
		if m > 0 {
			empty = 0
		} else if empty++; empty > emptyReadsMost {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// Collect takes the store's outgoing messages over, one after the other.
func (s *Store) Collect(ctx context.Context, request backends.CollectRequest, accept func(context.Context, backends.Outgoing, backends.Content) error) error {
	start, err := convert.CollectToProto(request)
	if err != nil {
		return refused(err)
	}
	g, err := s.use(ctx)
	if err != nil {
		return err
	}
	defer g.release()
	if !isOutbox(g.desc.Capabilities) {
		return g.lacks()
	}
	life, progress, cancel := g.stalling(ctx)
	defer cancel()
	stream, err := g.stub.Collect(life)
	if err != nil {
		return g.failure(ctx, err)
	}
	start.Asks = true
	c := &collecting{g: g, stream: stream, frame: wire.CollectFrame(), progress: progress, ctx: ctx, accept: accept, wait: min(request.Wait, backends.CollectWaitMost)}
	if err := stream.Send(&pb.CollectRequest{Frame: &pb.CollectRequest_Start{Start: start}}); err != nil && !isEOF(err) {
		return g.failure(ctx, err)
	}
	for {
		if done, err := c.one(); done || err != nil {
			return err
		}
	}
}

// collecting is a Collect under way.
type collecting struct {
	g        *generation
	stream   pb.Store_CollectClient
	frame    *wire.Frame
	progress *stall
	ctx      context.Context
	accept   func(context.Context, backends.Outgoing, backends.Content) error
	wait     time.Duration // what the plugin may wait for the first message
}

// receive returns the next frame, which is a message or a chunk.
func (c *collecting) receive() (*pb.CollectResponse, mem.BufferSlice, error) {
	c.progress.progressIn(c.wait) // what accept takes its time with is not the plugin's fault
	c.wait = 0
	defer c.progress.stop()
	defer c.g.pulse.await()()
	if err := c.stream.RecvMsg(c.frame); err != nil {
		return nil, nil, err
	}
	c.g.pulse.beat()
	if c.frame.Message == nil {
		return nil, c.frame.Chunk, nil
	}
	m := c.frame.Message.(*pb.CollectResponse)
	if chunk, ok := m.GetFrame().(*pb.CollectResponse_Chunk); ok {
		return nil, mem.BufferSlice{mem.SliceBuffer(chunk.Chunk)}, nil
	}
	return m, nil, nil
}

// one takes one message over; done: there was none left.
func (c *collecting) one() (done bool, err error) {
	m, _, err := c.receive()
	if isEOF(err) {
		return true, nil
	}
	if err != nil {
		return false, c.g.failure(c.ctx, err)
	}
	if m.GetOutgoing() == nil {
		return false, c.g.invalid(errors.New("frames of a collected message out of their order"))
	}
	outgoing, err := convert.OutgoingFromProto(m.GetOutgoing())
	if err != nil {
		return false, c.g.invalid(err)
	}
	content := &collected{from: c, size: outgoing.Size, ask: m.GetOutgoing().GetAsked()}
	taken := c.accept(c.ctx, outgoing, content)
	if taken == nil {
		taken = content.finish()
	}
	if taken != nil && !content.ended {
		return false, taken // the stream is dropped: the store keeps the message
	}
	answer := &pb.CollectRequest{Frame: &pb.CollectRequest_Taken{
		Taken: &pb.Taken{Failure: convert.FailureToProto(backends.AsFailure(taken))},
	}}
	if err := c.stream.Send(answer); err != nil && taken == nil {
		return false, c.g.failure(c.ctx, err)
	}
	return false, taken
}

// collected is the content of a collected message. After its end it reads no further: what
// follows is the next message's.
type collected struct {
	from   *collecting
	size   int64
	total  int64
	chunk  mem.BufferSlice
	offset int  // into the first piece of chunk
	ask    bool // before it comes
	ended  bool // the end frame has been seen
	err    error
}

func (c *collected) Size() int64  { return c.size }
func (c *collected) Close() error { return nil }

func (c *collected) Read(p []byte) (int, error) {
	for len(c.chunk) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.err = c.next()
	}
	data := c.chunk[0].ReadOnlyData()[c.offset:]
	n := copy(p, data)
	if c.offset += n; n == len(data) {
		c.chunk[0].Free()
		c.chunk, c.offset = c.chunk[1:], 0
	}
	return n, nil
}

// next takes the next frame.
func (c *collected) next() error {
	if c.ask {
		c.ask = false
		ask := &pb.CollectRequest{Frame: &pb.CollectRequest_Ask{Ask: &pb.Ask{}}}
		if err := c.from.stream.Send(ask); err != nil && !isEOF(err) {
			return c.from.g.failure(c.from.ctx, err)
		}
	}
	m, chunk, err := c.from.receive()
	if err != nil {
		return c.from.g.failure(c.from.ctx, err)
	}
	if chunk != nil {
		return c.put(chunk)
	}
	end := m.GetEnd()
	if end == nil {
		return c.from.g.invalid(errors.New("frames of a collected message out of their order"))
	}
	c.ended = true
	if failure := convert.FailureFromProto(end.GetFailure()); failure != nil {
		return failure
	}
	if c.size >= 0 && c.total < c.size {
		return c.from.g.invalid(fmt.Errorf("a collected message ended after %d of %d octets", c.total, c.size))
	}
	return io.EOF
}

func (c *collected) put(chunk mem.BufferSlice) error {
	n := int64(chunk.Len())
	c.total += n
	switch {
	case n == 0 || n > convert.ChunkMost:
		return c.from.g.invalid(fmt.Errorf("a chunk of %d octets", n))
	case c.size >= 0 && c.total > c.size:
		return c.from.g.invalid(fmt.Errorf("a collected message has more than its %d octets", c.size))
	}
	c.chunk = chunk
	return nil
}

// finish reads to the end of what accept may have left, and says whether it was one.
func (c *collected) finish() error {
	_, err := io.Copy(io.Discard, c)
	return err
}
