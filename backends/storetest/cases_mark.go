package storetest

import (
	"slices"

	"github.com/dipylon/dipylon/backends"
)

var markCases = []testcase{
	{"exactly-these", []need{reader, feed}, func(t *trial) {
		m := t.mails(4)
		d, entries := t.filled(t.first(), m...)
		d.markSeen(entries[1].ID, entries[3].ID)
		d.close()
		d = t.open(t.first())
		marked := d.list()
		if !slices.Equal(idsOf(marked), idsOf(entries)) {
			t.Fatalf("the ids were %q, and are %q after some were marked", idsOf(entries), idsOf(marked))
		}
		for i, e := range marked {
			if want := i == 1 || i == 3; e.Seen != want {
				t.Errorf("message %d: Seen is %t, and should be %t", i+1, e.Seen, want)
			}
			t.same(m[i], d.fetch(e.ID))
		}
		d.remove(entries[1].ID)
		d.close()
		t.expect(t.first(), m[0], m[2], m[3])
	}},
	{"described", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mails(1)...)
		defer d.close()
		marker, ok := d.Maildrop.(backends.Marker)
		if !ok { // over the wire each maildrop is one, and says that it cannot
			t.notOffered("the store does not mark messages as read")
		}
		err := marker.MarkSeen(t.ctx, idsOf(entries))
		if can := backends.KindOf(err) != backends.Unsupported; can != t.description.Reading.MarksSeen {
			t.Errorf("the description says %t of marks, and marking ends with: %v", t.description.Reading.MarksSeen, err)
		}
	}},
	{"gone-or-marked", []need{reader, feed}, func(t *trial) {
		m := t.mails(3)
		d, entries := t.filled(t.first(), m...)
		d.markSeen(entries[0].ID)
		d.remove(entries[1].ID)
		d.markSeen(entries[0].ID, entries[1].ID, "made-up", entries[2].ID)
		d.close()
		for i, e := range t.open(t.first()).list() {
			if !e.Seen {
				t.Errorf("message %d is not marked: one that is gone is in its way", i+1)
			}
		}
		t.expect(t.first(), m[0], m[2])
	}},
}

// markSeen marks messages as read, where the store can.
func (d drop) markSeen(ids ...backends.MessageID) {
	marker, ok := d.Maildrop.(backends.Marker)
	if !ok {
		d.t.notOffered("the store does not mark messages as read")
	}
	err := marker.MarkSeen(d.t.ctx, ids)
	if backends.KindOf(err) == backends.Unsupported {
		d.t.notOffered("the store does not mark messages as read: %v", err)
	}
	if err != nil {
		d.t.Fatalf("marking messages as read: %w", err)
	}
}
