package stores

import (
	"context"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// Config is one store as the administrator has configured it.
type Config struct {
	// Name is the store's name in the configuration.
	Name string
	// Domains are those the store is authoritative for; in a table, as lower-case A-labels.
	Domains []string
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

// TakesOwnPasswords says whether the store's own passwords are good, whoever looks at them: by
// PASS, or in an exchange that the store conducts.
func (c Config) TakesOwnPasswords() bool { return c.Passwords != ApplicationPassword }

// Account is the name that the gateway keeps an account's own things under, its application
// passwords: the login name in lower case, in the store's first domain where it has none.
func (c Config) Account(name Name) string {
	if name.Domain == "" && name.Realm == "" && len(c.Domains) > 0 {
		name.Domain = c.Domains[0]
	}
	return name.Key()
}

// Plugin is how a store is reached.
type Plugin struct {
	// Backend is the store's code: a *host.Store, which has the methods of every capability.
	Backend backends.Store
	// Description gives what the backend has said of itself last; nil: it has never done so. It does
	// not wait for anything. Another process of the plugin has another pointer.
	Description func() *backends.Description
	// Settings are those of the backend, as JSON. What its description calls a secret there does not stand
	// in what the store says.
	Settings []byte
}

// Store is a store at one moment: what is configured for it, and what its plugin can do. It does
// not change; [Store.Now] is the same store later.
//
// The plugin's description decides which of the capabilities are nil. A store that has never
// described itself may have all of them, so none is nil: a call to it fails as a temporary failure
// (4xx, [SYS/TEMP]) unless the plugin is ready in time. So nil always means that the store does not
// have the capability, and may be answered for good.
type Store struct {
	Config
	// Known says that the store has described itself.
	Known bool
	// Description is what the store has said of itself; zero while it is not Known.
	Description backends.Description

	Reader        backends.Reader
	Receiver      backends.Receiver
	Sender        backends.Sender
	Outbox        backends.Outbox
	Authenticator backends.Authenticator
	SendRights    backends.SendRights

	base  base
	place *place
}

// base is what every store has.
type base interface {
	Health(ctx context.Context) error
	Login(ctx context.Context, credential backends.Credential) (backends.Account, error)
}

// Login verifies a credential, see [backends.Store].
func (s *Store) Login(ctx context.Context, credential backends.Credential) (backends.Account, error) {
	return s.base.Login(ctx, credential)
}

// Health asks whether the store can be used now, see [backends.Store].
func (s *Store) Health(ctx context.Context) error { return s.base.Health(ctx) }

// Now is the store as its plugin is now. Whoever keeps a store for longer than one step of a
// protocol asks again.
func (s *Store) Now() *Store { return s.place.store() }

// Ready is the store once it has described itself, where it has not and its plugin is being started: that is waited for, a moment. What
// has not come of it by then is told by Known, as ever. A nil store is none.
func (s *Store) Ready(ctx context.Context) *Store {
	if s == nil || s.Known {
		return s
	}
	if _, err := s.place.plugin.Backend.Describe(ctx); err != nil {
		return s
	}
	return s.Now()
}

// Takes says whether the store accepts a kind of credential. One that names none takes passwords,
// and so does one that is not known yet: its clients are told of the outage when they send one.
func (s *Store) Takes(kind backends.CredentialKind) bool {
	if len(s.Description.Credentials) == 0 {
		return kind == backends.CredentialPassword
	}
	return slices.Contains(s.Description.Credentials, kind)
}

// Conducts says whether the store conducts the exchanges of a SASL mechanism.
func (s *Store) Conducts(mechanism string) bool {
	return s.Authenticator != nil &&
		slices.ContainsFunc(s.Description.Mechanisms, func(m string) bool { return strings.EqualFold(m, mechanism) })
}

// newStore joins what is configured and what a backend has said, if it has.
func newStore(p *place, said *backends.Description) *Store {
	s := &Store{Config: p.config, base: p.plugin.Backend, place: p}
	s.Reader, _ = p.plugin.Backend.(backends.Reader)
	s.Receiver, _ = p.plugin.Backend.(backends.Receiver)
	s.Sender, _ = p.plugin.Backend.(backends.Sender)
	s.Outbox, _ = p.plugin.Backend.(backends.Outbox)
	s.Authenticator, _ = p.plugin.Backend.(backends.Authenticator)
	s.SendRights, _ = p.plugin.Backend.(backends.SendRights)
	if said != nil {
		s.Known, s.Description = true, *said
		s.restrict(said.Capabilities)
	}
	s.observe(p.middleware, secretsOf(p.plugin.Settings, s.Description.Settings))
	return s
}

// restrict takes away what the plugin does not have. A nil interface is left, and no interface that
// holds nil.
func (s *Store) restrict(has backends.Capabilities) {
	if !has.Reader {
		s.Reader = nil
	}
	if !has.Receiver {
		s.Receiver = nil
	}
	if !has.Sender {
		s.Sender = nil
	}
	if !has.Outbox {
		s.Outbox = nil
	}
	if !has.Authenticator {
		s.Authenticator = nil
	}
	if !has.SendRights {
		s.SendRights = nil
	}
}
