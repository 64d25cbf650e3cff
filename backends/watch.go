package backends

import "context"

// Watcher is a store that tells what has changed behind the gateway's back, so that nothing that is
// remembered outlives it.
type Watcher interface {
	// Watch calls tell for each change that the store learns of, one at a time, until ctx ends or
	// the store cannot tell any more, which is an error. Changes before the call, or between two
	// calls, are not told. A hint is a reason to ask again, and nothing more.
	Watch(ctx context.Context, tell func(Hint)) error
}

// Hint says that something has changed.
type Hint struct {
	Kind HintKind
	// Account is the [Account.ID] that it concerns; empty: any account of the store.
	Account string
}

// HintKind is what has changed.
type HintKind uint8

// The kinds of hints. The numbers are on the wire; one that is not known counts as HintAny.
const (
	HintAny         HintKind = 0 // anything may have
	HintNewMail     HintKind = 1 // mail has come into the account's inbox
	HintCredentials HintKind = 2 // the password, or the rights
	HintAccount     HintKind = 3 // the account was disabled, moved or removed, or is back
)

// String names the kind for logs.
func (k HintKind) String() string {
	switch k {
	case HintNewMail:
		return "new mail"
	case HintCredentials:
		return "credentials"
	case HintAccount:
		return "account"
	}
	return "any"
}
