package maildrop

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
)

const (
	// aheadMessages is how many messages are asked for ahead where the store does not say how
	// many are worth it.
	aheadMessages = 8
	// aheadWindow is the most that one message ahead keeps in memory: what the plugin boundary
	// lets a content send before it is read.
	aheadWindow = 1 << 20
	// aheadIdle is how long messages ahead are kept for a client that asks for none.
	aheadIdle = 10 * time.Second
	// aheadWrong is how many guesses in a row may be wrong before guessing stops; it starts
	// again once the client has asked in steps that are the same that often.
	aheadWrong = 3
)

// Budget bounds the octets that all sessions together hold of something (I11): of messages
// nobody has asked for yet, or of lists. The zero value allows none.
type Budget struct {
	octets atomic.Int64
}

// NewBudget allows so many octets.
func NewBudget(octets int64) *Budget {
	b := &Budget{}
	b.octets.Store(octets)
	return b
}

func (b *Budget) take(n int64) bool {
	if b.octets.Add(-n) >= 0 {
		return true
	}
	b.octets.Add(n)
	return false
}

func (b *Budget) give(n int64) { b.octets.Add(n) }

// want is a message, or the top of one, as a client asks for it.
type want struct {
	index, top int
}

// ahead is a session's reading ahead: the next messages are on their way before they are
// asked for, which hides the round trip to the store (or, near by, keeps both sides busy).
//
// It guesses that the client goes on as it went last: the same step to the next number (1 as
// a rule), the same command, the same lines of TOP. A guess that was wrong is given up, and
// after a few the guessing stops until there is a pattern again.
type ahead struct {
	fetch   func(context.Context, want) (*reading, error)
	size    func(int) (int64, bool)
	skip    func(int) bool // messages that are not read ahead; nil: none
	company *company       // that a message ahead is of until it is taken or dropped
	count   int            // messages of the maildrop
	most    int            // messages ahead
	budget  *Budget
	left    int64 // of the session's own budget

	ctx     context.Context //nolint:containedctx // the session's: what is ahead outlives the command
	cancel  context.CancelFunc
	fetches sync.WaitGroup

	mu      sync.Mutex
	pending map[want]*fetched
	last    want
	step    int
	steady  int // how often in a row the step was the same
	wrong   int
	idle    *time.Timer
	closed  bool
}

// fetched is one message ahead.
type fetched struct {
	cancel  context.CancelFunc
	cost    int64
	arrived chan struct{} // closed when the store has answered
	content *reading
	err     error
}

func newAhead(o *Options, count, most int, fetch func(context.Context, want) (*reading, error), size func(int) (int64, bool)) *ahead {
	a := &ahead{fetch: fetch, size: size, count: count, most: most, budget: o.Ahead, left: o.AheadPerSession, company: &company{}, pending: make(map[want]*fetched), last: want{-1, -1}, step: 1}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// take gives the message that was asked for, if it is ahead, and asks for those that are
// likely to be next. ok is false when the caller has to fetch it himself.
func (a *ahead) take(ctx context.Context, w want) (content *reading, err error, ok bool) { //nolint:revive // like a map's second value
	f := a.advance(w)
	if f == nil {
		return nil, nil, false
	}
	select {
	case <-f.arrived:
	case <-ctx.Done():
		a.drop(f)
		return nil, context.Cause(ctx), true
	}
	a.restore(f)
	if f.err != nil {
		f.cancel()
		kind := backends.KindOf(f.err)
		return nil, f.err, kind == backends.NotFound // what else it is, is asked again, and told by the answer
	}
	stop := context.AfterFunc(ctx, f.cancel) // from now on the command's context ends it
	f.content.release = func() {
		stop()
		f.cancel()
	}
	return f.content, nil, true
}

// advance notes what is asked for and starts the guesses that follow from it.
func (a *ahead) advance(w want) *fetched {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	f := a.pending[w]
	delete(a.pending, w)
	a.learn(w, f != nil)
	if a.wrong < aheadWrong {
		a.guess(w)
	}
	if a.idle == nil {
		a.idle = time.AfterFunc(aheadIdle, a.forget)
	} else {
		a.idle.Reset(aheadIdle)
	}
	return f
}

// learn compares what is asked for with what was asked before.
func (a *ahead) learn(w want, foreseen bool) {
	step := w.index - a.last.index
	same := step == a.step && w.top == a.last.top && a.last.index >= 0
	switch {
	case foreseen || same:
		a.steady++
		if a.steady >= aheadWrong || foreseen {
			a.wrong = 0
		}
	case a.last.index >= 0:
		a.steady, a.wrong = 0, a.wrong+1
		a.step = step
		a.giveUp()
	}
	if a.step == 0 { // the same message again, or its TOP and then the whole of it
		a.step = 1
	}
	a.last = w
}

// guess asks for what comes next, as far as the budgets go.
func (a *ahead) guess(w want) {
	for n := 1; n <= a.most && len(a.pending) < a.most; n++ {
		next := want{w.index + n*a.step, w.top}
		if next.index < 0 || next.index >= a.count {
			return
		}
		if _, there := a.pending[next]; there || a.skip != nil && a.skip(next.index) {
			continue
		}
		cost := int64(aheadWindow)
		if size, known := a.size(next.index); known {
			cost = min(size, cost)
		}
		if a.left < cost || !a.budget.take(cost) {
			return
		}
		a.left -= cost
		a.start(next, cost)
	}
}

func (a *ahead) start(w want, cost int64) {
	ctx, cancel := context.WithCancel(a.ctx)
	f := &fetched{cancel: cancel, cost: cost, arrived: make(chan struct{})}
	a.pending[w] = f
	a.company.join()
	a.fetches.Go(func() {
		defer close(f.arrived)
		f.content, f.err = a.fetch(ctx, w)
	})
}

// restore gives back what a message ahead had of the budgets: it is no longer ahead.
func (a *ahead) restore(f *fetched) {
	a.company.leave()
	a.budget.give(f.cost)
	a.mu.Lock()
	a.left += f.cost
	a.mu.Unlock()
}

// drop ends a message that nobody wants any more.
func (a *ahead) drop(f *fetched) {
	f.cancel()
	a.fetches.Go(func() {
		<-f.arrived
		if f.content != nil {
			_ = f.content.Close()
		}
		a.restore(f)
	})
}

// quiet ends all that is ahead, and waits for it. Nothing begins again before the next message is
// asked for.
func (a *ahead) quiet() {
	a.mu.Lock()
	a.giveUp()
	a.mu.Unlock()
	a.fetches.Wait()
}

// giveUp ends all that is ahead. The lock is held.
func (a *ahead) giveUp() {
	for w, f := range a.pending {
		delete(a.pending, w)
		a.drop(f)
	}
}

// forget is for a client that asks for nothing: others may have the budget.
func (a *ahead) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.giveUp()
	}
}

// close ends all that is ahead, and waits for it.
func (a *ahead) close() {
	a.mu.Lock()
	a.closed = true
	if a.idle != nil {
		a.idle.Stop()
	}
	a.giveUp()
	a.mu.Unlock()
	a.cancel()
	a.fetches.Wait()
}
