package spool

import (
	"context"
	"time"

	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/gateway/state"
)

const (
	// quietFor is how long a destination's row waits to be written: it may have something to do again.
	quietFor = time.Second
	// refreshMost is how many rows are written in one transaction.
	refreshMost = 200
)

// keepRows writes the rows of destinations that have nothing to do any more, until ctx ends. It waits as
// long as there are none.
func (s *schedule) keepRows(ctx context.Context) {
	for {
		select {
		case <-s.quieted:
		case <-ctx.Done():
			return
		}
		if !pause.For(ctx, quietFor) {
			return
		}
		if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
			s.spool.o.Log.Warn().Err(err).Msg("when destinations of mail in transit are due could not be written; it is tried again")
		}
	}
}

// renewed is a row that refresh writes.
type renewed struct {
	destination *destination
	until       int64
	lifted      int64 // what is known of ends of its back-off
	next        int64 // the earliest mail in the database; never: there is none
	written     bool
}

// refresh writes the rows of quiet destinations.
func (s *schedule) refresh(ctx context.Context) error {
	all := s.quietOnes()
	if len(all) == 0 {
		return nil
	}
	err := s.spool.db.Write(ctx, func(tx *state.Tx) error {
		s.forgetRows(all)
		for _, r := range all {
			if err := s.writeRow(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	s.refreshed(all, err)
	return err
}

// quietOnes takes those that are quiet still.
func (s *schedule) quietOnes() (all []*renewed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.spool.o.Now().UnixMicro()
	for d := range s.quiet {
		if len(all) == refreshMost {
			s.signalQuiet()
			break
		}
		delete(s.quiet, d)
		if !d.busy && d.due() > now {
			all = append(all, &renewed{destination: d, until: d.until, lifted: d.lifted})
		}
	}
	return all
}

func (s *schedule) signalQuiet() {
	select {
	case s.quieted <- struct{}{}:
	default:
	}
}

// forgetRows is called inside of the transaction: what is announced from here on is written.
func (s *schedule) forgetRows(all []*renewed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows++
	for _, r := range all {
		r.destination.row = never
	}
}

// writeRow writes when a destination is due, as the database has it, or deletes its row.
func (s *schedule) writeRow(tx *state.Tx, r *renewed) error {
	name := r.destination.name
	r.written = false
	if s.spool.db.Shared() {
		// Who announces something has the row locked: it is not quiet, and not waited for. Nor is one whose back-off
		// was ended just now: the next look finds that in the row.
		var until int64
		found, err := tx.One([]any{&until}, "SELECT until FROM spool_destinations WHERE destination = $1 FOR UPDATE SKIP LOCKED", name)
		if err != nil || !found || until < 0 && until != -r.lifted {
			return err
		}
	}
	var err error
	if r.next, err = earliestDue(tx, name); err != nil {
		return err
	}
	r.written = true
	if r.next == never {
		_, err = tx.Exec("DELETE FROM spool_destinations WHERE destination = $1", name)
		return err
	}
	_, err = tx.Exec("UPDATE spool_destinations SET due = $1, until = $2 WHERE destination = $3", max(r.next, r.until), r.until, name)
	return err
}

// earliestDue is when a destination's first mail is due: the first of each priority is looked at.
func earliestDue(tx *state.Tx, name string) (int64, error) {
	earliest := never
	for rank := int64(-1); ; {
		var due int64
		found, err := tx.One([]any{&rank, &due}, dueByRank, name, rank)
		if err != nil || !found {
			return earliest, err
		}
		earliest = min(earliest, due)
	}
}

// refreshed is called when it is known whether the rows were written.
func (s *schedule) refreshed(all []*renewed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range all {
		d := r.destination
		if s.destinations[d.name] != d {
			continue // it was forgotten meanwhile
		}
		if err != nil || !r.written {
			s.quiet[d] = struct{}{}
			s.signalQuiet()
			continue
		}
		d.next = min(d.next, r.next)
		s.fix(d)
		if r.next != never {
			d.row = min(d.row, max(r.next, r.until))
		}
		s.putOut(d, r)
	}
}

// putOut puts a destination out of memory: one that has no mail any more, and one for which there is no
// room.
func (s *schedule) putOut(d *destination, r *renewed) {
	if d.busy || len(d.queue) > 0 || d.until != r.until {
		return
	}
	switch {
	case d.next == never:
		s.forget(d)
	case len(s.destinations) > s.spool.o.Destinations && d.row != never:
		s.forget(d)
		s.setBack(horizon{due: d.row - 1})
	}
}

// poll finds what other gateways have taken in for this one's shards, until ctx ends.
func (s *schedule) poll(ctx context.Context) {
	for s.spool.notifier.wait(ctx) {
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.spool.o.Log.Warn().Err(err).Msg("mail that other gateways have taken in cannot be looked for")
		}
		pause.For(ctx, tellPause)
	}
}

// lookAhead is how much later than now the rows are that a look reads, as other gateways' clocks may be ahead. Memory
// has them until they are due.
const lookAhead = time.Second

// look reads which destinations' rows are due, as far as memory has a place for them: the others are read when
// their turn comes.
func (s *schedule) look(ctx context.Context) error {
	mine := s.spool.leases.mine()
	now := s.spool.o.Now().Add(lookAhead).UnixMicro()
	for from := (horizon{due: -1}); ; {
		page, err := s.page(ctx, "due <= $1 AND (due, destination) > ($2, $3) AND shard = ANY($4)", now, from.due, from.name, mine)
		if err != nil {
			return err
		}
		if !s.found(page) {
			return nil
		}
		from = behind(page)
	}
}

// found puts a page of destinations to what is known, and says whether to go on. Where memory is full, what is behind
// the page is to be read later.
func (s *schedule) found(page []*destination) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.merge(page)
	switch {
	case len(page) < s.pageMost():
		return false
	case len(s.destinations) >= s.spool.o.Destinations:
		s.setBack(behind(page))
		return false
	}
	return true
}

// lost forgets the destinations of a shard that is another node's now. Who works on one of them gives it
// back later.
func (s *schedule) lost(shard int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.destinations {
		if d.shard == shard && !d.busy {
			s.forget(d)
		}
	}
}

// idle says whether nobody works on a destination of a shard.
func (s *schedule) idle(shard int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.destinations {
		if d.shard == shard && d.busy {
			return false
		}
	}
	return true
}
