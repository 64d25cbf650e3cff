package memstore

import (
	"context"
	"io"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
)

// Send submits a message as an account. The store's own transport files it for its own
// recipients, and puts it into the outbox for all others.
func (s *Store) Send(ctx context.Context, credential backends.Credential, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if err := s.enter(ctx, "send"); err != nil {
		return nil, err
	}
	a, err := s.login(credential)
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
		failure := s.deliver("send", delivery.Key, r.Address, data)
		if failure != nil && failure.Kind == backends.NotFound {
			outside, failure = append(outside, r), nil
		}
		verdicts = append(verdicts, backends.Verdict{Recipient: r.Address, Failure: failure})
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
