package spool

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

// Stored is a message as it is in the spool.
type Stored struct {
	Message // without its Recipients
	ID      ID
	Size    int64
	// Recipients are all that there were, but for those of messages that have left.
	Recipients []Status
	// Odd says what cannot be read of it; empty: nothing.
	Odd string

	spool *Spool
	place int64
}

// Status is a recipient as it is in the spool.
type Status struct {
	Pending           // State is the present one
	Due     time.Time // when it is tried; zero: it is not
}

// Open opens the content.
func (m *Stored) Open(ctx context.Context) (io.ReadSeekCloser, error) {
	content, err := m.spool.open(ctx, m.ID, m.Size, m.place)
	if err != nil {
		return nil, fmt.Errorf("the spool: %w", err)
	}
	return content, nil
}

// List gives the messages of which the filter means a recipient, the oldest first, behind one of them (0:
// from the start), at the most so many.
func (s *Spool) List(ctx context.Context, f Filter, after ID, most int) (messages []*Stored, err error) {
	condition, args := f.where(s.scanned(), int64(after), most)
	err = s.db.Read(ctx, func(tx *state.Tx) error {
		messages = nil
		var ids []ID
		err := tx.Query(func(scan func(...any) error) error {
			var id ID
			err := scan(&id)
			ids = append(ids, id)
			return err
		}, "SELECT DISTINCT message FROM spool_recipients WHERE message > $1 AND "+condition+" ORDER BY message LIMIT $2", args...)
		if err != nil {
			return err
		}
		for _, id := range ids {
			m, err := s.stored(tx, id)
			if err != nil {
				return err
			}
			messages = append(messages, m)
		}
		return nil
	})
	return messages, err
}

// Show gives one message, or [ErrNotFound].
func (s *Spool) Show(ctx context.Context, id ID) (m *Stored, err error) {
	err = s.db.Read(ctx, func(tx *state.Tx) (err error) {
		m, err = s.stored(tx, id)
		return err
	})
	if err == nil && len(m.Recipients) == 0 {
		return nil, ErrNotFound
	}
	return m, err
}

// stored reads a message and its recipients. What cannot be read is told in Odd.
func (s *Spool) stored(tx *state.Tx, id ID) (*Stored, error) {
	d, odd, err := s.message(tx, id, "")
	if err != nil {
		return nil, err
	}
	m := &Stored{ID: id, Odd: odd, spool: s}
	if d != nil {
		m.Message, m.Size, m.place = d.Message, d.Size, d.place
	}
	err = tx.Query(func(scan func(...any) error) error {
		r := recipientRead{message: id}
		var destination string
		var due *int64
		if err := scan(&r.number, &r.address, &r.parameters, &r.state, &r.attempts, &r.outcome, &destination, &due); err != nil {
			return err
		}
		pending, err := r.pending(destination)
		if err != nil {
			m.Odd = err.Error()
			pending.Address, pending.Destination, pending.State, pending.Number = r.address, destination, State(r.state), int(r.number)
		}
		status := Status{Pending: pending}
		if due != nil {
			status.Due = state.TimeOf(*due)
		}
		m.Recipients = append(m.Recipients, status)
		return nil
	}, "SELECT number, address, parameters, state, attempts, outcome, destination, due FROM spool_recipients WHERE message = $1 ORDER BY number", int64(id))
	return m, err
}

// Statistic is how much there is of a state at a destination.
type Statistic struct {
	Destination string
	State       State
	Recipients  int64
	Oldest      time.Time // when the first of them was taken in
	Due         time.Time // when the first of them is tried; zero: none is
}

// Stats counts recipients by destination and state, those destinations first that have most, at the most
// so many lines. It reads all that there is: it is for people.
func (s *Spool) Stats(ctx context.Context, most int) (stats []Statistic, err error) {
	rows, err := s.db.Query(ctx, `SELECT destination, state, count(*) AS n, min(message), min(due) FROM spool_recipients
GROUP BY destination, state ORDER BY n DESC, destination, state LIMIT $1`, most)
	if err != nil {
		return nil, fmt.Errorf("the spool: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var line Statistic
		var oldest int64
		var due *int64
		if err := rows.Scan(&line.Destination, &line.State, &line.Recipients, &oldest, &due); err != nil {
			return nil, fmt.Errorf("the spool: %w", err)
		}
		line.Oldest = state.TimeOf(oldest >> idBits)
		if due != nil {
			line.Due = state.TimeOf(*due)
		}
		stats = append(stats, line)
	}
	return slices.Clip(stats), rows.Err()
}

// Summary is how much there is in all.
type Summary struct {
	At         time.Time       // when it was counted
	Recipients map[State]int64 // by state
	// Due is when the first of them that may be tried was, or is, to be tried; zero: none may.
	Due time.Time
	// Oldest is when the first message of all that may be tried was taken in; zero: there is none.
	Oldest time.Time
}

// Summary counts all recipients. It reads all that there is: ask it seldom.
func (s *Spool) Summary(ctx context.Context) (Summary, error) {
	sum := Summary{At: s.o.Now(), Recipients: make(map[State]int64)}
	rows, err := s.db.Query(ctx, "SELECT state, count(*), min(due), min(message) FROM spool_recipients GROUP BY state")
	if err != nil {
		return sum, fmt.Errorf("the spool: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var of State
		var n, oldest int64
		var due *int64
		if err := rows.Scan(&of, &n, &due, &oldest); err != nil {
			return sum, fmt.Errorf("the spool: %w", err)
		}
		sum.Recipients[of] = n
		if at := state.TimeOf(oldest >> idBits); (of.claimable() || of == InFlight) && (sum.Oldest.IsZero() || at.Before(sum.Oldest)) {
			sum.Oldest = at
		}
		if due != nil && (sum.Due.IsZero() || state.TimeOf(*due).Before(sum.Due)) {
			sum.Due = state.TimeOf(*due)
		}
	}
	return sum, rows.Err()
}

// Readable says why mail in transit cannot be read; nil: it can.
func (s *Spool) Readable(ctx context.Context) error {
	var n int64
	if err := s.db.QueryRow(ctx, "SELECT count(*) FROM (SELECT message FROM spool_recipients LIMIT 1) AS found").Scan(&n); err != nil {
		return fmt.Errorf("the spool: %w", err)
	}
	return nil
}
