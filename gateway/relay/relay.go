package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/relay/mx"
	"github.com/dipylon/dipylon/gateway/reports"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Resolver finds the hosts of a domain; see [mx.Resolver].
type Resolver interface {
	Hosts(ctx context.Context, domain string, isOurs func(mx.Host) bool) ([]mx.Host, error)
}

// Relay takes mail out of the queue. Queue, Routes, Resolver and Hostname are required, and Stores where routes lead to
// some; the others have defaults, given in brackets. They are not changed once Run was called.
type Relay struct {
	Log      zerolog.Logger
	Queue    Queue
	Routes   Routes
	Resolver Resolver
	// Stores gives a store by its name, as it is now; nil: there is none.
	Stores func(name string) *stores.Store
	// Hostname is what the gateway calls itself to servers and in reports. A host of that name is itself.
	Hostname string
	// IsOurs says whether a host is this gateway by another name, or by its addresses [by Hostname alone].
	IsOurs func(mx.Host) bool
	// TLS is what connections to other servers have in common: authorities, versions [the system's, 1.2].
	TLS *tls.Config
	// Dial opens connections [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// RaceDelay is how long a connection to one address of a host may take before the next address is tried beside it
	// [250 ms, as RFC 8305 §8 has it].
	RaceDelay time.Duration
	// Timeouts bound each wait [RFC 5321 §4.5.3.2].
	Timeouts smtpclient.Timeouts

	// Limits are for each destination whose route has none of its own.
	Limits Limits
	// Connections is how many there are in all [200]; Destinations, how many are worked on at once [1,000]. Hosts that
	// DNS names get three quarters of each at the most, as anybody can have them be slow.
	Connections, Destinations int
	Schedules                 Schedules
	// Reports is what reports are like, as it is now [that of the zero value].
	Reports func() reports.Settings
	// Buffers are where reports are made [those of buffer.Options].
	Buffers buffer.Options
	TempDir string // for content that a server has to be sent twice
	// Grace is how long the messages that are under way when Run is to end have [none].
	Grace time.Duration
	// Gate keeps some mail in the queue [none].
	Gate *Gate
	// Opening opens TNEF before stores get a message [it stays as it is].
	Opening *receivers.Opening
	// Asked is when somebody has last asked for the mail of a destination that waits for that ([Route.Asked]), by Now [nobody has].
	Asked func(ctx context.Context, destination string) (time.Time, error)
	// Quota counts the recipients of a day, where they are bounded [nobody does, and they are not].
	Quota Quota
	// Cut ends the grace before its time; nil: nothing does.
	Cut     context.Context  //nolint:containedctx // it is as long as the relay
	Now     func() time.Time // [time.Now]
	Observe func(Event)      // told of each event, from any goroutine [nobody]
	// DeviceFailed is told, in words, of a recipient whom a device's message was refused for [nobody].
	DeviceFailed func(device, what string)

	placesMX *places // for connections to hosts that DNS names
	places   *places // for all others
	avoided  avoidance
	backoffs backoffs
	commons  commons
	ending   context.Context // ends when nothing may be written down any more

	mu     sync.Mutex
	active map[string]*destination
	rates  map[string]*rate // of those destinations that have one
	room   chan struct{}    // a token for each destination that is worked on
	roomMX chan struct{}    // and one more for each whose hosts DNS names
	work   sync.WaitGroup
}

func (r *Relay) setDefaults() {
	r.Limits = r.Limits.or(defaultLimits)
	r.Schedules.setDefaults()
	r.backoffs.sweepFirst = min(sweepFirst, r.Schedules.Normal.Delay)
	r.Connections, r.Destinations = cmp.Or(r.Connections, 200), cmp.Or(r.Destinations, 1000)
	r.RaceDelay = cmp.Or(r.RaceDelay, 250*time.Millisecond)
	if r.Now == nil {
		r.Now = time.Now
	}
	if r.Dial == nil {
		r.Dial = new(net.Dialer).DialContext
	}
	r.placesMX, r.places = newPlaces(max(r.Connections-r.Connections/4, 1)), newPlaces(max(r.Connections/4, 1))
	r.active, r.rates = make(map[string]*destination), make(map[string]*rate)
	r.room, r.roomMX = make(chan struct{}, r.Destinations), make(chan struct{}, max(r.Destinations-r.Destinations/4, 1))
}

// writingMost is how long, after the grace, what became of the last messages may take to be written down.
const writingMost = 10 * time.Second

// Run delivers mail until the context ends, and then finishes the messages that are under way. It is called once.
func (r *Relay) Run(ctx context.Context) {
	r.setDefaults()
	delivering, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	ending, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	r.ending = ending
	var cutNow <-chan struct{}
	if r.Cut != nil {
		cutNow = r.Cut.Done()
	}
	stop := context.AfterFunc(ctx, func() {
		grace := time.NewTimer(r.Grace)
		defer grace.Stop()
		select {
		case <-grace.C:
		case <-cutNow:
		case <-ending.Done():
			return
		}
		cut()
		if pause.For(ending, writingMost) {
			end()
		}
	})
	defer stop()
	r.take(ctx, delivering)
	r.work.Wait()
}

// take takes destinations as they become ready.
func (r *Relay) take(ctx, delivering context.Context) {
	for {
		select {
		case r.room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		name, err := r.Queue.Ready(ctx)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				r.Queue.Done(name, time.Time{})
			}
			return
		case err != nil:
			<-r.room
			r.Log.Error().Err(err).Msg("the queue does not say what is due")
			if !pause.For(ctx, time.Second) {
				return
			}
		default:
			r.give(ctx, delivering, name)
		}
	}
}

// give has a destination worked on that the queue has given out. The caller has taken a token of room.
func (r *Relay) give(ctx, delivering context.Context, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.active[name]; d != nil {
		d.given <- struct{}{} // there is never more than one
		<-r.room
		return
	}
	d := newDestination(ctx, delivering, r, name)
	d.given <- struct{}{}
	r.active[name] = d
	r.work.Go(d.run)
}

// over forgets a destination that has nothing to do, unless it was given out again meanwhile.
func (r *Relay) over(d *destination) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(d.given) > 0 {
		return false
	}
	delete(r.active, d.name)
	<-r.room
	return true
}

// limits are those of a route.
func (r *Relay) limits(route Route) Limits { return route.Limits.or(r.Limits) }

// rateOf is what a destination has left of its messages a minute, whoever has worked on it before.
func (r *Relay) rateOf(name string, limits Limits) *rate {
	now := r.Now()
	if limits.PerMinute <= 0 {
		return newRate(0, now)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.rates[name]
	if known == nil || known.perMinute != float64(limits.PerMinute) {
		known = newRate(limits.PerMinute, now)
	}
	if len(r.rates) >= ratesMost {
		forgetSome(r.rates)
	}
	r.rates[name] = known
	return known
}

// ratesMost bounds what is remembered: a destination that is forgotten begins with a whole minute's messages.
const ratesMost = 10_000

// backoffs are the destinations that have failed as a whole.
type backoffs struct {
	mu   sync.Mutex
	down map[string]backoff
	// sweepFirst is how long after the first failure the mail of a destination is looked through.
	sweepFirst time.Duration
}

type backoff struct {
	failures int
	until    time.Time
	owed     bool
	sweep    time.Time
}

// backoffsMost bounds what is remembered: of a destination that is forgotten the next failure is the first.
const backoffsMost = 10_000

// failed notes a failure, and says until when the destination is left alone, and whether its mail is to be looked
// through now for what has waited too long.
func (b *backoffs) failed(name string, wait func(failures int) time.Duration, now time.Time) (until time.Time, sweep bool) {
	now = now.Round(0) // by the clock of the queue, which knows until when only: it may have been set forward since
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.down[name]
	if now.Before(was.until) {
		return was.until, false // it is the same failure, seen by another connection
	}
	return b.leave(name, backoff{failures: was.failures + 1, until: now.Add(wait(was.failures)), sweep: was.sweep}, now)
}

// along notes that a destination is left alone with others, for what they have in common: it has not failed itself.
func (b *backoffs) along(name string, until, now time.Time) (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.down[name]
	return b.leave(name, backoff{failures: was.failures, until: until, sweep: was.sweep}, now.Round(0))
}

// leave notes a back-off. The lock is held.
func (b *backoffs) leave(name string, o backoff, now time.Time) (until time.Time, sweep bool) {
	if b.down == nil {
		b.down = make(map[string]backoff)
	}
	if len(b.down) >= backoffsMost {
		forgetSome(b.down)
	}
	if o.sweep.IsZero() {
		o.sweep = now.Add(b.sweepFirst)
	}
	b.down[name] = o
	return o.until, !now.Before(o.sweep)
}

// sweep notes when something of the mail has waited too long: when it is to be looked through, if it just was (swept), and otherwise at the
// latest.
func (b *backoffs) sweep(name string, next time.Time, swept bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if was, ok := b.down[name]; ok && (swept || next.Before(was.sweep)) {
		was.sweep = next
		b.down[name] = was
	}
}

// works forgets the failures.
func (b *backoffs) works(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.down, name)
}

// owe notes a back-off that the queue could not be told, as the destination was not given out.
func (b *backoffs) owe(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if was, ok := b.down[name]; ok {
		was.owed = true
		b.down[name] = was
	}
}

// owed is the back-off that the queue is still to be told; zero: none.
func (b *backoffs) owed(name string, now time.Time) (until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.down[name]
	if !was.owed {
		return time.Time{}
	}
	was.owed = false
	b.down[name] = was
	if now.Before(was.until) {
		until = was.until
	}
	return until
}

// LeftAlone is until when a destination is left alone, as it has failed as a whole, or waits for what it has in common with others that
// have. Zero, or past: it is not.
func (r *Relay) LeftAlone(destination string) time.Time {
	r.backoffs.mu.Lock()
	defer r.backoffs.mu.Unlock()
	return r.backoffs.down[destination].until
}

var errNoRoute = errors.New("the destination has no route")
