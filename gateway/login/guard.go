package login

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Guard stands before every attempt to log in: it makes a guesser wait, holds each refusal
// until it tells nothing by its time, and writes the log line of the outcome. It may be used by
// any number of sessions at once; none waits for another.
type Guard struct {
	log      zerolog.Logger
	throttle Throttle
	floor    atomic.Int64 // a time.Duration
}

// GuardOptions are what a Guard is made of.
type GuardOptions struct {
	Log zerolog.Logger
	// Throttle defaults to a [MemoryThrottle] with its defaults.
	Throttle Throttle
	// Floor is how long a refusal takes at the least, 1 s by default. It should be longer
	// than the slowest store needs to check a password.
	Floor time.Duration
}

// NewGuard makes a guard. One is shared by all listeners.
func NewGuard(o GuardOptions) *Guard {
	if o.Throttle == nil {
		o.Throttle = NewMemoryThrottle(ThrottleLimits{})
	}
	defaultTo(&o.Floor, time.Second)
	g := &Guard{log: o.Log, throttle: o.Throttle}
	g.SetFloor(o.Floor)
	return g
}

// SetFloor puts another floor to use, above zero.
func (g *Guard) SetFloor(floor time.Duration) { g.floor.Store(int64(floor)) }

// Attempt is one attempt to log in.
type Attempt struct {
	Peer backends.Peer
	// Protocol is the listener's, for the log.
	Protocol string
	// Mechanism is PASS, or a SASL mechanism's name.
	Mechanism string
	// Name may become known while the attempt is verified.
	Name stores.Name
	// Store is the store that the name belongs to; empty: none.
	Store string
	// Password is the id of the application password that was used; empty: none was. Device is the device whose it is.
	Password string
	Device   string

	turn   Turn // once it has begun, until it has ended
	waited time.Duration
}

// proved notes that a password was shown that is right, whatever becomes of the attempt.
func (a *Attempt) proved() {
	if a.turn != nil {
		a.turn.Prove()
	}
}

// end gives the outcome of an attempt that has begun.
func (a *Attempt) end(outcome Outcome) {
	if a.turn != nil {
		a.turn.End(a.Name.Key(), outcome)
		a.turn = nil
	}
}

// Do makes an attempt by way of verify, whose error it returns: nil when the login was good.
// A verify that never asks a store (no such domain) takes as long as one that does. It may fill
// in what it finds out of the attempt, for the log.
func (g *Guard) Do(ctx context.Context, a *Attempt, verify func(context.Context) error) error {
	return g.step(ctx, a, true, func(ctx context.Context) (bool, error) { return true, verify(ctx) })
}

// Proved is Do for who is proved before it says anything: there is nothing to guess, so nobody waits, and any number may come
// at once.
func (g *Guard) Proved(ctx context.Context, a *Attempt, enter func(context.Context) error) error {
	start := time.Now()
	err := enter(ctx)
	g.note(a, err, time.Since(start))
	return err
}

// step is one step of an attempt. With the first one it begins, after having waited as the throttle
// says; it ends with the one that is the last, by what it says itself or by an error, or with
// [Guard.abandon].
func (g *Guard) step(ctx context.Context, a *Attempt, first bool, verify func(context.Context) (last bool, err error)) error {
	if first {
		arrived := time.Now()
		turn, err := g.throttle.Begin(ctx, peerAddr(a.Peer.Address), a.Name.Key())
		a.waited = time.Since(arrived)
		if err != nil {
			g.note(a, err, 0)
			return err
		}
		a.turn = turn
	}
	outcome := Unknown
	goesOn := false
	defer func() { // a panic, too, gives the turn back
		if !goesOn {
			a.end(outcome)
		}
	}()
	start := time.Now()
	last, err := verify(ctx)
	took := time.Since(start)
	if goesOn = !last && err == nil; goesOn {
		return nil
	}
	switch {
	case err == nil, busy(err):
		outcome = Good
	case refused(err):
		outcome = Wrong
	}
	a.end(outcome) // before anything that takes time
	g.note(a, err, took)
	if refused(err) {
		// Rounded up to a whole number of floors. Where the client is gone already there is
		// nobody to hide from.
		floor := time.Duration(g.floor.Load())
		pause.For(ctx, (took/floor+1)*floor-took)
	}
	return err
}

// abandon ends an attempt that nobody goes on with.
func (g *Guard) abandon(a *Attempt) { a.end(Unknown) }

// refused says that a login was turned down by who may do that, as against an outage. A store may say
// that of a login about which the client is told something else.
func refused(err error) bool {
	switch backends.KindOf(err) {
	case backends.BadCredentials, backends.Permanent, backends.NotFound, backends.AccountDisabled, backends.PasswordExpired, backends.MailboxMoved:
		return true
	}
	failure := backends.AsFailure(err)
	return failure != nil && failure.Guess
}

// busy says that the credentials were right, and that the maildrop cannot be opened all the same.
func busy(err error) bool { return backends.KindOf(err) == backends.InUse }

// note writes the line of an attempt. What watches logs (config/fail2ban) looks for its fields,
// in this order: what a client can choose stands behind the address.
func (g *Guard) note(a *Attempt, err error, took time.Duration) {
	event := g.log.Info()
	outcome := "accepted"
	switch {
	case backends.KindOf(err) == backends.Throttled:
		outcome = "throttled"
	case busy(err):
		outcome = "busy"
	case refused(err):
		outcome = "refused"
	case err != nil:
		event, outcome = g.log.Warn(), "failed"
	}
	event.Str(events.Event, events.Login).
		Str(events.Session, a.Peer.Session).Str(events.Protocol, a.Protocol).Str(events.Remote, a.Peer.Address).
		Str(events.Outcome, outcome).Bool("tls", a.Peer.TLS).Str("mechanism", a.Mechanism).Str(events.User, a.Name.Raw).Str(events.Store, a.Store)
	if a.Password != "" {
		event.Str("password_id", a.Password)
	}
	if a.Device != "" {
		event.Str(events.Device, a.Device)
	}
	event.Dur("waited_ms", a.waited).Dur(events.TookMS, took).AnErr("cause", err).Msg("login")
}

// peerAddr is the address in "192.0.2.7:50123"; the zero Addr where there is none.
func peerAddr(hostport string) netip.Addr {
	ap, _ := netip.ParseAddrPort(hostport)
	return ap.Addr()
}
