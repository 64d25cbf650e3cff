package imap

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
)

const (
	// copiesAtOnce is how many mailboxes get copies at a time.
	copiesAtOnce = 8
	// copiesInARow is how many copies one mailbox gets before others that wait have their turn.
	copiesInARow = 32
	// copiesAhead is how many copies a mailbox may be behind before who sends from it waits for them, as they are made more slowly than
	// messages are sent, for no longer than waitForCopies.
	copiesAhead   = 32
	waitForCopies = 10 * time.Second
	// copyMost is the longest pause between two attempts at one copy, mailboxRests that of its mailbox, where other copies may go well, and
	// serverRests that of a server that is away.
	copyMost     = time.Hour
	mailboxRests = 5 * time.Minute
	serverRests  = time.Minute
	// madeMost is how many messages are remembered whose copies are made.
	madeMost = 20_000
)

// copyQueue has the messages of the folder that a process knows of, and who may have a copy made when. One hanging mailbox holds up no other,
// and a failing message none of its mailbox.
type copyQueue struct {
	most  copyLimits    // one mailbox has no more than half of it
	every time.Duration // the first pause after a failure
	acts  bool          // the gateway's own credential opens every mailbox

	mu       sync.Mutex
	closed   bool
	known    map[string]*queued   // by name
	octets   int64                // of them
	boxes    map[string]*copyBox  // by mailbox, folded
	made     map[string]time.Time // by name: until when it is remembered that a copy was made
	workers  int
	server   rest
	progress chan struct{} // closed with each change that somebody may wait for
	looks    int
	began    time.Time // the first one

	copied, without           uint64    // copies that were made, and messages that got none
	noRoom                    uint64    // of these, those that there was no room for, since it is told
	firstWithout, lastWithout time.Time // when there was no room
}

// queued is a message in the folder.
type queued struct {
	name, key string
	box       *copyBox
	size      int64 // octets
	since     time.Time
	state     queuedState
	ready     time.Time // when its copy may be made
	tries     int
	look      int // the last one that has found it
}

type queuedState uint8

const (
	beingSent queuedState = iota // by this process
	unknown                      // nobody knows whether it was sent
	owed                         // it was, and its copy is to be made
	gone
)

// copyBox is a mailbox with messages in the folder.
type copyBox struct {
	mailbox  string
	messages int
	octets   int64
	owed     queue                // what is gone of it is left out
	with     *backends.Credential // of somebody who sends or has logged in; nil: nobody does now
	running  bool
	served   time.Time // when copies for it were made last
	rest     rest
}

// rest is a pause after failures.
type rest struct {
	failures int
	until    time.Time
}

// after begins a pause that is longer with each failure, up to a bound, and as long as the server wants.
func (r *rest) after(err error, every, most time.Duration, now time.Time) {
	wait := min(every<<min(r.failures, 16), most)
	if f := backends.AsFailure(err); f.Kind == backends.Throttled || f.Kind == backends.Temporary {
		wait = max(wait, min(f.RetryAfter, copyMost))
	}
	r.failures++
	r.until = now.Add(wait)
}

// queue is a heap by when copies are ready: one that has failed comes behind those that have not.
type queue []*queued

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].ready.Before(q[j].ready) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(m any)        { *q = append(*q, m.(*queued)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	m := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return m
}

// first is the copy that is ready first; nil: none is owed.
func (b *copyBox) first() *queued {
	for len(b.owed) > 0 {
		if b.owed[0].state == owed {
			return b.owed[0]
		}
		heap.Pop(&b.owed)
	}
	return nil
}

func newCopyQueue(most copyLimits, every time.Duration, acts bool) *copyQueue {
	return &copyQueue{
		most: most, every: every, acts: acts, known: make(map[string]*queued), boxes: make(map[string]*copyBox), made: make(map[string]time.Time),
		progress: make(chan struct{}),
	}
}

// enter notes a message that is about to be sent, and says whether there is room for it. One that is known stays what it is.
func (q *copyQueue) enter(name, key, mailbox string, size int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.known[name] != nil {
		return true
	}
	messages, octets := 0, int64(0)
	if b := q.boxes[fold.Lower(mailbox)]; b != nil {
		messages, octets = b.messages, b.octets
	}
	if len(q.known) >= q.most.Messages || q.octets+size > q.most.Octets || messages >= (q.most.Messages+1)/2 || octets+size > (q.most.Octets+1)/2 {
		q.refuse(time.Now())
		return false
	}
	q.put(name, key, mailbox, size, time.Now())
	return true
}

// refuse counts a message that there is no room for. q.mu is held.
func (q *copyQueue) refuse(now time.Time) {
	if now.Sub(q.lastWithout) >= tellsLong {
		q.firstWithout, q.noRoom = now, 0
	}
	q.lastWithout = now
	q.without++
	q.noRoom++
}

// put notes a message. q.mu is held.
func (q *copyQueue) put(name, key, mailbox string, size int64, since time.Time) *queued {
	if m := q.known[name]; m != nil && m.box.mailbox == "" && mailbox != "" {
		q.drop(name) // its record was damaged, and says now whose it is
	}
	if m := q.known[name]; m != nil {
		q.octets += size - m.size
		m.box.octets += size - m.size
		m.size = size
		return m
	}
	folded := fold.Lower(mailbox)
	b := q.boxes[folded]
	if b == nil {
		b = &copyBox{mailbox: mailbox}
		q.boxes[folded] = b
	}
	m := &queued{name: name, key: key, box: b, size: size, since: since, look: q.looks}
	q.known[name] = m
	q.octets += size
	b.messages++
	b.octets += size
	return m
}

// owe notes that a copy is to be made. c is what its mailbox can be opened with; nil: nothing that is at hand.
func (q *copyQueue) owe(name string, r *record, size int64, c *backends.Credential) *copyBox {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.drop(name)
		return nil
	}
	m := q.put(name, r.Key, r.Mailbox, size, r.Sent)
	if m.look = q.looks; m.state != owed {
		m.state, m.ready, m.since = owed, r.Due, r.Sent
		if most := time.Now().Add(providersCopy); m.ready.After(most) { // the clock has been set back
			m.ready = most
		}
		heap.Push(&m.box.owed, m)
	}
	m.box.takes(c)
	return m.box
}

// takes has a mailbox opened with a credential. Its secret is the caller's, who may overwrite it.
func (b *copyBox) takes(c *backends.Credential) {
	if c == nil {
		return
	}
	own := *c
	own.Secret = append([]byte(nil), c.Secret...)
	b.with = &own
}

// unsure notes that nobody knows whether a message was sent.
func (q *copyQueue) unsure(name string, r *record, size int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.drop(name)
		return
	}
	if m := q.put(name, r.Key, r.Mailbox, size, r.Kept); m.state != owed {
		m.state, m.look = unknown, q.looks
	}
}

// ended notes that the sending of a message has ended. If nothing has come of it the next look finds out what is to be done for the message,
// which was sent to others before.
func (q *copyQueue) ended(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if m := q.known[name]; m != nil && m.state == beingSent {
		q.drop(name)
	}
}

// leave forgets a message.
func (q *copyQueue) leave(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(name)
}

// drop is leave. q.mu is held.
func (q *copyQueue) drop(name string) {
	m := q.known[name]
	if m == nil {
		return
	}
	delete(q.known, name)
	m.state = gone
	q.octets -= m.size
	m.box.messages--
	m.box.octets -= m.size
	q.tidy(m.box)
	q.changed()
}

// tidy forgets a mailbox that has no messages. q.mu is held.
func (q *copyQueue) tidy(b *copyBox) {
	if b.messages == 0 && !b.running {
		delete(q.boxes, fold.Lower(b.mailbox))
	}
}

// changed wakes who waits. q.mu is held.
func (q *copyQueue) changed() {
	close(q.progress)
	q.progress = make(chan struct{})
}

// may says whether copies for a mailbox can be made now. q.mu is held.
func (q *copyQueue) may(b *copyBox, now time.Time) bool {
	if b.running || q.closed || !q.acts && b.with == nil || now.Before(b.rest.until) || now.Before(q.server.until) {
		return false
	}
	first := b.first()
	return first != nil && !now.Before(first.ready)
}

// take begins the work for a mailbox, if it is to be done now: for b, or, where that is nil, for the one that has waited for its turn
// longest.
func (q *copyQueue) take(b *copyBox, now time.Time) (*copyBox, backends.Credential) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.workers >= copiesAtOnce {
		return nil, backends.Credential{}
	}
	if b == nil {
		for _, other := range q.boxes {
			if q.may(other, now) && (b == nil || other.served.Before(b.served)) {
				b = other
			}
		}
	} else if !q.may(b, now) {
		b = nil
	}
	if b == nil {
		return nil, backends.Credential{}
	}
	b.running, b.served = true, now
	q.workers++
	c := backends.Credential{Kind: backends.CredentialImpersonation, User: b.mailbox}
	if !q.acts {
		c = *b.with
	}
	return b, c
}

// next is the next copy for a mailbox that is worked for; nil: that is over.
func (q *copyQueue) next(b *copyBox) *queued {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	m := b.first()
	if q.closed || m == nil || now.Before(m.ready) || now.Before(b.rest.until) || now.Before(q.server.until) {
		return nil
	}
	return m
}

// finish ends the work for a mailbox. With nothing to do soon its credential is forgotten.
func (q *copyQueue) finish(b *copyBox) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.workers--
	b.running = false
	soon := time.Now().Add(2 * providersCopy)
	if first := b.first(); b.with != nil && (first == nil || latest(first.ready, b.rest.until, q.server.until).After(soon)) {
		clear(b.with.Secret)
		b.with = nil
	}
	q.tidy(b)
	q.changed()
}

// done notes that a copy is made, and for how long that is remembered.
func (q *copyQueue) done(m *queued, lasts time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.copied++
	q.made[m.name] = time.Now().Add(lasts)
	m.box.rest, q.server = rest{}, rest{}
	q.drop(m.name)
}

// failed notes that a copy could not be made, by the message's fault, the mailbox's or the server's, and says when it is tried again.
func (q *copyQueue) failed(m *queued, err error, ofMessage bool) (again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	own := rest{failures: m.tries}
	switch m.tries++; {
	case ofMessage:
		own.after(err, q.every, copyMost, now)
		m.box.rest, q.server = rest{}, rest{} // they have answered
	case backends.AsFailure(err).Whole:
		q.server.after(err, q.every, serverRests, now)
	default: // it may be the message's fault all the same: others go first
		own.after(err, q.every, mailboxRests, now)
		m.box.rest.after(err, q.every, mailboxRests, now)
	}
	m.ready = latest(m.ready, own.until)
	for i, each := range m.box.owed {
		if each == m {
			heap.Fix(&m.box.owed, i)
			break
		}
	}
	q.changed()
	return latest(m.ready, m.box.rest.until, q.server.until)
}

// wait waits while a mailbox's copies are made more slowly than its messages are sent.
func (q *copyQueue) wait(ctx context.Context, mailbox string) {
	q.until(ctx, func() bool {
		b := q.boxes[fold.Lower(mailbox)]
		return b == nil || len(b.owed) < copiesAhead || !b.running && !q.may(b, time.Now())
	})
}

// tried waits until a copy is made, or has failed.
func (q *copyQueue) tried(ctx context.Context, name string) {
	q.until(ctx, func() bool {
		m := q.known[name]
		return m == nil || m.tries > 0 || !m.box.running && !q.may(m.box, time.Now())
	})
}

// until waits for a condition, which is looked at with q.mu held, for some time.
func (q *copyQueue) until(ctx context.Context, is func() bool) {
	ctx, cancel := context.WithTimeout(ctx, waitForCopies)
	defer cancel()
	for {
		q.mu.Lock()
		enough, changed := is() || q.closed, q.progress
		q.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// latest is the latest of some times.
func latest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if t.After(first) {
			first = t
		}
	}
	return first
}

// opened notes that somebody has opened a mailbox, and gives it if copies are owed to it; nil: none are.
func (q *copyQueue) opened(folded string, c backends.Credential) *copyBox {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.boxes[folded]
	if q.closed || b == nil || b.first() == nil {
		return nil
	}
	b.takes(&c)
	return b
}

// close ends the work for mailboxes, and lets go who waits for it.
func (q *copyQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed()
}

// idle waits until nobody works any more, for no longer than that.
func (q *copyQueue) idle(most time.Duration) {
	timeout := time.NewTimer(most)
	defer timeout.Stop()
	for {
		q.mu.Lock()
		workers, changed := q.workers, q.progress
		q.mu.Unlock()
		if workers == 0 {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			return
		}
	}
}
