package signin

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
)

// Lockout keeps a directory from locking accounts: of a user so many passwords go to the servers that share it that these refuse, and no
// more. Passwords are kept as hashes under a key that lives in this process alone.
type Lockout struct {
	attempts int // 0: any number
	within   time.Duration
	key      [sha256.Size]byte

	mu    sync.Mutex
	users map[string]*attempted
}

// NewLockout makes one: so many attempts count within so long. No attempts: any number may be made.
func NewLockout(attempts int, within time.Duration) *Lockout {
	a := &Lockout{attempts: attempts, within: within, users: make(map[string]*attempted)}
	_, _ = rand.Read(a.key[:]) // it does not fail
	return a
}

// attempted is what was tried of one user.
type attempted struct {
	refused []refused
	good    secretSum
	pending int
	changed chan struct{} // closed when one of those that are pending is decided
}

type secretSum [sha256.Size]byte

type refused struct {
	at  time.Time
	sum secretSum
}

// usersMost bounds how many users are remembered.
const usersMost = 10_000

// outcome is what became of an attempt.
type outcome uint8

const (
	undecided outcome = iota
	taken
	turnedDown
)

// begin waits until a password may be tried, and says why it may not. end has to be called with what became of it. A password
// that was refused lately is not tried again, and one that was good last always is.
func (a *Lockout) begin(ctx context.Context, c Credential) (end func(outcome), err error) {
	if a.attempts == 0 || c.Password == "" {
		return func(outcome) {}, nil
	}
	mac := hmac.New(sha256.New, a.key[:])
	mac.Write([]byte(c.Password))
	sum := secretSum(mac.Sum(nil))
	for {
		wait, err := a.try(c.User, sum)
		if err != nil {
			return nil, err
		}
		if wait == nil {
			return func(o outcome) { a.end(c.User, sum, o) }, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// try takes a turn; or returns what to wait for, or why there is none.
func (a *Lockout) try(user string, sum secretSum) (wait chan struct{}, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.user(user)
	now := time.Now()
	u.refused = slices.DeleteFunc(u.refused, func(r refused) bool { return now.Sub(r.at) >= a.within })
	for _, r := range u.refused {
		if r.sum == sum {
			left := a.within - now.Sub(r.at)
			return nil, backends.Fail(backends.BadCredentials, "the server has refused this password %s ago: it is not sent again for %s, "+
				"as accounts are locked for that (\"lockout\")", now.Sub(r.at).Round(time.Second), left.Round(time.Second))
		}
	}
	switch {
	case u.good == sum:
	case len(u.refused) >= a.attempts:
		left := a.within - now.Sub(u.refused[0].at)
		return nil, backends.Fail(backends.Throttled, "the server has refused %d passwords of this user within %s: no other is sent for %s, "+
			"as accounts are locked for that (\"lockout\")", len(u.refused), a.within, left.Round(time.Second)).After(left)
	case len(u.refused)+u.pending >= a.attempts:
		return u.changed, nil
	}
	u.pending++
	return nil, nil
}

// end notes what became of an attempt. A login that was good resets the count, as it does a directory's.
func (a *Lockout) end(user string, sum secretSum, o outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.user(user)
	u.pending--
	close(u.changed)
	u.changed = make(chan struct{})
	switch o {
	case taken:
		u.refused, u.good = nil, sum
	case turnedDown:
		u.refused = append(u.refused, refused{time.Now(), sum})
		if u.good == sum {
			u.good = secretSum{}
		}
	}
}

// user finds what was tried of a user, or begins it. Where there are too many, some that nothing is pending of are forgotten: those of
// whom nothing was refused, if that is enough.
func (a *Lockout) user(name string) *attempted {
	name = fold.Lower(name)
	u := a.users[name]
	if u != nil {
		return u
	}
	for _, all := range []bool{false, true} {
		for other, one := range a.users {
			if len(a.users) < usersMost {
				break
			}
			if one.pending == 0 && (all || len(one.refused) == 0) {
				delete(a.users, other)
			}
		}
	}
	u = &attempted{changed: make(chan struct{})}
	a.users[name] = u
	return u
}
