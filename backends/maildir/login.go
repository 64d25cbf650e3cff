package maildir

import (
	"context"
	"slices"

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
	d := use.accounts.directory()
	if failure := d.noFile(); failure != nil {
		return nil, failure
	}
	switch {
	case credential.Kind == backends.CredentialPassword:
		a, err = s.byPassword(ctx, d, credential)
	case credential.Kind == backends.CredentialImpersonation && use.ActFor:
		a, err = byWord(d, credential)
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
	return d.actAs(a, credential.ActAs)
}

// actAs is the account whose mailbox somebody asks for, if it is theirs to open. One that is
// not, and one that is not there, are told alike.
func (d *directory) actAs(a *account, name string) (*account, error) {
	if name == "" {
		return a, nil
	}
	other := d.byLogin(name)
	if other != nil && (other == a || slices.ContainsFunc(a.opens, func(each address) bool { return d.mail[each] == other })) {
		return other, nil
	}
	return nil, backends.Fail(backends.Permanent, "%s may not open the mailbox of %q", a.address, name).
		WithCode("5.7.1").Say("this account may not open that mailbox")
}

// byPassword verifies a password. A name that nobody has costs what a wrong password costs.
func (s *Store) byPassword(ctx context.Context, d *directory, credential backends.Credential) (*account, error) {
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
		return nil, backends.Fail(backends.BadCredentials, "%s", whyRefused(a))
	}
	return a, nil
}

// whyRefused is for the log alone: the client is told the same of each.
func whyRefused(a *account) string {
	switch {
	case a == nil:
		return "no such user"
	case a.hash == nil:
		return "the account has no password"
	}
	return "a wrong password"
}

// byWord takes the gateway's word, where the settings allow it.
func byWord(d *directory, credential backends.Credential) (*account, error) {
	if a := d.byLogin(credential.User); a != nil {
		return a, nil
	}
	return nil, backends.Fail(backends.BadCredentials, "no such user to act for")
}
