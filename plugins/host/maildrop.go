package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// Open opens a maildrop: one stream, on the process that is current now, until Close.
func (s *Store) Open(ctx context.Context, request backends.OpenRequest) (backends.Maildrop, error) {
	open, err := convert.OpenToProto(request)
	if err != nil {
		return nil, refused(err)
	}
	if paused := s.paused.of(loginKey(request.Credential)); paused != nil {
		return nil, paused
	}
	g, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	if !isReader(g.desc.Capabilities) {
		defer g.release()
		return nil, g.lacks()
	}
	if !g.admit() {
		defer g.release()
		return nil, g.errFull()
	}
	key := loginKey(request.Credential)
	m, err := g.openMaildrop(ctx, open)
	if err != nil {
		s.paused.note(key, err)
		g.dismiss()
		defer g.release()
		return nil, err
	}
	m.listFailed = func(err error) { s.paused.note(key, err) }
	return m, nil
}

func (g *generation) openMaildrop(ctx context.Context, open *pb.Open) (*maildrop, error) {
	ctx, done := context.WithTimeout(ctx, g.spec.CallTimeout)
	defer done()
	life, cancel := g.outliving(ctx)
	defer context.AfterFunc(ctx, cancel)() // the opening alone is bounded by ctx
	defer g.pulse.await()()
	stream, err := g.stub.Maildrop(life)
	if err != nil {
		cancel()
		return nil, g.failure(ctx, err)
	}
	fail := func(err error) (*maildrop, error) {
		cancel()
		return nil, err
	}
	if err := stream.Send(&pb.MaildropRequest{Id: 1, Request: &pb.MaildropRequest_Open{Open: open}}); err != nil && !isEOF(err) {
		return fail(g.failure(ctx, err))
	}
	frame, err := stream.Recv()
	if err != nil {
		return fail(g.failure(ctx, err))
	}
	g.pulse.beat()
	if f := convert.FailureFromProto(frame.GetFailure()); f != nil {
		return fail(f)
	}
	if frame.GetId() != 1 || frame.GetOpened() == nil {
		return fail(g.invalid(errors.New("the first frame of a maildrop does not say that it is open")))
	}
	opened, err := convert.OpenedFromProto(frame)
	if err != nil {
		return fail(g.invalid(err))
	}
	if ctx.Err() != nil {
		return fail(backends.AsFailure(ctx.Err()))
	}
	m := &maildrop{
		g: g, line: &line{stream, cancel}, opened: opened,
		requests: make(map[uint64]request), last: 1,
		slots: make(chan struct{}, wire.RequestsMost), ended: make(chan struct{}),
	}
	m.opened.AfterLoss = m.afterLoss
	g.rests.note(m)
	return m, nil
}

// maildrop is one session: requests go out over one stream at a time, and one goroutine hands the
// answers to those who wait for them. That goroutine never waits for any of them, so that a
// content that nobody reads holds nobody up; what a request may make the plugin send is
// bounded by windows.
//
// There is such a goroutine only while requests are under way, and a stream only until the session
// has rested for a while, see park.go. That a plugin has died meanwhile is noticed by the next request, and told by AfterLoss.
type maildrop struct {
	g      *generation
	opened backends.Opened
	lost   atomic.Bool   // the session has ended
	shut   atomic.Bool   // Close has been called: contents that are still open fail
	slots  chan struct{} // a token for each request under way

	rested atomic.Uint64 // the last look before it rested
	noted  atomic.Bool   // it is among those that are looked at

	sending sync.Mutex // around stream.Send

	mu        sync.Mutex
	line      *line              // nil: it is parked
	number    uint64             // under which it is parked, or was
	parked    bool               // the plugin has parked it, and will end the stream
	reaching  context.CancelFunc // of a stream that it is about to get
	changing  chan struct{}      // closed when the session is parked or has a stream again; nil: nothing of that is under way
	cut       bool               // it is to end, whatever the plugin does
	requests  map[uint64]request // under way; nil: the session has ended
	last      uint64             // id given out
	receiving bool               // there is a receiving goroutine
	leaving   bool               // it is to stay until the stream's end
	err       error              // why the session has ended
	watchers  []*watcher         // wait for an end without Close
	ended     chan struct{}      // closed with err set, when the session has ended
	closing   sync.Once

	paused     pauses
	listFailed func(error) // told of a list's failure
}

// request takes the answers to one request. Its methods are called by the receiving goroutine
// and do not wait.
type request interface {
	// answer takes what a frame holds, be it the last one or not. An error means that the frame
	// breaks the rules.
	answer(a answer) error
	// finish is called once, when no frame follows: err is nil where the plugin has answered
	// the request in full.
	finish(err error)
}

// answer is one frame from the plugin.
type answer struct {
	id      uint64
	done    bool
	end     bool // of one of the messages of a fetch
	failure *backends.Failure
	message *pb.MaildropResponse // nil, or
	chunk   mem.BufferSlice      // a chunk, to be freed by the one who takes it
}

// holds says whether there is anything in the frame for the request.
func (a answer) holds() bool { return a.chunk != nil || a.message.GetResponse() != nil || a.end }

func answerOf(frame *wire.Frame) answer {
	if frame.Message == nil {
		return answer{id: frame.ID, done: frame.Done, end: frame.End, chunk: frame.Chunk}
	}
	m := frame.Message.(*pb.MaildropResponse)
	a := answer{id: m.GetId(), done: m.GetDone(), end: m.GetEnd(), failure: convert.FailureFromProto(m.GetFailure()), message: m}
	if c, ok := m.GetResponse().(*pb.MaildropResponse_Chunk); ok { // not in the form that is taken apart
		a.chunk = mem.BufferSlice{mem.SliceBuffer(c.Chunk)}
	}
	return a
}

// Opened implements [backends.Maildrop].
func (m *maildrop) Opened() backends.Opened { return m.opened }

// listen sees to it that there is a receiving goroutine. m.mu is held.
func (m *maildrop) listen() {
	if !m.receiving {
		m.receiving = true
		go m.receive(m.line)
	}
}

// receive hands out frames until no request is under way, or the stream ends.
func (m *maildrop) receive(l *line) {
	frame := wire.MaildropFrame()
	var err error
	for err == nil {
		if err = l.stream.RecvMsg(frame); err == nil {
			m.g.pulse.beat()
			err = m.dispatch(answerOf(frame))
		}
		if err == nil && m.rest() {
			return
		}
	}
	if m.hasParked(l, err) {
		return
	}
	l.cancel()
	m.over(err)
}

// rest says whether the receiving goroutine may end.
func (m *maildrop) rest() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.receiving = m.leaving || m.parked || len(m.requests) > 0
	if !m.receiving {
		m.g.rests.note(m)
	}
	return !m.receiving
}

// dispatch hands one frame to its request. Ids that were never given out, and answers after
// the last one, break the rules: nothing more of this stream can be trusted.
func (m *maildrop) dispatch(a answer) error {
	m.mu.Lock()
	r := m.requests[a.id]
	if a.done {
		delete(m.requests, a.id)
	}
	m.mu.Unlock()
	if r == nil {
		return m.g.invalid(fmt.Errorf("an answer to request %d of a maildrop, which is not under way", a.id))
	}
	var err error
	if a.failure != nil && !a.done && !a.end {
		err = errors.New("a failure that is not the end of its request, nor of a message")
	} else if (a.failure == nil || !a.done) && a.holds() {
		err = r.answer(a)
	}
	if err != nil {
		err = m.g.invalid(err)
	}
	if !a.done {
		return err // with an error the session is over, and with it the request
	}
	<-m.slots
	if err == nil && a.failure != nil {
		r.finish(a.failure)
		return nil
	}
	r.finish(err)
	return err
}

// over ends the session for everybody who waits.
func (m *maildrop) over(err error) {
	if isEOF(err) {
		err = backends.Fail(backends.Temporary, "store %q: %w", m.g.spec.Store, errEnded)
	} else {
		err = m.g.failure(context.Background(), err)
	}
	m.mu.Lock()
	m.err = err
	requests, number := m.requests, m.number
	m.requests = nil
	m.changes()
	m.mu.Unlock()
	if number > 0 && !errors.Is(err, errEnded) && m.g.life.Err() == nil {
		go m.g.reclaim(number)
	}
	m.lost.Store(true) // before Close can return: what was handed out fails from then on
	m.tellLoss()
	close(m.ended)
	for _, r := range requests {
		r.finish(err)
	}
}

// begin sends a request and enters it among those under way.
func (m *maildrop) begin(ctx context.Context, r request, make func(id uint64) *pb.MaildropRequest) (id uint64, err error) {
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, backends.AsFailure(ctx.Err())
	case <-m.ended:
		return 0, m.end()
	}
	l, err := m.lock(ctx)
	if err != nil {
		<-m.slots
		return 0, err
	}
	m.last++
	id = m.last
	m.requests[id] = r
	m.listen()
	m.mu.Unlock()
	if err := m.send(l, make(id)); err != nil { // which says little: the session's end says why
		l.cancel()
		return 0, m.end()
	}
	return id, nil
}

// end is why the session has ended; it has, or is about to.
func (m *maildrop) end() error {
	<-m.ended
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// send sends a frame. It waits only where a plugin does not read its requests, and for such a
// plugin the session ends.
func (m *maildrop) send(l *line, frame *pb.MaildropRequest) error {
	return m.sendWithin(m.g.spec.CallTimeout, l, frame)
}

func (m *maildrop) sendWithin(most time.Duration, l *line, frame *pb.MaildropRequest) error {
	guard := time.AfterFunc(most, l.cancel)
	defer guard.Stop()
	m.sending.Lock() // who holds it may be waiting for the plugin
	defer m.sending.Unlock()
	return l.stream.Send(frame)
}

// tell sends what is of a request under way, for so long at the most: its failure shows elsewhere. A session that is parked has none.
func (m *maildrop) tell(most time.Duration, frame *pb.MaildropRequest) {
	m.mu.Lock()
	l := m.line
	m.mu.Unlock()
	if l != nil {
		_ = m.sendWithin(most, l, frame)
	}
}

// giveUp tells the plugin that nobody waits for a request any more. It does not wait long itself: it
// is part of a session's end, too.
func (m *maildrop) giveUp(id uint64) {
	m.tell(m.g.spec.CloseTimeout, &pb.MaildropRequest{Id: id, Request: &pb.MaildropRequest_Cancel{Cancel: &pb.Cancel{}}})
}

// Close ends the session, and waits until the plugin has ended it, too, so that the maildrop
// can be opened again. It waits no longer than Spec.CloseTimeout: a client waits for the answer to
// QUIT, and the next login for the lock.
func (m *maildrop) Close() (err error) {
	m.closing.Do(func() {
		m.shut.Store(true)
		guard := time.AfterFunc(m.g.spec.CloseTimeout, m.cutOff)
		defer guard.Stop()
		m.mu.Lock()
		m.leaving = true
		m.mu.Unlock()
		if l, err := m.lock(context.Background()); err == nil {
			m.listen()
			m.mu.Unlock()
			m.sending.Lock()
			_ = l.stream.CloseSend()
			m.sending.Unlock()
		}
		owed := m.g.pulse.await()
		<-m.ended
		owed()
		if !guard.Stop() {
			err = backends.Fail(backends.Temporary, "store %q: %w within %v", m.g.spec.Store, errNoEnd, m.g.spec.CloseTimeout)
		}
		m.g.dismiss()
		m.g.release()
		if end := m.end(); err == nil && !errors.Is(end, errEnded) {
			err = end
		}
	})
	return err
}

// errNoEnd is a plugin that leaves a session's stream open when the gateway has closed its side.
var errNoEnd = errors.New("the plugin did not end the maildrop's stream, whose other side was closed,")

// errEnded is the end of a session in good order.
var errEnded = errors.New("the maildrop is closed")

// wait waits for a token, for a bounded time.
func (m *maildrop) wait(ctx context.Context, more <-chan struct{}) error {
	stalled := time.NewTimer(m.g.spec.StallTimeout)
	defer stalled.Stop()
	defer m.g.pulse.await()()
	select {
	case <-more:
		return nil
	case <-ctx.Done():
		return backends.AsFailure(ctx.Err())
	case <-stalled.C:
		return m.g.stalled()
	}
}
