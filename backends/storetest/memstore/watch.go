package memstore

import (
	"context"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// hintsMost is how many hints wait for who watches. More of them become one that says anything.
const hintsMost = 64

// Watch tells of mail that is delivered, and of passwords that are changed.
func (s *Store) Watch(ctx context.Context, tell func(backends.Hint)) error {
	if err := s.enter(ctx, "watch"); err != nil {
		return err
	}
	hints := make(chan backends.Hint, hintsMost)
	s.mu.Lock()
	s.watchers[hints] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, hints)
	}()
	for {
		select {
		case h := <-hints:
			if len(hints) == hintsMost-1 { // some may have been left out
				h = backends.Hint{}
			}
			tell(h)
		case <-ctx.Done():
			return backends.AsFailure(ctx.Err())
		case <-s.alive.Done():
			return backends.Fail(backends.Temporary, "the store is closed")
		}
	}
}

// hint tells those who watch, without waiting for them. The caller holds s.mu.
func (s *Store) hint(h backends.Hint) {
	for w := range s.watchers {
		select {
		case w <- h:
		default:
		}
	}
}

// SetPassword changes an account's password, as an administrator of the store would. False: there
// is no such account.
func (s *Store) SetPassword(user, password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[strings.ToLower(user)]
	if a == nil {
		return false
	}
	a.Password = password
	s.hint(backends.Hint{Kind: backends.HintCredentials, Account: a.public().ID})
	return true
}
