package relay

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// destination is the work on one destination, from when the queue gives it out until it has nothing left to do. One
// goroutine, [destination.run], owns it; those that have connections tell it what happens to them.
type destination struct {
	r    *Relay
	name string
	// stopping ends when nothing more is begun, delivering when what is under way is cut off.
	stopping, delivering context.Context
	given                chan struct{} // the queue has given it out (again)
	jobs                 chan Claimed
	reports              chan report
	answered             atomic.Bool // a connection has come about

	route       Route
	limits      Limits
	perDay      int     // the bound of the recipients of a day, as it was read last
	places      *places // for its connections
	window      *window
	rate        *rate
	out         bool // given out: there may be more to claim
	backlog     []Claimed
	connections int  // that there are, or that are being opened
	leaving     int  // those of them that were told to end
	busy        int  // those of them that have a message
	open        int  // those of them that are up
	row         int  // connections that were lost in a row, each with a message of its own
	putOff      int  // messages in a row of which nobody's copy was taken, for too much
	probing     bool // it tries, with one message at a time, whether what it has in common with others works again
}

// report is what a connection tells its destination.
type report struct {
	kind reportKind
	c    Claimed
	v    verdict
	stay chan bool // of done, lost and brokenOff: whether the connection goes on
	up   bool      // likewise: there is one
	told bool      // of ended: it was told that it does not
}

type reportKind uint8

const (
	opened    reportKind = iota + 1
	closed               // one that was open
	done                 // a message is finished: v is the worst that became of it
	lost                 // like done: a message has cost connections, and nobody has it
	brokenOff            // like done: it was the gateway that did not end the message, which says nothing of the destination
	untried              // like done: it was settled without the next hop, which says nothing of the destination
	heldBack             // c is returned: what the destination has in common with others is down. The goroutine ends
	unopened             // no connection came about: c is returned, v says why, and the goroutine ends
	ended                // the goroutine ends
)

func newDestination(stopping, delivering context.Context, r *Relay, name string) *destination {
	return &destination{
		r: r, name: name, stopping: stopping, delivering: delivering,
		given: make(chan struct{}, 1), jobs: make(chan Claimed), reports: make(chan report),
	}
}

// run works until there is nothing to do.
func (d *destination) run() {
	if !d.begin() {
		return
	}
	defer d.leave()
	stopping := d.stopping.Done()
	for {
		d.waitsForCommon()
		d.claim()
		d.grow()
		if d.connections == 0 && len(d.backlog) == 0 {
			d.r.commons.leaves(d.route.Common, d.name) // before it may be begun anew, under the same name
			if d.r.over(d) {
				return
			}
		}
		jobs, next := chan<- Claimed(nil), Claimed{}
		if len(d.backlog) > 0 {
			jobs, next = d.jobs, d.backlog[0]
		}
		select {
		case jobs <- next:
			d.backlog = d.backlog[1:]
			d.busy++
		case r := <-d.reports:
			d.told(r)
		case <-d.given:
			d.isGiven()
		case <-stopping:
			stopping = nil
			d.stop()
		}
	}
}

// begin finds out where the destination is.
func (d *destination) begin() bool {
	route, err := d.r.Routes.Route(d.name)
	d.route, d.limits = route, d.r.limits(route)
	d.window, d.rate = newWindow(d.limits.Connections), d.r.rateOf(d.name, d.limits)
	if err == nil {
		return d.admit()
	}
	v := delayed("4.3.5", errors.Join(errNoRoute, err)) // RFC 3463 §3.4: system incorrectly configured
	for {
		<-d.given
		if d.out = true; !d.kept() {
			d.die(v, d.claimUpTo(sweepMost))
		}
		if d.r.over(d) {
			return false
		}
	}
}

// roomAgain is when a destination is asked for again for which there was no room.
const roomAgain = 10 * time.Second

// admit keeps room for what is named: a destination whose hosts DNS names goes back to the queue where there are too
// many of them.
func (d *destination) admit() bool {
	if d.places = d.r.places; d.route.Kind != MX {
		return true
	}
	d.places = d.r.placesMX
	for {
		select {
		case d.r.roomMX <- struct{}{}:
			return true
		default:
		}
		<-d.given
		if d.giveOut(d.r.Now().Add(roomAgain)); d.r.over(d) {
			return false
		}
	}
}

// leave gives the room back.
func (d *destination) leave() {
	if d.route.Kind == MX {
		<-d.r.roomMX
	}
}

func (d *destination) isGiven() {
	d.out = true
	if d.stopping.Err() != nil {
		d.giveOut(time.Time{})
		return
	}
	if until := d.r.backoffs.owed(d.name, d.r.Now()); !until.IsZero() {
		d.giveOut(until)
	}
}

// giveOut gives the destination back to the queue.
func (d *destination) giveOut(again time.Time) {
	d.out = false
	d.r.Queue.Done(d.name, again)
}

// allowed is how many connections there may be.
func (d *destination) allowed() int {
	if d.probing {
		return 1
	}
	return min(d.window.connections(), d.limits.Connections)
}

const (
	claimMost = 64 // messages at once
	sweepMost = 256
	// sweepFirst is how long after its first failure the mail of a destination is looked through for what has waited
	// too long, and sweepAgain how long after that at the latest: sooner, if senders are told of a delay sooner.
	sweepFirst = time.Hour
	sweepAgain = 4 * time.Hour
)

// claim takes what is due, as much as keeps the connections busy.
func (d *destination) claim() {
	for d.out && d.stopping.Err() == nil && len(d.backlog) < d.allowed() {
		if d.kept() || d.waitsForCommon() || d.waitsForAsker() {
			return
		}
		want, again := d.rate.take(min(2*d.allowed()-len(d.backlog), claimMost), d.r.Now())
		if want == 0 {
			d.giveOut(again)
			return
		}
		most := d.today(want)
		if most == 0 {
			d.rate.giveBack(want)
			return
		}
		claimed := d.claimUpTo(most)
		d.rate.giveBack(want - len(claimed))
		d.backlog = append(d.backlog, d.parted(d.count(claimed))...)
		if d.out && len(claimed) < most {
			d.giveOut(time.Time{})
		}
	}
}

// kept gives the destination back if its mail is not to leave now.
func (d *destination) kept() bool {
	return d.r.Gate.keep(d.route.Kind, d.name, func(wait time.Duration) { d.giveOut(d.r.Now().Add(wait)) })
}

// claimAgain is when a destination is asked for again whose mail could not be claimed.
const claimAgain = 10 * time.Second

// claimUpTo claims at the most so many.
func (d *destination) claimUpTo(most int) []Claimed {
	claimed, err := d.r.Queue.Claim(d.delivering, d.name, most)
	if err != nil {
		d.r.Log.Error().Err(err).Str("destination", d.name).Msg("the queue does not hand mail out")
		d.giveOut(d.r.Now().Add(claimAgain))
		return nil
	}
	return claimed
}

// grow opens connections for what waits: further ones when the first one has shown that the destination answers.
func (d *destination) grow() {
	staying := d.connections - d.leaving
	for need := len(d.backlog) - (staying - d.busy); need > 0 && staying < d.allowed(); need-- {
		first := staying == 0
		if !first && (d.open == 0 || !d.places.try()) {
			return
		}
		d.connections++
		staying++
		d.r.work.Go(func() { d.connection(first) })
	}
}

// told takes what a connection tells.
func (d *destination) told(r report) {
	switch r.kind {
	case opened:
		d.open++
	case closed:
		d.open--
	case done:
		d.busy--
		d.row = 0
		if !r.v.pushesBack() && !r.v.stops {
			d.answeredWell()
		}
		d.adapt(r.v)
		d.answer(r)
		if d.putOff >= putOffMost || r.v.stops || r.v.whole || d.probing && r.v.pushesBack() {
			d.die(r.v, nil)
		}
	case lost:
		d.busy--
		d.row++
		d.window.shrink()
		d.answer(r)
		if d.row >= rowMost || r.v.stops || r.v.whole || d.probing {
			d.die(r.v, nil)
		}
	case brokenOff, untried:
		d.busy--
		d.answer(r)
	case heldBack:
		d.busy--
		d.backlog = append([]Claimed{r.c}, d.backlog...)
	case unopened:
		d.busy--
		d.window.shrink()
		if d.open > 0 {
			d.backlog = append([]Claimed{r.c}, d.backlog...) // others have connections
		} else {
			r.v.unreached = !d.answered.Load() && unreached(r.v)
			d.die(r.v, []Claimed{r.c})
		}
	case ended:
		d.connections--
		if r.told {
			d.leaving--
		}
	}
}

// adapt learns from what became of a message how much the destination takes.
func (d *destination) adapt(v verdict) {
	switch {
	case v.pushesBack():
		d.window.shrink()
		d.putOff++
	case v.action != backends.ActionDelayed:
		d.window.grow()
		d.putOff, d.rate.carried = 0, d.r.Now()
	}
}

// putOffMost is how many messages in a row a destination may put off before the others wait, too.
const putOffMost = 20

// answer says whether a connection goes on: it does not where there are more than may be, unless it is the last one that
// is up. Those that are being opened may be refused.
func (d *destination) answer(r report) {
	stay := d.connections-d.leaving <= d.allowed() || r.up && d.open-d.leaving <= 1
	if !stay {
		d.leaving++
	}
	r.stay <- stay
}

// rowMost is how many messages in a row may be lost with their connections before it is the destination that is at
// fault.
const rowMost = 3

// die leaves the destination alone for a while: it has failed as a whole, and all its mail has had its attempt. What
// was claimed goes back. Now and then all that is due goes through the relay, to find what has waited too long.
func (d *destination) die(v verdict, all []Claimed) {
	now := d.r.Now()
	if !v.overDay {
		d.giveBackUnsent(recipientsOf(all) + recipientsOf(d.backlog))
	}
	until, sweep := d.backOff(v, now, anyUrgent(all) || anyUrgent(d.backlog))
	tried := len(all) > 0 && !v.overDay
	v.uncertain = false // nobody has what was not sent
	if v.action != backends.ActionDelayed {
		v = delayed("4.4.2", v.cause) // what was not tried has not failed
	}
	all, d.backlog = append(all, d.backlog...), nil
	falls := d.fallsBack(v)
	p := putOff{d: d, v: v, falls: falls, until: until, sweep: sweep || falls != nil, next: now.Add(min(sweepAgain, d.r.Schedules.Normal.Delay)), now: now}
	if len(all) == 0 {
		all = p.more()
	}
	for ; len(all) > 0; all = p.more() {
		p.settle(all, tried)
		tried = false
	}
	d.r.backoffs.sweep(d.name, p.next, p.sweep)
	if d.out {
		d.giveOut(until)
	} else {
		d.r.backoffs.owe(d.name)
	}
}

// backOff says until when the destination is left alone, and whether its mail is to be looked through now. Some of that may be
// urgent.
func (d *destination) backOff(v verdict, now time.Time, urgent bool) (until time.Time, sweep bool) {
	if !v.until.IsZero() { // it was not tried
		return d.r.backoffs.along(d.name, v.until, now)
	}
	if !v.overDay {
		if until = d.commonFails(v, now); !until.IsZero() {
			return d.r.backoffs.along(d.name, until, now)
		}
	}
	news := false // else it is a failure that another connection has seen
	until, sweep = d.r.backoffs.failed(d.name, func(failures int) time.Duration {
		news = true
		if v.overDay {
			return v.wait
		}
		return max(d.r.backoff(d.route, failures, urgent), v.wait)
	}, now)
	if !news {
		return until, sweep
	}
	d.r.observe(Event{Kind: BackedOff, Class: d.route.Kind})
	d.r.Log.Warn().Err(v.cause).Str("destination", d.name).Str("enhanced", v.code).Time("until", until).Msg("the destination is left alone for a while")
	return until, sweep
}

// putOff is mail that is put off as its destination is left alone.
type putOff struct {
	d          *destination
	v          verdict
	falls      *fallingBack // nil: nothing does
	until, now time.Time
	sweep      bool      // all that is due is looked through
	next       time.Time // when something of it has waited too long
}

// settle puts messages off; tried says that the first one was tried.
func (p *putOff) settle(all []Claimed, tried bool) {
	settlements := make([]*settlement, len(all))
	for i, c := range all {
		settlements[i] = &settlement{c: c, verdicts: allOf(p.v, c), whole: true, tried: tried && i == 0, until: p.until, class: p.d.route.Kind, fallBack: p.falls.of(c, p.now)}
	}
	p.d.r.settle(settlements...)
	for _, s := range settlements {
		p.sweep = p.sweep || s.told
		if s.next.Before(p.next) && s.next.After(p.now) {
			p.next = s.next
		}
	}
}

// more claims what else is to be looked through.
func (p *putOff) more() []Claimed {
	if !p.sweep || !p.d.out || p.d.stopping.Err() != nil || !p.d.r.Now().Before(p.until) {
		return nil
	}
	return p.d.claimUpTo(sweepMost)
}

// stop gives back what was not begun.
func (d *destination) stop() {
	d.r.giveBack(d.backlog)
	d.giveBackUnsent(recipientsOf(d.backlog))
	d.backlog = nil
	if d.out {
		d.giveOut(time.Time{})
	}
}
