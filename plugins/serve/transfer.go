package serve

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// errFraming is a stream whose frames do not come in their order.
var errFraming = errors.New("the gateway's frames are not in their order")

func (s *service) Deliver(stream grpc.ClientStreamingServer[pb.DeliverRequest, pb.Verdicts]) error {
	receiver, ok := s.store.(backends.Receiver)
	if !ok {
		return lacks("receiver")
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetDelivery() == nil {
		return errFraming
	}
	delivery, err := convert.DeliveryFromProto(first.GetDelivery())
	if err != nil {
		return err
	}
	content := &incoming{stream: stream, frame: wire.DeliverFrame()}
	verdicts, err := receiver.Deliver(stream.Context(), delivery, content)
	return answer(stream, content, verdicts, err)
}

// answer ends a Deliver.
func answer(stream grpc.ClientStreamingServer[pb.DeliverRequest, pb.Verdicts], content *incoming, verdicts []backends.Verdict, err error) error {
	m, err := taken(content.finish, verdicts, err)
	if err != nil {
		return err
	}
	return stream.SendAndClose(m)
}

// taken makes the answer to a message. A backend that says "taken" of one whose end it has not seen has
// not got the whole message, whatever it thinks (I1): finish fails unless the content was read to its end.
func taken(finish func() error, verdicts []backends.Verdict, err error) (*pb.Verdicts, error) {
	if err != nil {
		return nil, err
	}
	for _, v := range verdicts {
		if v.Failure != nil {
			continue
		}
		if err := finish(); err != nil {
			return nil, backends.Fail(backends.Temporary, "the backend took a message that it had not read to its end: %w", err)
		}
		break
	}
	return convert.VerdictsToProto(verdicts)
}

// transferFrame is what DeliverRequest and SendRequest have in common after their first one.
type transferFrame interface {
	GetChunk() []byte
	GetEnd() *pb.End
}

// incoming is the content of a Deliver or a Send: the chunks of the frames, io.EOF at the end
// frame, and io.ErrUnexpectedEOF where the stream is over without one.
type incoming struct {
	stream interface{ RecvMsg(any) error }
	frame  *wire.Frame
	pieces mem.BufferSlice // of the chunk, not yet read
	chunk  []byte          // the rest of the first of them
	err    error
}

func (c *incoming) Read(p []byte) (int, error) {
	chunk, err := c.fill()
	if err != nil {
		return 0, err
	}
	n := copy(p, chunk)
	c.consume(n)
	return n, nil
}

// consume takes octets that have been read off the chunk.
func (c *incoming) consume(n int) {
	if c.chunk = c.chunk[n:]; len(c.chunk) == 0 {
		c.pieces[0].Free()
		c.pieces = c.pieces[1:]
	}
}

// WriteTo spares the copy into a buffer of the reader's.
func (c *incoming) WriteTo(w io.Writer) (int64, error) {
	return wire.WriteChunks(w, c.fill, c.consume)
}

// fill gives what is not read yet of a chunk, or says why there is none.
func (c *incoming) fill() ([]byte, error) {
	for len(c.chunk) == 0 {
		if len(c.pieces) == 0 && c.err == nil {
			c.pieces, c.err = c.receive()
		}
		if len(c.pieces) == 0 {
			return nil, c.err
		}
		c.chunk = c.pieces[0].ReadOnlyData()
	}
	return c.chunk, nil
}

// receive returns the pieces of the next chunk, none of them empty.
func (c *incoming) receive() (mem.BufferSlice, error) {
	err := c.stream.RecvMsg(c.frame)
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, convert.ErrorFromStatus(err)
	case c.frame.Message == nil:
		return c.frame.Chunk, nil
	}
	f := c.frame.Message.(transferFrame)
	switch {
	case f.GetEnd() != nil:
		return nil, io.EOF
	case len(f.GetChunk()) == 0 || len(f.GetChunk()) > convert.ChunkMost:
		return nil, errFraming
	}
	return mem.BufferSlice{mem.SliceBuffer(f.GetChunk())}, nil
}

// drop frees what was not read.
func (c *incoming) drop() {
	c.pieces.Free()
	c.pieces, c.chunk = nil, nil
}

// finish makes sure that the content has been read to its end.
func (c *incoming) finish() error {
	switch _, err := c.fill(); {
	case err == io.EOF:
		return nil
	case err != nil:
		return err
	}
	return errors.New("there is more of it")
}

// Collect hands messages over one at a time: an envelope, chunks, the end, and then the
// gateway says whether it has taken the message.
func (s *service) Collect(stream grpc.BidiStreamingServer[pb.CollectRequest, pb.CollectResponse]) error {
	outbox, ok := s.store.(backends.Outbox)
	if !ok {
		return lacks("outbox")
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetStart() == nil {
		return errFraming
	}
	request, err := convert.CollectFromProto(first.GetStart())
	if err != nil {
		return err
	}
	return outbox.Collect(stream.Context(), request, func(_ context.Context, o backends.Outgoing, content backends.Content) error {
		defer func() { _ = content.Close() }()
		return handOver(stream, o, content, first.GetStart().GetAsks())
	})
}

// handOver sends one message, and returns why the gateway has not taken it. The content was
// the backend's to open and is this side's to close.
func handOver(stream grpc.BidiStreamingServer[pb.CollectRequest, pb.CollectResponse], o backends.Outgoing, content backends.Content, asked bool) error {
	if err := name(stream, o, asked); err != nil {
		return err
	}
	end := &pb.CollectEnd{}
	if err := sendContent(stream, content); err != nil {
		end.Failure = convert.FailureToProto(backends.AsFailure(err))
	}
	if err := stream.Send(&pb.CollectResponse{Frame: &pb.CollectResponse_End{End: end}}); err != nil {
		return err
	}
	m, err := stream.Recv()
	if err != nil {
		return convert.ErrorFromStatus(err)
	}
	if m.GetTaken() == nil {
		return errFraming
	}
	if f := convert.FailureFromProto(m.GetTaken().GetFailure()); f != nil {
		return f
	}
	if end.GetFailure() != nil {
		return errFraming // the gateway cannot have taken it
	}
	return nil
}

// name says which message comes. Where the gateway asks for contents, it has the name when this returns: the content may
// end this process, and what was sent just before would be lost with it.
func name(stream grpc.BidiStreamingServer[pb.CollectRequest, pb.CollectResponse], o backends.Outgoing, asked bool) error {
	outgoing, err := convert.OutgoingToProto(o)
	if err != nil {
		return err
	}
	outgoing.Asked = asked
	if err := stream.Send(&pb.CollectResponse{Frame: &pb.CollectResponse_Outgoing{Outgoing: outgoing}}); err != nil || !asked {
		return err
	}
	m, err := stream.Recv()
	if err != nil {
		return convert.ErrorFromStatus(err)
	}
	if m.GetAsk() == nil {
		return errFraming
	}
	return nil
}

func sendContent(stream grpc.BidiStreamingServer[pb.CollectRequest, pb.CollectResponse], content backends.Content) error {
	size := content.Size()
	count := counter{size: size}
	for room := wire.FirstChunk; ; room = convert.ChunkMost {
		buf := wire.Chunks.Get(min(room, roomFor(size)))
		n, err := readEnough(content, *buf)
		if n == 0 {
			wire.Chunks.Put(buf)
		} else if err := stream.SendMsg(wire.TransferChunk(wire.Filled(buf, n))); err != nil {
			return err
		}
		if err := count.add(n, err); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Authenticate conducts one SASL exchange.
func (s *service) Authenticate(stream grpc.BidiStreamingServer[pb.AuthenticateRequest, pb.AuthenticateResponse]) error {
	authenticator, ok := s.store.(backends.Authenticator)
	if !ok {
		return lacks("authenticator")
	}
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	exchange, err := authenticator.Authenticate(stream.Context(), m.GetMechanism(), convert.PeerFromProto(m.GetPeer()))
	if err != nil {
		return err
	}
	defer func() { _ = exchange.Close() }()
	for {
		challenge, account, err := exchange.Next(stream.Context(), response(m))
		if err != nil {
			return err
		}
		answer := &pb.AuthenticateResponse{Challenge: challenge}
		if account != nil {
			answer.Account = convert.AccountToProto(*account)
		}
		if err := stream.Send(answer); err != nil || account != nil {
			return err
		}
		if m, err = stream.Recv(); errors.Is(err, io.EOF) {
			return nil // the gateway gave up
		} else if err != nil {
			return err
		}
	}
}

// response tells an empty response from none.
func response(m *pb.AuthenticateRequest) []byte {
	switch {
	case !m.GetHasResponse():
		return nil
	case m.GetResponse() == nil:
		return []byte{}
	}
	return m.GetResponse()
}
