package spool

import (
	"context"
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends/pause"
)

const (
	// tellPause is the least time between two words to other gateways, and between two looks because of theirs: under
	// load many messages share one.
	tellPause = 20 * time.Millisecond
	// heardPolls is how many times as rarely it is looked for mail that nobody has told of, as long as words come.
	heardPolls = 10
)

// notifier tells other gateways at once of mail for their shards. What is told is a hint, and may be lost: everything is
// in the database, and found there by [schedule.poll].
//
// It is told after the commit, by itself: a NOTIFY in the transaction would have all commits of the database wait for
// each other.
type notifier struct {
	spool  *Spool
	hears  atomic.Bool   // words come in
	look   chan struct{} // one is for this gateway
	signal chan struct{}

	mu      sync.Mutex
	pending uint64 // the shards to be told of, a bit for each
}

func newNotifier(s *Spool) *notifier {
	return &notifier{spool: s, look: make(chan struct{}, 1), signal: make(chan struct{}, 1)}
}

// tell is called when something is on the disk that may be tried.
func (n *notifier) tell(all []announcement) {
	if !n.spool.db.Shared() {
		return
	}
	var others uint64
	for _, a := range all {
		if !n.spool.leases.has(a.shard) {
			others |= 1 << a.shard
		}
	}
	if others == 0 {
		return
	}
	n.mu.Lock()
	n.pending |= others
	n.mu.Unlock()
	signal(n.signal)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run tells what is to be told, until ctx ends and nothing is left.
func (n *notifier) run(ctx context.Context) {
	for {
		select {
		case <-n.signal:
			n.send(ctx)
		case <-ctx.Done():
			n.send(ctx)
			return
		}
		pause.For(ctx, tellPause)
	}
}

func (n *notifier) send(ctx context.Context) {
	n.mu.Lock()
	shards := n.pending
	n.pending = 0
	n.mu.Unlock()
	if shards == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerMost) // Close waits for a word that is on its way
	defer cancel()
	if err := n.say(ctx, shards); err != nil {
		n.spool.o.Log.Debug().Err(err).Msg("other gateways could not be told of mail in transit; they find it by themselves")
	}
}

// say sends a word: who says it, and the shards that have mail.
func (n *notifier) say(ctx context.Context, shards uint64) error {
	return n.spool.db.Notify(ctx, n.spool.leases.node+" "+strconv.FormatUint(shards, 16))
}

// listen hears what others tell, until ctx ends.
func (n *notifier) listen(ctx context.Context) {
	for {
		err := n.spool.db.Listen(ctx, func() error { return n.say(ctx, 0) }, n.heard)
		n.hears.Store(false)
		if ctx.Err() != nil {
			return
		}
		n.spool.o.Log.Debug().Err(err).Msg("what other gateways tell of mail in transit is not heard; it is looked for")
		if !pause.For(ctx, n.spool.o.Poll) {
			return
		}
	}
}

// heard is called with each word. The gateway's own, which it says when it begins to listen, shows that words come in:
// a pooler between may keep them. What was told before may have been missed.
func (n *notifier) heard(word string) {
	node, text, _ := strings.Cut(word, " ")
	shards, err := strconv.ParseUint(text, 16, 64)
	switch {
	case err != nil:
	case node == n.spool.leases.node:
		if !n.hears.Swap(true) {
			signal(n.look)
		}
	case n.concerns(shards):
		signal(n.look)
	}
}

// concerns says whether one of the shards is this gateway's.
func (n *notifier) concerns(shards uint64) bool {
	for ; shards != 0; shards &= shards - 1 {
		if n.spool.leases.has(int64(bits.TrailingZeros64(shards))) {
			return true
		}
	}
	return false
}

// wait waits until it is to be looked for mail that others have taken in; false: ctx has ended.
func (n *notifier) wait(ctx context.Context) bool {
	every := n.spool.o.Poll
	if n.hears.Load() {
		every *= heardPolls
	}
	timer := time.NewTimer(every)
	defer timer.Stop()
	select {
	case <-n.look:
		return true
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
