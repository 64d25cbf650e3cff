// Package vault is where a store, a route or an account that is collected keeps small things that all gateways on one state
// have to know, and have to know at once: an access token that one of them has got, a refresh token that took the
// place of another.
//
//	entry, err := v.Get(ctx, "login")
//	…
//	lease, err := v.Lease(ctx, "login", 15*time.Second)
//	if lease.ID == "" { … }                     // somebody else is about to put another one: look again soon
//	…                                           // get another one
//	stored, err := v.Put(ctx, "login", vault.Change{Value: sealed, Version: lease.Version, Lease: lease.ID})
//	if !stored { … }                            // somebody has put one meanwhile, which counts
//
// Whoever puts a secret encrypts it first, with a key that is not in the vault: what is put stands in the state's database
// as it is, and in its backups. Names are one's own: nobody reads what another store has.
package vault

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Bounds of what is kept.
const (
	NameMost    = 100             // octets of a name
	ValueMost   = 64 << 10        // octets of a value
	EntriesMost = 8192            // entries of one store
	OctetsMost  = 16 << 20        // octets of the values of one store; those that are there may grow by ValueMost beyond it
	LeaseMost   = 5 * time.Minute // for how long a lease may be asked for
)

// Vault keeps entries by their names. Its methods may be called from any goroutine. Errors are for what may pass, or what is
// beyond the bounds: that there is no entry is none.
type Vault interface {
	// Get is the entry with a name.
	Get(ctx context.Context, name string) (Entry, error)
	// Lease is to make the caller the only one who gets another value for an entry, which there need not be yet. It ends with
	// a Put or a Release that names it, or after its life, by the clock of the state: who ends without a word keeps nobody waiting for
	// longer. It keeps nobody from a Put.
	Lease(ctx context.Context, name string, life time.Duration) (Lease, error)
	// Put changes an entry, unless another Put has done so since its version was read: stored is false then. An entry
	// that is stored outlasts a loss of power.
	Put(ctx context.Context, name string, change Change) (stored bool, err error)
	// Release ends a lease without a Put. One that is over already is no error.
	Release(ctx context.Context, name, lease string) error
}

// Abandoner is a vault in which a lease can be ended whose holder is known to have died: nobody waits until it runs out, and the next
// one is told that it was abandoned. A lease that is over already is no error.
type Abandoner interface {
	Abandon(ctx context.Context, name, lease string) error
}

// Extender is a vault in which a lease can be made to last longer. So it can be short: who ends without a word keeps nobody waiting for
// long.
type Extender interface {
	// Extend has a lease last for another life from now on. It is not held any more where it was over, and somebody else has taken
	// one since, or something was put with it.
	Extend(ctx context.Context, name, lease string, life time.Duration) (held bool, err error)
}

// Entry is what a vault has under a name.
type Entry struct {
	Value   []byte        // nil: there is nothing
	Version int64         // another, higher one after each Put; 0: there was none
	Age     time.Duration // since it was put, by the clock of the state, which all gateways share; below 0 where that was set back
}

// Lease is an entry as it was when a lease was asked for.
type Lease struct {
	Entry
	ID string // empty: somebody else has the lease
	// Abandoned says that whoever had it before has neither put anything nor given it back.
	Abandoned bool
}

// Change is what a Put puts.
type Change struct {
	Value   []byte
	Version int64         // of the entry that it takes the place of
	Keep    time.Duration // after which the entry is worth nothing, and goes by itself; 0: it stays
	Lease   string        // which ends with it; empty: none
}

var (
	errName  = errors.New("a name in the vault has 1 to 100 of a-z, 0-9, '.' and '-'")
	errValue = errors.New("a value in the vault has 1 octet to 64 KiB")
	errLife  = errors.New("a lease in the vault lasts up to 5 minutes")
	errKeep  = errors.New("a time to keep a value in the vault is not negative")
)

// Room is how many octets the values of one store may have once one of them has been put in the place of another, of so many octets. One
// that is there has some room in any case: the next refresh token may be a little longer, and the one before it is void.
func Room(before int) int {
	if before > 0 {
		return OctetsMost + ValueMost
	}
	return OctetsMost
}

// CheckName says what is wrong with a name.
func CheckName(name string) error {
	if name == "" || len(name) > NameMost || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
		return errName
	}
	return nil
}

// CheckLife says what is wrong with how long a lease is to last.
func CheckLife(life time.Duration) error {
	if life <= 0 || life > LeaseMost {
		return errLife
	}
	return nil
}

// Check says what is wrong with a change.
func (c Change) Check() error {
	switch {
	case len(c.Value) == 0 || len(c.Value) > ValueMost:
		return errValue
	case c.Keep < 0:
		return errKeep
	}
	return nil
}
