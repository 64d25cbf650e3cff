package host

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// Most sessions of POP3 are idle most of the time, and a stream of gRPC costs more at both ends than all else of a session together. So
// one that rests gives its stream back, where the plugin knows of this, and gets another one with its next request. The gateway gives it
// the number under which the plugin keeps it, so that it can be found also where nobody knows whether it was parked.

// line is the stream that a session has now.
type line struct {
	stream pb.Store_MaildropClient
	cancel context.CancelFunc
}

// rests are the sessions of a process that are at rest and have a stream. They are looked at every so often as long as there are any, so
// that a session does not need a timer of its own, which each of its requests would set.
type rests struct {
	g     *generation
	round atomic.Uint64 // counts the looks

	mu   sync.Mutex
	all  map[*maildrop]struct{}
	tick *time.Timer // nil: there are none
}

// restedRounds is how many looks a session has rested through when it gives its stream back.
const restedRounds = 2

// note has a session that rests from now on looked at.
func (r *rests) note(m *maildrop) {
	if !r.g.desc.Reading.Parks || r.g.spec.ParkAfter < 0 {
		return
	}
	m.rested.Store(r.round.Load())
	if m.noted.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.g.life.Err() != nil {
		return
	}
	if r.all == nil {
		r.all = make(map[*maildrop]struct{})
	}
	r.all[m] = struct{}{}
	m.noted.Store(true)
	if r.tick == nil {
		r.tick = time.AfterFunc(r.g.spec.ParkAfter/restedRounds, r.look)
	}
}

// look parks what has rested long enough, one session after the other: they need not all have a receiving goroutine at once.
func (r *rests) look() {
	for _, m := range r.due() {
		m.park()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 || r.g.life.Err() != nil {
		r.all, r.tick = nil, nil
		return
	}
	r.tick.Reset(r.g.spec.ParkAfter / restedRounds)
}

// due takes out the sessions that have rested long enough.
func (r *rests) due() (due []*maildrop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.round.Add(1)
	for m := range r.all {
		if m.hasRested() {
			delete(r.all, m)
			m.noted.Store(false)
			due = append(due, m)
		}
	}
	return due
}

func (m *maildrop) hasRested() bool {
	return m.g.rests.round.Load() >= m.rested.Load()+restedRounds
}

// park gives the session's stream back, if it still rests.
func (m *maildrop) park() {
	select {
	case m.slots <- struct{}{}:
	default:
		return
	}
	m.mu.Lock()
	if m.line == nil || m.changing != nil || m.leaving || m.requests == nil || len(m.requests) > 0 {
		m.mu.Unlock()
		<-m.slots
		return
	}
	if !m.hasRested() { // there was a request since the look
		m.g.rests.note(m)
		m.mu.Unlock()
		<-m.slots
		return
	}
	changed, l := make(chan struct{}), m.line
	m.changing = changed
	m.number = m.g.parkings.Add(1)
	m.last++
	id := m.last
	m.requests[id] = &parking{m: m}
	m.listen()
	m.mu.Unlock()
	defer m.g.pulse.await()()
	guard := time.AfterFunc(m.g.spec.StallTimeout, l.cancel) // of a plugin that hangs the health checks know sooner
	defer guard.Stop()
	if err := m.send(l, &pb.MaildropRequest{Id: id, Request: &pb.MaildropRequest_Park{Park: &pb.Park{Number: m.number}}}); err != nil {
		l.cancel()
	}
	<-changed
}

// parking is a request to be parked.
type parking struct{ m *maildrop }

func (p *parking) answer(answer) error { return errors.New("an answer to a parking that is none") }

// finish is told that the session is parked, that it is not, or that it is over.
func (p *parking) finish(err error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.m.parked = err == nil; !p.m.parked {
		p.m.changes()
	}
}

// changes tells those who wait for a stream that there is one, or none for ever. m.mu is held.
func (m *maildrop) changes() {
	if m.changing != nil {
		close(m.changing)
		m.changing = nil
	}
}

// hasParked says whether a stream's end is that of a session that is parked, which has no stream then.
func (m *maildrop) hasParked(l *line, err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.parked || !isEOF(err) {
		return false
	}
	m.line, m.receiving, m.parked = nil, false, false
	l.cancel()
	m.changes()
	return true
}

// lock returns with m.mu locked and the session's stream, which a session that was parked gets now; or with the session's end.
func (m *maildrop) lock(ctx context.Context) (*line, error) {
	for {
		m.mu.Lock()
		switch changing := m.changing; {
		case m.requests == nil:
			m.mu.Unlock()
			return nil, m.end()
		case changing != nil:
			m.mu.Unlock()
			select {
			case <-changing:
			case <-ctx.Done():
				return nil, backends.AsFailure(ctx.Err())
			}
		case m.line == nil:
			m.changing = make(chan struct{})
			m.mu.Unlock()
			m.resume(ctx)
		default:
			return m.line, nil
		}
	}
}

// resume gives a session that is parked another stream. That the plugin does not know of it shows when that ends.
func (m *maildrop) resume(ctx context.Context) {
	life, cancel := m.g.outliving(ctx)
	guard := time.AfterFunc(m.g.spec.CallTimeout, cancel) // a plugin may have as many streams as it takes
	m.mu.Lock()
	m.reaching = cancel
	if m.cut {
		cancel()
	}
	m.mu.Unlock()
	stream, err := m.g.stub.Maildrop(life)
	guard.Stop()
	if err != nil {
		cancel()
		m.over(err)
		return
	}
	l := &line{stream, cancel}
	if err := m.send(l, resumption(m.number)); err != nil {
		cancel() // what is asked for next hears of it
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.line, m.reaching = l, nil
	m.changes()
}

func resumption(number uint64) *pb.MaildropRequest {
	return &pb.MaildropRequest{Request: &pb.MaildropRequest_Resume{Resume: &pb.Resume{Number: number}}}
}

// reclaim has the plugin close a session that it may have parked, where its end has left nobody who would know. Until then its store may
// have the mailbox in use.
func (g *generation) reclaim(number uint64) {
	ctx, cancel := context.WithTimeout(g.life, g.spec.CallTimeout)
	defer cancel()
	stream, err := g.stub.Maildrop(ctx)
	if err != nil {
		return
	}
	_ = stream.Send(resumption(number))
	_ = stream.CloseSend()
	_, _ = stream.Recv()
}

// cutOff ends the session's stream from here, and one that it would get.
func (m *maildrop) cutOff() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut = true
	switch {
	case m.line != nil:
		m.line.cancel()
	case m.reaching != nil:
		m.reaching()
	}
}
