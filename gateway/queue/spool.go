package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/spool"
)

// Spool is the queue of a spool. It implements [Queue].
type Spool struct {
	Spool *spool.Spool
	Ways  route.Ways // for Reroute
	Log   zerolog.Logger
	// Waits says why mail for a destination waits that is due, and until when [nothing is known].
	Waits func(ctx context.Context, destination string) Waits
	// Again is told that mail is to be tried now, before it is: what has failed for all of it may have been put right
	// [nobody is].
	Again func()
}

// Waits is why mail for a destination waits, and until when, whether it is due before or not. The zero value: for nothing but its time.
type Waits struct {
	Why   string
	Until time.Time // zero: that is not known
	// Unasked says that it waits until somebody asks for it, which nobody knows the time of.
	Unasked bool
}

// due is when mail is tried that is due at a time; zero: it is not, or nobody knows.
func (w Waits) due(at time.Time) time.Time {
	if w.Unasked {
		return time.Time{}
	}
	if at.IsZero() || w.Until.Before(at) {
		return at
	}
	return w.Until
}

// states are the names of states, as people write them.
var states = []spool.State{spool.Waiting, spool.InFlight, spool.Delivered, spool.Failed, spool.Uncertain, spool.Held}

func stateName(s spool.State) string { return strings.ReplaceAll(s.String(), " ", "-") }

// States are the names of all states.
func States() []string {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = stateName(s)
	}
	return names
}

// filterOf is the spool's form of a filter.
func filterOf(f Filter) (spool.Filter, error) {
	found := spool.Filter{Key: f.Key, Destination: f.Destination, Address: f.Recipient, Sender: f.Sender}
	if f.ID != "" {
		id, err := idOf(f.ID)
		if err != nil {
			return found, err
		}
		found.ID = id
	}
	for _, name := range f.States {
		i := slices.Index(States(), name)
		if i < 0 {
			return found, &ArgumentError{fmt.Sprintf("there is no state %q: it is one of %s", name, strings.Join(States(), ", "))}
		}
		found.States = append(found.States, states[i])
	}
	return found, nil
}

// idOf reads a message's number.
func idOf(text string) (spool.ID, error) {
	n, err := strconv.ParseInt(text, 16, 64)
	if err != nil || n <= 0 {
		return 0, &ArgumentError{fmt.Sprintf("%q is not the id of a message", text)}
	}
	return spool.ID(n), nil
}

// List implements [Queue].
func (q *Spool) List(ctx context.Context, f Filter, after string, most int) (page Page, err error) {
	filter, err := filterOf(f)
	if err != nil {
		return page, err
	}
	var behind spool.ID
	if after != "" {
		if behind, err = idOf(after); err != nil {
			return page, err
		}
	}
	most = min(max(most, 1), PageMost)
	found, err := q.Spool.List(ctx, filter, behind, most)
	page.Messages = make([]Message, len(found))
	waits := q.waiting(ctx)
	for i, m := range found {
		page.Messages[i] = messageOf(m, waits)
	}
	if len(found) == most {
		page.Next = found[most-1].ID.String()
	}
	return page, err
}

// Show implements [Queue].
func (q *Spool) Show(ctx context.Context, name string) (Message, error) {
	if name == "" {
		return Message{}, ErrNotFound // a filter without a key means all
	}
	if id, err := idOf(name); err == nil {
		m, err := q.Spool.Show(ctx, id)
		if err == nil {
			return messageOf(m, q.waiting(ctx)), nil
		}
		if !errors.Is(err, spool.ErrNotFound) {
			return Message{}, err
		}
	}
	found, err := q.Spool.List(ctx, spool.Filter{Key: name}, 0, 1)
	switch {
	case err != nil:
		return Message{}, err
	case len(found) == 0:
		return Message{}, ErrNotFound
	}
	return messageOf(found[0], q.waiting(ctx)), nil
}

// Open implements [Queue].
func (q *Spool) Open(ctx context.Context, id string) (io.ReadCloser, error) {
	n, err := idOf(id)
	if err != nil {
		return nil, err
	}
	m, err := q.Spool.Show(ctx, n)
	switch {
	case errors.Is(err, spool.ErrNotFound):
		return nil, ErrNotFound
	case err != nil:
		return nil, err
	}
	return m.Open(ctx)
}

// Change implements [Queue].
func (q *Spool) Change(ctx context.Context, c Change) (step Step, err error) {
	filter, err := filterOf(c.Filter)
	if err != nil {
		return step, err
	}
	from, err := placeOf(c.From)
	if err != nil {
		return step, err
	}
	done, err := q.change(ctx, c, filter, from)
	if err != nil {
		return step, err
	}
	step = Step{Changed: touched(done.Changed), InFlight: touched(done.InFlight), Looked: done.Looked}
	if done.Next != (spool.Place{}) {
		step.Next = done.Next.Message.String() + "." + strconv.Itoa(done.Next.Number)
	}
	for _, t := range done.Changed {
		q.Log.Info().Str(events.Event, events.QueueChange).Str("action", c.Action).Str("key", t.Key).Str("from", t.Sender).
			Str("recipient", t.Address).Str("destination", t.Destination).Msg("an administrator has changed mail in transit")
	}
	if len(done.Changed) > 0 {
		q.Log.Info().Str("action", c.Action).Any("filter", c.Filter).Str("to", c.To).Int("recipients", len(done.Changed)).
			Msg("a step of an administrator's change")
	}
	return step, nil
}

func (q *Spool) change(ctx context.Context, c Change, f spool.Filter, from spool.Place) (spool.Handled, error) {
	if c.To != "" && c.Action != Reroute {
		return spool.Handled{}, &ArgumentError{"a destination is for reroute"}
	}
	switch c.Action {
	case Retry:
		if q.Again != nil {
			q.Again()
		}
		return q.Spool.Retry(ctx, f, from)
	case Hold:
		return q.Spool.Hold(ctx, f, from)
	case Release:
		return q.Spool.Release(ctx, f, from)
	case Delete:
		return q.Spool.Delete(ctx, f, from)
	case Reroute:
		to, err := q.ways(c.To)
		if err != nil {
			return spool.Handled{}, err
		}
		return q.Spool.Reroute(ctx, f, from, to)
	}
	return spool.Handled{}, &ArgumentError{fmt.Sprintf("there is no action %q", c.Action)}
}

// ways decides where recipients go: to a destination, or, without one, as the routes are now.
func (q *Spool) ways(to string) (func(sender, recipient string) (spool.Way, bool), error) {
	if to == "" {
		return q.now, nil
	}
	by, err := q.Ways.Leads(to)
	if err == nil && by != nil && by.Kind == route.Reject {
		err = fmt.Errorf("the route %s refuses mail", by.Name)
	}
	if err != nil {
		return nil, &ArgumentError{err.Error()}
	}
	way := spool.Way{Destination: to, Held: by != nil && by.Kind == route.Hold}
	return func(string, string) (spool.Way, bool) { return way, true }, nil
}

// now is where a recipient goes as the routes are now. Not ok: nowhere.
func (q *Spool) now(sender, recipient string) (way spool.Way, ok bool) {
	box, err := address.Parse(recipient)
	if err != nil {
		return way, false
	}
	destination, by, ok := q.Ways.To(sender, box)
	if !ok || by != nil && by.Kind == route.Reject {
		return way, false
	}
	return spool.Way{Destination: destination, Held: by != nil && by.Kind == route.Hold}, true
}

// placeOf reads Step.Next.
func placeOf(text string) (place spool.Place, err error) {
	if text == "" {
		return place, nil
	}
	id, number, _ := strings.Cut(text, ".")
	if place.Message, err = idOf(id); err == nil {
		place.Number, err = strconv.Atoi(number)
	}
	if err != nil {
		return spool.Place{}, &ArgumentError{fmt.Sprintf("%q is no place to go on from", text)}
	}
	return place, nil
}

// Stats implements [Queue].
func (q *Spool) Stats(ctx context.Context, most int) ([]Statistic, error) {
	found, err := q.Spool.Stats(ctx, min(max(most, 1), StatsMost))
	stats, waits := make([]Statistic, len(found)), q.waiting(ctx)
	for i, s := range found {
		w := waits.of(s.Destination, s.State)
		stats[i] = Statistic{
			Destination: s.Destination, State: stateName(s.State), Recipients: s.Recipients, Oldest: s.Oldest, Due: w.due(s.Due), Why: w.Why,
		}
	}
	return stats, err
}

// waiting gives what mail waits for, asked once for each destination.
type waiting struct {
	ask   func(destination string) Waits
	known map[string]Waits
}

func (q *Spool) waiting(ctx context.Context) waiting {
	w := waiting{known: make(map[string]Waits)}
	if q.Waits != nil {
		w.ask = func(destination string) Waits { return q.Waits(ctx, destination) }
	}
	return w
}

// of is what mail of a state waits for.
func (w waiting) of(destination string, state spool.State) Waits {
	if w.ask == nil || state != spool.Waiting && state != spool.Uncertain {
		return Waits{}
	}
	what, known := w.known[destination]
	if !known {
		what = w.ask(destination)
		w.known[destination] = what
	}
	return what
}

func touched(all []spool.Touched) []Touched {
	told := make([]Touched, len(all))
	for i, t := range all {
		told[i] = Touched{ID: t.Message.String(), Sender: t.Sender, Recipient: t.Address, Destination: t.Destination}
	}
	return told
}

func messageOf(m *spool.Stored, waits waiting) Message {
	told := Message{
		ID: m.ID.String(), Key: m.Key, Sender: m.Envelope.From, Received: m.Received, Expires: m.Expires, Size: m.Size,
		Priority: m.Envelope.Priority, EnvelopeID: m.Envelope.ID, Client: m.Peer.Address, Session: m.Peer.Session,
		Account: cmp.Or(m.Envelope.Submitter.Address, m.Envelope.Submitter.Account), Damage: m.Odd,
		Recipients: make([]Recipient, len(m.Recipients)),
	}
	for i, r := range m.Recipients {
		w := waits.of(r.Destination, r.State)
		told.Recipients[i] = Recipient{
			Address: r.Address, Destination: r.Destination, State: stateName(r.State), Attempts: r.Attempts, Due: w.due(r.Due), Why: w.Why,
		}
		if last := r.Last; !last.At.IsZero() || last.Diagnostic != "" {
			told.Recipients[i].Last = &Outcome{At: last.At, Code: last.Code, Server: last.Server, Diagnostic: last.Diagnostic}
		}
	}
	return told
}
