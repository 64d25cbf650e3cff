package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// Deliveries takes small messages, each beside the others: one that is slow, or panics, keeps no other from its
// answer. The backend sees no difference to a Deliver.
func (s *service) Deliveries(stream grpc.BidiStreamingServer[pb.DeliveriesRequest, pb.DeliveriesResponse]) error {
	receiver, ok := s.store.(backends.Receiver)
	if !ok {
		return lacks("receiver")
	}
	ctx, cancel := context.WithCancel(stream.Context())
	d := &deliveries{
		service: s, receiver: receiver, stream: stream, ctx: ctx,
		under: make(map[uint64]context.CancelFunc), next: make(chan *inline),
	}
	err := d.receive()
	if err != nil {
		cancel() // otherwise those under way are answered first
	}
	close(d.next)
	d.workers.Wait()
	cancel()
	return err
}

// receive takes messages until the gateway ends the stream.
func (d *deliveries) receive() error {
	for {
		m, err := d.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case m.GetDelivery() == nil:
			d.cancel(m.GetId())
			continue
		}
		if err := d.begin(m); err != nil {
			return err
		}
	}
}

// deliveries is a stream of deliveries. Its workers end with it.
type deliveries struct {
	service  *service
	receiver backends.Receiver
	stream   grpc.BidiStreamingServer[pb.DeliveriesRequest, pb.DeliveriesResponse]
	ctx      context.Context //nolint:containedctx // the stream's
	workers  sync.WaitGroup
	next     chan *inline // to a worker that is free

	sending sync.Mutex // an answer is sent

	mu    sync.Mutex
	under map[uint64]context.CancelFunc // the deliveries under way, those that nobody waits for among them
}

// inline is one delivery with its content.
type inline struct {
	ctx     context.Context //nolint:containedctx // of the delivery
	request *pb.DeliveriesRequest
}

// begin gives a message to a worker. A worker is kept for the next message, as its stack has grown by then.
func (d *deliveries) begin(m *pb.DeliveriesRequest) error {
	ctx := d.ctx
	if trace, err := backends.ParseTrace(m.GetTraceparent()); err == nil {
		ctx = backends.WithTrace(ctx, trace)
	}
	ctx, cancel := context.WithCancel(ctx)
	d.mu.Lock()
	_, twice := d.under[m.GetId()]
	if twice || len(d.under) >= wire.DeliveriesMost || len(m.GetContent()) > wire.InlineMost {
		d.mu.Unlock()
		cancel()
		return errFraming
	}
	d.under[m.GetId()] = cancel
	d.mu.Unlock()
	one := &inline{ctx, m}
	select {
	case d.next <- one:
	default:
		d.workers.Go(func() { d.work(one) })
	}
	return nil
}

// work delivers one message after the other until the stream ends.
func (d *deliveries) work(one *inline) {
	for ; one != nil; one = <-d.next {
		answer := d.one(one)
		d.end(one.request.GetId())
		d.sending.Lock()
		_ = d.stream.Send(&pb.DeliveriesResponse{Id: one.request.GetId(), Verdicts: answer}) // there may be nobody any more
		d.sending.Unlock()
	}
}

// cancel ends the context of a delivery that nobody waits for. It is answered as the others are.
func (d *deliveries) cancel(id uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if cancel := d.under[id]; cancel != nil {
		cancel()
	}
}

// end takes note of a delivery that is over.
func (d *deliveries) end(id uint64) {
	d.cancel(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.under, id)
}

// one delivers one message, as a call of its own, and makes its answer.
func (d *deliveries) one(one *inline) (answer *pb.Verdicts) {
	if !d.service.calls.begin() {
		return failed(errEnding)
	}
	defer d.service.calls.end()
	err := d.service.guard("Deliver", func() error {
		delivery, err := convert.DeliveryFromProto(one.request.GetDelivery())
		if err != nil {
			return err
		}
		content := bytes.NewReader(one.request.GetContent())
		verdicts, err := d.receiver.Deliver(one.ctx, delivery, content)
		if answer, err = taken(func() error { return atEnd(content) }, verdicts, err); err != nil {
			return err
		}
		return sendable(answer)
	})
	if err != nil {
		return failed(err)
	}
	return answer
}

// frameMost is how many octets an answer has around its verdicts at the most.
const frameMost = 64

// sendable fails where an answer is too large for gRPC, which would end the stream for all.
func sendable(answer *pb.Verdicts) error {
	if octets := proto.Size(answer); octets > wire.MessageMost-frameMost {
		return fmt.Errorf("the backend's verdicts have %d octets, which cannot be sent", octets)
	}
	return nil
}

// atEnd fails unless all of a content has been read.
func atEnd(content *bytes.Reader) error {
	if left := content.Len(); left > 0 {
		return fmt.Errorf("%d octets of it are left", left)
	}
	return nil
}

// failed is the answer to a message that failed as a whole.
func failed(err error) *pb.Verdicts {
	return &pb.Verdicts{Failure: convert.FailureToProto(backends.AsFailure(err))}
}
