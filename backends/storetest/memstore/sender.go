package memstore

import (
	"context"
	"io"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
)

// Send submits a message as an account: a sending session of one.
func (s *Store) Send(ctx context.Context, credential backends.Credential, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	session := &sending{store: s, credential: credential}
	return session.Send(ctx, delivery, content)
}

// OpenSending begins a sending session. It logs in with the first message.
func (s *Store) OpenSending(_ context.Context, credential backends.Credential) (backends.Sending, error) {
	credential.Secret = slices.Clone(credential.Secret)
	return &sending{store: s, credential: credential}, nil
}

// EndSending ends what logins there are of sending sessions, as a server does that has had enough.
func (s *Store) EndSending() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendings++
}

// SendLogins is how often an account has logged in to send.
func (s *Store) SendLogins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sendLogins
}

// sending is a sending session.
type sending struct {
	store      *Store
	credential backends.Credential
	account    *account // nil: it is not logged in
	since      int      // Store.sendings at the login
	closed     bool
}

// Close implements [backends.Sending].
func (d *sending) Close() error {
	d.closed = true
	return nil
}

// login logs in, unless the session is.
func (d *sending) login() (*account, error) {
	s := d.store
	s.mu.Lock()
	now := s.sendings
	s.mu.Unlock()
	if d.account != nil && d.since == now {
		return d.account, nil
	}
	a, err := s.login(d.credential)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendLogins++
	d.account, d.since = a, now
	return a, nil
}

// Send implements [backends.Sending]. The store's own transport files the message for its own
// recipients, and puts it into the outbox for all others.
func (d *sending) Send(ctx context.Context, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if d.closed {
		return nil, backends.SendingClosed()
	}
	s := d.store
	if err := s.enter(ctx, "send"); err != nil {
		return nil, err
	}
	a, err := d.login()
	if err != nil {
		return nil, err
	}
	if !maySendAs(a, delivery.From) {
		return nil, backends.Fail(backends.Permanent, "%s may not send as %q", a.User, delivery.From).
			WithCode("5.7.1").Say("this account may not send with that address")
	}
	data, err := s.read(ctx, delivery, content)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	verdicts := make([]backends.Verdict, 0, len(delivery.Recipients))
	var outside []backends.Recipient
	for _, r := range delivery.Recipients {
		failure, where := s.deliver("send", delivery.Key, r.Address, data), "INBOX"
		if failure != nil && failure.Kind == backends.NotFound {
			outside, failure, where = append(outside, r), nil, "outbox"
		}
		if failure != nil {
			where = ""
		}
		verdicts = append(verdicts, backends.Verdict{Recipient: r.Address, Failure: failure, Destination: where})
	}
	s.queue(delivery, outside, data)
	s.mu.Unlock()
	return verdicts, s.leave(ctx, "send")
}

func maySendAs(a *account, address string) bool {
	return address == "" || slices.ContainsFunc(a.addresses(), func(own string) bool { return fold.Equal(own, address) })
}

// queue puts a message into the outbox for those recipients that it was not put there for
// before. The caller holds s.mu.
func (s *Store) queue(delivery backends.Delivery, recipients []backends.Recipient, data []byte) {
	var fresh []backends.Recipient
	for _, r := range recipients {
		this := taking{delivery.Key, fold.Lower(r.Address)}
		if _, before := s.taken[this]; !before {
			s.taken[this] = ""
			fresh = append(fresh, r)
		}
	}
	if len(fresh) > 0 {
		s.enqueue(backends.Outgoing{Envelope: delivery.Envelope, Recipients: fresh}, data)
	}
}
