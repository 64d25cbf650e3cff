package memstore

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// grant lets an account in once more, after a SASL exchange has used up its proof.
type grant struct {
	account *account
	until   time.Time
}

const grantLife = time.Minute

// Login verifies a credential.
func (s *Store) Login(ctx context.Context, credential backends.Credential) (backends.Account, error) {
	if err := s.enter(ctx, "login"); err != nil {
		return backends.Account{}, err
	}
	a, err := s.login(credential)
	if err != nil {
		return backends.Account{}, err
	}
	return a.public(), nil
}

// login is what Login, Open and Send have in common: from a credential to the account whose
// mailbox is meant.
func (s *Store) login(c backends.Credential) (*account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.verify(c)
	if err != nil {
		return nil, err
	}
	if a.Disabled {
		return nil, disabled(a)
	}
	if c.ActAs == "" || s.accounts[strings.ToLower(c.ActAs)] == a {
		return a, nil
	}
	other := s.accounts[strings.ToLower(c.ActAs)]
	if other == nil || !slices.ContainsFunc(a.ActAs, func(user string) bool { return strings.EqualFold(user, other.User) }) {
		return nil, backends.Fail(backends.Permanent, "%s may not act as %q", a.User, c.ActAs).WithCode("5.7.1").Say("this account may not act for another")
	}
	return other, nil
}

func disabled(a *account) error {
	return backends.Fail(backends.Permanent, "account %s is disabled", a.User).WithCode("5.7.13").Say("this account may not log in")
}

// verify finds the account whose proof the credential is. A user who does not exist costs as
// much as a wrong password and is told the same. The caller holds s.mu.
func (s *Store) verify(c backends.Credential) (*account, error) {
	a := s.accounts[strings.ToLower(c.User)]
	switch c.Kind {
	case backends.CredentialPassword:
		secret := ""
		if a != nil {
			secret = a.Password
		}
		if subtle.ConstantTimeCompare([]byte(secret), c.Secret) == 1 && a != nil {
			return a, nil
		}
		return nil, backends.Fail(backends.BadCredentials, "user %q", c.User)
	case backends.CredentialToken:
		if a != nil && a.Token != "" && subtle.ConstantTimeCompare([]byte(a.Token), c.Secret) == 1 {
			return a, nil
		}
		if s.offers(c.Kind) {
			return nil, backends.Fail(backends.BadCredentials, "user %q", c.User)
		}
	case backends.CredentialCertificate:
		sum := sha256.Sum256(c.Certificate)
		if a != nil && strings.EqualFold(a.Certificate, hex.EncodeToString(sum[:])) {
			return a, nil
		}
		if s.offers(c.Kind) {
			return nil, backends.Fail(backends.BadCredentials, "user %q", c.User)
		}
	case backends.CredentialGrant:
		g, ok := s.grants[string(c.Secret)]
		delete(s.grants, string(c.Secret))
		if ok && s.now().Before(g.until) {
			return g.account, nil
		}
		return nil, backends.Fail(backends.BadCredentials, "the grant is unknown, used or too old")
	case backends.CredentialImpersonation:
		if s.settings.Impersonation && a != nil {
			return a, nil
		}
		if s.settings.Impersonation {
			return nil, backends.Fail(backends.BadCredentials, "user %q", c.User)
		}
	}
	return nil, backends.Fail(backends.Unsupported, "credential of kind %v", c.Kind)
}

// offers says whether any account has a credential of a kind. The caller holds s.mu.
func (s *Store) offers(kind backends.CredentialKind) bool {
	return slices.Contains(s.credentials(), kind)
}

// credentials are the kinds that are accepted. The caller holds s.mu.
func (s *Store) credentials() []backends.CredentialKind {
	kinds := []backends.CredentialKind{backends.CredentialPassword, backends.CredentialGrant}
	if slices.ContainsFunc(s.settings.Accounts, func(a accountSettings) bool { return a.Token != "" }) {
		kinds = append(kinds, backends.CredentialToken)
	}
	if slices.ContainsFunc(s.settings.Accounts, func(a accountSettings) bool { return a.Certificate != "" }) {
		kinds = append(kinds, backends.CredentialCertificate)
	}
	if s.settings.Impersonation {
		kinds = append(kinds, backends.CredentialImpersonation)
	}
	return kinds
}

// grantTo makes a grant, and forgets those that nobody came back for.
func (s *Store) grantTo(a *account) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, g := range s.grants {
		if !s.now().Before(g.until) {
			delete(s.grants, token)
		}
	}
	token := random(26)
	s.grants[token] = grant{account: a, until: s.now().Add(grantLife)}
	return []byte(token)
}
