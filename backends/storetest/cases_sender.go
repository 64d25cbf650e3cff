package storetest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

var senderCases = []testcase{
	{"to-both", []need{sender, reader, secondAccount}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		t.delivered(t.send(t.delivery(m, t.SecondAddress, t.Address), m.reader()))
		t.arrives(t.first(), m)
		t.arrives(t.second(), m)
	}},
	{"wrong-password", []need{sender, password, reader, secondAccount}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		_, err := t.store.(backends.Sender).Send(t.ctx, t.with(t.User, t.Password+"x"), t.delivery(m, t.SecondAddress), m.reader())
		t.wantKind("sending with a wrong password", err, backends.BadCredentials)
		t.expect(t.second())
	}},
	{"content-fails", []need{sender, reader, secondAccount}, func(t *trial) {
		t.emptyAll()
		m := t.large(100_000)
		for _, after := range []int{0, 50_000, len(m.data)} {
			d := t.delivery(m, t.SecondAddress)
			d.Key = newTag(t.id)
			if !allFailed(t.send(d, failing(m, after, io.ErrUnexpectedEOF))) {
				t.Errorf("content that fails after %d of %d octets is taken", after, len(m.data))
			}
		}
		after := t.mails(1)[0] // what was sent before it would be there before it
		t.delivered(t.send(t.delivery(after, t.SecondAddress), after.reader()))
		t.arrives(t.second(), after)
		t.only(t.second(), after)
	}},
	{"retry", []need{sender, reader, secondAccount}, func(t *trial) {
		t.emptyAll()
		m, after := t.mails(1)[0], t.mails(1)[0]
		d := t.delivery(m, t.SecondAddress)
		t.delivered(t.send(d, m.reader()))
		d.Retry = true
		if f := backends.AsFailure(failureOf(t.send(d, m.reader()))); f != nil && f.Kind != backends.Uncertain {
			t.Errorf("sending again under the same key: %w", f)
		}
		t.delivered(t.send(t.delivery(after, t.SecondAddress), after.reader()))
		t.arrives(t.second(), after)
		t.only(t.second(), m, after)
	}},
	{"cancelled", []need{sender}, func(t *trial) {
		m := t.mails(1)[0]
		ctx, cancel := context.WithCancel(t.ctx)
		content := io.MultiReader(m.reader(), &blocked{ctx, cancel})
		t.promptly("Send after its context has ended", func() {
			if !allFailed(t.store.(backends.Sender).Send(ctx, t.credential(t.first()), t.delivery(m, t.Address), content)) {
				t.Errorf("a message whose end never came is taken")
			}
		})
	}},
}

// send sends as the first account, and makes sure of the form of the verdicts.
func (t *trial) send(d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	verdicts, err := t.store.(backends.Sender).Send(t.ctx, t.credential(t.first()), d, content)
	if err == nil {
		t.verdictsFor(d.Recipients, verdicts)
	}
	return verdicts, err
}

// arrives waits for a message that a transport brings. The transport may add to it.
func (t *trial) arrives(box mailbox, m mail) {
	t.until("the arrival of the message in the inbox of "+box.user, func() bool { return t.holds(box, m) })
}

// only makes sure that an inbox holds nothing but these messages, each once.
func (t *trial) only(box mailbox, mails ...mail) {
	d := t.open(box)
	defer d.close()
	left := slices.Clone(mails)
	for _, e := range d.list() {
		data := d.fetch(e.ID)
		if i := slices.IndexFunc(left, func(m mail) bool { return m.is(data) }); i >= 0 {
			left = slices.Delete(left, i, i+1)
		} else {
			t.Errorf("the inbox of %s holds a message that should not be there, or twice: %s", box.user, excerpt(data))
		}
	}
}

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
		if e.ReversePath != t.Address || !slices.Equal(sorted(e.Recipients), sorted(recipients)) {
			t.Errorf("the envelope is from %q to %q, and should be from %q to %q", e.ReversePath, e.Recipients, t.Address, recipients)
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
			if len(again) == 1 && !slices.Equal(again[0].envelope.Recipients, recipients[1:]) {
				t.Errorf("it is handed over again for %q, and should be for %q", again[0].envelope.Recipients, recipients[1:])
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
	t.leased.Store(e.ID, e.Recipients)
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
	} else if err := t.Enqueue(t.ctx, backends.Outgoing{ReversePath: t.Address, Recipients: recipients}, m.data); err != nil {
		t.Fatalf("putting a message into the outbox: %w", err)
	}
	return recipients
}

var authenticatorCases = []testcase{
	{"right", []need{authenticator}, func(t *trial) {
		for _, mechanism := range t.mechanisms() {
			a, err := t.exchange(mechanism, t.User, t.Password)
			if err != nil {
				t.Errorf("%s: %w", mechanism, err)
			} else if id := t.login(t.first()).ID; a.ID != id {
				t.Errorf("%s gives the account %q, and Login gives %q", mechanism, a.ID, id)
			}
		}
	}},
	{"wrong-password", []need{authenticator}, func(t *trial) {
		for _, mechanism := range t.mechanisms() {
			_, err := t.exchange(mechanism, t.User, t.Password+"x")
			t.wantKind(mechanism+" with a wrong password", err, backends.BadCredentials)
			_, err = t.exchange(mechanism, "storetest-no-such-user", t.Password)
			t.wantKind(mechanism+" of an unknown user", err, backends.BadCredentials)
		}
	}},
	{"unknown-mechanism", []need{authenticator}, func(t *trial) {
		for _, mechanism := range []string{"X-STORETEST", "", strings.Repeat("X", 1000)} {
			err := t.firstStep(mechanism)
			t.wantKind("the mechanism "+excerpt([]byte(mechanism)), err, backends.Unsupported)
		}
	}},
	{"garbage", []need{authenticator}, func(t *trial) {
		for _, mechanism := range t.mechanisms() {
			for _, garbage := range []string{"\x00", " ", "a", strings.Repeat("x", 100_000), "\xff\xfe\xfd", t.User + " "} {
				_, err := t.converse(mechanism, func(challenge []byte) ([]byte, error) { return []byte(garbage), nil })
				if err == nil {
					t.Errorf("%s: %s as response lets somebody in", mechanism, excerpt([]byte(garbage)))
				}
			}
		}
	}},
	{"given-up", []need{authenticator}, func(t *trial) {
		for _, mechanism := range t.mechanisms() {
			for range 20 {
				e, err := t.store.(backends.Authenticator).Authenticate(t.ctx, mechanism, backends.Peer{})
				if err != nil {
					t.Fatalf("%s: %w", mechanism, err)
				}
				_, _, _ = e.Next(t.ctx, nil)
				t.promptly("closing an exchange", func() { _ = e.Close() })
			}
		}
	}},
	{"two-at-once", []need{authenticator, secondAccount}, func(t *trial) {
		for _, mechanism := range t.mechanisms() {
			var both sync.WaitGroup
			for _, box := range []mailbox{t.first(), t.second()} {
				both.Go(func() {
					if _, err := t.exchange(mechanism, box.user, box.password); err != nil {
						t.Errorf("%s of %s while another is under way: %w", mechanism, box.user, err)
					}
				})
			}
			both.Wait()
		}
	}},
	{"grant-opens-once", []need{authenticator, reader, offers(backends.CredentialGrant)}, func(t *trial) {
		for _, mechanism := range t.mechanisms() {
			a, err := t.exchange(mechanism, t.User, t.Password)
			if err != nil || len(a.Grant) == 0 {
				t.Skipf("%s gives no grant (%v)", mechanism, err)
			}
			request := backends.OpenRequest{Credential: backends.Credential{Kind: backends.CredentialGrant, User: t.User, Secret: a.Grant}}
			d, err := t.store.(backends.Reader).Open(t.ctx, request)
			if err != nil {
				t.Fatalf("opening with the grant: %w", err)
			}
			if d.Account().ID != a.ID {
				t.Errorf("the grant of %q opens the inbox of %q", a.ID, d.Account().ID)
			}
			_ = d.Close()
			again, err := t.store.(backends.Reader).Open(t.ctx, request)
			if err == nil {
				_ = again.Close()
			}
			t.wantKind("a grant that was used already", err, backends.BadCredentials)
		}
	}},
	{"cancelled", []need{authenticator}, func(t *trial) {
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		for _, mechanism := range t.description.Mechanisms {
			t.promptly("an exchange whose context has ended", func() {
				e, err := t.store.(backends.Authenticator).Authenticate(ctx, mechanism, backends.Peer{})
				if err == nil {
					_, _, err = e.Next(ctx, nil)
					_ = e.Close()
				}
				if backends.KindOf(err) == backends.BadCredentials {
					t.Errorf("an exchange that was cancelled is told as a wrong password: %w", err)
				}
			})
		}
	}},
}

// mechanisms are those whose client's side is known.
func (t *trial) mechanisms() []string {
	var known []string
	for _, m := range t.description.Mechanisms {
		if t.SASL(m, t.User, t.Password) != nil {
			known = append(known, m)
		}
	}
	if len(known) == 0 {
		t.Skipf("of %q the suite knows none; the target can bring clients (SASL)", t.description.Mechanisms)
	}
	return known
}

func (t *trial) exchange(mechanism, user, password string) (*backends.Account, error) {
	return t.converse(mechanism, t.SASL(mechanism, user, password))
}

// converse conducts an exchange to its end.
func (t *trial) converse(mechanism string, client SASLClient) (*backends.Account, error) {
	e, err := t.store.(backends.Authenticator).Authenticate(t.ctx, mechanism, backends.Peer{Protocol: "pop3", TLS: true})
	if err != nil {
		return nil, err
	}
	defer e.Close() //nolint:errcheck // the outcome is known by then
	var challenge []byte
	for range 20 {
		response, err := client(challenge)
		if err != nil {
			return nil, err
		}
		next, account, err := e.Next(t.ctx, response)
		if err != nil || account != nil {
			return account, err
		}
		challenge = append([]byte{}, next...) // not nil: that is the start
	}
	return nil, errors.New("storetest: the exchange has no end")
}

// firstStep begins an exchange: an unknown mechanism may be told by either call.
func (t *trial) firstStep(mechanism string) error {
	e, err := t.store.(backends.Authenticator).Authenticate(t.ctx, mechanism, backends.Peer{})
	if err != nil {
		return err
	}
	defer e.Close() //nolint:errcheck // nothing came of it
	_, _, err = e.Next(t.ctx, nil)
	return err
}
