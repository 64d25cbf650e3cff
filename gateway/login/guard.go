package login

import (
	"context"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/events"
)

// Guard stands before every attempt to log in: it makes a guesser wait, holds each refusal
// until it tells nothing by its time, and writes the log line of the outcome. It may be used by
// any number of sessions at once; none waits for another.
type Guard struct {
	log      zerolog.Logger
	throttle Throttle
	floor    time.Duration
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
	return &Guard{log: o.Log, throttle: o.Throttle, floor: o.Floor}
}

// Attempt is who wants to log in.
type Attempt struct {
	Peer backends.Peer
	// Mechanism is PASS, APOP, or a SASL mechanism's name.
	Mechanism string
	// Name may become known while the attempt is verified.
	Name Name
	// Store is the store that the name belongs to; empty: none.
	Store string
	// Password is the id of the application password that was used; empty: none was.
	Password string
}

// Do makes an attempt by way of verify, whose error it returns: nil when the login was good.
// A verify that never asks a store (no such domain) takes as long as one that does. It may fill
// in what it finds out of the attempt, for the log.
func (g *Guard) Do(ctx context.Context, a *Attempt, verify func(context.Context) error) error {
	return g.step(ctx, a, true, func(ctx context.Context) (bool, error) { return true, verify(ctx) })
}

// step is one step of an attempt. The first one is admitted, and waits as the throttle says; the
// outcome of the one that is the last, by what it says itself or by an error, is reported.
func (g *Guard) step(ctx context.Context, a *Attempt, first bool, verify func(context.Context) (last bool, err error)) error {
	peer := peerAddr(a.Peer.Address)
	var wait time.Duration
	if first {
		var err error
		if wait, err = g.throttle.Admit(ctx, peer, a.Name.key()); err == nil {
			err = sleep(ctx, wait)
		}
		if err != nil {
			g.note(a, err, wait, 0)
			return err
		}
	}
	start := time.Now()
	last, err := verify(ctx)
	took := time.Since(start)
	if !last && err == nil {
		return nil
	}
	g.report(ctx, peer, a.Name.key(), err)
	g.note(a, err, wait, took)
	if refused(err) {
		// Rounded up to a whole number of floors. Where the client is gone already there is
		// nobody to hide from.
		_ = sleep(ctx, (took/g.floor+1)*g.floor-took)
	}
	return err
}

// refused says that a login was turned down by who may do that, as against an outage. A store may say
// that of a login about which the client is told something else.
func refused(err error) bool {
	switch backends.KindOf(err) {
	case backends.BadCredentials, backends.Permanent, backends.NotFound:
		return true
	}
	failure := backends.AsFailure(err)
	return failure != nil && failure.Guess
}

// busy says that the credentials were right, and that the maildrop cannot be opened all the same.
func busy(err error) bool { return backends.KindOf(err) == backends.InUse }

// report counts what the store has decided; an outage counts neither way.
func (g *Guard) report(ctx context.Context, peer netip.Addr, account string, err error) {
	good := err == nil || busy(err)
	if !good && !refused(err) {
		return
	}
	if e := g.throttle.Report(context.WithoutCancel(ctx), peer, account, good); e != nil {
		g.log.Warn().Err(e).Msg("the login throttle cannot count")
	}
}

// note writes the line of an attempt. What watches logs (config/fail2ban) looks for its fields,
// in this order: what a client can choose stands behind the address.
func (g *Guard) note(a *Attempt, err error, waited, took time.Duration) {
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
		Str(events.Session, a.Peer.Session).Str(events.Protocol, a.Peer.Protocol).Str(events.Remote, a.Peer.Address).
		Str(events.Outcome, outcome).Bool("tls", a.Peer.TLS).Str("mechanism", a.Mechanism).Str(events.User, a.Name.Raw).Str(events.Store, a.Store)
	if a.Password != "" {
		event.Str("password_id", a.Password)
	}
	event.Dur("waited_ms", waited).Dur(events.TookMS, took).AnErr("cause", err).Msg("login")
}

// sleep waits, and ends with the context.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// peerAddr is the address in "192.0.2.7:50123"; the zero Addr where there is none.
func peerAddr(hostport string) netip.Addr {
	ap, _ := netip.ParseAddrPort(hostport)
	return ap.Addr()
}
