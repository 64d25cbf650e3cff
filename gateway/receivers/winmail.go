package receivers

import (
	"context"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Opening opens TNEF in messages before stores get them.
type Opening struct {
	Winmail *content.Winmail
	// For says whether an address of a store gets messages so.
	For func(store, address string) bool
}

// parted are those who get the message with its TNEF opened, and the others.
func (m Message) parted(store *stores.Store, to []backends.Recipient) (open, others []backends.Recipient) {
	for _, r := range to {
		if m.Opening != nil && m.Opening.For(store.Name, r.Address) {
			open = append(open, r)
		} else {
			others = append(others, r)
		}
	}
	return open, others
}

// open opens the TNEF in the message. done is for when it is delivered. What cannot be opened, and what would be too large
// for the store then, stays as it came.
func (m Message) open(ctx context.Context, store *stores.Store) (opened Message, done func(), err error) {
	o, err := m.Opening.Winmail.OpenFrom(ctx, m.Content())
	if err != nil {
		return m, nil, backends.Fail(backends.Temporary, "opening winmail.dat: %w", err)
	}
	if o.Kept != nil {
		m.Log.Info().Str("key", m.Delivery.Key).AnErr("cause", o.Kept).Msg("a winmail.dat is delivered as it came: it cannot be opened whole")
	}
	if o.Message == nil {
		return m, func() {}, nil
	}
	done = func() { _ = o.Message.Discard() } // it was read
	if limit := SizeLimit(store); limit >= 0 && o.Message.Size()-TraceMost > limit {
		return m, done, nil
	}
	m.Content = func() io.Reader { return o.Message.Reader() }
	m.Delivery.Size = o.Message.Size()
	return m, done, nil
}

// deliverOpened delivers to those who get the message with its TNEF opened.
func (m Message) deliverOpened(ctx context.Context, store *stores.Store, to []backends.Recipient) (outcomes []Outcome) {
	opened, done, err := m.open(ctx, store)
	if err != nil {
		for _, r := range to {
			outcomes = append(outcomes, Outcome{Recipient: r, Store: store.Name, Err: err})
		}
		return outcomes
	}
	defer done()
	return opened.deliver(ctx, store, to)
}
