package routing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
)

// recipient is a recipient of a transaction and the store that takes its copy.
type recipient struct {
	address string
	store   *stores.Store
}

// delivery is a message that is ready for the stores.
type delivery struct {
	log      zerolog.Logger
	attempt  *Attempt
	envelope backends.Delivery // without what differs from store to store
	// content opens the message from its beginning. It can be called again while it is being read.
	content func() io.Reader
	to      []recipient
	// from is the store whose account sends the message; nil: it is not authenticated.
	from *stores.Store
	// sending is set when from sends for itself: then it is a sender and takes every recipient.
	sending *sending
}

// outcome is the result for one recipient.
type outcome struct {
	address string
	store   string
	// err is nil when the recipient has a copy.
	err error
	// unknown says that the store had got the whole message, so that it may have delivered it, whatever
	// it answered.
	unknown bool
	// verdict is the store's; zero if it has given none.
	verdict backends.Verdict
}

func (o outcome) temporary() bool { return o.err != nil && replyOf(o.err).Code/100 == 4 }

// tooMany says whether the recipient was refused because too many were named together: X.5.3
// (RFC 3463 §3.6).
func (o outcome) tooMany() bool {
	return o.err != nil && strings.HasSuffix(replyOf(o.err).Enhanced, ".5.3")
}

func replyOf(err error) *smtp.Error {
	reply, _ := errors.AsType[*smtp.Error](replies.SMTP(err))
	return reply
}

// deliver hands the message to all stores that have recipients without a copy, at the same time, and
// returns the reply to the client: nil for 250 (RFC 5321 §6.1).
func (d *delivery) deliver(ctx context.Context) error {
	groups := d.groups()
	results := make([][]outcome, len(groups))
	var wg sync.WaitGroup
	for i, g := range groups {
		wg.Go(func() { results[i] = d.deliverTo(ctx, g) }) // ends when ctx does, by the contract
	}
	wg.Wait()
	outcomes := slices.Concat(results...)
	d.tell(outcomes)
	err := d.answer(outcomes)
	d.remember(outcomes, err)
	return err
}

// tell logs a line for each recipient, so that administrators can answer who received which message.
func (d *delivery) tell(outcomes []outcome) {
	start := make([]byte, content.MessageIDWithin)
	n, _ := io.ReadFull(d.content(), start) // an error here comes again in the delivery
	id := content.MessageID(start[:n])
	for _, o := range outcomes {
		event, reply := d.log.Info(), &smtp.Error{Code: 250, Enhanced: "2.0.0"}
		if o.err != nil {
			event, reply = d.log.Warn(), replyOf(o.err)
		}
		event.Str(events.Event, events.Delivery).Str("from", d.envelope.From).Str("recipient", o.address).
			Str(events.Store, o.store).Str(events.Outcome, o.word()).Int("code", reply.Code).Str("enhanced", reply.Enhanced).
			Str(events.MessageID, id).Int64(events.Octets, d.envelope.Size).Bool("again", d.attempt.Again).
			AnErr("cause", o.err)
		told(event, o.verdict).Msg("delivery")
	}
}

// storedAsMost bounds the id of a stored copy in the log.
const storedAsMost = 256

// told adds what the store has told of the delivery, in the terms of RFC 3464 §2.3. It is a plugin's word,
// or another server's: one short line of each.
func told(event *zerolog.Event, v backends.Verdict) *zerolog.Event {
	for _, field := range []struct{ name, value string }{
		{"action", v.Action.String()},
		{"destination", backends.SafeText(v.Destination)},
		{"diagnostic", backends.SafeText(v.RemoteDiagnostic)},
		{"stored_as", string(v.StoredAs[:min(len(v.StoredAs), storedAsMost)])},
	} {
		if field.value != "" {
			event = event.Str(field.name, field.value)
		}
	}
	return event
}

// word is the outcome's name in the log.
func (o outcome) word() string {
	switch {
	case o.err == nil:
		return "delivered"
	case o.unknown:
		return "uncertain"
	case o.temporary():
		return "deferred"
	}
	return "refused"
}

// group is a store and its recipients.
type group struct {
	store *stores.Store
	to    []string
}

// groups leaves out the recipients that an earlier attempt has delivered to.
func (d *delivery) groups() (groups []group) {
	delivered, at := set(d.attempt.Delivered), make(map[string]int) // by name: one may be known better meanwhile
	for _, r := range d.to {
		if delivered[r.address] {
			continue
		}
		store := r.store
		if d.sending != nil {
			store = d.from
		}
		i, there := at[store.Name]
		if !there {
			i, groups = len(groups), append(groups, group{store: store})
			at[store.Name] = i
		}
		groups[i].to = append(groups[i].to, r.address)
	}
	return groups
}

// deliverTo delivers to one store, with at most as many recipients at a time as it takes.
func (d *delivery) deliverTo(ctx context.Context, g group) (outcomes []outcome) {
	if limit := sizeLimit(g.store); limit >= 0 && d.envelope.Size-traceMost > limit {
		for _, address := range g.to {
			outcomes = append(outcomes, outcome{address: address, err: errTooLarge})
		}
		return outcomes
	}
	for batch := range slices.Chunk(g.to, recipientsMost(g)) {
		outcomes = append(outcomes, d.deliverTogether(ctx, g.store, batch, false)...)
	}
	return outcomes
}

// deliverTogether delivers to recipients at once, and to fewer at a time if the store says that
// they are too many (RFC 5321 §4.5.3.1.10): to those that it has left out, or, if it refuses all, to
// one half and then the other. If the store refuses even the first of them alone, their number is not
// the reason, and no others are tried. alone says that one was accepted alone.
func (d *delivery) deliverTogether(ctx context.Context, store *stores.Store, to []string, alone bool) []outcome {
	outcomes := d.deliverBatch(ctx, store, to)
	var over []string
	for _, o := range outcomes {
		if o.tooMany() {
			over = append(over, o.address)
		}
	}
	if len(over) == 0 || len(to) == 1 || ctx.Err() != nil {
		return outcomes
	}
	if len(over) < len(to) {
		return replaced(outcomes, d.deliverTogether(ctx, store, over, true))
	}
	if !alone {
		first := d.deliverBatch(ctx, store, to[:1])
		if outcomes = replaced(outcomes, first); first[0].tooMany() {
			return outcomes
		}
		over = to[1:]
	}
	for half := range slices.Chunk(over, (len(over)+1)/2) {
		outcomes = replaced(outcomes, d.deliverTogether(ctx, store, half, true))
	}
	return outcomes
}

// replaced puts later outcomes in the place of earlier ones.
func replaced(outcomes, later []outcome) []outcome {
	at := make(map[string]outcome, len(later))
	for _, o := range later {
		at[o.address] = o
	}
	for i := range outcomes {
		if o, ok := at[outcomes[i].address]; ok {
			outcomes[i] = o
		}
	}
	return outcomes
}

// recipientsMost is how many recipients the store takes at a time.
func recipientsMost(g group) int {
	if most := g.store.Description.Limits.Recipients; most > 0 {
		return most
	}
	return len(g.to)
}

func (d *delivery) deliverBatch(ctx context.Context, store *stores.Store, to []string) []outcome {
	content := &handed{r: d.content(), left: d.envelope.Size}
	verdicts, err := d.safely(func() ([]backends.Verdict, error) { return d.call(ctx, store, to, content) })
	if err == nil {
		err = judged(backends.Uncertain, backends.To(to...), verdicts)
	}
	outcomes := make([]outcome, len(to))
	for i, address := range to {
		outcomes[i] = outcome{address: address, store: store.Name, err: err}
		if err == nil {
			outcomes[i].verdict = verdicts[i]
		}
		switch {
		case err != nil:
		case verdicts[i].Failure != nil:
			outcomes[i].err = verdicts[i].Failure
		case !content.whole.Load() && !d.attempt.Again:
			// Again, it may know the key and need no content. The first time it cannot.
			outcomes[i].err = backends.Fail(backends.Temporary, "the store confirms a message that it has not read to its end")
		}
		outcomes[i].unknown = outcomes[i].temporary() && content.whole.Load()
	}
	return outcomes
}

// safely turns a panic in a store's code into a failure of that store. The engine recovers panics only
// in its own goroutines, and deliveries run in others.
func (d *delivery) safely(call func() ([]backends.Verdict, error)) (verdicts []backends.Verdict, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			d.log.Error().Interface("panic", cause).Bytes("stack", debug.Stack()).Msg("a store's code panicked")
			verdicts, err = nil, backends.Fail(backends.Uncertain, "panic: %v", cause)
		}
	}()
	return call()
}

func (d *delivery) call(ctx context.Context, store *stores.Store, to []string, content io.Reader) ([]backends.Verdict, error) {
	envelope := d.envelope
	envelope.Key, envelope.Retry = d.attempt.Key, d.attempt.Again
	envelope.Recipients = backends.To(to...)
	if d.sending != nil {
		verdicts, err := d.sending.send(ctx, store, envelope, content)
		return verdicts, d.refusedLogin(err)
	}
	return store.Receiver.Deliver(ctx, envelope, content)
}

// refusedLogin makes the failure permanent when the store's transport refuses the client's own password
// although the login succeeded (5.7.8, RFC 4954 §6): otherwise the client would try the same password
// again for days. A token may have expired meanwhile, so that its failure stays temporary, and a login
// of the gateway's own has to be corrected by the administrator.
func (d *delivery) refusedLogin(err error) error {
	if backends.KindOf(err) != backends.BadCredentials || d.sending.credential.Kind != backends.CredentialPassword {
		return err
	}
	return backends.Fail(backends.Permanent, "the transport of the store refuses the password of the login: %w", err).
		WithCode("5.7.8").Say("the mail server ahead refuses this password for sending")
}

// judged refuses a store's verdicts if they are not what [backends.CheckVerdicts] wants (I10): a
// "delivered" could belong to another recipient. kind is what is known then.
func judged(kind backends.Kind, asked []backends.Recipient, verdicts []backends.Verdict) error {
	if err := backends.CheckVerdicts(asked, verdicts); err != nil {
		return backends.Fail(kind, "the store's answer: %w", err)
	}
	return nil
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

// answer is the reply to the client for all recipients together (RFC 5321 §4.1.1.4).
//
//   - All have a copy: 250.
//   - Some may get one later: 4xx (RFC 5321 §4.2.1). The client sends the message again to all of them,
//     and the deduplication prevents second copies.
//   - Some were refused for good, and no others have to wait: 5xx, even if others have their copy. The
//     client tells the author that the message failed, and the text names the recipients that were
//     refused. With 250 their copies would be lost without notice, since this gateway sends no delivery
//     status notifications (RFC 3464); with 4xx the client would try for days without success. It does
//     less harm that some recipients have a message that its author believes lost.
func (d *delivery) answer(outcomes []outcome) error {
	var refused []outcome
	for _, o := range outcomes {
		if o.temporary() {
			return replies.SMTP(o.err)
		}
		if o.err != nil {
			refused = append(refused, o)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	reply := *replyOf(refused[0].err)
	if len(refused) < len(d.to) {
		reply.Code, reply.Text = 554, "delivered to others, but refused for "+names(refused)+": "+reply.Text
	}
	return &reply
}

// names lists some of the recipients, within the bound of a reply line (RFC 5321 §4.5.3.1.5).
func names(outcomes []outcome) string {
	const most = 3
	var list []string
	for _, o := range outcomes[:min(len(outcomes), most)] {
		list = append(list, o.address)
	}
	if more := len(outcomes) - most; more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return backends.SafeText(strings.Join(list, ", "))
}

// remember notes in the attempt what is needed when the client tries again.
func (d *delivery) remember(outcomes []outcome, answer error) {
	if answer == nil || replyOf(answer).Code/100 != 4 {
		var all []string
		for _, r := range d.to {
			all = append(all, r.address)
		}
		d.attempt.settle(all)
		return
	}
	var delivered, unknown []string
	for _, o := range outcomes {
		switch {
		case o.err == nil:
			delivered = append(delivered, o.address)
		case o.unknown:
			unknown = append(unknown, o.address)
		}
	}
	d.attempt.note(delivered, unknown)
}
