package memstore

import (
	"context"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
)

// Authenticate starts a SASL exchange.
func (s *Store) Authenticate(ctx context.Context, mechanism string, _ backends.Peer) (sasl.Exchange[backends.Account], error) {
	if err := s.enter(ctx, "authenticate"); err != nil {
		return nil, err
	}
	if mechanism != ntlmV2 {
		return nil, backends.Fail(backends.Unsupported, "mechanism %q", mechanism)
	}
	return &ntlmExchange{store: s}, nil
}

// admit gives an account that has proved itself. The proof cannot be shown again to Open.
func (s *Store) admit(a *account, err error) ([]byte, *backends.Account, error) {
	if err != nil {
		return nil, nil, err
	}
	account := a.public()
	account.Grant = s.grantTo(a)
	return nil, &account, nil
}
