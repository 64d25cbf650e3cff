package spool

import (
	"container/heap"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

const (
	// never is a time that does not come.
	never int64 = math.MaxInt64
	// pageDestinations is how many rows of destinations are read at once at the most.
	pageDestinations = 1000
)

// schedule is what is known in memory of the destinations that have mail, and when to look at each.
//
// A destination has a row in the database, whose due is never later than its earliest mail but for its
// back-off. In memory there is more: what was just taken in is in a queue, and next is the earliest mail
// that is in the database alone. The row is written again when a destination has had nothing to do for a
// moment (refresh.go): a busy one costs no write for each message.
type schedule struct {
	spool *Spool

	mu           sync.Mutex
	destinations map[string]*destination
	heap         byDue         // of those that are not busy
	horizon      horizon       // of destinations that are not in memory, none is due before
	changed      chan struct{} // closed when somebody waits and something may be due
	closed       chan struct{}
	messages     int   // in the queues
	octets       int64 // in the queues
	quiet        map[*destination]struct{}
	quieted      chan struct{} // of one place: quiet has something
	rows         uint64        // grows when rows are told to be later
	given        int64         // when a destination was given back last
}

func newSchedule(s *Spool) *schedule {
	return &schedule{
		spool: s, destinations: make(map[string]*destination), horizon: horizon{due: never}, changed: make(chan struct{}),
		closed: make(chan struct{}), quiet: make(map[*destination]struct{}), quieted: make(chan struct{}, 1),
	}
}

func (s *schedule) close() { close(s.closed) }

// rewind begins to read the destinations from the one that is due first: at the start, and when shards
// were taken.
func (s *schedule) rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.horizon = horizon{due: math.MinInt64}
	s.wake()
}

// of is what is known of a destination; it is made if need be.
func (s *schedule) of(name string, shard int64) *destination {
	d := s.destinations[name]
	if d == nil {
		d = &destination{name: name, shard: shard, next: never, row: never, place: -1}
		s.destinations[name] = d
		heap.Push(&s.heap, d)
	}
	return d
}

// fix is called when a destination is due at another time than before.
func (s *schedule) fix(d *destination) {
	if d.place >= 0 {
		heap.Fix(&s.heap, d.place)
	}
}

// wake lets those who wait in Ready look again.
func (s *schedule) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// rowSays is what a destination's row says at the latest.
func (s *schedule) rowSays(name string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.destinations[name]; d != nil {
		return d.row
	}
	return never
}

// announced is called when a transaction with announcements is on the disk. rows is what it was before
// the transaction.
func (s *schedule) announced(all []announcement, rows uint64) {
	s.spool.notifier.tell(all)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range all {
		if d := s.known(a, rows); d != nil {
			d.next = min(d.next, a.due)
			s.fix(d)
		}
	}
	s.wake()
}

// known is the destination that was announced, if it is this gateway's, and in memory: there it is put
// where there is room.
func (s *schedule) known(a announcement, rows uint64) *destination {
	if !s.spool.leases.has(a.shard) {
		return nil
	}
	d := s.destinations[a.destination]
	if d == nil && len(s.destinations) >= s.spool.o.Destinations {
		s.setBack(horizon{due: a.due - 1})
		return nil
	}
	d = s.of(a.destination, a.shard)
	s.told(d, a.due, rows)
	return d
}

// lift ends the back-off, once for each time at which an administrator has wanted it. That it was ended while
// the destination was given out is not remembered: an attempt that began before sets a new one.
func (d *destination) lift(at int64) {
	if d.lifted == at {
		return
	}
	if d.until = 0; !d.busy {
		d.lifted = at
	}
}

// lift ends the back-off of destinations.
func (s *schedule) lift(all []announcement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range all {
		if d := s.destinations[a.destination]; d != nil {
			d.lift(a.due)
			s.fix(d)
		}
	}
}

// LiftIf ends the back-off of all destinations that it is true of, also of those that are not in memory, if it would end by
// itself before then; zero: whenever that is. One that is given out is ready again as soon as it is given back, whatever it is
// given back for: that was decided before.
func (s *Spool) LiftIf(ctx context.Context, before time.Time, is func(destination string) bool) error {
	most := never
	if !before.IsZero() {
		most = before.UnixMicro()
	}
	s.schedule.liftKnown(most, is)
	for from := (horizon{due: s.o.Now().UnixMicro()}); ; {
		page, err := s.schedule.page(ctx, "until > 0 AND due < $1 AND (due, destination) > ($2, $3)", most, from.due, from.name)
		if err == nil && len(page) > 0 {
			err = s.liftRows(ctx, page, is)
		}
		if err != nil {
			return fmt.Errorf("the spool: %w", err)
		}
		if len(page) < s.schedule.pageMost() {
			return nil
		}
		from = behind(page)
	}
}

// liftKnown is LiftIf for what is in memory.
func (s *schedule) liftKnown(most int64, is func(destination string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, d := range s.destinations {
		if (d.busy || d.until < most) && is(name) {
			d.again = d.busy
			s.endBackoff(d)
		}
	}
	s.wake()
}

// liftRows is LiftIf for rows.
func (s *Spool) liftRows(ctx context.Context, page []*destination, is func(destination string) bool) error {
	var all []announcement
	now := s.o.Now().UnixMicro()
	for _, d := range page {
		if is(d.name) {
			all = append(all, announcement{d.name, d.shard, now})
		}
	}
	if len(all) == 0 {
		return nil
	}
	all = earliest(all)
	rows := s.schedule.rowsNow()
	err := s.db.Write(ctx, func(tx *state.Tx) error {
		if err := lift(tx, all); err != nil {
			return err
		}
		return s.schedule.announce(tx, all)
	})
	if err != nil {
		return err
	}
	s.schedule.lift(all)
	s.schedule.announced(all, rows)
	return nil
}

// endBackoff has no effect on one that is given out: whoever has it says how it goes on.
func (s *schedule) endBackoff(d *destination) {
	if !d.busy {
		d.until = 0
		s.fix(d)
	}
}

// told remembers what a row says, unless it may have been written again since.
func (s *schedule) told(d *destination, due int64, rows uint64) {
	if s.rows == rows {
		d.row = min(d.row, due)
	}
}

// rowsNow is to be read before a transaction that announces.
func (s *schedule) rowsNow() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows
}

// add is called when a message was taken in: it is queued where there is room in memory.
func (s *schedule) add(e *entry) {
	s.spool.notifier.tell(e.claimable)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.spool.o.Now().UnixMicro()
	due := false
	for _, a := range e.claimable {
		d := s.known(a, e.rowsBefore)
		if d == nil {
			continue
		}
		// For one that is backed off there will be time to read it.
		if delivery := s.spool.fresh(e, a, now); delivery != nil && d.until <= now && s.roomFor(delivery.weight) {
			s.messages++
			s.octets += delivery.weight
			heap.Push(&d.queue, &fresh{delivery: delivery, rank: e.rank})
		} else {
			d.next = min(d.next, a.due)
		}
		s.fix(d)
		due = due || !d.busy
	}
	if due {
		s.wake()
	}
}

// roomFor says whether the queues may grow by a message.
func (s *schedule) roomFor(octets int64) bool {
	return s.messages < s.spool.o.FreshMessages && s.octets+octets <= s.spool.o.FreshOctets
}

// Ready waits until a destination has mail that is due, and gives it out: to nobody else until
// [Spool.Done].
func (s *Spool) Ready(ctx context.Context) (destination string, err error) {
	return s.schedule.ready(ctx)
}

func (s *schedule) ready(ctx context.Context) (string, error) {
	for {
		d, at, changed := s.first()
		now := s.spool.o.Now().UnixMicro()
		switch {
		case d != nil:
			return d.name, nil
		case at > now:
			if err := s.wait(ctx, changed, at-now); err != nil {
				return "", err
			}
		default:
			if err := s.loadMore(ctx); err != nil {
				return "", fmt.Errorf("the spool: %w", err)
			}
		}
	}
}

// first takes the destination whose turn is first. If none is due, it says when one may be; a time that
// has come says that others have to be read first.
func (s *schedule) first() (d *destination, at int64, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.spool.o.Now().UnixMicro()
	s.setTurnsBack(now)
	turn := never
	if len(s.heap) > 0 {
		turn = s.heap[0].turn()
	}
	if at = min(turn, s.horizon.due); at > now || s.horizon.due <= turn {
		return nil, at, s.changed
	}
	d = heap.Pop(&s.heap).(*destination)
	d.busy = true
	return d, at, nil
}

// setTurnsBack has nobody wait for a turn when the clock was set back: what was given back is no later than now.
func (s *schedule) setTurnsBack(now int64) {
	if now >= s.given {
		return
	}
	s.given = now
	for _, d := range s.destinations {
		d.given = min(d.given, now)
	}
	heap.Init(&s.heap)
}

// waitMost bounds a wait: clocks are set, and machines sleep.
const waitMost = time.Hour

func (s *schedule) wait(ctx context.Context, changed <-chan struct{}, micros int64) error {
	timer := time.NewTimer(min(time.Duration(min(micros, waitMost.Microseconds()))*time.Microsecond, waitMost))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.closed:
		return ErrClosed
	}
	return nil
}

// Done gives a destination back. Again is before when it is not to be given out, whatever comes (its
// back-off); zero: when it has something that is due.
func (s *Spool) Done(destination string, again time.Time) {
	s.schedule.done(destination, state.Micros(again))
}

func (s *schedule) done(name string, until int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.destinations[name]
	if d == nil || !d.busy {
		return
	}
	now := s.spool.o.Now().UnixMicro()
	if d.again {
		until = 0
	}
	d.busy, d.again, d.until, d.given = false, false, until, now
	s.given = max(s.given, now)
	if !s.spool.leases.has(d.shard) {
		s.forget(d)
		return
	}
	heap.Push(&s.heap, d)
	if due := d.due(); due > now && (due == never || due != d.row) {
		s.quiet[d] = struct{}{}
		s.signalQuiet()
	}
	s.wake()
}

// forget puts a destination out of memory, with its queue.
func (s *schedule) forget(d *destination) {
	for _, f := range d.queue {
		s.dequeued(f)
	}
	if d.place >= 0 {
		heap.Remove(&s.heap, d.place)
	}
	delete(s.quiet, d)
	delete(s.destinations, d.name)
}

func (s *schedule) dequeued(f *fresh) {
	s.messages--
	s.octets -= f.delivery.weight
}

// take gives what of a destination's queue is due, and says whether the database has something, too. Now
// is not before any of it was taken in.
func (s *schedule) take(name string, most int) (deliveries []*Delivery, behind bool, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.spool.o.Now().UnixMicro()
	d := s.destinations[name]
	if d == nil {
		return nil, true, now
	}
	if behind = d.next <= now; behind {
		d.next = never // it is found by the query that follows, or announced meanwhile
		return nil, true, now
	}
	for len(d.queue) > 0 && len(deliveries) < most {
		f := heap.Pop(&d.queue).(*fresh)
		s.dequeued(f)
		deliveries = append(deliveries, f.delivery)
	}
	return deliveries, false, now
}

// claimed takes from a destination's queue what was found in the database, and gives what memory has of
// it. next is when there is more.
func (s *schedule) claimed(name string, ids []ID, next int64) map[ID]*Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.destinations[name]
	if d == nil {
		return nil
	}
	d.next = min(d.next, next)
	s.fix(d)
	if len(d.queue) == 0 {
		return nil
	}
	known := make(map[ID]*Delivery, len(ids))
	for _, id := range ids {
		known[id] = nil
	}
	d.queue = slices.DeleteFunc(d.queue, func(f *fresh) bool {
		if _, is := known[f.delivery.ID]; !is {
			return false
		}
		s.dequeued(f)
		known[f.delivery.ID] = f.delivery
		return true
	})
	heap.Init(&d.queue)
	return known
}
