package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dipylon/dipylon/gateway/state"
)

// unanswered remembers what was marked as in flight by a transaction whose commit was not answered: it may be
// in flight now, and nobody has it. The destination is given out again, and the next Claim takes it back.
func (s *schedule) unanswered(name string, shard, epoch, now int64, found []*Delivery) {
	for _, d := range found {
		d.Recipients, d.epoch = d.marked, epoch
	}
	found = slices.DeleteFunc(found, func(d *Delivery) bool { return len(d.Recipients) == 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.spool.leases.has(shard) {
		return // who has it now has found them
	}
	d := s.of(name, shard)
	d.unanswered = append(d.unanswered, found...)
	d.next = min(d.next, now)
	s.fix(d)
}

// takeBack lets what an unanswered Claim has left be as it was before.
func (s *Spool) takeBack(ctx context.Context, destination string, now int64) error {
	left := s.schedule.takeUnanswered(destination)
	for len(left) > 0 {
		err := s.giveUp(ctx, left[0])
		if err != nil && !errors.Is(err, ErrLease) { // a lease that is lost, or rows that never were in flight
			s.schedule.keepUnanswered(destination, left, now)
			return fmt.Errorf("the spool: what may be in flight, and is not being delivered: %w", err)
		}
		left = left[1:]
	}
	return nil
}

func (s *schedule) takeUnanswered(name string) (left []*Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.destinations[name]; d != nil {
		left, d.unanswered = d.unanswered, nil
	}
	return left
}

func (s *schedule) keepUnanswered(name string, left []*Delivery, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.destinations[name]; d != nil {
		d.unanswered, d.next = append(left, d.unanswered...), min(d.next, now)
		s.fix(d)
	}
}

// giveUp gives back a delivery that was not tried. The server may still be at work on the commit that marked it:
// then its rows are locked, and it is an error.
func (s *Spool) giveUp(ctx context.Context, d *Delivery) error {
	r := Result{Delivery: d}
	for _, p := range d.Recipients {
		r.Outcomes = append(r.Outcomes, Outcome{Number: p.Number, State: p.State})
	}
	settling, err := s.settling(ctx, []Result{r})
	if err == nil {
		err = s.db.Write(ctx, func(tx *state.Tx) error {
			if err := s.lockAtOnce(tx, d.ID); err != nil {
				return err
			}
			return settling.write(tx)
		})
	}
	settling.end(err)
	return err
}

// lockAtOnce locks a message's recipients, or fails. An UPDATE alone would not do: it neither waits for nor
// finds rows that get its epoch by a commit that is under way.
func (s *Spool) lockAtOnce(tx *state.Tx, id ID) error {
	if !s.db.Shared() {
		return nil
	}
	return tx.Query(func(func(...any) error) error { return nil },
		"SELECT 1 FROM spool_recipients WHERE message = $1 FOR UPDATE NOWAIT", int64(id))
}
