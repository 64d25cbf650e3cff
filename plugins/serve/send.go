package serve

import (
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// Send is a sending session: the stream's end, however it comes, is the session's.
func (s *service) Send(stream grpc.BidiStreamingServer[pb.SendRequest, pb.Verdicts]) error {
	sender, ok := s.store.(backends.Sender)
	if !ok {
		return lacks("sender")
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetStart() == nil {
		return errFraming
	}
	credential, err := convert.CredentialFromProto(first.GetStart().GetCredential())
	if err != nil {
		return err
	}
	session, err := backends.OpenSending(stream.Context(), sender, credential)
	if err != nil {
		return err
	}
	defer session.Close() //nolint:errcheck // each message has its answer
	for next := first.GetStart().GetDelivery(); next != nil; {
		if err := s.sendOne(stream, session, next); err != nil {
			return err
		}
		if next, err = nextDelivery(stream); err != nil {
			return err
		}
	}
	return nil
}

// sendOne sends one message of a session, and answers it. Its failure is no end of the session; a panic is:
// nobody knows in what state it has left the session, nor, once the backend had all of the message,
// whether that was sent (I2).
func (s *service) sendOne(stream grpc.BidiStreamingServer[pb.SendRequest, pb.Verdicts], session backends.Sending, m *pb.Delivery) error {
	delivery, err := convert.DeliveryFromProto(m)
	if err != nil {
		return err
	}
	content := &incoming{stream: stream, frame: wire.SendFrame()}
	var verdicts []backends.Verdict
	returned := false
	err = s.guard("Send", func() (err error) {
		verdicts, err = session.Send(stream.Context(), delivery, content)
		returned = true
		return err
	})
	if !returned {
		content.drop()
		if content.err == io.EOF {
			err = backends.Fail(backends.Uncertain, "%w", err)
		}
		return err
	}
	answer, err := taken(content.finish, verdicts, err)
	content.drop()
	if err != nil {
		answer = &pb.Verdicts{Failure: convert.FailureToProto(backends.AsFailure(err))}
	}
	answer.Key = delivery.Key
	return stream.Send(answer)
}

// nextDelivery passes over what is left of a message that was answered before its end. It returns nil
// where the gateway has ended the session.
func nextDelivery(stream grpc.BidiStreamingServer[pb.SendRequest, pb.Verdicts]) (*pb.Delivery, error) {
	frame := wire.SendFrame()
	for {
		err := stream.RecvMsg(frame)
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return nil, err
		case frame.Message == nil:
			frame.Chunk.Free()
			continue
		}
		m := frame.Message.(*pb.SendRequest)
		switch {
		case m.GetDelivery() != nil:
			return m.GetDelivery(), nil
		case m.GetStart() != nil:
			return nil, errFraming
		}
	}
}
