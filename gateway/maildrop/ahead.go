package maildrop

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
)

const (
	// aheadMessages is how many messages are asked for ahead with one request, and aheadFirst with
	// one whose guess nothing has confirmed yet.
	aheadMessages = 16
	aheadFirst    = 8
	// aheadBatches is how many such requests are under way: while the messages of one are read,
	// those of the next come.
	aheadBatches = 2
	// aheadWindow is the most that a request's messages keep in memory: what the plugin boundary
	// lets a store send before it is read.
	aheadWindow = 1 << 20
	// aheadIdle is how long messages ahead are kept for a client that asks for none.
	aheadIdle = 10 * time.Second
	// aheadWrong is how many guesses in a row may be wrong before guessing stops; it starts
	// again once the client has asked in steps that are the same that often.
	aheadWrong = 3
)

// Budget bounds the octets that all sessions together hold of something (I11): of messages that
// were fetched ahead, or of lists. The zero value allows none.
type Budget struct {
	octets atomic.Int64
}

// NewBudget allows a number of octets.
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

// ahead is a session's reading ahead: the next messages are fetched before the client asks for
// them. This hides the round trip to a store that is far away, and keeps both sides busy with one
// that is near. A client that pipelines (RFC 2449 §6.6) gains as much as one that waits for each
// response.
//
// It guesses that the client continues as before: the same step to the next number (usually 1), the
// same command, the same number of lines of TOP (RFC 1939 §7). A wrong guess is given up. After a few
// wrong guesses the guessing stops until the client's steps are regular again.
type ahead struct {
	store   backends.ManyFetcher
	form    backends.Rendering
	id      func(int) backends.MessageID
	size    func(int) (int64, bool)
	skip    func(int) bool // messages that are not read ahead
	open    func(context.Context, want, int64, backends.Content) *reading
	company *company // that a message ahead is of until it is taken or dropped
	count   int      // messages of the maildrop
	budget  *Budget
	left    int64 // of the session's own budget

	ctx    context.Context //nolint:containedctx // the session's: what is ahead outlives the command
	cancel context.CancelFunc

	mu      sync.Mutex
	batches []*batch // in the order of their messages
	last    want
	step    int
	steady  int // how often in a row the step was the same
	wrong   int
	idle    *time.Timer
	closed  bool
}

// batch is the messages of one request that are still ahead.
type batch struct {
	contents backends.Contents
	cancel   context.CancelFunc // ends the request
	wants    []want
	sizes    []int64 // what each may cost
	sum      int64   // of sizes
	cost     int64   // what it has of the budgets
	reading  bool    // one of its messages is with the client
	dropped  bool    // it ends with that one
}

// advance takes the messages before the n-th away, and that one.
func (b *batch) advance(n int) {
	for _, size := range b.sizes[:n+1] {
		b.sum -= size
	}
	b.wants, b.sizes = b.wants[n+1:], b.sizes[n+1:]
}

// take gives the message that was asked for, if it is ahead, and asks for those that are
// likely to be next. ok is false when the caller has to fetch the message.
func (a *ahead) take(ctx context.Context, w want) (r *reading, err error, ok bool) { //nolint:revive // like a map's second value
	b, passed, since := a.advance(ctx, w)
	if b == nil {
		return nil, nil, false
	}
	content, err := b.contents.Next(ctx)
	for ; passed > 0; passed-- {
		if err == nil {
			_ = content.Close()
		}
		content, err = b.contents.Next(ctx)
	}
	if err != nil {
		a.release(b)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx), true
		}
		kind := backends.KindOf(err)
		return nil, err, kind == backends.NotFound // what else it is, is asked again, and told by the answer
	}
	r = a.open(ctx, w, since, content)
	r.release = func() { a.release(b) }
	return r, nil, true
}

// advance notes what is asked for and starts the guesses that follow from it. Where it is ahead,
// it gives its batch, how many messages are passed over, and what was under way.
func (a *ahead) advance(ctx context.Context, w want) (b *batch, passed int, since int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, 0, 0
	}
	b, passed = a.find(w)
	a.learn(w, b != nil)
	if b != nil {
		since = a.company.now() // itself among them: what fails in a batch fails in company
		a.leave(passed + 1)
		b.advance(passed)
		b.reading = true
		a.pay(b)
	}
	if a.wrong < aheadWrong {
		a.guess(ctx, w)
	}
	if a.idle == nil {
		a.idle = time.AfterFunc(aheadIdle, a.forget)
	} else {
		a.idle.Reset(aheadIdle)
	}
	return b, passed, since
}

// find finds the batch that a message is of. Batches before it are dropped: the client has passed
// them over.
func (a *ahead) find(w want) (b *batch, n int) {
	for i, b := range a.batches {
		if n := slices.Index(b.wants, w); n >= 0 {
			for range i {
				a.drop(a.batches[0])
			}
			return b, n
		}
	}
	return nil, 0
}

// leave notes that messages are not ahead any more.
func (a *ahead) leave(n int) {
	for range n {
		a.company.leave()
	}
}

// pay gives back what a batch does not need of the budgets any more.
func (a *ahead) pay(b *batch) {
	if cost := min(b.sum, aheadWindow); cost < b.cost {
		a.budget.give(b.cost - cost)
		a.left += b.cost - cost
		b.cost = cost
	}
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

// guess asks for what comes next, as far as the budgets go, once half of a request is left.
func (a *ahead) guess(ctx context.Context, w want) {
	ahead := 0
	for _, b := range a.batches {
		if ahead += len(b.wants); len(b.wants) > 0 {
			w = b.wants[len(b.wants)-1]
		}
	}
	if len(a.batches) >= aheadBatches || ahead > aheadMessages/2 {
		return
	}
	most := aheadFirst
	if a.steady > 0 {
		most = aheadMessages
	}
	b := &batch{}
	for len(b.wants) < most {
		w.index += a.step
		if w.index < 0 || w.index >= a.count {
			break
		}
		if a.skip(w.index) {
			continue
		}
		if !a.add(b, w) {
			break
		}
	}
	if len(b.wants) > 0 {
		a.start(ctx, b)
	}
}

// add puts a message into a batch, if the budgets allow.
func (a *ahead) add(b *batch, w want) bool {
	size := int64(aheadWindow)
	if known, is := a.size(w.index); is {
		size = min(known, size)
	}
	more := min(b.sum+size, aheadWindow) - b.cost
	if a.left < more || !a.budget.take(more) {
		return false
	}
	a.left -= more
	b.cost += more
	b.sum += size
	b.wants, b.sizes = append(b.wants, w), append(b.sizes, size)
	return true
}

// start asks the store for a batch. A store that does not give it is asked again with the next
// guess; what the client wants meanwhile it is asked for by itself. One that takes no request for now
// is waited for until the command's context ends, and no longer.
func (a *ahead) start(ctx context.Context, b *batch) {
	top := b.wants[0].top
	request := backends.FetchManyRequest{Top: top >= 0, Lines: max(0, top), Rendering: a.form}
	for _, w := range b.wants {
		request.IDs = append(request.IDs, a.id(w.index))
		a.company.join()
	}
	var err error
	a.batches = append(a.batches, b)
	var asking context.Context
	asking, b.cancel = context.WithCancel(a.ctx)
	asked := context.AfterFunc(ctx, b.cancel)
	b.contents, err = a.store.FetchMany(asking, request)
	if !asked() || err != nil {
		a.drop(b)
	}
}

// release is for a message whose client is done with it.
func (a *ahead) release(b *batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b.reading = false
	if b.dropped || len(b.wants) == 0 {
		a.drop(b)
	}
}

// drop ends a batch that is not wanted any more. The lock is held.
func (a *ahead) drop(b *batch) {
	a.leave(len(b.wants))
	b.wants, b.sizes, b.sum = nil, nil, 0
	a.pay(b)
	a.batches = slices.DeleteFunc(a.batches, func(other *batch) bool { return other == b })
	if b.contents != nil {
		_ = b.contents.Close()
		b.contents = nil
	}
	b.cancel()
}

// quiet ends all that is ahead. Nothing begins again before the client asks for another message.
func (a *ahead) quiet() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.giveUp()
}

// giveUp ends all that is ahead. The lock is held.
func (a *ahead) giveUp() {
	for len(a.batches) > 0 {
		a.drop(a.batches[0])
	}
}

// forget gives the budget of an idle client to the others. A message that the client is still reading
// goes on.
func (a *ahead) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, b := range slices.Clone(a.batches) {
		if b.dropped = b.reading; !b.reading {
			a.drop(b)
		}
	}
}

// close ends all that is ahead.
func (a *ahead) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.idle != nil {
		a.idle.Stop()
	}
	a.giveUp()
	a.cancel()
}
