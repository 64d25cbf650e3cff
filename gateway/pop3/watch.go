package pop3

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errSlowBackend = errors.New("the backend took too long")
	errClientGone  = errors.New("the client is gone")
)

// peekAfter is how long a call may take before anybody looks whether the client is still there.
const peekAfter = time.Second

// watch is over one call of the backend. Its context ends when the backend takes too long, or
// when the client leaves meanwhile.
type watch struct {
	session *session
	cancel  context.CancelCauseFunc

	alive   atomic.Bool // something has moved since the timer was set
	writing atomic.Bool // it is the client's turn
	wrote   atomic.Bool // something has been sent: whether a client that has said all is still there, writing tells

	mu      sync.Mutex
	timer   *time.Timer
	peeker  *time.Timer
	over    bool
	peeking chan struct{} // closed when the peek is over; nil: there was none
	n       int           // what it read
	err     error
}

// begin starts the watch over a call; done ends it. With peek, the client's side is looked at
// too: nothing else may read from it until done.
func (s *session) begin(peek bool) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	w := &watch{session: s, cancel: cancel}
	w.mu.Lock()
	w.timer = time.AfterFunc(backendTimeout, w.expire)
	if peek && s.in.w < len(s.in.buf) {
		w.peeker = time.AfterFunc(peekAfter, w.peek)
	}
	w.mu.Unlock()
	s.watch = w
	return ctx, w.done
}

// expire ends the call, unless it has moved on since the last time.
func (w *watch) expire() {
	if !w.alive.Swap(false) && !w.writing.Load() {
		w.cancel(errSlowBackend)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.timer.Reset(backendTimeout)
	}
}

// peek reads ahead once, to see whether the client is still there. One that has sent more
// commands is, even if it has closed its half of the connection after them.
func (w *watch) peek() {
	s := w.session
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return
	}
	peeking := make(chan struct{})
	w.peeking = peeking
	_ = s.conn.SetReadDeadline(time.Time{})
	w.mu.Unlock()
	defer close(peeking)
	w.n, w.err = s.conn.Read(s.in.buf[s.in.w:])
	switch {
	case w.err == nil || isTimeout(w.err):
	case !isGone(w.err): // reset: nothing that is written will arrive
		w.cancel(errClientGone)
	case w.n == 0 && !s.in.pending() && !w.wrote.Load():
		w.cancel(errClientGone)
	}
}

// done ends the watch and joins the peek.
func (w *watch) done() {
	w.mu.Lock()
	w.over = true
	w.timer.Stop()
	if w.peeker != nil {
		w.peeker.Stop()
	}
	peeking := w.peeking
	w.mu.Unlock()
	s := w.session
	if peeking != nil {
		_ = s.conn.SetReadDeadline(time.Unix(1, 0))
		<-peeking
		if isTimeout(w.err) {
			w.err = nil
		}
		s.in.add(w.n, w.err)
	}
	s.watch = nil
	w.cancel(nil)
}

// pacer writes to the client. What a slow client takes is not the backend's time.
type pacer struct{ session *session }

func (p pacer) Write(b []byte) (int, error) {
	if w := p.session.watch; w != nil {
		w.wrote.Store(true)
		w.writing.Store(true)
		defer func() {
			w.alive.Store(true)
			w.writing.Store(false)
		}()
	}
	return p.session.conn.Write(b)
}

// moved notes that the backend has given something.
func (s *session) moved() {
	if s.watch != nil {
		s.watch.alive.Store(true)
	}
}
