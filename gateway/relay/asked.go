package relay

import (
	"errors"
	"time"
)

const (
	// AskedFor is how long after somebody has asked for it mail is tried that waits for that: as long as a line that was dialled, and
	// the server behind it, may take to come up. As long as mail gets through it goes on.
	AskedFor = 10 * time.Minute
	// goesOn is how long after a message has got through the next one is tried though no connection is open: longer than one of a
	// minute waits for the next minute.
	goesOn = 2 * time.Minute
)

// errUnasked is why mail is not tried.
var errUnasked = errors.New("the mail waits until somebody asks for it (ETRN, RFC 1985, or dipylon queue retry)")

// waitsForAsker gives the destination back if its mail waits until somebody asks for it, and nobody has. What is due then waits on,
// each message until its sender is to be told of the delay, or its time is over, or for some hours.
func (d *destination) waitsForAsker() bool {
	if !d.route.Asked || d.open > 0 || d.r.Now().Sub(d.rate.carried) < goesOn {
		return false
	}
	if asked, err := d.askedFor(); err != nil || asked {
		return d.notKnown(err)
	}
	for d.out && d.stopping.Err() == nil {
		all := d.claimUpTo(sweepMost)
		if len(all) == 0 {
			break
		}
		// What was claimed may have been asked for until then, and that is known by now: it is written down together.
		asked, err := d.askedFor()
		if err != nil || asked {
			d.r.giveBack(all)
			return d.notKnown(err)
		}
		d.r.waitOn(all, d.route.Kind)
	}
	if d.out {
		d.giveOut(time.Time{})
	}
	return true
}

// notKnown gives the destination back if there is an error.
func (d *destination) notKnown(err error) bool {
	if err != nil {
		d.r.Log.Error().Err(err).Str("destination", d.name).Msg("whether mail was asked for is not known: it waits until that is")
		d.giveOut(d.r.Now().Add(claimAgain))
	}
	return err != nil
}

// askedFor says whether somebody has asked for the destination's mail lately.
func (d *destination) askedFor() (bool, error) {
	if d.r.Asked == nil {
		return false, nil
	}
	at, err := d.r.Asked(d.delivering, d.name)
	return err == nil && d.r.Now().Before(at.Add(AskedFor)), err
}

// waitOn settles messages that nobody has asked for.
func (r *Relay) waitOn(all []Claimed, class Kind) {
	settlements := make([]*settlement, len(all))
	for i, c := range all {
		settlements[i] = &settlement{c: c, verdicts: allOf(delayed("4.4.1", errUnasked), c), unasked: true, class: class} // RFC 3463 §3.5: no answer from host
	}
	r.settle(settlements...)
}
