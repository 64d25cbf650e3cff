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
