package exchange

import (
	"hash/maphash"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

// Bounds of what a maildrop remembers of the Ids that EWS has for its messages, which are long.
const (
	webIDsMost    = 5_000   // Ids of a generation, of which there are two
	webPlacesMost = 250_000 // places in the list
	// webShift is how far a message may have moved to the front since it was listed, for one page to find it: as many may have been removed.
	webShift = webListing / 4
)

// webBounds are those of a maildrop.
type webBounds struct {
	most  int // Ids of a generation
	shift int
}

// webIDs are the Ids of EWS of the messages that were listed or looked for last, and of the others the places that they had in the list. Make it
// with newWebIDs.
type webIDs struct {
	bounds webBounds
	seed   maphash.Seed
	mu     sync.Mutex
	recent map[backends.MessageID]string
	older  map[backends.MessageID]string // the generation before
	places map[uint64]int32              // by the hash of an id: one that is another's is a place where the message is not
}

func newWebIDs(bounds webBounds) *webIDs { return &webIDs{bounds: bounds, seed: maphash.MakeSeed()} }

// learn notes what the list has at a place.
func (w *webIDs) learn(one webEntry, place int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.recent == nil || len(w.recent) >= w.bounds.most {
		w.recent, w.older = make(map[backends.MessageID]string), w.recent
	}
	w.recent[one.entry.ID] = one.id
	if w.places == nil {
		w.places = make(map[uint64]int32)
	}
	if hash := w.hash(one.entry.ID); len(w.places) < webPlacesMost {
		w.places[hash] = int32(min(place, listMost))
	}
}

// find returns the Id of a message, if it is remembered.
func (w *webIDs) find(id backends.MessageID) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, ok := w.recent[id]
	if !ok {
		known, ok = w.older[id]
	}
	return known, ok
}

// place is where a page begins that has a message, if nothing is remembered but where it was.
func (w *webIDs) place(id backends.MessageID) (offset int, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, known := w.places[w.hash(id)]
	return max(0, int(at)-w.bounds.shift), known
}

func (w *webIDs) hash(id backends.MessageID) uint64 { return maphash.String(w.seed, string(id)) }
