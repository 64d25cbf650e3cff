package maildrop

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
)

const (
	// measuredTogether is how many messages a store that measures is asked about at a time: a client
	// that waits for the last of them waits for all.
	measuredTogether = 16
	// learntMost is how many sizes a session keeps for itself before they are written.
	learntMost = 500
	// flushMost is how long a session's end waits for its sizes to be written.
	flushMost = 2 * time.Second
)

// measurer finds a session's unknown sizes: in the background from the session's beginning, and at
// once for a client that waits for one. A store that measures is asked for many at a time, and counts
// where its messages are; of others each message is read once.
type measurer struct {
	drop   *drop
	store  backends.Measurer // nil: each message is read
	pace   *pace
	ctx    context.Context //nolint:containedctx // the session's: it ends with close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	next   int
	flight map[int]chan struct{} // by message: closed when it has been measured, or will not be

	// What is measured in the background stops for a message that has to be alone.
	round      context.Context //nolint:containedctx // of what is measured in the background now
	stop       context.CancelFunc
	background int           // claims that are measured in it
	quieted    chan struct{} // closed when it may go on; nil: it may
	idle       chan struct{} // closed when nothing is measured in it any more; nil: nobody waits for that
}

// newMeasurer begins to measure the messages whose sizes are not known.
func newMeasurer(d *drop) *measurer {
	m := &measurer{drop: d, pace: d.o.Measuring.pace(d.store.Name)}
	if !d.policy.MeasureSizes && !d.opens { // else no word of the store's is taken for a size, or it is another form's
		m.store = d.measures()
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.round, m.stop = context.WithCancel(m.ctx)
	for range cap(m.pace.slots) {
		m.work.Go(m.run)
	}
	return m
}

// measures is the store's maildrop where it measures messages, or nil.
func (d *drop) measures() backends.Measurer {
	many, ok := d.inner.(backends.Measurer)
	if !ok || !d.store.Description.Reading.Measures {
		return nil
	}
	return many
}

// claim is messages that are measured with one request, in their order.
type claim struct {
	messages []int
	done     int             // of these, from the first one on
	paid     bool            // the rest is left for later: these had all octets of a second
	round    context.Context //nolint:containedctx // of the request
}

// run measures in the background until all sizes are known or the store fails, in which case a client
// that asks for a size is told. It pauses before it claims messages, so that a client never waits for
// the pause.
func (m *measurer) run() {
	for m.pace.rest(m.ctx) == nil {
		c := m.claimNext()
		if c == nil || m.fulfil(c) != nil {
			return
		}
	}
}

// claimNext takes the next messages that have no size; nil when there is none.
func (m *measurer) claimNext() *claim {
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
			return nil
		}
	}
	c := m.claim(m.next)
	if c == nil {
		m.next = m.drop.Len()
		return nil
	}
	m.next = c.messages[len(c.messages)-1] + 1
	return c
}

// claim takes as many messages as one request is for, from one on; nil if there is none. The lock is
// held.
func (m *measurer) claim(from int) *claim {
	most := 1
	if m.store != nil {
		most = measuredTogether
	}
	c := &claim{round: m.round}
	for i := from; i < m.drop.Len() && len(c.messages) < most; i++ {
		if _, known := m.drop.list.size(i); known || m.flight[i] != nil || m.drop.suspected(i) {
			continue
		}
		m.fly(i)
		c.messages = append(c.messages, i)
	}
	if len(c.messages) == 0 {
		return nil
	}
	m.background++
	m.drop.company.join()
	return c
}

// fulfil measures what was claimed. An error means that the store fails, and not one message alone.
func (m *measurer) fulfil(c *claim) error {
	err := m.ask(c)
	if !m.landed(c) && err != nil && backends.KindOf(err) != backends.Poison {
		return err
	}
	return nil
}

func (m *measurer) ask(c *claim) error {
	if err := m.pace.begin(c.round); err != nil {
		return err
	}
	var octets int64
	defer func() { m.pace.end(octets) }()
	var err error
	if m.store != nil {
		octets, err = m.together(c)
		return err
	}
	octets, err = m.drop.measure(c.round, c.messages[0], false)
	return m.note(c.messages[0], octets, err)
}

// together asks the store for the sizes of what was claimed, as far as the octets of a second go. The
// error is the request's, or else the first one that may not be a message's own.
func (m *measurer) together(c *claim) (octets int64, failed error) {
	request := backends.MeasureRequest{IDs: m.drop.ids(c.messages), Sizes: true, Rendering: m.drop.rendering}
	for measured, err := range m.store.Measure(c.round, request) {
		if err != nil {
			return octets, err
		}
		if c.done == len(c.messages) || measured.ID != request.IDs[c.done] {
			return octets, backends.Fail(backends.Temporary, "the store has measured another message than asked")
		}
		octets += max(0, measured.Size)
		err = m.told(c.messages[c.done], measured)
		m.free(c)
		if kind := backends.KindOf(err); failed == nil && kind != 0 && kind != backends.Poison {
			failed = err
		}
		if c.paid = octets >= m.pace.octets && c.done < len(c.messages); c.paid {
			return octets, failed
		}
	}
	if c.done < len(c.messages) {
		return octets, backends.Fail(backends.Temporary, "the store has measured %d of %d messages", c.done, len(c.messages))
	}
	return octets, failed
}

// told takes what the store says of a message. A client that asks for one that failed meets the failure
// by itself.
func (m *measurer) told(i int, measured backends.Measured) error {
	switch {
	case measured.Failure != nil:
		return m.note(i, 0, measured.Failure)
	case measured.Size < 0 || measured.Size > sizeMost:
		return backends.Fail(backends.Temporary, "the store has measured a message with %d octets", measured.Size)
	}
	m.drop.found(i, measured.Size)
	return nil
}

// note keeps a size that was found, or says why there is none.
func (m *measurer) note(i int, size int64, err error) error {
	if backends.KindOf(err) == backends.NotFound {
		size, err = 0, nil // a message that is gone has no octets
	}
	if err == nil {
		m.drop.list.setSize(i, size)
	}
	return err
}

// free ends the wait for the next message of a claim.
func (m *measurer) free(c *claim) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.land(c.messages[c.done])
	c.done++
}

// landed notes that a claim is not measured in the background any more. True means that the rest of it
// was broken off, for a message that had to be fetched alone or for a pause, and will be done again.
func (m *measurer) landed(c *claim) (again bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.background--
	m.drop.company.leave()
	if m.background == 0 && m.idle != nil {
		close(m.idle)
		m.idle = nil
	}
	rest := c.messages[c.done:]
	for _, i := range rest {
		m.land(i)
	}
	if again = c.paid || c.round.Err() != nil && m.ctx.Err() == nil; again && len(rest) > 0 {
		m.next = min(m.next, rest[0])
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

// fly notes that a message is being measured. The lock is held.
func (m *measurer) fly(i int) {
	if m.flight == nil {
		m.flight = make(map[int]chan struct{}) // most sessions need none
	}
	m.flight[i] = make(chan struct{})
}

// land notes that a message is not being measured any more. The lock is held.
func (m *measurer) land(i int) {
	close(m.flight[i])
	delete(m.flight, i)
}

// size returns a size, measuring it if necessary. A client does not wait for the pauses.
func (m *measurer) size(ctx context.Context, i int) (int64, error) {
	for asked := false; ; {
		m.mu.Lock()
		if size, known := m.drop.list.size(i); known { // under the lock: it may be found at this moment
			m.mu.Unlock()
			return size, nil
		}
		if m.flight[i] == nil && m.store != nil && !asked && !m.drop.suspected(i) {
			asked = true
			c := m.claim(i) // and those behind it, for which a client is likely to ask next
			m.work.Go(func() { _ = m.fulfil(c) })
		}
		done := m.flight[i]
		mine := done == nil
		if mine {
			m.fly(i)
		}
		m.mu.Unlock()
		if mine {
			err := m.measure(ctx, i)
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

// measure reads a message for a client that waits for its size.
func (m *measurer) measure(ctx context.Context, i int) error {
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.land(i)
	}()
	if err := m.pace.begin(ctx); err != nil {
		return err
	}
	size, err := m.drop.measure(ctx, i, true)
	m.pace.end(size)
	return m.note(i, size, err)
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
		d.log(zerolog.WarnLevel).Err(err).Msg("sizes that were learnt could not be kept")
	}
}
