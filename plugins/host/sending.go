package host

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// Send submits a message through the store's own transport. When its outcome is not known,
// the failure is [backends.Uncertain].
func (s *Store) Send(ctx context.Context, credential backends.Credential, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	session, err := s.OpenSending(ctx, credential)
	if err != nil {
		return nil, err
	}
	defer session.Close() //nolint:errcheck // the message has its verdicts
	return session.Send(ctx, delivery, content)
}

// OpenSending begins a sending session. Its stream is opened with the first message, ends when it is
// idle for Spec.SendIdle, when its process is replaced and when a message is given up in the middle; the
// next message opens another one. A [backends.CredentialGrant] opens none but the first, so that one does not
// end for being idle.
func (s *Store) OpenSending(_ context.Context, credential backends.Credential) (backends.Sending, error) {
	c, err := convert.CredentialToProto(credential)
	if err != nil {
		return nil, refused(err)
	}
	return &sending{store: s, credential: c}, nil
}

// sending is a sending session.
type sending struct {
	store      *Store
	credential *pb.Credential

	mu     sync.Mutex  // held while a message is sent
	stream *sendStream // nil: there is none
	closed bool
}

// Send implements [backends.Sending].
func (s *sending) Send(ctx context.Context, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	m, err := convert.DeliveryToProto(delivery)
	if err != nil {
		return nil, refused(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, backends.SendingClosed()
	}
	frame := &pb.SendRequest{Frame: &pb.SendRequest_Delivery{Delivery: m}}
	if s.stream == nil || s.stream.ended() {
		s.finish()
		if s.stream, err = s.open(ctx); err != nil {
			return nil, err
		}
		frame = &pb.SendRequest{Frame: &pb.SendRequest_Start{Start: &pb.SendStart{Credential: s.credential, Delivery: m}}}
	}
	t := s.stream
	verdicts, err := t.message(ctx, frame, delivery, content)
	if t.life.Err() != nil || !t.g.desc.Capabilities.SendSessions {
		s.finish()
	}
	return verdicts, err
}

// Close implements [backends.Sending].
func (s *sending) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.finish()
	return nil
}

// finish ends the stream, if there is one. s.mu is held.
func (s *sending) finish() {
	if s.stream != nil {
		s.stream.finish()
		s.stream = nil
	}
}

// open opens a stream on the current process.
func (s *sending) open(ctx context.Context) (*sendStream, error) {
	g, err := s.store.use(ctx)
	if err != nil {
		return nil, err
	}
	if !isSender(g.desc.Capabilities) {
		defer g.release()
		return nil, g.lacks()
	}
	whole, end := g.outliving(ctx)
	life, progress, cut := g.stalling(whole)
	progress.stop()
	cancel := func() { cut(); end() }
	stream, err := g.stub.Send(life)
	if err != nil {
		cancel()
		defer g.release()
		return nil, g.failure(ctx, err)
	}
	t := &sendStream{
		g: g, stream: stream, life: life, progress: progress, cancel: cancel,
		once: s.credential.GetKind() == pb.CredentialKind_CREDENTIAL_KIND_GRANT,
		idle: time.NewTimer(g.spec.SendIdle), answers: make(chan *pb.Verdicts, 1), over: make(chan struct{}),
	}
	t.idle.Stop()
	go t.receive()
	go s.keep(t)
	return t, nil
}

// keep ends a stream that the plugin has ended, that is idle for too long, or whose process was replaced.
func (s *sending) keep(t *sendStream) {
	select {
	case <-t.over:
	case <-t.idle.C:
	case <-t.g.retiring:
	}
	s.mu.Lock() // a message that goes on comes to its end first
	defer s.mu.Unlock()
	if s.stream == t {
		s.finish()
	}
}

// sendStream is the stream of a sending session, on one process.
type sendStream struct {
	g        *generation
	stream   pb.Store_SendClient
	life     context.Context // ends with cancel, and when the plugin stalls
	progress *stall
	cancel   context.CancelFunc
	once     bool        // the credential opens no other one
	idle     *time.Timer // runs between two messages, unless once

	answers chan *pb.Verdicts
	over    chan struct{} // closed when the plugin has ended the stream
	err     error         // why; set before over is closed
}

// receive takes what the plugin says, which may be before a message's end, and its end.
func (t *sendStream) receive() {
	defer close(t.over)
	for {
		m, err := t.stream.Recv()
		if t.err = err; err != nil {
			return
		}
		select {
		case t.answers <- m:
		case <-t.life.Done():
			t.err = context.Cause(t.life)
			return
		}
	}
}

// ended says whether the stream can take no other message.
func (t *sendStream) ended() bool {
	select {
	case <-t.over:
		return true
	case <-t.g.retiring:
		return true
	default:
		return t.life.Err() != nil
	}
}

// finish ends the stream in good order: the plugin ends the session first, within Spec.CloseTimeout.
func (t *sendStream) finish() {
	t.idle.Stop()
	_ = t.stream.CloseSend()
	closing := time.NewTimer(t.g.spec.CloseTimeout)
	defer closing.Stop()
	select {
	case <-t.over:
	case <-closing.C:
	case <-t.life.Done():
	}
	t.cancel()
	<-t.over
	t.g.release()
}

// message sends one message, and takes its answer. Where that comes to nothing in the middle, the stream
// is cancelled: the plugin sees a message without an end.
func (t *sendStream) message(ctx context.Context, frame *pb.SendRequest, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	t.idle.Stop()
	if !t.once {
		defer t.idle.Reset(t.g.spec.SendIdle)
	}
	defer context.AfterFunc(ctx, t.cancel)()
	t.progress.progress()
	defer t.progress.stop()
	up := &upload[pb.SendRequest]{
		g:        t.g,
		start:    frame,
		end:      &pb.SendRequest{Frame: &pb.SendRequest_End{End: &pb.End{}}},
		stream:   t.stream,
		progress: t.progress,
		answered: func() bool { return len(t.answers) > 0 },
	}
	ended, err := up.send(content)
	if err != nil {
		t.cancel()
		return nil, err
	}
	if !t.g.desc.Capabilities.SendSessions {
		_ = t.stream.CloseSend() // the answer tells whether it was still there
	}
	m, err := t.answer()
	if err != nil {
		said := convert.HasFailure(err)
		return nil, uncertain(ended && !said, t.g.lostAnswer(ctx, t.life, err))
	}
	verdicts, err := t.verdicts(m, delivery, ended)
	if err != nil {
		t.cancel()
		return nil, uncertain(ended, t.g.invalid(err))
	}
	if f := convert.FailureFromProto(m.GetFailure()); f != nil {
		return nil, f
	}
	return verdicts, nil
}

var errNoAnswer = errors.New("the plugin ended the sending session without an answer to the message")

// answer waits for what the plugin says of a message.
func (t *sendStream) answer() (*pb.Verdicts, error) {
	defer t.g.pulse.await()()
	defer t.g.pulse.beat()
	select {
	case m := <-t.answers:
		return m, nil
	case <-t.over:
	}
	select {
	case m := <-t.answers: // it came before the end
		return m, nil
	default:
	}
	if isEOF(t.err) {
		return nil, errNoAnswer
	}
	return nil, t.err
}

// verdicts reads an answer; nil: the message failed as a whole.
func (t *sendStream) verdicts(m *pb.Verdicts, delivery backends.Delivery, ended bool) ([]backends.Verdict, error) {
	if t.g.desc.Capabilities.SendSessions && m.GetKey() != delivery.Key {
		return nil, errors.New("an answer to another message than the one that was sent")
	}
	if m.GetFailure() != nil {
		return nil, nil
	}
	verdicts, err := convert.VerdictsFromProto(m, delivery.Recipients)
	if err == nil && !ended {
		err = takenEarly(verdicts)
	}
	return verdicts, err
}

// uncertain is the failure of a message: of one that the plugin had to its end, and to which it gave no
// answer that can be understood, it may have acted on it.
func uncertain(unknown bool, err error) error {
	if unknown {
		return backends.Fail(backends.Uncertain, "the message was handed over and no answer came: %w", err)
	}
	return err
}
