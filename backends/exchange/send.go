package exchange

import (
	"context"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/mime"
)

var _ backends.SessionSender = (*Store)(nil)

// Send submits one message: a sending session of one.
func (s *Store) Send(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	session, err := s.OpenSending(ctx, c)
	if err != nil {
		return nil, err
	}
	defer session.Close() //nolint:errcheck // the message has its verdicts
	return session.Send(ctx, d, content)
}

// OpenSending begins a sending session: one session context, which is made with the first message, or one login to EWS.
func (s *Store) OpenSending(ctx context.Context, c backends.Credential) (backends.Sending, error) {
	if !s.settings.Submission {
		return nil, backends.Fail(backends.Unsupported, "submission is not set")
	}
	if err := s.locate(ctx, c); err != nil {
		return nil, err
	}
	login, err := s.login(c)
	if err != nil {
		return nil, err
	}
	return &eitherSending{store: s, login: login}, nil
}

// sending is a sending session.
type sending struct {
	store   *Store
	login   login
	session *session // nil: not connected
	who     parties
	closed  bool
}

// Close implements [backends.Sending].
func (t *sending) Close() error {
	t.closed = true
	if t.session != nil {
		t.session.close()
	}
	t.session = nil
	return nil
}

// Send implements [backends.Sending]: the message is made an object in the Outbox of the account, and submitted (RopSubmitMessage) to those to whom no
// earlier attempt under its key has sent it. The server files what was sent in Sent Items.
func (t *sending) Send(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if t.closed {
		return nil, backends.SendingClosed()
	}
	end, err := t.store.inFlight.Begin(ctx, "send "+d.Key)
	if err != nil {
		return nil, err
	}
	defer end()
	m, err := t.store.readMail(content, mime.Reader{})
	if err != nil {
		return nil, err
	}
	defer m.discard()
	if err := t.connect(ctx); err != nil {
		return nil, err
	}
	if err := t.represent(ctx, m.message); err != nil {
		return nil, err
	}
	sub := &submission{session: t.session, delivery: d, message: m.message, verdicts: make(map[string]*backends.Failure, len(d.Recipients))}
	sub.send(ctx)
	return sub.result(), nil
}

// connect makes the session context, if there is none.
func (t *sending) connect(ctx context.Context) (err error) {
	if t.session == nil {
		t.session, t.who, err = t.store.enter(ctx, t.login)
	}
	return err
}

// represent names an author who is not the one who signs in as the address book does, so that the server can tell whether they may send as that: it is
// the server that decides. One whom the address book does not know stays as the header has it.
func (t *sending) represent(ctx context.Context, m *mapi.Message) error {
	a := author(m, t.who)
	if a == nil || !sendableAddress(a.SMTP) {
		return nil
	}
	p, known := t.store.people.find(a.SMTP)
	if !known {
		var err error
		if p, err = t.colleague(ctx, a.SMTP); err != nil || p.dn == "" {
			return err
		}
	}
	m.SetAddress(mapi.SentRepresentingAddress, mapi.Address{Name: a.Name, Type: mapi.AddressEX, Address: p.dn, SMTP: a.SMTP})
	return nil
}

// colleague asks the address book about an address. Without a distinguished name it does not know it.
func (t *sending) colleague(ctx context.Context, address string) (person, error) {
	book, err := t.store.openBook(ctx, t.login)
	if err != nil {
		return person{}, err
	}
	defer book.Unbind(ctx) //nolint:errcheck // it ends the connection whatever comes of it
	people, err := t.store.lookUp(ctx, book, []string{address})
	if err != nil {
		return person{}, err
	}
	return people[0], nil
}
