package relay

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/spool"
)

// Quota counts the recipients that destinations get in a day: see package quota.
type Quota interface {
	// Left is how many more may get mail now; none: again is when there will be some.
	Left(ctx context.Context, destination string, perDay int) (left int, again time.Time, err error)
	// Take counts as many recipients as may get mail now; less than are wanted: again is when there may be more.
	Take(ctx context.Context, destination string, want, perDay int) (taken int, again time.Time, err error)
	// GiveBack takes off what was counted and has got nothing.
	GiveBack(ctx context.Context, destination string, recipients int) error
}

// bounded says whether the recipients of a day are. It stays so for as long as the destination is worked on: what was
// not counted must not be given back.
func (d *destination) bounded() bool { return d.limits.RecipientsPerDay > 0 && d.r.Quota != nil }

// readBound reads what the route's bound is now: a reload may have raised it.
func (d *destination) readBound() {
	d.perDay = d.limits.RecipientsPerDay
	if route, err := d.r.Routes.Route(d.name); err == nil {
		d.perDay = cmp.Or(d.r.limits(route).RecipientsPerDay, math.MaxInt)
	}
}

// today bounds how many messages are claimed by the recipients that are left of the day. None: the destination was given
// back.
func (d *destination) today(want int) int {
	if !d.bounded() {
		return want
	}
	d.readBound()
	left, again, err := d.r.Quota.Left(d.delivering, d.name, d.perDay)
	switch {
	case err != nil:
		d.uncounted(err)
		return 0
	case left == 0:
		d.overDay(again, nil)
		return 0
	}
	return min(want, left)
}

// count counts the recipients of what was claimed. Those that are too many for the day go back, and wait; a message may
// be parted for it, as it could have more of them than a day has.
func (d *destination) count(claimed []Claimed) []Claimed {
	if !d.bounded() || len(claimed) == 0 {
		return claimed
	}
	want := recipientsOf(claimed)
	taken, again, err := d.r.Quota.Take(d.delivering, d.name, want, d.perDay)
	if err != nil {
		d.r.giveBack(claimed)
		d.uncounted(err)
		return nil
	}
	if taken == want {
		return claimed
	}
	now, later := partAt(claimed, taken)
	d.overDay(again, later)
	return now
}

// uncounted leaves a destination alone whose recipients cannot be counted.
func (d *destination) uncounted(err error) {
	d.r.Log.Error().Err(err).Str("destination", d.name).Msg("the recipients of a day cannot be counted: the mail waits until they can")
	if d.out {
		d.giveOut(d.r.Now().Add(claimAgain))
	}
}

// overDay leaves a destination alone that has had its recipients of the day, for an hour at the most: what has waited too
// long is looked for then. The rest of what was claimed goes back as it was: only the destination waits, and no longer
// than that where a route gets another bound.
func (d *destination) overDay(again time.Time, rest []Claimed) {
	v := delayed("4.4.5", fmt.Errorf("the route's %d recipients a day (recipients_per_day) are used up until %s", d.perDay, again.Format(time.DateTime)))
	v.overDay, v.wait = true, min(again.Sub(d.r.Now()), backoffMost)
	counted := d.backlog // has its place in the day
	d.backlog = nil
	d.r.giveBack(rest)
	d.die(v, nil)
	d.backlog = counted
}

// giveBackUnsent takes recipients off the day's that have got nothing.
func (d *destination) giveBackUnsent(recipients int) {
	if !d.bounded() || recipients == 0 {
		return
	}
	if err := d.r.Quota.GiveBack(d.r.ending, d.name, recipients); err != nil {
		d.r.Log.Warn().Err(err).Str("destination", d.name).Int("recipients", recipients).Msg("recipients that have got nothing count for the day")
	}
}

// recipientsOf is how many recipients messages have.
func recipientsOf(all []Claimed) (n int) {
	for _, c := range all {
		n += len(c.Recipients)
	}
	return n
}

// unsent is how many recipients have got nothing.
func unsent(verdicts []verdict) (n int) {
	for _, v := range verdicts {
		if v.dropped || v.action == backends.ActionFailed || v.action == backends.ActionDelayed && !v.uncertain {
			n++
		}
	}
	return n
}

// partAt parts messages behind so many recipients.
func partAt(all []Claimed, recipients int) (before, behind []Claimed) {
	for i, c := range all {
		if n := len(c.Recipients); n <= recipients {
			recipients -= n
			continue
		}
		before, behind = append(before, all[:i]...), append(behind, all[i:]...)
		if recipients > 0 {
			before = append(before, c.with(c.Recipients[:recipients]))
			behind[0] = c.with(c.Recipients[recipients:])
		}
		return before, behind
	}
	return all, nil
}

// parted parts messages that have more recipients than the next hop takes with one. Each part counts in the minute; those that are too
// many for it go back, and wait.
func (d *destination) parted(all []Claimed) (parts []Claimed) {
	most := d.limits.RecipientsPerMessage
	if most <= 0 {
		return all
	}
	var rest []Claimed
	for _, c := range all {
		left := c.Recipients
		for first := true; len(left) > 0; first = false {
			if !first {
				if taken, _ := d.rate.take(1, d.r.Now()); taken == 0 {
					rest = append(rest, c.with(left))
					break
				}
			}
			n := min(most, len(left))
			parts = append(parts, c.with(left[:n]))
			left = left[n:]
		}
	}
	d.r.giveBack(rest)
	d.giveBackUnsent(recipientsOf(rest))
	return parts
}

// with is the message with some of its recipients.
func (c Claimed) with(recipients []spool.Pending) Claimed {
	part := *c.Delivery
	part.Recipients = recipients
	return Claimed{Delivery: &part, Content: c.Content}
}
