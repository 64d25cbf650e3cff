package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

type maildropStream = grpc.BidiStreamingServer[pb.MaildropRequest, pb.MaildropResponse]

// Maildrop serves one maildrop session for as long as its stream lives, or until it is parked.
func (s *service) Maildrop(stream maildropStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	m := &maildrop{service: s, stream: stream, tasks: make(map[uint64]*task), opening: make(chan struct{}, s.opensAtOnce())}
	switch f := first.GetRequest().(type) {
	case *pb.MaildropRequest_Open:
		if m.drop, err = s.open(stream.Context(), f.Open); err != nil {
			return err // the stream's end tells it
		}
		return m.serve(m.send(convert.OpenedToProto(first.GetId(), m.drop.Opened())))
	case *pb.MaildropRequest_Resume:
		if m.drop = s.unpark(f.Resume.GetNumber()); m.drop == nil {
			return backends.Fail(backends.Temporary, "no session is parked under %d", f.Resume.GetNumber())
		}
		return m.serve(nil)
	}
	return errFraming
}

// open opens a maildrop. The backend may keep the values of the context that it gets: these are not the stream's, which may be gone long
// before the maildrop is.
func (s *service) open(ctx context.Context, open *pb.Open) (backends.Maildrop, error) {
	reader, ok := s.store.(backends.Reader)
	if !ok {
		return nil, lacks("reader")
	}
	request, err := convert.OpenFromProto(open)
	if err != nil {
		return nil, err
	}
	own, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	if trace, ok := backends.TraceOf(ctx); ok {
		return reader.Open(backends.WithTrace(own, trace), request)
	}
	return reader.Open(own, request)
}

// maildrop is one session under way.
type maildrop struct {
	service *service
	stream  maildropStream
	drop    backends.Maildrop
	sending sync.Mutex // around stream.Send

	mu    sync.Mutex
	tasks map[uint64]*task // under way
	work  sync.WaitGroup

	opening chan struct{} // one for each message that is being opened ahead
}

// opensAtOnce is how many messages of a maildrop are opened together.
func (s *service) opensAtOnce() int {
	if n := s.fetchesAtOnce.Load(); n > 0 {
		return int(min(n, wire.RequestsMost))
	}
	return fetchesAtOnce
}

// task is one request under way.
type task struct {
	id     uint64
	cancel context.CancelFunc
	credit *credit // of a fetch, in octets, or of a list, in entries
}

// serve reads requests until the stream ends, and ends the session: first the context of what
// is under way, then the backend's maildrop, which makes open contents fail. One that is parked goes on with another stream.
func (m *maildrop) serve(err error) error {
	ctx, cancel := context.WithCancel(m.stream.Context())
	defer cancel()
	for err == nil {
		var frame *pb.MaildropRequest
		if frame, err = m.stream.Recv(); err == nil {
			err = m.take(ctx, frame)
		}
	}
	if err == errParked {
		return nil
	}
	cancel()
	closing := m.service.guard("Maildrop.Close", m.drop.Close)
	m.work.Wait()
	if errors.Is(err, io.EOF) {
		return closing
	}
	return err
}

// errParked ends the stream of a session that goes on later.
var errParked = errors.New("parked")

func (m *maildrop) send(frame *pb.MaildropResponse) error {
	m.sending.Lock()
	defer m.sending.Unlock()
	return m.stream.Send(frame)
}

// take acts on one frame. It never waits for a request: behind the frame may stand the grant
// or the cancellation that the request is waiting for.
func (m *maildrop) take(ctx context.Context, frame *pb.MaildropRequest) error {
	switch f := frame.GetRequest().(type) {
	case *pb.MaildropRequest_Window:
		m.grant(frame.GetId(), f.Window)
	case *pb.MaildropRequest_Cancel:
		m.cancel(frame.GetId())
	case *pb.MaildropRequest_List:
		return m.start(ctx, frame.GetId(), f.List.GetWindow(), m.list)
	case *pb.MaildropRequest_Fetch:
		return m.start(ctx, frame.GetId(), f.Fetch.GetWindow(), func(ctx context.Context, r *task) error {
			return m.fetch(ctx, r, f.Fetch)
		})
	case *pb.MaildropRequest_Remove:
		return m.start(ctx, frame.GetId(), 0, func(ctx context.Context, r *task) error {
			return m.remove(ctx, r, f.Remove)
		})
	case *pb.MaildropRequest_MarkSeen:
		return m.start(ctx, frame.GetId(), 0, func(ctx context.Context, r *task) error {
			return m.markSeen(ctx, r, f.MarkSeen)
		})
	case *pb.MaildropRequest_Measure:
		return m.start(ctx, frame.GetId(), 0, func(ctx context.Context, r *task) error {
			return m.measure(ctx, r, f.Measure)
		})
	case *pb.MaildropRequest_Park:
		return m.park(frame.GetId(), f.Park)
	case *pb.MaildropRequest_Open, *pb.MaildropRequest_Resume:
		return errFraming
	default: // a request of a later gateway
		return m.done(frame.GetId(), backends.Fail(backends.Unsupported, "a request of a kind that is not known"))
	}
	return nil
}

// start runs a request beside the others.
func (m *maildrop) start(ctx context.Context, id uint64, window int64, f func(context.Context, *task) error) error {
	ctx, cancel := context.WithCancel(ctx)
	r := &task{id: id, cancel: cancel, credit: newCredit(window)}
	m.mu.Lock()
	_, taken := m.tasks[id]
	full := len(m.tasks) >= wire.RequestsMost
	if !taken && !full {
		m.tasks[id] = r
	}
	m.mu.Unlock()
	if taken {
		cancel()
		return fmt.Errorf("%w: request %d is under way already", errFraming, id)
	}
	if full {
		cancel()
		return m.done(id, backends.Fail(backends.Throttled, "more than %d requests of one maildrop at once", wire.RequestsMost))
	}
	m.work.Go(func() {
		defer cancel()
		err := m.service.guard("Maildrop", func() error { return f(ctx, r) })
		m.forget(id)
		if !errors.Is(err, errAnswered) {
			_ = m.done(id, err) // a stream that cannot be sent to ends the session by itself
		}
	})
	return nil
}

// forget takes a request off the list of those under way. It comes before the request's last
// frame: the gateway may send another one upon that.
func (m *maildrop) forget(id uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.tasks, id)
}

// errAnswered ends a request whose last frame has been sent.
var errAnswered = errors.New("answered")

// done sends a request's last frame.
func (m *maildrop) done(id uint64, err error) error {
	return m.send(&pb.MaildropResponse{Id: id, Done: true, Failure: convert.FailureToProto(backends.AsFailure(err))})
}

func (m *maildrop) grant(id uint64, window *pb.Window) {
	m.mu.Lock()
	r := m.tasks[id]
	m.mu.Unlock()
	if r != nil { // it may have ended meanwhile
		r.credit.grant(window.GetOctets() + window.GetEntries())
	}
}

func (m *maildrop) cancel(id uint64) {
	m.mu.Lock()
	r := m.tasks[id]
	m.mu.Unlock()
	if r != nil {
		r.cancel()
	}
}

func (m *maildrop) list(ctx context.Context, r *task) error {
	var batch []*pb.Entry
	room := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		frame := &pb.MaildropResponse{Id: r.id, Response: &pb.MaildropResponse_Entries{Entries: &pb.Entries{Entries: batch}}}
		batch, room = nil, 0
		return m.send(frame)
	}
	for entry, err := range m.drop.List(ctx) {
		if err != nil {
			return err
		}
		e, err := convert.EntryToProto(entry)
		if err != nil {
			return err
		}
		if len(batch) == room {
			if err := flush(); err != nil {
				return err
			}
			if room, err = r.credit.take(ctx, convert.EntriesMost); err != nil {
				return err
			}
		}
		batch = append(batch, e)
	}
	if err := ctx.Err(); err != nil {
		return err // a list that a backend cut short for that is not complete
	}
	return flush()
}

func (m *maildrop) remove(ctx context.Context, r *task, frame *pb.Remove) error {
	ids, disposal, err := convert.RemoveFromProto(frame)
	if err != nil {
		return err
	}
	removals, err := m.drop.Remove(ctx, ids, disposal)
	if err != nil {
		return err
	}
	m.forget(r.id)
	if err := m.send(&pb.MaildropResponse{
		Id: r.id, Done: true,
		Response: &pb.MaildropResponse_Removals{Removals: convert.RemovalsToProto(removals)},
	}); err != nil {
		return err
	}
	return errAnswered
}

func (m *maildrop) markSeen(ctx context.Context, r *task, frame *pb.MarkSeen) error {
	marker, ok := m.drop.(backends.Marker)
	if !ok {
		return backends.Fail(backends.Unsupported, "the store does not mark messages as read")
	}
	ids, err := convert.MarkSeenFromProto(frame)
	if err != nil {
		return err
	}
	if err := marker.MarkSeen(ctx, ids); err != nil {
		return err
	}
	m.forget(r.id)
	if err := m.send(&pb.MaildropResponse{Id: r.id, Done: true}); err != nil {
		return err
	}
	return errAnswered
}
