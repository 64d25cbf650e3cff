package storetest

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// longLease does not run out while a case runs.
const longLease = time.Hour

// outgoingMail is a need for a way to put mail into the outbox.
func outgoingMail(s *suite) string {
	if s.Enqueue == nil && (!s.has.Sender || len(s.Outside) < 2) {
		return "there is no way to put mail into the outbox: the target has no Enqueue, nor two addresses Outside for a Sender"
	}
	return ""
}

var outboxCases = []testcase{
	{"collect", []need{outbox, outgoingMail}, func(t *trial) {
		m, recipients := t.enqueued()
		got := t.collect(backends.CollectRequest{Lease: longLease})
		if len(got) != 1 {
			t.Fatalf("one message was put into the outbox, and %d come out", len(got))
		}
		t.same(m, got[0].data)
		e := got[0].envelope
		if e.From != t.Address || !slices.Equal(sorted(backends.Addresses(e.Recipients)), sorted(recipients)) {
			t.Errorf("the envelope is from %q to %q, and should be from %q to %q", e.From, backends.Addresses(e.Recipients), t.Address, recipients)
		}
		if e.Size != -1 && e.Size != int64(len(got[0].data)) {
			t.Errorf("the envelope says %d octets, and %d come", e.Size, len(got[0].data))
		}
		if len(e.ID) < 1 || len(e.ID) > 1024 {
			t.Errorf("the id %q has %d octets, and may have 1 to 1024", e.ID, len(e.ID))
		}
	}},
	{"empty", []need{outbox}, func(t *trial) {
		t.drain()
		t.promptly("Collect of an empty outbox", func() {
			if n := len(t.collect(backends.CollectRequest{Lease: longLease})); n > 0 {
				t.Errorf("an outbox that was emptied gives %d messages", n)
			}
		})
	}},
	{"waits", []need{outbox, outgoingMail}, func(t *trial) {
		t.drain()
		t.Cleanup(t.drain)
		got := make(chan []collected, 1)
		go func() { got <- t.collect(backends.CollectRequest{Lease: longLease, Wait: backends.CollectWaitMost}) }()
		m := t.mails(1)[0]
		t.enqueue(m)
		t.promptly("Collect that waits, after mail has come", func() {
			all := <-got
			if len(all) == 0 { // a store that does not wait may have looked before
				t.until("the message being handed over", func() bool {
					all = t.collect(backends.CollectRequest{Lease: longLease})
					return len(all) > 0
				})
			}
			t.same(m, all[0].data)
		})
	}},
	{"waits-no-longer", []need{outbox}, func(t *trial) {
		t.drain()
		t.promptly("Collect that was to wait for a moment", func() {
			if n := len(t.collect(backends.CollectRequest{Lease: longLease, Wait: 50 * time.Millisecond})); n > 0 {
				t.Errorf("an outbox that was emptied gives %d messages", n)
			}
		})
	}},
	{"leased", []need{outbox, outgoingMail}, func(t *trial) {
		t.enqueued()
		t.collect(backends.CollectRequest{Lease: longLease})
		if n := len(t.collect(backends.CollectRequest{Lease: longLease})); n > 0 {
			t.Errorf("a message that the gateway has is handed over again")
		}
	}},
	{"lease-runs-out", []need{outbox, outgoingMail}, func(t *trial) {
		m, _ := t.enqueued()
		t.collect(backends.CollectRequest{Lease: t.Lease})
		t.until("the message being handed over again after its lease", func() bool {
			again := t.collect(backends.CollectRequest{Lease: longLease})
			return len(again) == 1 && m.is(again[0].data)
		})
	}},
	{"most", []need{outbox, outgoingMail}, func(t *trial) {
		t.drain()
		t.Cleanup(t.drain)
		for range 3 {
			t.enqueue(t.mails(1)[0])
		}
		if n := len(t.collect(backends.CollectRequest{Most: 2, Lease: longLease})); n != 2 {
			t.Errorf("2 messages at the most were wanted, of 3, and %d come", n)
		}
		if n := len(t.collect(backends.CollectRequest{Lease: longLease})); n != 1 {
			t.Errorf("one message was left, and %d come", n)
		}
	}},
	{"not-accepted", []need{outbox, outgoingMail}, func(t *trial) {
		m, _ := t.enqueued()
		refusal := errors.New("storetest: not accepted")
		err := t.store.(backends.Outbox).Collect(t.ctx, backends.CollectRequest{Lease: longLease},
			func(context.Context, backends.Outgoing, backends.Content) error { return refusal })
		if err == nil {
			t.Errorf("accept failed, and Collect does not say so")
		}
		t.until("the message that was not accepted being handed over again", func() bool {
			again := t.collect(backends.CollectRequest{Lease: longLease})
			return len(again) == 1 && m.is(again[0].data)
		})
	}},
	{"settled", []need{outbox, outgoingMail}, func(t *trial) {
		_, recipients := t.enqueued()
		got := t.collect(backends.CollectRequest{Lease: t.Lease})
		if len(got) == 0 {
			t.Fatalf("the outbox is empty")
		}
		t.settle(got[0].envelope.ID, backends.Verdict{Recipient: recipients[0]},
			backends.Verdict{Recipient: recipients[1], Failure: backends.Fail(backends.NotFound, "storetest")})
		t.pause(t.Lease + t.Lease/2)
		if n := len(t.collect(backends.CollectRequest{Lease: longLease})); n > 0 {
			t.Errorf("a message that was settled is handed over again")
		}
		t.settle(got[0].envelope.ID, backends.Verdict{Recipient: recipients[0]}) // once more does no harm
	}},
	{"settled-in-part", []need{outbox, outgoingMail}, func(t *trial) {
		_, recipients := t.enqueued()
		got := t.collect(backends.CollectRequest{Lease: t.Lease})
		if len(got) == 0 {
			t.Fatalf("the outbox is empty")
		}
		t.settle(got[0].envelope.ID, backends.Verdict{Recipient: recipients[0]})
		t.until("the rest of a message being handed over again after its lease", func() bool {
			again := t.collect(backends.CollectRequest{Lease: longLease})
			if len(again) == 1 && !slices.Equal(backends.Addresses(again[0].envelope.Recipients), recipients[1:]) {
				t.Errorf("it is handed over again for %q, and should be for %q", backends.Addresses(again[0].envelope.Recipients), recipients[1:])
			}
			return len(again) == 1
		})
	}},
	{"two-collectors", []need{outbox, outgoingMail}, func(t *trial) {
		t.drain()
		t.Cleanup(t.drain)
		for range 8 {
			t.enqueue(t.mails(1)[0])
		}
		var both sync.WaitGroup
		var mu sync.Mutex
		seen := make(map[backends.MessageID]int)
		for range 2 {
			both.Go(func() {
				for _, c := range t.collect(backends.CollectRequest{Lease: longLease}) {
					mu.Lock()
					seen[c.envelope.ID]++
					mu.Unlock()
				}
			})
		}
		both.Wait()
		for id, n := range seen {
			if n > 1 {
				t.Errorf("the message %q is handed over %d times", id, n)
			}
		}
		if len(seen) != 8 {
			t.Errorf("of 8 messages %d are handed over", len(seen))
		}
	}},
	{"cancelled", []need{outbox, outgoingMail}, func(t *trial) {
		t.enqueued()
		ctx, cancel := context.WithCancel(t.ctx)
		t.promptly("Collect after its context has ended", func() {
			_ = t.store.(backends.Outbox).Collect(ctx, backends.CollectRequest{Lease: t.Lease},
				func(ctx context.Context, _ backends.Outgoing, _ backends.Content) error {
					cancel()
					<-ctx.Done()
					return ctx.Err()
				})
		})
		cancel()
	}},
}

func sorted(all []string) []string { return slices.Sorted(slices.Values(all)) }

// collected is a message that came out of the outbox.
type collected struct {
	envelope backends.Outgoing
	data     []byte
}

func (t *trial) collect(request backends.CollectRequest) []collected {
	var all []collected
	err := t.store.(backends.Outbox).Collect(t.ctx, request, func(_ context.Context, e backends.Outgoing, c backends.Content) error {
		data, err := io.ReadAll(c)
		if err == nil {
			all = append(all, collected{e, data})
			t.remember(e)
		}
		return err
	})
	if err != nil {
		t.Errorf("Collect: %w", err)
	}
	return all
}

func (t *trial) settle(id backends.MessageID, verdicts ...backends.Verdict) {
	if err := t.store.(backends.Outbox).Settle(t.ctx, []backends.Settlement{{ID: id, Verdicts: verdicts}}); err != nil {
		t.Errorf("Settle: %w", err)
	}
}

// remember notes what came out of the outbox, for drain.
func (t *trial) remember(e backends.Outgoing) {
	t.leased.Store(e.ID, backends.Addresses(e.Recipients))
}

// drain empties the outbox. What an earlier case has leased and not settled is settled too.
func (t *trial) drain() {
	t.collect(backends.CollectRequest{Lease: longLease})
	t.leased.Range(func(id, recipients any) bool {
		t.settleAll(id.(backends.MessageID), recipients.([]string))
		t.leased.Delete(id)
		return true
	})
}

func (t *trial) settleAll(id backends.MessageID, recipients []string) {
	var verdicts []backends.Verdict
	for _, r := range recipients {
		verdicts = append(verdicts, backends.Verdict{Recipient: r})
	}
	t.settle(id, verdicts...)
}

func (t *trial) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.ctx.Done():
	}
}

// enqueued is an outbox with one message, and whom it is for. The case's end empties it.
func (t *trial) enqueued() (mail, []string) {
	t.drain()
	t.Cleanup(t.drain)
	m := t.mails(1)[0]
	return m, t.enqueue(m)
}

func (t *trial) enqueue(m mail) []string {
	recipients := t.Outside
	if len(recipients) < 2 {
		recipients = []string{"one@storetest.invalid", "two@storetest.invalid"}
	}
	recipients = recipients[:2]
	if t.Enqueue == nil {
		t.delivered(t.send(t.delivery(m, recipients...), m.reader()))
	} else if err := t.Enqueue(t.ctx, backends.Outgoing{Envelope: backends.Envelope{From: t.Address}, Recipients: backends.To(recipients...)}, m.data); err != nil {
		t.Fatalf("putting a message into the outbox: %w", err)
	}
	return recipients
}
