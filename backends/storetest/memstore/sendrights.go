package memstore

import (
	"context"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// MaySend implements [backends.SendRights], by the settings.
func (s *Store) MaySend(ctx context.Context, query backends.MaySendQuery) (backends.SendRight, error) {
	if err := s.enter(ctx, "may-send"); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[query.Account] // ids are users in lower case
	has := func(list []string) bool {
		return slices.ContainsFunc(list, func(address string) bool { return strings.EqualFold(address, query.Address) })
	}
	switch {
	case a == nil:
		return backends.SendNo, nil
	case has(a.addresses()), has(a.SendAs):
		return backends.SendAs, nil
	case has(a.OnBehalf):
		return backends.SendOnBehalf, nil
	}
	return backends.SendNo, nil
}
