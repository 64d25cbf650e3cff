package storetest

import (
	"context"
	"fmt"

	"github.com/dipylon/dipylon/backends"
)

// Precondition looks, before the cases do, at what nearly all of them need: that the accounts can
// log in, that their inboxes can be opened, and that mail for them is taken. What is wrong with
// one of these is told once, rather than by a hundred cases that say nothing else.
func Precondition(ctx context.Context, target Target) error {
	s, err := start(ctx, target)
	if err != nil {
		return err
	}
	if !s.KeepOpen {
		defer s.end() //nolint:errcheck // nothing was done with it
	}
	boxes := []mailbox{s.first()}
	if s.SecondUser != "" {
		boxes = append(boxes, s.second())
	}
	for _, box := range boxes {
		if err := s.usable(ctx, box); err != nil {
			return err
		}
	}
	return nil
}

// usable says what is wrong with an account.
func (s *suite) usable(ctx context.Context, box mailbox) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if len(s.description.Credentials) == 0 {
		return nil
	}
	if _, err := s.store.Login(ctx, s.credential(box)); err != nil {
		return fmt.Errorf("the account %s cannot log in: %w", box.user, err)
	}
	if s.has.Reader {
		d, err := s.store.(backends.Reader).Open(ctx, backends.OpenRequest{Credential: s.credential(box)})
		if err != nil {
			return fmt.Errorf("the inbox of %s cannot be opened: %w", box.user, err)
		}
		if err := d.Close(); err != nil {
			return fmt.Errorf("the inbox of %s cannot be closed: %w", box.user, err)
		}
	}
	if s.has.Receiver {
		verdicts, err := s.store.(backends.Receiver).Resolve(ctx, backends.ResolveQuery{Recipients: backends.To(box.address)})
		if err := failureOf(verdicts, err); err != nil {
			return fmt.Errorf("mail for %s is not taken: %w", box.address, err)
		}
	}
	return nil
}
