package storetest

import (
	"context"
	"time"

	"github.com/dipylon/dipylon/backends"
)

var sessionCases = []testcase{
	{"context-bounds-the-opening", []need{reader, feed}, func(t *trial) {
		m := t.mails(1)[0]
		before, entries := t.filled(t.first(), m)
		before.close()
		ctx, cancel := context.WithCancel(t.ctx)
		d, err := t.store.(backends.Reader).Open(ctx, backends.OpenRequest{Credential: t.credential(t.first())})
		if err != nil {
			cancel()
			t.Fatalf("opening: %w", err)
		}
		opened := t.adopt(d)
		cancel()
		t.same(m, opened.fetch(entries[0].ID))
	}},
	{"open-cancelled", []need{reader}, func(t *trial) {
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		t.promptly("Open with a context that has ended", func() {
			d, err := t.store.(backends.Reader).Open(ctx, backends.OpenRequest{Credential: t.credential(t.first())})
			if err == nil {
				_ = d.Close()
			} else if backends.KindOf(err) == backends.BadCredentials {
				t.Errorf("an opening that was cancelled is told as a wrong password: %w", err)
			}
		})
	}},
	{"close-removes-nothing", []need{reader, feed}, func(t *trial) {
		m := t.mails(3)
		d, entries := t.filled(t.first(), m...)
		for _, e := range entries {
			d.fetch(e.ID)
		}
		d.close()
		t.expect(t.first(), m...)
	}},
	// A plugin whose sessions can be parked has them parked meanwhile, see the package serve.
	{"rests", []need{reader, feed}, func(t *trial) {
		m := t.mails(2)
		d, entries := t.filled(t.first(), m...)
		t.rest()
		t.same(m[1], d.fetch(entries[1].ID))
		t.rest()
		d.remove(entries[0].ID)
		t.rest()
		d.close()
		t.expect(t.first(), m[1])
	}},
	{"new-mail", []need{reader, feed}, func(t *trial) {
		m := t.mails(3)
		d, entries := t.filled(t.first(), m[:2]...)
		t.put(t.first(), m[2])
		for i, e := range entries {
			t.same(m[i], d.fetch(e.ID))
		}
		d.remove(entries[0].ID)
		d.close()
		t.expect(t.first(), m[1:]...)
	}},
	{"removed-by-another", []need{reader, feed}, func(t *trial) {
		m := t.mails(3)
		d, entries := t.filled(t.first(), m...)
		t.expunge(t.first(), entries[1].ID)
		_, err := d.read(backends.FetchRequest{ID: entries[1].ID})
		t.wantKind("fetching a message that somebody else has removed", err, backends.NotFound)
		t.same(m[0], d.fetch(entries[0].ID))
		t.same(m[2], d.fetch(entries[2].ID))
		d.remove(entries[1].ID) // gone is gone
		d.remove(entries[0].ID)
		d.close()
		t.expect(t.first(), m[2])
	}},
	{"two-accounts-at-once", []need{reader, feed, secondAccount}, func(t *trial) {
		mine, theirs := t.large(200_000), t.large(300_000)
		a, own := t.filled(t.first(), mine)
		b, other := t.filled(t.second(), theirs)
		t.readTogether([]drop{a, b}, []backends.MessageID{own[0].ID, other[0].ID}, []mail{mine, theirs})
		a.remove(own[0].ID)
		a.close()
		t.same(theirs, b.fetch(other[0].ID))
		b.close()
		t.expect(t.second(), theirs)
	}},
	{"one-account-twice", []need{reader, feed}, func(t *trial) {
		m := t.mails(1)[0]
		a, entries := t.filled(t.first(), m)
		b, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(t.first())})
		if err != nil {
			t.wantKind("opening an inbox that is open", err, backends.InUse)
		} else {
			second := t.adopt(b)
			t.same(m, second.fetch(entries[0].ID))
			t.promptly("closing one of two sessions", func() { _ = second.Close() })
		}
		t.same(m, a.fetch(entries[0].ID))
		a.close()
		t.open(t.first()).close()
	}},
	{"use-after-close", []need{reader, feed}, func(t *trial) {
		m := t.mails(1)[0]
		d, entries := t.filled(t.first(), m)
		d.close()
		t.promptly("Fetch after Close", func() {
			if _, err := d.read(backends.FetchRequest{ID: entries[0].ID}); err == nil {
				t.Errorf("Fetch succeeds after Close")
			}
		})
		t.promptly("Remove after Close", func() {
			if _, err := d.Remove(t.ctx, idsOf(entries), backends.DisposalRemove); err == nil {
				t.Errorf("Remove succeeds after Close")
			}
		})
		t.expect(t.first(), m)
	}},
	{"list-after-close", []need{reader, feed}, func(t *trial) {
		t.empty(t.first())
		t.put(t.first(), t.mails(1)...)
		d := t.open(t.first())
		d.close()
		t.promptly("List after Close", func() {
			for _, err := range d.List(t.ctx) {
				if err != nil {
					return
				}
			}
			t.Errorf("List succeeds after Close")
		})
	}},
	{"content-after-close", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.large(min(t.largest(), 8<<20)))
		c := t.begin(d, entries[0].ID)
		t.promptly("closing a maildrop with an open content", func() { _ = d.Close() })
		t.mustBreakOff("a content of a maildrop that is closed", c)
	}},
}

// expunge removes a message behind the back of an open maildrop.
func (t *trial) expunge(box mailbox, id backends.MessageID) {
	if t.Expunge != nil {
		if err := t.Expunge(t.ctx, box.user, id); err != nil {
			t.Fatalf("removing a message as another program: %w", err)
		}
		return
	}
	other, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(box)})
	if backends.KindOf(err) == backends.InUse {
		t.Skipf("an inbox can be open once only, and the target has no Expunge")
	} else if err != nil {
		t.Fatalf("opening an inbox that is open: %w", err)
	}
	second := t.adopt(other)
	second.remove(id)
	second.close()
}

// restFor is how long a session rests that does so.
const restFor = 100 * time.Millisecond

func (t *trial) rest() {
	select {
	case <-time.After(restFor):
	case <-t.ctx.Done():
	}
}
