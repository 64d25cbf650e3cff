package maildir

import (
	"context"

	"github.com/dipylon/dipylon/backends"
)

// Login implements [backends.Store].
func (s *Store) Login(ctx context.Context, credential backends.Credential) (backends.Account, error) {
	use, err := s.inUse()
	if err != nil {
		return backends.Account{}, err
	}
	a, err := s.login(ctx, use, credential)
	if err != nil {
		return backends.Account{}, err
	}
	return a.view(), nil
}

func (s *Store) login(ctx context.Context, use *inUse, credential backends.Credential) (*account, error) {
	var a *account
	var err error
	switch {
	case credential.Kind == backends.CredentialPassword:
		a, err = s.byPassword(ctx, use, credential)
	case credential.Kind == backends.CredentialActing && use.ActFor:
		a, err = byWord(use, credential)
	default:
		return nil, backends.Fail(backends.Unsupported, "no login with a %s here", credential.Kind)
	}
	if err != nil {
		return nil, err
	}
	if a.disabled {
		// RFC 5248: X.7.13, user account disabled.
		return nil, backends.Fail(backends.Permanent, "%s is disabled", a.address).WithCode("5.7.13").Say("this account is disabled")
	}
	return a, nil
}

// byPassword verifies a password. A name that nobody has costs what a wrong password costs.
func (s *Store) byPassword(ctx context.Context, use *inUse, credential backends.Credential) (*account, error) {
	d := use.accounts.directory()
	a := d.byLogin(credential.User)
	hash := d.decoy
	if a != nil && a.hash != nil {
		hash = a.hash
	}
	right, err := s.verifier.Verify(ctx, hash, credential.Secret)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "verifying a password: %w", err)
	}
	if !right || a == nil || hash != a.hash {
		return nil, backends.Fail(backends.BadCredentials, "a wrong password, or no such user")
	}
	if credential.ActAs != "" && d.byLogin(credential.ActAs) != a {
		return nil, backends.Fail(backends.BadCredentials, "%s may not act as somebody else", a.address)
	}
	return a, nil
}

// byWord takes the gateway's word, where the settings allow it.
func byWord(use *inUse, credential backends.Credential) (*account, error) {
	name := credential.ActAs
	if name == "" {
		name = credential.User
	}
	if a := use.accounts.directory().byLogin(name); a != nil {
		return a, nil
	}
	return nil, backends.Fail(backends.BadCredentials, "no such user to act for")
}
