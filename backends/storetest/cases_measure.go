package storetest

import (
	"bytes"
	"context"
	"math"
	"slices"

	"github.com/dipylon/dipylon/backends"
)

var measureCases = []testcase{
	{"measure-described", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mails(1)...)
		_, err := d.measure(t.ctx, backends.MeasureRequest{IDs: idsOf(entries), Sizes: true})
		if can := backends.KindOf(err) != backends.Unsupported; can != t.description.Reading.Measures {
			t.Errorf("the description says %t of measuring, and it ends with: %v", t.description.Reading.Measures, err)
		}
	}},
	{"measure-in-order", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mail(".\r\n..\r\n\r\n"), t.mail(""), t.large(300_000), t.mails(1)[0])
		ids := idsOf(entries)
		slices.Reverse(ids) // the request's order, and not the list's
		for i, m := range d.measured(backends.MeasureRequest{IDs: ids, Sizes: true}) {
			if want := int64(len(d.fetch(ids[i]))); m.ID != ids[i] || m.Failure != nil || m.Size != want || m.Top != nil {
				t.Errorf("message %d of several: %d octets of %q (%v), a top of %d; Fetch gives %d octets of %q, and no top was asked for", i+1, m.Size, m.ID, m.Failure, len(m.Top), want, ids[i])
			}
		}
	}},
	{"measure-tops", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mail("One.\r\nTwo.\r\nThree.\r\n"), t.mail(""), t.large(20_000))
		for _, sizes := range []bool{false, true} {
			for _, lines := range []int{0, 2} {
				t.measuresTops(d, idsOf(entries), sizes, lines)
			}
		}
	}},
	{"measure-beside-one-that-fails", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mails(2)...)
		request := backends.MeasureRequest{Sizes: true, IDs: []backends.MessageID{
			entries[0].ID, "storetest-no-such-message", entries[1].ID, entries[1].ID + "x", entries[0].ID,
		}}
		for i, m := range d.measured(request) {
			if i%2 == 1 {
				var err error
				if m.Failure != nil {
					err = m.Failure
				}
				t.wantKind("a message of several, which nobody has", err, backends.NotFound, backends.Permanent)
				continue
			}
			if want := int64(len(d.fetch(m.ID))); m.Failure != nil || m.Size != want {
				t.Errorf("message %d of several: %d octets (%v), and Fetch gives %d", i+1, m.Size, m.Failure, want)
			}
		}
	}},
	{"measure-bounds", []need{reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mails(1)[0], t.large(2*backends.MeasureTopMost))
		var ids []backends.MessageID
		for range backends.MeasureMost {
			ids = append(ids, entries[0].ID)
		}
		want := int64(len(d.fetch(entries[0].ID)))
		for i, m := range d.measured(backends.MeasureRequest{IDs: ids, Sizes: true}) {
			if m.Failure != nil || m.Size != want {
				t.Fatalf("message %d of %d: %d octets (%v), and Fetch gives %d", i+1, len(ids), m.Size, m.Failure, want)
			}
		}
		for _, m := range d.measured(backends.MeasureRequest{IDs: idsOf(entries)[1:], Sizes: true, Top: true, Lines: math.MaxInt32}) {
			if want := int64(len(d.fetch(m.ID))); m.Failure != nil || m.Size != want || m.Top != nil {
				t.Errorf("a message of %d octets is measured with %d (%v), and its top, which is all of it, comes with %d", want, m.Size, m.Failure, len(m.Top))
			}
		}
	}},
	{"measure-given-up", []need{reader, feed}, func(t *trial) {
		m := t.mails(1)[0]
		d, entries := t.filled(t.first(), m, t.large(300_000), t.large(200_000))
		for range 3 {
			t.promptly("giving up to measure", func() {
				for range d.measurer().Measure(t.ctx, backends.MeasureRequest{IDs: idsOf(entries), Sizes: true}) {
					break
				}
			})
		}
		t.same(m, d.fetch(entries[0].ID)) // the session lives
	}},
	{"measure-cancelled", []need{reader, feed}, func(t *trial) {
		m := t.mails(1)[0]
		d, entries := t.filled(t.first(), m, t.large(min(t.largest(), 8<<20)))
		ids := slices.Repeat(idsOf(entries), 20)
		ctx, cancel := context.WithCancel(t.ctx)
		defer cancel()
		t.promptly("measuring after its context has ended", func() {
			n := 0
			for _, err := range d.measurer().Measure(ctx, backends.MeasureRequest{IDs: ids, Sizes: true}) {
				cancel()
				if err != nil {
					return
				}
				n++
			}
			if n != len(ids) {
				t.Errorf("measuring that was cancelled ends after %d of %d messages as if it were complete", n, len(ids))
			}
		})
		t.same(m, d.fetch(entries[0].ID))
	}},
}

// measuresTops compares tops with those that Fetch gives.
func (t *trial) measuresTops(d drop, ids []backends.MessageID, sizes bool, lines int) {
	for i, m := range d.measured(backends.MeasureRequest{IDs: ids, Sizes: sizes, Top: true, Lines: lines}) {
		if want := d.top(ids[i], lines); m.Failure != nil || !bytes.Equal(m.Top, want) {
			t.Errorf("the top of message %d, %d lines (%v): %s", i+1, lines, m.Failure, difference(want, m.Top))
		}
		want := int64(-1)
		if sizes {
			want = int64(len(d.fetch(ids[i])))
		}
		if m.Size != want {
			t.Errorf("message %d has the size %d, and should have %d (sizes asked for: %t)", i+1, m.Size, want, sizes)
		}
	}
}

// measurer is the maildrop, where it measures.
func (d drop) measurer() backends.Measurer {
	m, ok := d.Maildrop.(backends.Measurer)
	if !ok {
		d.t.notOffered("the store does not measure messages")
	}
	return m
}

// measure collects what is said of some messages.
func (d drop) measure(ctx context.Context, request backends.MeasureRequest) (all []backends.Measured, err error) {
	for m, err := range d.measurer().Measure(ctx, request) {
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
	return all, nil
}

// measured is what is said of each of some messages, where the store measures.
func (d drop) measured(request backends.MeasureRequest) []backends.Measured {
	all, err := d.measure(d.t.ctx, request)
	if backends.KindOf(err) == backends.Unsupported {
		d.t.notOffered("the store does not measure messages: %v", err)
	}
	if err != nil {
		d.t.Fatalf("measuring messages: %w", err)
	}
	if len(all) != len(request.IDs) {
		d.t.Fatalf("%d messages were to be measured, and %d were", len(request.IDs), len(all))
	}
	return all
}
