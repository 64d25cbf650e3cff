package memstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// outgoing is a message that waits for the gateway, or that the gateway has.
type outgoing struct {
	envelope backends.Outgoing // Recipients: those that are not finished
	data     []byte
	lease    time.Duration // of the last Collect
	until    time.Time     // the gateway's until then
}

// Enqueue puts a message (canonical form) into the outbox, as a user of the store's own
// programs would by sending it. ID, Queued and Size of the envelope are the store's to fill in.
func (s *Store) Enqueue(envelope backends.Outgoing, data []byte) backends.MessageID {
	s.mu.Lock()
	defer s.mu.Unlock()
	envelope.Recipients = slices.Clone(envelope.Recipients)
	return s.enqueue(envelope, slices.Clone(data))
}

func (s *Store) enqueue(envelope backends.Outgoing, data []byte) backends.MessageID {
	envelope.ID, envelope.Queued, envelope.Size = s.newID(), s.now().UTC(), int64(len(data))
	s.outbox = append(s.outbox, &outgoing{envelope: envelope, data: data})
	if s.posted != nil {
		close(s.posted)
		s.posted = nil
	}
	return envelope.ID
}

// Collect hands over the messages of the outbox, oldest first. Each is leased before it is
// handed over, so that no other Collect hands it over meanwhile.
func (s *Store) Collect(ctx context.Context, request backends.CollectRequest, accept func(context.Context, backends.Outgoing, backends.Content) error) error {
	if err := s.enter(ctx, "collect"); err != nil {
		return err
	}
	wait := time.NewTimer(min(request.Wait, backends.CollectWaitMost))
	defer wait.Stop()
	for n := 0; request.Most == 0 || n < request.Most; n++ {
		if ctx.Err() != nil {
			return backends.Fail(backends.Temporary, "collect: %w", ctx.Err())
		}
		envelope, content, posted := s.lease(ctx, request.Lease)
		for posted != nil && n == 0 && await(ctx, wait.C, posted) {
			envelope, content, posted = s.lease(ctx, request.Lease)
		}
		if posted != nil {
			break
		}
		err := accept(ctx, envelope, content)
		_ = content.Close() // never fails
		if err != nil {
			s.release(envelope.ID)
			return err
		}
	}
	return s.leave(ctx, "collect")
}

// await waits until something is in the outbox; false: the time is up, or the call over.
func await(ctx context.Context, up <-chan time.Time, posted <-chan struct{}) bool {
	select {
	case <-posted:
		return true
	case <-up:
	case <-ctx.Done():
	}
	return false
}

// lease takes the oldest message that nobody has. Where there is none, it gives what is closed when
// one comes.
func (s *Store) lease(ctx context.Context, lease time.Duration) (backends.Outgoing, backends.Content, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, o := range s.outbox {
		if now.Before(o.until) {
			continue
		}
		o.lease = cmp.Or(lease, time.Duration(s.settings.Lease))
		o.until = now.Add(o.lease)
		envelope := o.envelope
		envelope.Recipients = slices.Clone(envelope.Recipients)
		return envelope, s.content(ctx, s.alive, o.data), nil
	}
	if s.posted == nil {
		s.posted = make(chan struct{})
	}
	return backends.Outgoing{}, nil, s.posted
}

// release gives a message back that the gateway did not take.
func (s *Store) release(id backends.MessageID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.queued(id); i >= 0 {
		s.outbox[i].until = time.Time{}
	}
}

// Settle forgets the recipients that are finished, and a message that has no other left. A
// message that is not there was settled before.
func (s *Store) Settle(ctx context.Context, settlements []backends.Settlement) error {
	if err := s.enter(ctx, "settle"); err != nil {
		return err
	}
	s.mu.Lock()
	for _, settlement := range settlements {
		if i := s.queued(settlement.ID); i >= 0 {
			s.settle(i, settlement.Verdicts)
		}
	}
	s.mu.Unlock()
	return s.leave(ctx, "settle")
}

func (s *Store) settle(i int, verdicts []backends.Verdict) {
	o := s.outbox[i]
	o.envelope.Recipients = slices.DeleteFunc(o.envelope.Recipients, func(r backends.Recipient) bool {
		return slices.ContainsFunc(verdicts, func(v backends.Verdict) bool { return strings.EqualFold(v.Recipient, r.Address) })
	})
	if len(o.envelope.Recipients) == 0 {
		s.outbox = slices.Delete(s.outbox, i, i+1)
		return
	}
	o.until = s.now().Add(o.lease)
}

// queued is the message's place in the outbox, -1 when it is not there. The caller holds s.mu.
func (s *Store) queued(id backends.MessageID) int {
	return slices.IndexFunc(s.outbox, func(o *outgoing) bool { return o.envelope.ID == id })
}
