package relay

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/content"
)

// connection carries messages to the destination, one after the other, while there are some. The first one of a
// destination waits for its place; further ones have theirs.
func (d *destination) connection(first bool) {
	w := &worker{d: d}
	defer func() { d.reports <- report{kind: ended, told: w.told} }()
	if first && d.places.acquire(d.stopping) != nil {
		return
	}
	defer d.places.release()
	defer w.close()
	for {
		c, ok := w.next()
		if !ok || !w.carry(c) {
			return
		}
		if w.carried >= quantum && d.places.crowded() {
			return // others come first; the destination stands in line again
		}
	}
}

// quantum is how many messages go to a destination before others that wait for a place get it.
const quantum = 20

// worker is a goroutine that has at most one connection.
type worker struct {
	d        *destination
	hop      hop // nil: there is no connection
	messages int // on the connection
	carried  int // in all
	told     bool
}

// restless is how long a connection without work keeps its place although others want it: the next message may be on
// its way.
const restless = 10 * time.Millisecond

// next waits for a message, for as long as a connection may idle.
func (w *worker) next() (Claimed, bool) {
	idle, wanted := time.NewTimer(w.d.limits.Idle), time.NewTimer(restless)
	defer idle.Stop()
	defer wanted.Stop()
	var hurry chan struct{}
	for {
		select {
		case c := <-w.d.jobs:
			return c, true
		case <-wanted.C:
			hurry = w.d.places.hurry
			continue
		case <-idle.C:
		case <-hurry:
		case <-w.d.stopping.Done():
		}
		return Claimed{}, false
	}
}

// triesMost is how many connections one message may cost in one attempt.
const triesMost = 3

// carry has one message delivered, and says whether another may follow.
func (w *worker) carry(c Claimed) bool {
	d := w.d
	w.carried++
	if until, _, _ := d.r.commons.ask(d.route.Common, d.name, d.r.Now()); !until.IsZero() {
		d.reports <- report{kind: heldBack, c: c}
		return false
	}
	if c.Envelope.RequireTLS && !d.r.confidential(d.route) {
		return w.settle(untried, c, allOf(failed(codeRequireTLS, errors.New("REQUIRETLS: the next hop's name is not authenticated, its certificate is not verified, or it is a store's own transport")), c))
	}
	if what, err := d.drops(c); err != nil {
		return w.settle(untried, c, allOf(delayed("4.3.0", err), c))
	} else if what != 0 {
		return w.settle(untried, c, allOf(dropped(what), c))
	}
	for try := 1; ; try++ {
		if w.hop == nil {
			if v := w.connect(); v != nil && v.action == backends.ActionDelayed {
				d.reports <- report{kind: unopened, c: c, v: *v}
				return false
			} else if v != nil {
				return w.settle(done, c, allOf(*v, c)) // for good, as a domain's that does not exist
			}
		}
		fresh := w.messages == 0
		w.messages++
		verdicts, gone := w.deliver(c)
		if gone == nil {
			return w.settle(done, c, verdicts)
		}
		if h, ok := w.hop.(*smtpHop); ok && fresh {
			d.r.avoided.failed(h.target, d.r.Now())
		}
		w.close()
		if try == triesMost || d.route.Kind == Store || d.route.Kind == Transport || d.delivering.Err() != nil {
			return w.settle(lost, c, allOf(*gone, c))
		}
	}
}

// drops says for what the route does not let a message through; 0: it does.
func (d *destination) drops(c Claimed) (content.Automatic, error) {
	if d.route.Drops == 0 {
		return 0, nil
	}
	opened, err := c.Content.Open(d.delivering)
	if err != nil {
		return 0, err
	}
	defer opened.Close() //nolint:errcheck // it was read
	start := make([]byte, min(c.Size, content.AutomaticWithin))
	n, err := io.ReadFull(opened, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	return content.AutomaticOf(start[:n]) & d.route.Drops, nil
}

// messageMost is how long one message may take, however slowly the server reads: 50 MB at 10 KB a second, and more.
const messageMost = 3 * time.Hour

func (w *worker) deliver(c Claimed) ([]verdict, *verdict) {
	ctx, cancel := context.WithTimeout(w.d.delivering, messageMost)
	defer cancel()
	return w.hop.deliver(ctx, c)
}

// connect opens a connection. A server that has let us in before, and refuses this one, has enough of them: that passes,
// whatever it says.
func (w *worker) connect() *verdict {
	hop, v := w.d.r.connect(w.d.delivering, w.d.route)
	if v != nil && w.d.answered.Load() {
		passes := v.forNow()
		return &passes
	} else if v != nil {
		return v
	}
	w.hop, w.messages = hop, 0
	w.d.answered.Store(true)
	w.d.reports <- report{kind: opened}
	w.d.r.observe(Event{Kind: Connected, Class: w.d.route.Kind})
	return nil
}

func (w *worker) close() {
	if w.hop == nil {
		return
	}
	w.hop.close()
	w.hop = nil
	w.d.r.observe(Event{Kind: Disconnected, Class: w.d.route.Kind, Messages: w.messages})
	w.d.reports <- report{kind: closed}
}

// settle writes down what became of a message, and asks whether to go on.
func (w *worker) settle(kind reportKind, c Claimed, verdicts []verdict) bool {
	d, v := w.d, worst(verdicts)
	d.giveBackUnsent(unsent(verdicts))
	if kind == lost && d.delivering.Err() != nil {
		d.r.giveBack([]Claimed{c}) // it is the gateway that has broken it off
	} else {
		d.r.settle(&settlement{c: c, verdicts: verdicts, class: d.route.Kind})
	}
	if errors.Is(v.cause, errLease) {
		kind = brokenOff
		d.r.Log.Warn().Str("key", c.Key).Str("destination", d.name).Msg("the lease on a message has run out before its end was sent: it is tried again by whoever has it now")
	}
	if w.hop != nil && !w.hop.alive() {
		w.close()
	}
	stay := make(chan bool, 1)
	d.reports <- report{kind: kind, c: c, v: v, stay: stay, up: w.hop != nil}
	w.told = !<-stay
	return !w.told && d.stopping.Err() == nil
}

// worst is the verdict that says most about the destination: where somebody's copy was taken, or refused for good, what
// was put off is the affair of its recipients.
func worst(verdicts []verdict) verdict {
	for _, v := range verdicts {
		if v.action != backends.ActionDelayed {
			return v
		}
	}
	for _, v := range verdicts {
		if v.pushesBack() {
			return v
		}
	}
	return verdicts[0]
}
