package maildrop

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// enabled counts the session in, where the mailbox's policy lets it be read at all.
func (d *drop) enabled() error {
	account := d.inner.Account()
	d.policy = d.o.Policies.Of(d.store.Name, account)
	if !d.policy.POP3 {
		return backends.Fail(backends.Permanent, "the policy of %s has POP3 off", account.ID).Say("this mailbox cannot be read with POP3")
	}
	leave, err := d.o.Sessions.Enter(d.store.Name, account.ID, d.policy.Sessions)
	if err != nil {
		return err
	}
	d.leave = leave
	return nil
}

// dated is a maildrop whose list is watched for messages that came too long ago to be shown.
type dated struct {
	backends.Maildrop
	since time.Time
	old   map[backends.MessageID]struct{}
}

// List implements [backends.Maildrop]. All of the list passes: what is remembered of a message is
// remembered of one that is not shown, too.
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

// listed is the maildrop to take the list from, and what tells whether a message of it is to be
// shown. One whose age the store does not know is.
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

// arrange leaves out what the policy does not show, and puts the rest in its order.
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

// reverse puts the newest message first. What has been read in which order is not known any more.
func (s *snapshot) reverse() {
	slices.Reverse(s.entries)
	slices.Reverse(s.sizes)
	s.seen = 0
}
