package login

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Store is one configured store as the gateway knows it. It is not changed once it is
// in a table.
type Store struct {
	// Name is the store's name in the configuration.
	Name string
	// Domains are those the store is authoritative for; in a table, as lower-case A-labels.
	Domains []string
	// Backend is the store itself, as a rule a *host.Store. Of the capabilities it has, those
	// are used that it implements.
	Backend backends.Store
	// Default makes this the store of names without a domain. A table with one store needs
	// no mark; of several, one at the most has it.
	Default bool
	// Sends says that what this store's accounts submit goes out through the store's own
	// transport, to whomever ([backends.Sender]). Otherwise the gateway delivers, to its own
	// stores' domains alone.
	Sends bool
	// SendAs are the domains, as lower-case A-labels, and the addresses that accounts may have to
	// send as beyond Domains, where the store says that they are theirs.
	SendAs []string
	// Passwords says which passwords are good for the store's accounts.
	Passwords PasswordPolicy
}

// PasswordPolicy says which passwords are good.
type PasswordPolicy string

// The policies. The texts stand in the configuration.
const (
	// AnyPassword is the store's own and the gateway's application passwords.
	AnyPassword PasswordPolicy = "any"
	// StorePassword is the store's own alone.
	StorePassword PasswordPolicy = "store"
	// ApplicationPassword is an application password of the gateway's alone.
	ApplicationPassword PasswordPolicy = "application"
)

// takesOwn says whether the store's own passwords are good, whoever looks at them: by PASS, or in
// an exchange that the store conducts.
func (s *Store) takesOwn() bool { return s.Passwords != ApplicationPassword }

// Account is the name that the gateway keeps an account's own things under, its application
// passwords: the login name in lower case, in the store's first domain where it has none.
func (s *Store) Account(name Name) string {
	if name.Domain == "" && name.Realm == "" && len(s.Domains) > 0 {
		name.Domain = s.Domains[0]
	}
	return name.key()
}

// Directory knows the stores: the table of the moment.
type Directory interface {
	// StoreForLogin is the store that a name belongs to; nil: nobody's.
	StoreForLogin(name Name) *Store
	// Stores are all stores.
	Stores() []*Store
}

// describeWait is how long an offer waits for what a store says of itself. A store that is
// ready says it at once; of another, what it said last is taken.
const describeWait = 50 * time.Millisecond

// descriptions remembers what stores say of themselves.
type descriptions struct {
	mu   sync.Mutex
	last map[string]backends.Description // by the store's name
}

// of is what a store says, or has said last. One that never said anything is taken to verify
// passwords: its clients are told of the outage when they send one.
func (d *descriptions) of(ctx context.Context, s *Store) backends.Description {
	ctx, cancel := context.WithTimeout(ctx, describeWait)
	defer cancel()
	said, err := s.Backend.Describe(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		if d.last == nil {
			d.last = make(map[string]backends.Description)
		}
		d.last[s.Name] = said
		return said
	}
	if last, known := d.last[s.Name]; known {
		return last
	}
	return backends.Description{Credentials: []backends.CredentialKind{backends.CredentialPassword}}
}

// takes says whether a store accepts a kind of credential. One that names none takes passwords.
func takes(d backends.Description, kind backends.CredentialKind) bool {
	if len(d.Credentials) == 0 {
		return kind == backends.CredentialPassword
	}
	return slices.Contains(d.Credentials, kind)
}

// conducts says whether a store conducts the exchanges of a mechanism.
func conducts(s *Store, d backends.Description, mechanism string) bool {
	_, able := s.Backend.(backends.Authenticator)
	return able && slices.ContainsFunc(d.Mechanisms, func(m string) bool { return strings.EqualFold(m, mechanism) })
}
