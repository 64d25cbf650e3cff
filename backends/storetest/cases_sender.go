package storetest

import (
	"context"
	"io"
	"slices"

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
	{"retry-for-the-deferred", deferring, func(t *trial) {
		t.sentToOneOfTwo(together, t.SecondAddress)
	}},
	{"retry-for-both", deferring, func(t *trial) {
		t.sentToOneOfTwo(together, t.Address, t.SecondAddress)
	}},
	{"retry-over-batches", deferring, func(t *trial) { t.sentToOneOfTwo(inBatches, t.SecondAddress) }},
	{"retry-for-both-over-batches", deferring, func(t *trial) { t.sentToOneOfTwo(inBatches, t.Address, t.SecondAddress) }},
	{"where-it-went", []need{sender, secondAccount}, func(t *trial) {
		m := t.mails(1)[0]
		t.tracked(t.send(t.delivery(m, t.SecondAddress), m.reader()))
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

// deferring is what is needed to send to two of whom one is put off.
var deferring = []need{sender, reader, secondAccount, func(s *suite) string {
	if s.Defer == nil {
		return ownNature + "the target has no Defer"
	}
	return ""
}}

func together(d backends.Delivery) []backends.Delivery { return []backends.Delivery{d} }

// inBatches gives each recipient a delivery of its own under the same key, as the gateway does for
// more recipients than a store takes at a time.
func inBatches(d backends.Delivery) (batches []backends.Delivery) {
	for _, r := range backends.Addresses(d.Recipients) {
		b := d
		b.Recipients = backends.To(r)
		batches = append(batches, b)
	}
	return batches
}

// sentToOneOfTwo sends to both accounts while the second is put off, and then again, under the same
// key, to those of again. The first account has one copy then. The second has one if its verdict says
// so, and otherwise it is told that this is not known.
func (t *trial) sentToOneOfTwo(parts func(backends.Delivery) []backends.Delivery, again ...string) {
	t.emptyAll()
	m, after := t.mails(1)[0], t.mails(1)[0]
	undo, err := t.Defer(t.ctx, t.SecondAddress)
	if err != nil {
		t.Fatalf("Defer: %w", err)
	}
	d := t.delivery(m, t.Address, t.SecondAddress)
	verdicts := t.sendParts(parts(d), m)
	undo()
	if f := verdicts[t.Address]; f != nil {
		t.Fatalf("sending to %s, while %s is put off: %w", t.Address, t.SecondAddress, f)
	}
	if f := verdicts[t.SecondAddress]; f == nil || !f.Temporary() {
		t.Fatalf("sending to %s, who is put off, is told as %v", t.SecondAddress, f)
	}
	d.Retry, d.Recipients = true, backends.To(again...)
	verdicts = t.sendParts(parts(d), m)
	for _, r := range again {
		if f := verdicts[r]; f != nil && f.Kind != backends.Uncertain {
			t.Errorf("sending again, to %s: %w", r, f)
		}
	}
	t.delivered(t.send(t.delivery(after, t.Address, t.SecondAddress), after.reader()))
	t.arrives(t.first(), after)
	t.arrives(t.first(), m)
	t.only(t.first(), m, after)
	t.arrives(t.second(), after)
	if verdicts[t.SecondAddress] != nil {
		t.only(t.second(), after)
		return
	}
	t.arrives(t.second(), m)
	t.only(t.second(), m, after)
}

// sendParts sends one after the other, and gives the verdicts by recipient.
func (t *trial) sendParts(parts []backends.Delivery, m mail) map[string]*backends.Failure {
	all := make(map[string]*backends.Failure)
	for _, d := range parts {
		verdicts, err := t.send(d, m.reader())
		for _, r := range backends.Addresses(d.Recipients) {
			all[r] = backends.AsFailure(err)
		}
		for _, v := range verdicts {
			all[v.Recipient] = v.Failure
		}
	}
	return all
}

// send sends as the first account, and makes sure of the form of the verdicts.
func (t *trial) send(d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	verdicts, err := t.store.(backends.Sender).Send(t.ctx, t.credential(t.first()), d, content)
	if err == nil {
		t.judge(d.Recipients, verdicts)
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
