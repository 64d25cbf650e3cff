// Package receivers hands a message to a store that takes mail in ([backends.Receiver]), and judges what the store
// says became of it: for clients that wait for the answer (package routing), and for mail in transit (package
// relay).
//
//	m := receivers.Message{Log: log, Delivery: delivery, Content: open}
//	for _, o := range m.DeliverTo(ctx, store, recipients) { … }
//
// A store is believed as far as the contract goes (I10): verdicts on others than those who were asked about count
// for nothing, a message that was not read to its end has not been taken, and code that panics has failed.
package receivers

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Message is a message that is ready for stores.
type Message struct {
	Log zerolog.Logger
	// Delivery is without recipients. Retry says that an earlier attempt may have delivered it.
	Delivery backends.Delivery
	// Content opens the message from its beginning. It can be called again while it is being read.
	Content func() io.Reader
	// Call is how a store is given it; nil: by [backends.Receiver.Deliver].
	Call func(ctx context.Context, store *stores.Store, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error)
	// Opening opens TNEF for some recipients; nil: for none.
	Opening *Opening
}

// Outcome is the result for one recipient.
type Outcome struct {
	Recipient backends.Recipient
	Store     string
	// Err is nil when the recipient has a copy.
	Err error
	// Unknown says that the store had got the whole message, so that it may have delivered it, whatever
	// it answered.
	Unknown bool
	// Verdict is the store's; zero if it has given none.
	Verdict backends.Verdict
}

// Reply is what a client is told; nil: the recipient has a copy.
func (o Outcome) Reply() *smtp.Error {
	reply, _ := errors.AsType[*smtp.Error](replies.SMTP(o.Err))
	return reply
}

// Temporary says whether trying again makes sense.
func (o Outcome) Temporary() bool { return o.Err != nil && o.Reply().Code/100 == 4 }

// tooMany says whether the recipient was refused because too many were named together: X.5.3
// (RFC 3463 §3.6).
func (o Outcome) tooMany() bool { return o.Err != nil && strings.HasSuffix(o.Reply().Enhanced, ".5.3") }

// Judged refuses a store's verdicts if they are not what [backends.CheckVerdicts] wants (I10): a
// "delivered" could belong to another recipient. kind is what is known then.
func Judged(kind backends.Kind, asked []backends.Recipient, verdicts []backends.Verdict) error {
	if err := backends.CheckVerdicts(asked, verdicts); err != nil {
		return backends.Fail(kind, "the store's answer: %w", err)
	}
	return nil
}

// TraceMost is what a message may grow by on its way to the store: trace fields and what a
// submitted header lacks do not count against the client (RFC 1870 §6).
const TraceMost = 4 << 10

// SizeLimit is the largest message that a store takes (RFC 1870). Negative: it has no limit of its own,
// or the limit is not known yet, and the store refuses the message itself.
func SizeLimit(store *stores.Store) int64 {
	if limit := store.Description.Limits.MessageSize; limit > 0 {
		return limit
	}
	return -1
}

// ErrTooLarge is for a message that its store would not take (RFC 1870 §6.1).
var ErrTooLarge = backends.Fail(backends.TooLarge, "the message is larger than the store takes")

// DeliverTo delivers to one store, with at most as many recipients at a time as it takes: an outcome for each of
// them, in their order. How long it may take is the context's affair.
func (m Message) DeliverTo(ctx context.Context, store *stores.Store, to []backends.Recipient) []Outcome {
	open, others := m.parted(store, to)
	switch {
	case len(open) == 0:
		return m.deliver(ctx, store, to)
	case len(others) == 0:
		return m.deliverOpened(ctx, store, to)
	}
	outcomes := make([]Outcome, len(to))
	for i, r := range to {
		outcomes[i].Recipient = r
	}
	return replaced(replaced(outcomes, m.deliverOpened(ctx, store, open)), m.deliver(ctx, store, others))
}

// deliver delivers the message as it is.
func (m Message) deliver(ctx context.Context, store *stores.Store, to []backends.Recipient) (outcomes []Outcome) {
	if limit := SizeLimit(store); limit >= 0 && m.Delivery.Size-TraceMost > limit {
		for _, r := range to {
			outcomes = append(outcomes, Outcome{Recipient: r, Err: ErrTooLarge})
		}
		return outcomes
	}
	for batch := range slices.Chunk(to, recipientsMost(store, to)) {
		outcomes = append(outcomes, m.together(ctx, store, batch, false)...)
	}
	return outcomes
}

// recipientsMost is how many recipients the store takes at a time.
func recipientsMost(store *stores.Store, to []backends.Recipient) int {
	if most := store.Description.Limits.Recipients; most > 0 {
		return most
	}
	return max(len(to), 1)
}

// together delivers to recipients at once, and to fewer at a time if the store says that
// they are too many (RFC 5321 §4.5.3.1.10): to those that it has left out, or, if it refuses all, to
// one half and then the other. If the store refuses even the first of them alone, their number is not
// the reason, and no others are tried. alone says that one was accepted alone.
func (m Message) together(ctx context.Context, store *stores.Store, to []backends.Recipient, alone bool) []Outcome {
	outcomes := m.batch(ctx, store, to)
	var over []backends.Recipient
	for _, o := range outcomes {
		if o.tooMany() {
			over = append(over, o.Recipient)
		}
	}
	if len(over) == 0 || len(to) == 1 || ctx.Err() != nil {
		return outcomes
	}
	if len(over) < len(to) {
		return replaced(outcomes, m.together(ctx, store, over, true))
	}
	if !alone {
		first := m.batch(ctx, store, to[:1])
		if outcomes = replaced(outcomes, first); first[0].tooMany() {
			return outcomes
		}
		over = to[1:]
	}
	for half := range slices.Chunk(over, (len(over)+1)/2) {
		outcomes = replaced(outcomes, m.together(ctx, store, half, true))
	}
	return outcomes
}

// replaced puts later outcomes in the place of earlier ones.
func replaced(outcomes, later []Outcome) []Outcome {
	at := make(map[string]Outcome, len(later))
	for _, o := range later {
		at[o.Recipient.Address] = o
	}
	for i := range outcomes {
		if o, ok := at[outcomes[i].Recipient.Address]; ok {
			outcomes[i] = o
		}
	}
	return outcomes
}

// batch delivers to recipients at once.
func (m Message) batch(ctx context.Context, store *stores.Store, to []backends.Recipient) []Outcome {
	content := &handed{r: m.Content(), left: m.Delivery.Size}
	verdicts, err := m.safely(func() ([]backends.Verdict, error) { return m.call(ctx, store, to, content) })
	if err == nil {
		err = Judged(backends.Uncertain, to, verdicts)
	}
	outcomes := make([]Outcome, len(to))
	for i, r := range to {
		outcomes[i] = Outcome{Recipient: r, Store: store.Name, Err: err}
		if err == nil {
			outcomes[i].Verdict = verdicts[i]
		}
		switch {
		case err != nil:
		case verdicts[i].Failure != nil:
			outcomes[i].Err = verdicts[i].Failure
		case !content.whole.Load() && !m.Delivery.Retry:
			// Again, it may know the key and need no content. The first time it cannot.
			outcomes[i].Err = backends.Fail(backends.Temporary, "the store confirms a message that it has not read to its end")
		}
		outcomes[i].Unknown = outcomes[i].Temporary() && content.whole.Load() && !backends.AsFailure(outcomes[i].Err).Whole
	}
	return outcomes
}

// safely turns a panic in a store's code into a failure of that store: nobody else recovers it in the goroutines
// in which deliveries run.
func (m Message) safely(call func() ([]backends.Verdict, error)) (verdicts []backends.Verdict, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			m.Log.Error().Interface("panic", cause).Bytes("stack", debug.Stack()).Msg("a store's code panicked")
			verdicts, err = nil, backends.Fail(backends.Uncertain, "panic: %v", cause)
		}
	}()
	return call()
}

func (m Message) call(ctx context.Context, store *stores.Store, to []backends.Recipient, content io.Reader) ([]backends.Verdict, error) {
	delivery := m.Delivery
	delivery.Recipients = to
	if m.Call != nil {
		return m.Call(ctx, store, delivery, content)
	}
	return store.Receiver.Deliver(ctx, delivery, content)
}

// handed notes whether a store has read a message to its end. If not, it cannot have delivered it.
type handed struct {
	r     io.Reader
	left  int64
	whole atomic.Bool // a store that has timed out may still be reading
}

func (h *handed) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.left -= int64(n)
	if errors.Is(err, io.EOF) || h.left <= 0 {
		h.whole.Store(true)
	}
	return n, err
}
