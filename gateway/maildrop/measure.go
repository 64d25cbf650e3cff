package maildrop

import (
	"context"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

const (
	measuredAtOnce = 4
	measuredOctets = 32 << 20
	// learntMost is how many sizes a session keeps for itself before they are written.
	learntMost = 500
	// flushMost is how long a session's end waits for its sizes to be written.
	flushMost = 2 * time.Second
)

// Measuring bounds, for each store, the messages that are read only to learn their sizes (I6, I11): how
// many at once, and how many octets a second. A size has to be known in octets with CRLF
// (RFC 1939 §11), which some stores cannot tell. One Measuring is shared by everything that opens
// maildrops.
type Measuring struct {
	AtOnce int   // [4]
	Octets int64 // a second; a client that waits for a size does not wait for this [32 MiB]

	mu     sync.Mutex
	stores map[string]*pace
}

// pace is one store's share.
type pace struct {
	slots  chan struct{}
	octets int64 // a second

	mu   sync.Mutex
	next time.Time // when the octets that were read are paid for
}

func (m *Measuring) pace(store string) *pace {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.stores[store]
	if p == nil {
		if m.stores == nil {
			m.stores = make(map[string]*pace)
		}
		atOnce, octets := m.AtOnce, m.Octets
		if atOnce <= 0 {
			atOnce = measuredAtOnce
		}
		if octets <= 0 {
			octets = measuredOctets
		}
		p = &pace{slots: make(chan struct{}, atOnce), octets: octets}
		m.stores[store] = p
	}
	return p
}

// rest waits until the octets that were read are paid for.
func (p *pace) rest(ctx context.Context) error {
	p.mu.Lock()
	rest := time.Until(p.next)
	p.mu.Unlock()
	return pause(ctx, rest)
}

// begin waits for a turn.
func (p *pace) begin(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *pace) end(octets int64) {
	p.mu.Lock()
	if now := time.Now(); p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(octets) / float64(p.octets) * float64(time.Second)))
	p.mu.Unlock()
	<-p.slots
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// measurer finds a session's unknown sizes, each by reading its message once: in the
// background from the session's beginning, and at once for a client that waits for one.
type measurer struct {
	drop   *drop
	pace   *pace
	ctx    context.Context //nolint:containedctx // the session's: it ends with close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	next   int
	flight map[int]chan struct{} // by message: closed when it has been read

	// What is read in the background stops for a message that has to be alone.
	round      context.Context //nolint:containedctx // of what is read in the background now
	stop       context.CancelFunc
	background int           // messages that are read in it
	quieted    chan struct{} // closed when it may go on; nil: it may
	idle       chan struct{} // closed when nothing is read in it any more; nil: nobody waits for that
}

// newMeasurer begins to measure the messages whose sizes are not known.
func newMeasurer(d *drop) *measurer {
	m := &measurer{drop: d, pace: d.o.Measuring.pace(d.store.Name)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.round, m.stop = context.WithCancel(m.ctx)
	if !d.list.complete() {
		for range cap(m.pace.slots) {
			m.work.Go(m.run)
		}
	}
	return m
}

// run measures in the background until all sizes are known or the store fails, in which case a client
// that asks for a size is told. It pauses before it claims a message, so that a client never waits for
// the pause.
func (m *measurer) run() {
	for m.pace.rest(m.ctx) == nil {
		i, round, done := m.claimNext()
		if done == nil {
			return
		}
		err := m.measure(round, i, done, false)
		if !m.landed(i, round) && err != nil && backends.KindOf(err) != backends.Poison {
			return
		}
	}
}

// claimNext takes the next message that has no size; done is nil when there is none.
func (m *measurer) claimNext() (i int, round context.Context, done chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.quieted != nil {
		quieted := m.quieted
		m.mu.Unlock()
		select {
		case <-quieted:
		case <-m.ctx.Done():
		}
		m.mu.Lock()
		if m.ctx.Err() != nil {
			return 0, nil, nil
		}
	}
	for ; m.next < m.drop.Len(); m.next++ {
		if _, known := m.drop.list.size(m.next); !known && m.flight[m.next] == nil && !m.drop.suspected(m.next) {
			i = m.next
			done = make(chan struct{})
			m.fly(i, done)
			m.next++
			m.background++
			m.drop.company.join()
			return i, m.round, done
		}
	}
	return 0, nil, nil
}

// landed notes that a message is not read in the background any more. True means that the reading was
// broken off for a message that had to be fetched alone, and will be done again.
func (m *measurer) landed(i int, round context.Context) (again bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.background--
	m.drop.company.leave()
	if m.background == 0 && m.idle != nil {
		close(m.idle)
		m.idle = nil
	}
	if again = round.Err() != nil && m.ctx.Err() == nil; again {
		m.next = min(m.next, i)
	}
	return again
}

// quiet stops reading in the background until resume is called.
func (m *measurer) quiet() (resume func()) {
	quieted := make(chan struct{})
	m.mu.Lock()
	m.quieted = quieted
	m.stop()
	var idle chan struct{}
	if m.background > 0 {
		idle = make(chan struct{})
		m.idle = idle
	}
	m.mu.Unlock()
	if idle != nil {
		<-idle
	}
	return func() {
		m.mu.Lock()
		m.quieted = nil
		m.round, m.stop = context.WithCancel(m.ctx)
		m.mu.Unlock()
		close(quieted)
	}
}

// fly notes that a message is being read. The lock is held.
func (m *measurer) fly(i int, done chan struct{}) {
	if m.flight == nil {
		m.flight = make(map[int]chan struct{}) // most sessions need none
	}
	m.flight[i] = done
}

// size returns a size, measuring it if necessary. A client does not wait for the pauses.
func (m *measurer) size(ctx context.Context, i int) (int64, error) {
	for {
		m.mu.Lock()
		if size, known := m.drop.list.size(i); known { // under the lock: it may be found at this moment
			m.mu.Unlock()
			return size, nil
		}
		done, mine := m.flight[i], false
		if done == nil {
			done, mine = make(chan struct{}), true
			m.fly(i, done)
		}
		m.mu.Unlock()
		if mine {
			err := m.measure(ctx, i, done, true)
			if _, known := m.drop.list.size(i); err != nil && !known { // a notice may have taken its place
				return 0, err
			}
			continue
		}
		select {
		case <-done:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// measure reads a message that was claimed.
func (m *measurer) measure(ctx context.Context, i int, done chan struct{}, client bool) error {
	defer func() {
		m.mu.Lock()
		delete(m.flight, i)
		m.mu.Unlock()
		close(done)
	}()
	if err := m.pace.begin(ctx); err != nil {
		return err
	}
	size, err := m.drop.measure(ctx, i, client)
	m.pace.end(size)
	if backends.KindOf(err) == backends.NotFound {
		size, err = 0, nil // a message that is gone has no octets
	}
	if err == nil {
		m.drop.list.setSize(i, size)
	}
	return err
}

// close ends the measuring in the background, and waits for its end.
func (m *measurer) close() {
	m.cancel()
	m.work.Wait()
}

// learn keeps a size for later sessions.
func (d *drop) learn(i int, octets int64) {
	if d.known.Learn(string(d.list.id(i)), octets) >= learntMost {
		d.flush()
	}
}

// flush writes the sizes that were learnt. If it fails they are measured again.
func (d *drop) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushMost)
	defer cancel()
	if err := d.known.Flush(ctx, d.list.ids); err != nil {
		d.log.Warn().Err(err).Msg("sizes that were learnt could not be kept")
	}
}
