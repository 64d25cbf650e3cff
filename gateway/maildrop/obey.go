package maildrop

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// enabled refuses a mailbox whose policy does not allow POP3, and otherwise counts the session, which
// has this policy to its end.
func (d *drop) enabled() error {
	account := d.inner.Opened().Account
	d.policy = d.o.Policies.Of(d.store.Name, account)
	if !d.policy.POP3 {
		return backends.Fail(backends.Permanent, "the policy of %s has POP3 off", account.ID).Say("this mailbox cannot be read with POP3")
	}
	d.rendering = d.store.Description.Reading.Rendering(d.policy.Rendering)
	d.opens = d.policy.OpensWinmail && d.o.Winmail != nil
	leave, err := d.o.Sessions.Enter(d.store.Name, account.ID, d.policy.Sessions)
	if err != nil {
		return err
	}
	d.leave = leave
	return nil
}

// dated is a maildrop that notes, while it is listed, which messages are too old to be shown.
type dated struct {
	backends.Maildrop
	since time.Time
	old   map[backends.MessageID]struct{}
}

// List implements [backends.Maildrop]. The whole list passes, so that what is remembered of a message
// is kept even while it is not shown.
func (d *dated) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		for e, err := range d.Maildrop.List(ctx) {
			if err == nil && !e.Received.IsZero() && e.Received.Before(d.since) {
				d.old[e.ID] = struct{}{}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// listed returns the maildrop to list, and a function that says whether a message is young enough to be
// shown. A message whose age the store does not know is shown.
func (d *drop) listed() (from backends.Maildrop, young func(i int) bool) {
	if d.policy.Age == 0 {
		return d.inner, nil
	}
	w := &dated{Maildrop: d.inner, since: time.Now().Add(-d.policy.Age), old: make(map[backends.MessageID]struct{})}
	return w, func(i int) bool {
		_, old := w.old[d.list.id(i)]
		return !old
	}
}

// arrange leaves out the messages that the policy does not show, and orders the others. The numbers of
// RFC 1939 §4 are given after that.
func (d *drop) arrange(young func(i int) bool) {
	if young != nil {
		d.list.filter(young)
	}
	if hidden := len(d.list.entries) - d.policy.Messages; d.policy.Messages > 0 && hidden > 0 {
		d.list.filter(func(i int) bool { return i >= hidden }) // the list is oldest first
	}
	if d.policy.Newest {
		d.list.reverse()
	}
}

// reverse puts the newest message first. The highest message that was read (LAST, RFC 1460 §6) is not
// known then.
func (s *snapshot) reverse() {
	slices.Reverse(s.entries)
	slices.Reverse(s.sizes)
	s.seen = 0
}
