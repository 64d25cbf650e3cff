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
	kept  map[string]struct{} // destinations that were given back for it
}

const (
	// keptAgain is when a destination is asked for again that is kept, and that nobody has remembered.
	keptAgain = 5 * time.Minute
	// keptMost bounds how many are remembered.
	keptMost = 10_000
)

// Set has mail of these kinds kept from now on; nil: of none. What is under way goes on. It returns the destinations that
// were kept: their back-off in the queue is to be ended, as they may leave now.
func (g *Gate) Set(keeps func(Kind) bool) (kept []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name := range g.kept {
		kept = append(kept, name)
	}
	g.keeps, g.kept = keeps, nil
	return kept
}

// Kept is how many destinations have mail that is kept, as far as they are remembered.
func (g *Gate) Kept() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.kept)
}

// keep gives a destination back to the queue if its mail is kept, and says whether it was. Whoever sets the gate anew
// gets to know of it, or it was not kept.
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
	giveBack(keptAgain)
	return true
}
