package storetest

import (
	"context"
	"io"

	"github.com/dipylon/dipylon/backends"
)

// sendSessions is a need for sending sessions of the store's own.
var sendSessions = capability("SessionSender", func(c backends.Capabilities) bool { return c.SendSessions })

func countsLogins(s *suite) string {
	if s.SendLogins == nil {
		return ownNature + "the target has no SendLogins"
	}
	return ""
}

func endsSending(s *suite) string {
	if s.EndSending == nil {
		return ownNature + "the target has no EndSending"
	}
	return ""
}

// sendingCases are about sending sessions, whoever makes them of what the store has.
var sendingCases = []testcase{
	{"session-one-login", []need{sender, sendSessions, countsLogins, reader, secondAccount}, func(t *trial) {
		t.emptyAll()
		before := t.SendLogins()
		session, close := t.sending(t.credential(t.first()))
		defer close()
		mails := t.mails(2)
		for _, m := range mails {
			t.delivered(t.sendIn(t.ctx, session, t.delivery(m, t.SecondAddress), m.reader()))
		}
		if logins := t.SendLogins() - before; logins != 1 {
			t.Errorf("two messages of a session took %d logins", logins)
		}
		t.arrives(t.second(), mails[0])
		t.arrives(t.second(), mails[1])
	}},
	{"session-one-fails", []need{sender, reader, secondAccount}, func(t *trial) {
		t.emptyAll()
		session, close := t.sending(t.credential(t.first()))
		defer close()
		bad, good := t.large(100_000), t.mails(1)[0]
		if !allFailed(t.sendIn(t.ctx, session, t.delivery(bad, t.SecondAddress), failing(bad, 50_000, io.ErrUnexpectedEOF))) {
			t.Errorf("content that fails in the middle is taken")
		}
		t.delivered(t.sendIn(t.ctx, session, t.delivery(good, t.SecondAddress), good.reader()))
		t.arrives(t.second(), good)
		t.only(t.second(), good)
	}},
	{"session-cancelled", []need{sender, reader, secondAccount}, func(t *trial) {
		t.emptyAll()
		session, close := t.sending(t.credential(t.first()))
		defer close()
		cut, good := t.mails(1)[0], t.mails(1)[0]
		ctx, cancel := context.WithCancel(t.ctx)
		content := io.MultiReader(cut.reader(), &blocked{ctx, cancel})
		t.promptly("a message of a session after its context has ended", func() {
			if !allFailed(t.sendIn(ctx, session, t.delivery(cut, t.SecondAddress), content)) {
				t.Errorf("a message whose end never came is taken")
			}
		})
		t.delivered(t.sendIn(t.ctx, session, t.delivery(good, t.SecondAddress), good.reader()))
		t.arrives(t.second(), good)
		t.only(t.second(), good)
	}},
	{"session-ends-between", []need{sender, endsSending, reader, secondAccount}, func(t *trial) {
		t.emptyAll()
		session, close := t.sending(t.credential(t.first()))
		defer close()
		mails := t.mails(2)
		t.delivered(t.sendIn(t.ctx, session, t.delivery(mails[0], t.SecondAddress), mails[0].reader()))
		if err := t.EndSending(t.ctx); err != nil {
			t.Fatalf("EndSending: %w", err)
		}
		t.delivered(t.sendIn(t.ctx, session, t.delivery(mails[1], t.SecondAddress), mails[1].reader()))
		t.arrives(t.second(), mails[0])
		t.arrives(t.second(), mails[1])
	}},
	{"session-keys", []need{sender, reader, secondAccount}, func(t *trial) {
		t.emptyAll()
		m, after := t.mails(1)[0], t.mails(1)[0]
		d := t.delivery(m, t.SecondAddress)
		one, closeOne := t.sending(t.credential(t.first()))
		t.delivered(t.sendIn(t.ctx, one, d, m.reader()))
		closeOne()
		other, closeOther := t.sending(t.credential(t.first()))
		defer closeOther()
		d.Retry = true
		if f := backends.AsFailure(failureOf(t.sendIn(t.ctx, other, d, m.reader()))); f != nil && f.Kind != backends.Uncertain {
			t.Errorf("sending again under the same key, in another session: %w", f)
		}
		t.delivered(t.sendIn(t.ctx, other, t.delivery(after, t.SecondAddress), after.reader()))
		t.arrives(t.second(), after)
		t.only(t.second(), m, after)
	}},
	{"session-wrong-password", []need{sender, password}, func(t *trial) {
		m := t.mails(1)[0]
		session, err := backends.OpenSending(t.ctx, t.store.(backends.Sender), t.with(t.User, t.Password+"x"))
		if err == nil {
			defer session.Close() //nolint:errcheck // nobody has logged in
			_, err = session.Send(t.ctx, t.delivery(m, t.Address), m.reader())
		}
		t.wantKind("sending in a session with a wrong password", err, backends.BadCredentials)
	}},
	{"session-closed", []need{sender}, func(t *trial) {
		m := t.mails(1)[0]
		session, close := t.sending(t.credential(t.first()))
		close()
		if !allFailed(t.sendIn(t.ctx, session, t.delivery(m, t.Address), m.reader())) {
			t.Errorf("a message is taken in a session that was closed")
		}
	}},
}

// sending opens a sending session.
func (t *trial) sending(c backends.Credential) (session backends.Sending, end func()) {
	session, err := backends.OpenSending(t.ctx, t.store.(backends.Sender), c)
	if err != nil {
		t.Fatalf("opening a sending session: %w", err)
	}
	return session, func() {
		if err := session.Close(); err != nil {
			t.Errorf("closing a sending session: %w", err)
		}
	}
}

// sendIn sends a message in a session, and judges the verdicts.
func (t *trial) sendIn(ctx context.Context, session backends.Sending, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	verdicts, err := session.Send(ctx, d, content)
	if err == nil {
		t.judge(d.Recipients, verdicts)
	}
	return verdicts, err
}
