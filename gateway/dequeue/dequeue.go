package dequeue

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/spool"
)

// Spool is where mail waits: a [*spool.Spool].
type Spool interface {
	// Waits says whether a destination has mail that may be tried.
	Waits(ctx context.Context, destination string) (bool, error)
	// Destinations are a page of those that may have such mail.
	Destinations(ctx context.Context, after string, most int) ([]string, error)
	// Retry has a page of recipients tried now.
	Retry(ctx context.Context, f spool.Filter, from spool.Place) (spool.Handled, error)
}

// Options are what a [Dequeuer] is made of. All are needed.
type Options struct {
	Log    zerolog.Logger
	Spool  Spool
	Routes func() *route.Table
	// Leaves says whether mail leaves at all now.
	Leaves func() bool
}

// Dequeuer starts mail on its way. It is made with [New]; all listeners share one.
type Dequeuer struct {
	o    Options
	base context.Context //nolint:containedctx // it is as long as the dequeuer
	end  context.CancelFunc
	work sync.WaitGroup
	room chan struct{} // a token for each that is worked on

	mu      sync.Mutex
	closed  bool
	started map[question]time.Time
	asked   map[string]int // what each client has asked for in the minute that began at minute, by its cost
	minute  time.Time
}

// question is what one client has asked for.
type question struct {
	wanted route.Wanted
	client string
}

// What asking may cost.
const (
	atOnce     = 4                // questions that are worked on
	askAgain   = 10 * time.Second // the same question, which has started something, does nothing before
	perMinute  = 1000             // questions of one client: as many as it may have domains
	looksCost  = 16               // of those, for one that looks through all destinations
	remembered = 10_000           // clients and questions that are remembered
	stepsMost  = 5                // steps of some hundred recipients before the reply
	pageMost   = 1000             // destinations that are read at once
)

// The failures that a client is told.
var (
	// ErrNotAllowed says that the client may not ask for that, or that there is no such thing: it is not to know which.
	ErrNotAllowed = errors.New("not one of those that may ask for this mail")
	// ErrBusy says that the client, or all of them together, ask too often.
	ErrBusy = errors.New("too many questions at a time: ask again in a minute")
	// ErrKept says that no mail leaves now.
	ErrKept = errors.New("no mail leaves at the moment")
)

// New makes a dequeuer.
func New(o Options) *Dequeuer {
	d := &Dequeuer{o: o, room: make(chan struct{}, atOnce), started: make(map[question]time.Time), asked: make(map[string]int)}
	d.base, d.end = context.WithCancel(context.Background())
	return d
}

// Close ends what goes on behind replies. What was not reached waits until it is asked for again.
func (d *Dequeuer) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.end()
	d.work.Wait()
}

// Exists says whether mail of some route can be asked for, and Logins whether some account may ask.
func (d *Dequeuer) Exists() (exists, logins bool) {
	for _, r := range d.o.Routes().Routes() {
		exists = exists || r.Askers.Any()
		logins = logins || len(r.Askers.Accounts) > 0
	}
	return exists, logins
}

// May says whether a client may ask for the mail of some route.
func (d *Dequeuer) May(who route.Asker) bool {
	for _, r := range d.o.Routes().Routes() {
		if r.Askers.Has(who) {
			return true
		}
	}
	return false
}

// Started is what was started.
type Started struct {
	Messages int  // that have waited
	More     bool // there are more: they are not counted, and started by and by
	Already  bool // the same was asked for a moment ago
}

// Start has what waits tried now, as far as the client may ask for it.
func (d *Dequeuer) Start(ctx context.Context, w route.Wanted, who route.Asker) (done Started, err error) {
	table := d.o.Routes()
	if !table.MayAsk(w, who) {
		return done, ErrNotAllowed
	}
	if !d.o.Leaves() {
		return done, ErrKept
	}
	asked := question{w, clientOf(who)}
	if done.Already, err = d.admit(asked, time.Now()); done.Already || err != nil {
		return done, err
	}
	select {
	case d.room <- struct{}{}:
	default:
		d.forget(asked)
		return done, ErrBusy
	}
	r := newRun(d.o.Spool, table, w, who)
	more, err := r.steps(ctx, stepsMost)
	done = Started{Messages: len(r.messages), More: more} // what goes on has the run
	if !more || err != nil || !d.goOn(asked, r) {
		<-d.room
	}
	if err != nil {
		d.forget(asked)
		return Started{}, err
	}
	if done == (Started{}) {
		d.forget(asked) // what comes now is not said to be started
	}
	d.o.Log.Info().Str("node", nodeOf(w)).Str("remote", who.Address.String()).Str(events.Account, who.Account).Int("messages", done.Messages).Bool("more", done.More).
		Msg("mail that waited was asked for")
	return done, nil
}

// goOn has the rest of a run done behind the reply. It gives the token back then.
func (d *Dequeuer) goOn(asked question, r *run) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.work.Go(func() {
		defer func() { <-d.room }()
		for more := true; more; {
			var err error
			if more, err = r.steps(d.base, stepsMost); err != nil {
				if d.base.Err() == nil {
					d.o.Log.Error().Err(err).Str("node", nodeOf(asked.wanted)).Msg("some of the mail that was asked for was not started: it waits until it is asked for again")
				}
				d.forget(asked)
				return
			}
			d.renew(asked)
		}
	})
	return true
}

// admit says whether a question was answered a moment ago, or a client asks too often.
func (d *Dequeuer) admit(q question, now time.Time) (already bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, known := d.started[q]; known && now.Sub(at) < askAgain && !now.Before(at) {
		return true, nil
	}
	if now.Sub(d.minute) >= time.Minute || now.Before(d.minute) || len(d.asked) >= remembered {
		d.minute = now
		clear(d.asked)
	}
	if d.asked[q.client] >= perMinute {
		return false, ErrBusy
	}
	if len(d.started) >= remembered {
		clear(d.started)
	}
	d.asked[q.client] += costOf(q.wanted)
	d.started[q] = now
	return false, nil
}

// renew has a question that is worked on count as one of this moment.
func (d *Dequeuer) renew(q question) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.started[q]; known {
		d.started[q] = time.Now()
	}
}

// costOf is how many questions one counts for.
func costOf(w route.Wanted) int {
	if looksFor(w) {
		return looksCost
	}
	return 1
}

// forget has a question asked again at once that was not answered, or has started nothing.
func (d *Dequeuer) forget(q question) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.started, q)
}

// clientOf is who is counted as one client: an account, or an address (of IPv6 a /64).
func clientOf(who route.Asker) string {
	bits := 64
	if who.Address.Is4() {
		bits = 32
	}
	network, _ := who.Address.Prefix(bits) // none: an address that is none
	return cmp.Or(who.Account, cmp.Or(network, netip.Prefix{}).String())
}

// nodeOf is what is wanted, as ETRN has it.
func nodeOf(w route.Wanted) string {
	switch {
	case w.Route != "":
		return "#" + w.Route
	case w.Below:
		return "@" + w.Domain
	}
	return w.Domain
}
