package storetest

import (
	"context"
	"slices"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

var removeCases = []testcase{
	{"exactly-these", []need{reader, feed}, func(t *trial) {
		m := t.mails(5)
		d, entries := t.filled(t.first(), m...)
		d.remove(entries[1].ID, entries[3].ID)
		d.close()
		t.expect(t.first(), m[0], m[2], m[4])
	}},
	{"results-in-order", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mails(3)...)
		ids := []backends.MessageID{entries[2].ID, entries[0].ID, entries[1].ID}
		var got []backends.MessageID
		for _, id := range t.removals(d, ids...) {
			got = append(got, id.ID)
		}
		if !slices.Equal(got, ids) {
			t.Errorf("the results are for %q, and should be for %q", got, ids)
		}
	}},
	{"seen-at-once", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mails(2)...)
		d.remove(entries[0].ID)
		other, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(t.first())})
		if backends.KindOf(err) == backends.InUse {
			t.notOffered("an inbox can be open once only")
		} else if err != nil {
			t.Fatalf("opening: %w", err)
		}
		if got := idsOf(t.adopt(other).list()); !slices.Equal(got, idsOf(entries[1:])) {
			t.Errorf("before Close, another session sees %q, and should see %q alone", got, entries[1].ID)
		}
	}},
	{"then-fetch", []need{reader, feed}, func(t *trial) {
		m := t.mails(2)
		d, entries := t.filled(t.first(), m...)
		d.remove(entries[0].ID)
		_, err := d.read(backends.FetchRequest{ID: entries[0].ID})
		t.wantKind("fetching a message that was removed", err, backends.NotFound)
		t.same(m[1], d.fetch(entries[1].ID))
	}},
	{"gone-already", []need{reader, feed}, func(t *trial) {
		m := t.mails(2)
		d, entries := t.filled(t.first(), m...)
		d.remove(entries[0].ID)
		d.remove(entries[0].ID)
		d.close()
		next := t.open(t.first())
		next.remove(entries[0].ID)
		next.close()
		t.expect(t.first(), m[1])
	}},
	{"twice-in-one-call", []need{reader, feed}, func(t *trial) {
		m := t.mails(2)
		d, entries := t.filled(t.first(), m...)
		for _, r := range t.removals(d, entries[0].ID, entries[0].ID) {
			if r.Failure != nil {
				t.Errorf("removing %q twice in one call: %w", r.ID, r.Failure)
			}
		}
		d.close()
		t.expect(t.first(), m[1])
	}},
	{"nothing", []need{reader, feed}, func(t *trial) {
		m := t.mails(2)
		d, _ := t.filled(t.first(), m...)
		t.removals(d)
		d.close()
		t.expect(t.first(), m...)
	}},
	{"made-up-ids", []need{reader, feed}, func(t *trial) {
		m := t.mails(3)
		d, entries := t.filled(t.first(), m...)
		own := entries[0].ID
		// What is said of an id that never was is the store's affair; the others are removed.
		results := t.removals(d, "storetest-no-such-message", entries[1].ID, "../"+own, own+"x", "\x00")
		if len(results) > 1 && results[1].Failure != nil {
			t.Errorf("a message beside ids that never were: %w", results[1].Failure)
		}
		d.close()
		t.expect(t.first(), m[0], m[2])
	}},
	{"another's-message", []need{reader, feed, secondAccount}, func(t *trial) {
		theirs := t.mails(2)
		second, entries := t.filled(t.second(), theirs...)
		second.close()
		t.empty(t.first())
		d := t.open(t.first())
		t.removals(d, idsOf(entries)...)
		d.close()
		t.expect(t.second(), theirs...)
	}},
	{"to-the-trash", []need{reader, feed}, func(t *trial) {
		m := t.mails(2)
		if t.disposed(m, backends.DisposalTrash) {
			t.expect(t.first(), m[1])
		} else {
			t.expect(t.first(), m...)
		}
	}},
	{"mark", []need{reader, feed}, func(t *trial) {
		m := t.mails(2)
		if t.disposed(m, backends.DisposalMark) {
			t.expect(t.first(), m[1])
		} else {
			t.expect(t.first(), m...)
		}
	}},
	{"disposals-described", []need{reader, feed}, claimsDisposals},
	{"asked-with-no-message", []need{reader, feed}, func(t *trial) {
		for _, disposal := range []backends.Disposal{backends.DisposalRemove, backends.DisposalTrash, backends.DisposalMark, 200} {
			m := t.mails(2)
			d, entries := t.filled(t.first(), m...)
			none, err := d.Remove(t.ctx, nil, disposal)
			if len(none) > 0 || err != nil && backends.KindOf(err) != backends.Unsupported {
				t.Errorf("with no message, the disposal %q ends with %d results, and %v", disposal, len(none), err)
			}
			if now := d.fetch(entries[0].ID); !m[0].is(now) {
				t.Errorf("a question about the disposal %q has changed a message", disposal)
			}
			d.close()
			if has := t.disposed(t.mails(1), disposal); has != (err == nil) {
				t.Errorf("with no message, the disposal %q ends with: %v; with one, it can be had: %t", disposal, err, has)
			}
		}
	}},
	{"unknown-disposal", []need{reader, feed}, func(t *trial) {
		m := t.mails(2)
		if t.disposed(m, backends.Disposal(200)) {
			t.Errorf("a disposal that does not exist succeeds")
		}
		t.expect(t.first(), m...)
	}},
	{"cancelled", []need{reader, feed}, func(t *trial) {
		m := t.mails(2)
		d, entries := t.filled(t.first(), m...)
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		t.promptly("Remove with a context that has ended", func() {
			_, _ = d.Remove(ctx, idsOf(entries[:1]), backends.DisposalRemove) // it may have happened, or not
		})
		t.same(m[1], d.fetch(entries[1].ID))
	}},
	{"by-two-at-once", []need{reader, feed}, func(t *trial) {
		m := t.mails(10)
		d, entries := t.filled(t.first(), m...)
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				for _, e := range entries[:9] {
					results, err := d.Remove(t.ctx, []backends.MessageID{e.ID}, backends.DisposalRemove)
					if err != nil || len(results) != 1 || results[0].Failure != nil {
						t.Errorf("removing what somebody else removes: %v, %v", results, err)
					}
				}
			})
		}
		both.Wait()
		d.close()
		t.expect(t.first(), m[9])
	}},
}

// claimsDisposals makes sure that the disposals of the description, and no others, can be had.
func claimsDisposals(t *trial) {
	for _, disposal := range []backends.Disposal{backends.DisposalTrash, backends.DisposalMark} {
		claimed := t.description.Reading.Disposes(disposal)
		if has := t.disposed(t.mails(1), disposal); has != claimed {
			t.Errorf("the description says %t of the disposal %q, and asked for, it is %t", claimed, disposal, has)
		}
	}
}

// removals removes, and gives the results.
func (t *trial) removals(d drop, ids ...backends.MessageID) []backends.Removal {
	results, err := d.Remove(t.ctx, ids, backends.DisposalRemove)
	if err != nil {
		t.Fatalf("removing: %w", err)
	}
	if len(results) != len(ids) {
		t.Errorf("%d ids were to be removed, and there are %d results", len(ids), len(results))
	}
	return results
}

// disposed puts messages into the inbox and disposes of the first; false: it is unsupported.
func (t *trial) disposed(m []mail, disposal backends.Disposal) bool {
	d, entries := t.filled(t.first(), m...)
	defer d.close()
	results, err := d.Remove(t.ctx, idsOf(entries[:1]), disposal)
	if err == nil && len(results) == 1 && results[0].Failure != nil {
		err = results[0].Failure
	}
	if err != nil {
		t.wantKind("a disposal that it does not have", err, backends.Unsupported)
	}
	return err == nil
}
