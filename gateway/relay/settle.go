package relay

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/notice"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/spool"
)

// settlement is what became of a message in one attempt, on its way into the queue.
type settlement struct {
	c        Claimed
	verdicts []verdict // of its recipients
	// whole says that it was not this message that has failed, but the destination, which is left alone until then.
	// The message's attempts are not counted, but for the one that was tried.
	whole, tried bool
	until        time.Time
	// unasked says that nothing was tried, as nobody has asked for the mail: it waits until its time is over, or its sender
	// is to be told that it takes longer.
	unasked bool
	class   Kind
	// fallBack is the other destination that its recipients may wait at; nil: none.
	fallBack *FallBack

	now       time.Time
	outcomes  []spool.Outcome
	notices   []notice.Outcome
	told      bool      // a recipient was given up, or its sender told of the delay
	next      time.Time // when there is something of the kind again
	messageID string
	about     string // the Message-ID of what it reports on, or answers

	wanted   []notice.Outcome // what the sender is told
	back     route.Way        // by this way
	noWay    error            // why there is none
	held     int              // how many recipients are held for that
	reported string           // the report's key
	unread   int              // how often its message could not be read for it
}

// decide makes outcomes of the verdicts. Whose time is over has failed: that is the recipient's verdict, and not what
// the caller knows of the destination.
func (r *Relay) decide(s *settlement) {
	s.now, s.verdicts = r.Now(), slices.Clone(s.verdicts)
	for i, p := range s.c.Recipients {
		v := s.verdicts[i]
		o := spool.Outcome{Number: p.Number, At: s.now, Code: v.code, Server: v.server, Diagnostic: v.diagnostic}
		switch v.action {
		case backends.ActionFailed:
			o.State = spool.Failed
		case backends.ActionDelayed:
			r.later(s, &o, &v, p)
		default:
			o.State = spool.Delivered
		}
		s.verdicts[i] = v
		s.outcomes = append(s.outcomes, o)
		if v.action == backends.ActionDelayed && !o.Delayed || v.passedOn {
			continue
		}
		n := notice.Outcome{
			Recipient: p.Recipient.Recipient, Action: v.action, Code: v.code, Server: v.server, Diagnostic: v.diagnostic, LastAttempt: s.now,
		}
		if v.action == backends.ActionDelayed {
			n.RetryUntil = r.expires(s.c)
		}
		s.notices = append(s.notices, n)
	}
	r.address(s)
}

// later decides when a recipient is tried again, if its time is not over.
func (r *Relay) later(s *settlement, o *spool.Outcome, v *verdict, p spool.Pending) {
	schedule, expires := r.Schedules.Of(s.c.Envelope.Priority), r.expires(s.c)
	o.State = spool.Waiting
	if v.uncertain || p.State == spool.Uncertain { // an earlier attempt may still have delivered it
		o.State = spool.Uncertain
	}
	if errors.Is(v.cause, errLease) { // it was the gateway that broke off: nobody's attempt, for whoever has the lease now
		o.At, o.Until = time.Time{}, s.now
		return
	}
	if !s.now.Before(expires) {
		v.action, v.code = backends.ActionFailed, "4.4.7" // RFC 3463 §3.5: delivery time expired
		o.State, o.Code, s.told = spool.Failed, v.code, true
		return
	}
	if s.fallBack != nil && o.State == spool.Waiting {
		o.Destination = s.fallBack.Destination // and due now: what is tried there counts its own attempts
		return
	}
	if !p.Last.Delayed && !s.now.Before(s.c.Received.Add(schedule.Delay)) {
		o.Delayed, s.told = true, true
	}
	s.next = expires
	if tell := s.c.Received.Add(schedule.Delay); !o.Delayed && !p.Last.Delayed && tell.Before(expires) {
		s.next = tell
	}
	if s.whole || s.unasked {
		if o.Until = s.until; s.unasked {
			o.Until = s.next
			if again := s.now.Add(sweepAgain); again.Before(s.next) {
				o.Until = again // the route may be another one by then
			}
		}
		if !s.tried && !o.Delayed {
			o.At = time.Time{}
		}
		return
	}
	attempts := p.Attempts
	if p.Last.Server == "" && s.class != Store { // no server has answered yet: this one may be greylisting; a store has no name
		attempts = 0
	}
	o.Until = s.now.Add(max(after(schedule.Retries, attempts), v.wait))
	if o.Until.After(expires) {
		o.Until = expires // a last attempt
	}
}

// settle writes down what became of messages, with the reports to their senders.
func (r *Relay) settle(all ...*settlement) {
	var results []spool.Result
	for _, s := range all {
		r.decide(s)
		r.identify(s)
		results = append(results, spool.Result{Delivery: s.c.Delivery, Outcomes: s.outcomes})
	}
	if r.persist(len(all), func() error { return r.trySettle(all, results) }) {
		r.tell(all)
	}
}

// persist writes something of messages down. It does not give up: what the queue does not know is in flight for ever. It
// ends with the relay, and where nothing can be written until the next start.
func (r *Relay) persist(messages int, write func() error) (written bool) {
	for wait := settleAgain; ; wait = min(2*wait, settleAgainMost) {
		err := write()
		switch {
		case err == nil:
			return true
		case errors.Is(err, spool.ErrLease), errors.Is(err, spool.ErrClosed):
			r.Log.Error().Err(err).Int("messages", messages).Msg("what became of messages cannot be written down: they are tried again by whoever has them now")
			return false
		case errors.Is(err, spool.ErrFailed):
			r.Log.Error().Err(err).Int("messages", messages).Msg("what became of messages cannot be written down: nobody knows it after the next start")
			return false
		}
		r.Log.Error().Err(err).Int("messages", messages).Msg("what became of messages cannot be written down yet")
		select {
		case <-time.After(wait):
		case <-r.ending.Done():
			return false
		}
	}
}

const (
	settleAgain     = 100 * time.Millisecond
	settleAgainMost = 30 * time.Second
)

// trySettle makes the reports, and settles. A report that cannot be made or stored leaves its message where it is.
func (r *Relay) trySettle(all []*settlement, results []spool.Result) (err error) {
	for i, s := range all {
		reports, made := r.report(s)
		for _, n := range reports {
			defer n.Body.Discard() //nolint:errcheck // the queue has its own by then
		}
		if made != nil {
			return made
		}
		results[i].New = reports
	}
	return r.Queue.Settle(r.ending, results...)
}

// tell logs a line for each recipient, and counts it.
func (r *Relay) tell(all []*settlement) {
	for _, s := range all {
		for i, p := range s.c.Recipients {
			if s.outcomes[i].At.IsZero() {
				continue // it was not tried
			}
			r.tellOf(s, p, s.verdicts[i], s.outcomes[i])
		}
		r.tellOfUntold(s)
	}
}

// identify reads what the message is known as, for the log, where it has anything to tell.
func (r *Relay) identify(s *settlement) {
	if !slices.ContainsFunc(s.outcomes, func(o spool.Outcome) bool { return !o.At.IsZero() }) {
		return
	}
	opened, err := s.c.Content.Open(r.ending)
	if err != nil {
		return // it is told where it is needed
	}
	defer opened.Close() //nolint:errcheck // it was read
	start := make([]byte, min(s.c.Size, content.MessageIDWithin))
	n, _ := io.ReadFull(opened, start)
	s.messageID, s.about = content.MessageID(start[:n]), content.InReplyTo(start[:n])
}

// giveBack returns messages that were not tried. They have their old places, unless the clock by which they were received
// is ahead of the queue's.
func (r *Relay) giveBack(all []Claimed) {
	var results []spool.Result
	now := r.Now()
	for _, c := range all {
		due := now
		if c.Received.Before(now) {
			due = c.Received
		}
		result := spool.Result{Delivery: c.Delivery}
		for _, p := range c.Recipients {
			result.Outcomes = append(result.Outcomes, spool.Outcome{Number: p.Number, State: p.State, Until: due})
		}
		results = append(results, result)
	}
	if len(results) > 0 {
		r.persist(len(results), func() error { return r.Queue.Settle(r.ending, results...) })
	}
}
