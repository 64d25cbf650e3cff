package relay

import (
	"sync"
	"time"
)

// Gate keeps mail of some kinds of next hops in the queue. Its zero value, and nil, keep none. It outlives a relay: one
// that follows another goes on with the same.
type Gate struct {
	mu    sync.Mutex
	keeps func(Kind) bool
	kept  map[string]struct{} // destinations that were given back for it, of which so many are counted
}

const (
	// KeptAgain is when a destination whose mail is kept is asked for again.
	KeptAgain = 5 * time.Minute
	// keptMost bounds how many are counted.
	keptMost = 10_000
)

// Set has mail of these kinds kept from now on; nil: of none. What is under way goes on. Of destinations whose mail may leave
// now the back-off in the queue is to be ended: it is not longer than [KeptAgain].
func (g *Gate) Set(keeps func(Kind) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keeps, g.kept = keeps, nil
}

// Kept is how many destinations have mail that is kept, as far as they are remembered.
func (g *Gate) Kept() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.kept)
}

// keep gives a destination back to the queue if its mail is kept, and says whether it was. It is given back before the gate is
// set anew, or is not kept.
func (g *Gate) keep(kind Kind, name string, giveBack func(wait time.Duration)) bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.keeps == nil || !g.keeps(kind) {
		return false
	}
	if g.kept == nil {
		g.kept = make(map[string]struct{})
	}
	if len(g.kept) >= keptMost {
		forgetSome(g.kept)
	}
	g.kept[name] = struct{}{}
	giveBack(KeptAgain)
	return true
}
