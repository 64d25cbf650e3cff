//go:build linux

package relay_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/spool"
)

// clock is the time of a test.
type clock struct{ now atomic.Int64 }

var begin = time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)

func (c *clock) Now() time.Time { return begin.Add(time.Duration(c.now.Load())) }

// queue is a queue in memory, with a clock of the test's.
type queue struct {
	clock *clock

	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, with each change
	last    spool.ID
	waiting []*waiting            // all that there ever was
	live    map[string][]*waiting // by destination: those that are not final, or were not lately
	by      map[spool.ID][]*waiting
	open    int // how many are not final
	until   map[string]time.Time
	busy    map[string]bool
	told    map[string][]spool.Outcome
	reports []report
	ready   []string         // what Ready has given out
	claims  int              // how many messages were claimed
	fails   func() error     // what Settle fails with
	gone    map[string]bool  // keys of messages whose lease is lost
	backoff []backoffOfQueue // what Done was told
	breaks  func(c *content) // contents that cannot be read
	opened  atomic.Int32     // how often contents were opened
	lapses  int              // how often a lease is not held, although none is lost
}

type backoffOfQueue struct {
	destination string
	wait        time.Duration
}

// waiting is one recipient of one message.
type waiting struct {
	message spool.Message
	id      spool.ID
	content string
	pending spool.Pending
	flies   bool
	final   bool
}

// report is a message that Settle took in.
type report struct {
	spool.Message
	content string
}

func newQueue(c *clock) *queue {
	return &queue{
		clock: c, changed: make(chan struct{}), until: make(map[string]time.Time), busy: make(map[string]bool), told: make(map[string][]spool.Outcome),
		gone: make(map[string]bool), live: make(map[string][]*waiting), by: make(map[spool.ID][]*waiting),
	}
}

// add takes a message in.
func (q *queue) add(m spool.Message, content string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	if m.Received.IsZero() {
		m.Received = q.clock.Now()
	}
	for i, r := range m.Recipients {
		p := spool.Pending{Recipient: r, Number: i}
		if p.Due.IsZero() {
			p.Due = m.Received
		}
		w := &waiting{message: m, id: q.last, content: content, pending: p}
		q.waiting, q.live[p.Destination] = append(q.waiting, w), append(q.live[p.Destination], w)
		q.by[w.id] = append(q.by[w.id], w)
		q.open++
	}
	q.change()
}

func (q *queue) change() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// advance lets time pass.
func (q *queue) advance(d time.Duration) {
	q.clock.now.Add(int64(d))
	q.mu.Lock()
	defer q.mu.Unlock()
	q.change()
}

func (w *waiting) isDue(now time.Time) bool {
	claimable := w.pending.State == spool.Waiting || w.pending.State == spool.Uncertain
	return claimable && !w.flies && !w.pending.Due.After(now)
}

// due are those of a destination that can be claimed, in their order.
func (q *queue) due(destination string) (due []*waiting) {
	q.live[destination] = slices.DeleteFunc(q.live[destination], func(w *waiting) bool { return w.final })
	for _, w := range q.live[destination] {
		if w.isDue(q.clock.Now()) {
			due = append(due, w)
		}
	}
	slices.SortStableFunc(due, func(a, b *waiting) int {
		return cmp.Or(cmp.Compare(b.message.Envelope.Priority, a.message.Envelope.Priority), a.pending.Due.Compare(b.pending.Due), cmp.Compare(a.id, b.id))
	})
	return due
}

// Ready implements [relay.Queue].
func (q *queue) Ready(ctx context.Context) (string, error) {
	for {
		q.mu.Lock()
		for name, live := range q.live {
			due := func(w *waiting) bool { return w.isDue(q.clock.Now()) }
			if !q.busy[name] && !q.until[name].After(q.clock.Now()) && slices.ContainsFunc(live, due) {
				q.busy[name] = true
				q.ready = append(q.ready, name)
				q.mu.Unlock()
				return name, nil
			}
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// Claim implements [relay.Queue].
func (q *queue) Claim(_ context.Context, destination string, most int) (claimed []relay.Claimed, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.busy[destination] {
		return nil, fmt.Errorf("%s was not given out", destination)
	}
	by := make(map[spool.ID]*spool.Delivery)
	for _, w := range q.due(destination) {
		d := by[w.id]
		if d == nil {
			if len(claimed) == most {
				continue
			}
			d = &spool.Delivery{Message: w.message, ID: w.id, Size: int64(len(w.content)), Destination: destination}
			d.Message.Recipients = nil
			by[w.id] = d
			claimed = append(claimed, relay.Claimed{Delivery: d, Content: q.contentOf(w)})
		}
		w.flies = true
		d.Recipients = append(d.Recipients, w.pending)
	}
	q.claims += len(claimed)
	q.change()
	return claimed, nil
}

// content is that of a claimed message.
type content struct {
	q     *queue
	key   string
	text  string
	fails error // what opening it fails with
	away  int   // how often opening it fails before it does not
	cut   int   // after how many octets reading it fails; 0: it does not
}

func (q *queue) contentOf(w *waiting) *content {
	c := &content{q: q, key: w.message.Key, text: w.content}
	if q.breaks != nil {
		q.breaks(c)
	}
	return c
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func (c *content) Open(context.Context) (io.ReadSeekCloser, error) {
	c.q.opened.Add(1)
	switch {
	case c.away > 0:
		c.away--
		return nil, errors.New("the database is away")
	case c.fails != nil:
		return nil, c.fails
	case c.cut > 0:
		return nopCloser{&cutReader{strings.NewReader(c.text), c.cut}}, nil
	}
	return nopCloser{strings.NewReader(c.text)}, nil
}

// cutReader fails after so many octets.
type cutReader struct {
	*strings.Reader
	after int
}

// Read implements [io.Reader].
func (c *cutReader) Read(p []byte) (int, error) {
	left := c.after - int(c.Size()-int64(c.Len()))
	if left <= 0 {
		return 0, errors.New("the disk is broken here")
	}
	return c.Reader.Read(p[:min(len(p), left)])
}

func (c *content) Held() bool {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	if c.q.lapses > 0 {
		c.q.lapses--
		return false
	}
	return !c.q.gone[c.key]
}

// Done implements [relay.Queue].
func (q *queue) Done(destination string, again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy[destination], q.until[destination] = false, again
	if !again.IsZero() {
		q.backoff = append(q.backoff, backoffOfQueue{destination, again.Sub(q.clock.Now())})
	}
	q.change()
}

// Settle implements [relay.Queue].
func (q *queue) Settle(_ context.Context, results ...spool.Result) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.change()
	if q.fails != nil {
		if err := q.fails(); err != nil {
			return err
		}
	}
	for _, r := range results {
		if q.gone[r.Delivery.Key] {
			return spool.ErrLease
		}
	}
	for _, r := range results {
		for _, o := range r.Outcomes {
			q.settle(r.Delivery, o)
		}
		for _, n := range r.New {
			text, err := io.ReadAll(n.Body.Reader())
			if err != nil {
				return err
			}
			q.reports = append(q.reports, report{n.Message, string(text)})
		}
	}
	return nil
}

func (q *queue) settle(d *spool.Delivery, o spool.Outcome) {
	w := q.by[d.ID][o.Number]
	if o.State.Final() && !w.final {
		q.open--
	}
	w.flies, w.final, w.pending.State = false, o.State.Final(), o.State
	w.pending.Due = o.Until
	if o.Until.IsZero() {
		w.pending.Due = q.clock.Now()
	}
	if o.Destination != "" {
		q.live[d.Destination] = slices.DeleteFunc(q.live[d.Destination], func(other *waiting) bool { return other == w })
		w.pending.Destination, q.live[o.Destination] = o.Destination, append(q.live[o.Destination], w)
	}
	if !o.At.IsZero() {
		w.pending.Attempts++
		o.Delayed = o.Delayed || w.pending.Last.Delayed
		w.pending.Last = o
	}
	q.told[d.Key] = append(q.told[d.Key], o)
}

// await is how long a test waits for anything.
const await = time.Minute

// await waits until something is so.
func (q *queue) await(t *testing.T, what string, is func() bool) {
	t.Helper()
	over := time.After(await)
	for {
		q.mu.Lock()
		so, changed := is(), q.changed
		q.mu.Unlock()
		if so {
			return
		}
		select {
		case <-changed:
		case <-over:
			t.Fatalf("not yet: %s\n%s", what, q.text())
		}
	}
}

// text is what the queue has, for a test's log.
func (q *queue) text() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var b strings.Builder
	for _, w := range q.waiting[:min(len(q.waiting), 20)] {
		fmt.Fprintf(&b, "%s %s: %s, in flight %t, %d attempts, due %s, %+v\n", w.message.Key, w.pending.Address, w.pending.State, w.flies, w.pending.Attempts,
			w.pending.Due.Sub(begin), w.pending.Last)
	}
	fmt.Fprintf(&b, "done: %v; busy: %v\n", q.backoff, q.busy)
	return b.String()
}

// finish waits until all is delivered or has failed.
func (q *queue) finish(t *testing.T) {
	t.Helper()
	q.await(t, "all is delivered or has failed", func() bool { return q.open == 0 })
}

// rest waits until nothing is in flight, after an attempt at least.
func (q *queue) rest(t *testing.T) {
	t.Helper()
	q.await(t, "nothing is in flight, and nothing due", func() bool {
		return !slices.ContainsFunc(q.waiting, func(w *waiting) bool {
			waits := w.pending.State != spool.Held && !w.final && !w.pending.Due.After(q.clock.Now()) && !q.until[w.pending.Destination].After(q.clock.Now())
			return w.flies || waits || !w.final && q.busy[w.pending.Destination]
		})
	})
}

// states are those of a message's recipients: "a@far.example delivered 2.0.0".
func (q *queue) states(key string) (states []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range q.waiting {
		if w.message.Key == key {
			states = append(states, strings.TrimSpace(w.pending.Address+" "+w.pending.State.String()+" "+w.pending.Last.Code))
		}
	}
	return states
}

// letter is a message for recipients, each at the destination that their domains are.
func letter(key string, to ...string) spool.Message {
	m := spool.Message{Key: key, Envelope: backends.Envelope{From: "ada@sakes.example"}}
	for _, address := range to {
		_, domain, _ := strings.Cut(address, "@")
		m.Recipients = append(m.Recipients, spool.Recipient{Recipient: backends.Recipient{Address: address}, Destination: domain})
	}
	return m
}

// groups are servers that are tried in their order.
func groups(servers ...string) (all [][]string) {
	for _, s := range servers {
		all = append(all, []string{s})
	}
	return all
}
