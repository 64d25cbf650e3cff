package host

import (
	"maps"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// holdingMost bounds how many recipients are remembered; beyond it the store is asked.
const holdingMost = 10_000

// holding remembers which recipients a process takes mail for, as long as it has said that its answer holds
// ([backends.Verdict.Holds]). The zero value is ready.
type holding struct {
	mu    sync.Mutex
	all   map[string]held // by address
	epoch int             // grows when all is forgotten
	swept time.Time
}

type held struct {
	until   time.Time
	size    int64 // of the largest message that was asked about
	verdict backends.Verdict
}

// of gives the answer to a query if it is known for every recipient, and otherwise nil and what [holding.note] wants
// to know.
func (h *holding) of(q backends.ResolveQuery) (verdicts []backends.Verdict, asOf int) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if q.Accounts || len(q.Recipients) == 0 {
		return nil, h.epoch
	}
	for _, r := range q.Recipients {
		known, is := h.all[r.Address]
		if !is || !now.Before(known.until) || q.Size > known.size {
			return nil, h.epoch
		}
		verdicts = append(verdicts, known.verdict)
	}
	return verdicts, h.epoch
}

// note remembers what holds of an answer, unless all was forgotten since the query was made.
func (h *holding) note(q backends.ResolveQuery, verdicts []backends.Verdict, asOf int) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.epoch != asOf {
		return
	}
	if h.all == nil {
		h.all = make(map[string]held)
	}
	if len(h.all) >= holdingMost && now.Sub(h.swept) >= time.Second {
		h.swept = now
		maps.DeleteFunc(h.all, func(_ string, of held) bool { return !now.Before(of.until) })
	}
	for _, v := range verdicts {
		before, is := h.all[v.Recipient]
		switch {
		case v.Failure != nil || v.Holds <= 0:
			delete(h.all, v.Recipient)
		case is && now.Before(before.until) && before.size > q.Size: // of larger messages it says nothing
		case is || len(h.all) < holdingMost:
			h.all[v.Recipient] = held{until: now.Add(v.Holds), size: q.Size, verdict: v}
		}
	}
}

// forget forgets all, as something may have changed.
func (h *holding) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = nil
	h.epoch++
}
