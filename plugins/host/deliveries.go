package host

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// deliveries hands small messages to a process over one stream, which is opened with the first of them and again
// where it was lost. A stream for each of them would cost more than the message.
type deliveries struct {
	g *generation

	mu      sync.Mutex
	stream  *deliveryStream // the latest; nil: there was none
	opening *opening        // of the next one; nil: none is being opened
	closed  bool            // the process has ended
	work    sync.WaitGroup  // what opens
}

// opening is a stream that is being opened, for all who need it.
type opening struct {
	over   chan struct{} // closed when it has come to an end
	stream *deliveryStream
	err    error // the stream could not be opened
}

// inlineRecipients is how many recipients a message may have in the stream: what gRPC does not send, as it is too large,
// would end it for all.
const inlineRecipients = 100

// take returns the stream with room for a message in it. nil: it is full. A stream that is being opened is waited for as long as the
// caller does: that may last, as where the process takes no more streams, or the connection is made anew.
func (d *deliveries) take(ctx context.Context) (*deliveryStream, error) {
	stream, opens, err := d.current()
	if opens != nil {
		select {
		case <-opens.over:
			stream, err = opens.stream, opens.err
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	select {
	case stream.room <- struct{}{}:
		return stream, nil
	default:
		return nil, nil
	}
}

// current returns the stream, or the opening of the next one.
func (d *deliveries) current() (*deliveryStream, *opening, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, nil, d.g.death()
	case d.opening != nil:
	case d.stream != nil && !d.stream.ended():
		return d.stream, nil, nil
	default:
		opens := &opening{over: make(chan struct{})}
		d.opening = opens
		d.work.Go(func() { d.open(opens) })
	}
	return nil, d.opening, nil
}

// open opens the next stream.
func (d *deliveries) open(opens *opening) {
	defer close(opens.over)
	opens.stream, opens.err = d.g.openDeliveries()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opening = nil
	if opens.err == nil {
		d.stream = opens.stream
	}
}

// close waits for the end of the stream, once its process and the connection to that have ended.
func (d *deliveries) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.work.Wait()
	if d.stream != nil { // nobody changes it any more
		d.stream.work.Wait()
	}
}

// deliveryStream is one stream of deliveries.
type deliveryStream struct {
	g      *generation
	stream pb.Store_DeliveriesClient
	cancel context.CancelFunc
	work   sync.WaitGroup
	room   chan struct{} // holds a token for each message that was not answered
	wake   chan struct{} // holds one when there may be something to send
	over   chan struct{} // closed when the stream has ended
	err    error         // why; set before over is closed

	sending sync.Mutex // a message is sent

	mu      sync.Mutex
	last    uint64 // the latest id
	queue   []*pb.DeliveriesRequest
	waiting map[uint64]unanswered // by id
	octets  int                   // of all that wait
}

// unanswered is a message without an answer.
type unanswered struct {
	who    chan<- *pb.Verdicts // nil: nobody waits for the answer any more
	octets int
}

// atOnceMost is how many octets may be without an answer where a message is sent by its own caller. gRPC takes twice as
// many before it lets anybody wait for the plugin to read, and so the caller does not.
const atOnceMost = 32 << 10

// openDeliveries opens a stream. It lives as long as the process, whoever has opened it. The opening may stall no longer than anything else.
func (g *generation) openDeliveries() (*deliveryStream, error) {
	life, cancel := context.WithCancel(g.life)
	stalled := time.AfterFunc(g.spec.StallTimeout, cancel)
	stream, err := g.stub.Deliveries(life)
	if !stalled.Stop() && g.life.Err() == nil {
		err = g.stalled()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	s := newDeliveryStream(g, stream, cancel)
	s.work.Go(s.send)
	s.work.Go(s.receive)
	return s, nil
}

func newDeliveryStream(g *generation, stream pb.Store_DeliveriesClient, cancel context.CancelFunc) *deliveryStream {
	return &deliveryStream{
		g: g, stream: stream, cancel: cancel,
		room: make(chan struct{}, wire.DeliveriesMost), wake: make(chan struct{}, 1), over: make(chan struct{}),
		waiting: make(map[uint64]unanswered),
	}
}

func (s *deliveryStream) ended() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// send sends what has come, in its order. It waits as long as the plugin does not read: the others do not.
func (s *deliveryStream) send() {
	for {
		select {
		case <-s.wake:
		case <-s.over:
			return
		}
		s.mu.Lock()
		queue := s.queue
		s.queue = nil
		s.mu.Unlock()
		for _, m := range queue {
			s.sending.Lock()
			sent := s.sendOne(m)
			s.sending.Unlock()
			if !sent {
				return
			}
		}
	}
}

// sendOne sends a message; if it cannot, receive is told why. s.sending is held.
func (s *deliveryStream) sendOne(m *pb.DeliveriesRequest) bool {
	if s.stream.Send(m) != nil {
		return false
	}
	s.g.pulse.beat()
	return true
}

// receive takes the answers, and the stream's end.
func (s *deliveryStream) receive() {
	defer close(s.over)
	defer s.cancel()
	for {
		m, err := s.stream.Recv()
		if isEOF(err) {
			err = backends.Fail(backends.Temporary, "the plugin of store %q has ended the stream of deliveries", s.g.spec.Store)
		}
		if err == nil {
			s.g.pulse.beat()
			err = s.answer(m)
		}
		if err != nil {
			s.err = err
			return
		}
	}
}

var errWrongID = errors.New("an answer to a delivery that was not under way")

// answer hands an answer to whoever waits for it.
func (s *deliveryStream) answer(m *pb.DeliveriesResponse) error {
	s.mu.Lock()
	one, known := s.waiting[m.GetId()]
	delete(s.waiting, m.GetId())
	s.octets -= one.octets
	s.mu.Unlock()
	if !known {
		return s.g.invalid(errWrongID)
	}
	<-s.room
	if one.who != nil {
		one.who <- m.GetVerdicts() // has room for it
	}
	return nil
}

// ask sends a message, or puts it into the queue where it might have to wait, and returns its id and where its answer will
// come. Its content is not used any more then.
func (s *deliveryStream) ask(m *pb.DeliveriesRequest) (id uint64, answer <-chan *pb.Verdicts) {
	c := make(chan *pb.Verdicts, 1)
	octets := proto.Size(m)
	s.mu.Lock()
	s.last++
	m.Id = s.last
	s.waiting[m.Id] = unanswered{c, octets}
	s.octets += octets
	if s.octets <= atOnceMost && s.sending.TryLock() {
		s.mu.Unlock()
		stuck := time.AfterFunc(s.g.spec.StallTimeout, s.cancel) // as with a plugin that answers what it has not read
		s.sendOne(m)
		stuck.Stop()
		s.sending.Unlock()
		return m.GetId(), c
	}
	m.Content = bytes.Clone(m.GetContent())
	s.queue = append(s.queue, m)
	s.mu.Unlock()
	s.stir()
	return m.GetId(), c
}

// giveUp tells the plugin that nobody waits for an answer any more. Until it has come the message keeps its place.
func (s *deliveryStream) giveUp(id uint64) {
	s.mu.Lock()
	if one, is := s.waiting[id]; is {
		s.waiting[id] = unanswered{nil, one.octets}
		s.queue = append(s.queue, &pb.DeliveriesRequest{Id: id})
	}
	s.mu.Unlock()
	s.stir()
}

func (s *deliveryStream) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// deliver hands a message over that is all in content, which is not used any more when it returns, and returns its
// verdicts. none: there was no room for it, and nothing was done.
func (d *deliveries) deliver(ctx context.Context, m *pb.Delivery, recipients []backends.Recipient, content []byte) (verdicts []backends.Verdict, none bool, err error) {
	defer d.g.pulse.await()()
	s, err := d.take(ctx)
	if s == nil {
		return nil, err == nil, d.g.failure(ctx, err)
	}
	request := &pb.DeliveriesRequest{Delivery: m, Content: content}
	if trace, ok := backends.TraceOf(ctx); ok {
		request.Traceparent = trace.String()
	}
	answer, err := s.await(ctx, request)
	if err != nil {
		return nil, false, err
	}
	if f := convert.FailureFromProto(answer.GetFailure()); f != nil {
		return nil, false, f
	}
	if verdicts, err = convert.VerdictsFromProto(answer, recipients); err != nil {
		return nil, false, d.g.invalid(err)
	}
	return verdicts, false, nil
}

// await sends a message and waits for its answer: as long as the caller does, and the plugin may stall.
func (s *deliveryStream) await(ctx context.Context, m *pb.DeliveriesRequest) (*pb.Verdicts, error) {
	id, answer := s.ask(m)
	stalled := time.NewTimer(s.g.spec.StallTimeout)
	defer stalled.Stop()
	select {
	case m := <-answer:
		return m, nil
	case <-s.over:
	case <-ctx.Done():
		s.giveUp(id)
		return nil, s.g.failure(ctx, ctx.Err())
	case <-stalled.C:
		s.giveUp(id)
		return nil, s.g.stalled()
	}
	select {
	case m := <-answer: // it came before the end
		return m, nil
	default:
	}
	return nil, s.lost(ctx)
}

// lost is the failure of a message whose stream has ended without an answer to it. Whatever ended the stream, nothing
// is known of the message.
func (s *deliveryStream) lost(ctx context.Context) error {
	err := s.g.failure(ctx, s.err)
	if backends.KindOf(err) != backends.Temporary {
		err = backends.Fail(backends.Temporary, "store %q: the stream of deliveries has ended: %w", s.g.spec.Store, err)
	}
	return err
}
