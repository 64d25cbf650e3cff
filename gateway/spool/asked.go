package spool

import (
	"context"
	"fmt"
	"time"

	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/gateway/state"
)

// noteAsked notes that mail of destinations is wanted now, in the order in which all lock their rows.
func noteAsked(tx *state.Tx, all []announcement) error {
	for _, a := range all {
		_, err := tx.Exec(`INSERT INTO spool_asked (destination, at) VALUES ($1, $2)
ON CONFLICT (destination) DO UPDATE SET at = excluded.at WHERE spool_asked.at < excluded.at`, a.destination, a.due)
		if err != nil {
			return err
		}
	}
	return nil
}

// Asked is when mail of a destination was last to be tried at once, because somebody has asked for it ([Spool.Retry]), by the spool's
// clock ([Spool.Now]). Zero: nobody has within a day.
func (s *Spool) Asked(ctx context.Context, destination string) (at time.Time, err error) {
	err = s.db.Read(ctx, func(tx *state.Tx) error {
		var micros int64
		_, err := tx.One([]any{&micros}, "SELECT at FROM spool_asked WHERE destination = $1", destination)
		at = state.TimeOf(micros)
		return err
	})
	if err != nil {
		return at, fmt.Errorf("the spool: %w", err)
	}
	return at, nil
}

// Waits says whether a destination has mail that may be tried, now or later. It is one step into an index, however much there is.
func (s *Spool) Waits(ctx context.Context, destination string) (waits bool, err error) {
	err = s.db.Read(ctx, func(tx *state.Tx) (err error) {
		waits, err = tx.One([]any{new(int)}, "SELECT 1 FROM spool_recipients WHERE destination = $1 AND due IS NOT NULL LIMIT 1", destination)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("the spool: %w", err)
	}
	return waits, nil
}

// Destinations are those that may have mail that waits, behind one of them (empty: from the start), at the most so many. They come in
// the database's order.
func (s *Spool) Destinations(ctx context.Context, after string, most int) (names []string, err error) {
	err = s.db.Read(ctx, func(tx *state.Tx) error {
		names = nil
		return tx.Query(func(scan func(...any) error) error {
			var name string
			err := scan(&name)
			names = append(names, name)
			return err
		}, "SELECT destination FROM spool_destinations WHERE destination > $1 ORDER BY destination LIMIT $2", after, most)
	})
	if err != nil {
		return nil, fmt.Errorf("the spool: %w", err)
	}
	return names, nil
}

// sweepAsked forgets what was asked for days ago.
func (s *Spool) sweepAsked(ctx context.Context) error {
	before := s.o.Now().Add(-sweepEvery).UnixMicro()
	for {
		var rows int64
		err := s.db.Write(ctx, func(tx *state.Tx) (err error) {
			rows, err = tx.Exec("DELETE FROM spool_asked WHERE destination IN (SELECT destination FROM spool_asked WHERE at < $1 LIMIT 256)", before)
			return err
		})
		if err != nil || rows < sweepPage || !pause.For(ctx, sweepPause) {
			return err
		}
	}
}
