package collect

import (
	"context"
	"errors"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/pop3client"
)

// The kinds of failure of a run, as administrators see them.
const (
	kindLogin  = "login"  // the server refuses user, password or token
	kindInUse  = "in-use" // somebody else has the mailbox open
	kindLater  = "later"  // the server wants to be left alone for a while
	kindServer = "server" // it cannot be reached, or does not do what it should
	kindStore  = "store"  // the mail cannot be handed to its recipients now
	kindState  = "state"  // the gateway cannot write down what it does
)

// failure is why a run, or a session of it, has failed.
type failure struct {
	kind  string
	sure  bool          // kindLogin: the server has said that it is the credential
	after time.Duration // when the server wants to be asked again; 0: not said
	err   error
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// kindOf is the kind of any failure.
func kindOf(err error) string {
	if f, is := errors.AsType[*failure](err); is {
		return f.kind
	}
	return kindServer
}

// refusedLogin judges what a POP3 server says to a login (RFC 2449 §8.1, RFC 3206).
func refusedLogin(err error) error {
	reply, is := errors.AsType[*pop3client.ReplyError](err)
	if !is {
		return err
	}
	switch reply.Code {
	case "IN-USE":
		return &failure{kind: kindInUse, err: err}
	case "LOGIN-DELAY":
		return &failure{kind: kindLater, err: err}
	case "SYS/TEMP":
		return &failure{kind: kindServer, err: err}
	case "AUTH", "SYS/PERM":
		return &failure{kind: kindLogin, sure: true, err: err}
	}
	return &failure{kind: kindLogin, err: err} // an outage is told so, too, by servers without codes
}

// ofStore judges what a mail store says that is collected from.
func ofStore(err error) error {
	f := backends.AsFailure(err)
	if f == nil {
		return nil
	}
	switch f.Kind {
	case backends.BadCredentials, backends.AccountDisabled, backends.PasswordExpired, backends.Permanent:
		return &failure{kind: kindLogin, sure: true, err: err}
	case backends.InUse:
		return &failure{kind: kindInUse, err: err}
	case backends.Throttled:
		return &failure{kind: kindLater, after: f.RetryAfter, err: err}
	}
	return &failure{kind: kindServer, after: f.RetryAfter, err: err}
}

const (
	pauseLeast = time.Minute
	pauseMost  = time.Hour
	// blockedFor is how long an account is left alone whose login is refused: servers lock accounts after some refusals.
	blockedFor = 24 * time.Hour
	// guessesMost is how many refusals there may be that may mean something else.
	guessesMost = 3
)

// backOff says for how long an account is left alone after so many failures in a row, and whether it is so until its
// configuration changes.
func backOff(err error, failures int) (pause time.Duration, blocked bool) {
	f, is := errors.AsType[*failure](err)
	if !is {
		f = &failure{kind: kindServer}
	}
	if f.kind == kindLogin {
		if f.sure || failures >= guessesMost {
			return blockedFor, true
		}
		return doubled(15*time.Minute, failures, pauseMost), false
	}
	return max(f.after, doubled(pauseLeast, failures, pauseMost)), false
}

// doubled is a first pause, doubled for each failure after the first one.
func doubled(first time.Duration, failures int, most time.Duration) time.Duration {
	for ; failures > 1 && first < most; failures-- {
		first *= 2
	}
	return min(first, most)
}

const (
	asideLeast = time.Minute
	asideMost  = 6 * time.Hour
	// refusedLeast and refusedMost are for what will not pass by itself.
	refusedLeast = time.Hour
	refusedMost  = 24 * time.Hour
)

// asideFor is for how long a message is set aside after so many tries.
func asideFor(passes bool, tries int64) time.Duration {
	n := int(min(tries, 64))
	if passes {
		return doubled(asideLeast, n, asideMost)
	}
	return doubled(refusedLeast, n, refusedMost)
}

// given says whether an error is the end of the run's own context.
func given(ctx context.Context) bool { return ctx.Err() != nil }
