package spool

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

// handleMost is how many recipients one transaction of an administrator changes.
const handleMost = 200

// Filter says which recipients of which messages are meant; its zero value means all.
type Filter struct {
	ID          ID     // of the message
	Key         string // of the message
	Destination string
	Address     string // of the recipient
	States      []State
}

// where is the filter as a condition on spool_recipients, behind other parameters.
func (f Filter) where(args ...any) (condition string, all []any) {
	var parts []string
	add := func(part string, value any) {
		args = append(args, value)
		parts = append(parts, strings.ReplaceAll(part, "$?", "$"+strconv.Itoa(len(args))))
	}
	if f.ID != 0 {
		add("message = $?", int64(f.ID))
	}
	if f.Key != "" {
		add("message = (SELECT id FROM spool_messages WHERE key = $?)", f.Key)
	}
	if f.Destination != "" {
		add("destination = $?", f.Destination)
	}
	if f.Address != "" {
		add("address = $?", f.Address)
	}
	if len(f.States) > 0 {
		numbers := make([]string, len(f.States))
		for i, s := range f.States {
			numbers[i] = strconv.Itoa(int(s))
		}
		parts = append(parts, "state IN ("+strings.Join(numbers, ", ")+")")
	}
	parts = append(parts, "1 = 1")
	return strings.Join(parts, " AND "), args
}

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
	condition, args := f.where(int64(after), most)
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
			status.Due = timeOf(*due)
		}
		m.Recipients = append(m.Recipients, status)
		return nil
	}, "SELECT number, address, parameters, state, attempts, outcome, destination, due FROM spool_recipients WHERE message = $1 ORDER BY number", int64(id))
	return m, err
}

// Hold keeps recipients from being tried until they are released. It leaves out what is in flight, and
// what has ended. It says how many it has changed.
func (s *Spool) Hold(ctx context.Context, f Filter) (changed int, err error) {
	return s.change(ctx, f, handling{only: "due IS NOT NULL"}, func(tx *state.Tx, m meant) error {
		_, err := tx.Exec("UPDATE spool_recipients SET state = 5, due = NULL WHERE message = $1 AND number = $2", int64(m.message), m.number)
		return err
	})
}

// Release lets recipients that are held be tried now. One that was attempted before is uncertain: nobody
// remembers whether it was when it was held.
func (s *Spool) Release(ctx context.Context, f Filter) (changed int, err error) {
	return s.change(ctx, f, handling{only: "state = 5", claimable: true}, func(tx *state.Tx, m meant) error {
		_, err := tx.Exec("UPDATE spool_recipients SET state = CASE WHEN attempts > 0 THEN 4 ELSE 0 END, due = $1 WHERE message = $2 AND number = $3",
			m.now, int64(m.message), m.number)
		return err
	})
}

// Retry lets recipients that wait be tried now, and ends the back-off of their destinations.
func (s *Spool) Retry(ctx context.Context, f Filter) (changed int, err error) {
	return s.change(ctx, f, handling{only: "due IS NOT NULL", claimable: true, lift: true}, func(tx *state.Tx, m meant) error {
		if _, err := tx.Exec("UPDATE spool_recipients SET due = $1 WHERE message = $2 AND number = $3", m.now, int64(m.message), m.number); err != nil {
			return err
		}
		// -1 tells the gateway that has the destination.
		_, err := tx.Exec("UPDATE spool_destinations SET until = -1 WHERE destination = $1 AND until >= 0", m.destination)
		return err
	})
}

// Delete lets recipients have failed, without a word to the sender. It leaves out what is in flight.
func (s *Spool) Delete(ctx context.Context, f Filter) (changed int, err error) {
	outcome, err := outcomeText(Outcome{At: s.o.Now(), Code: "5.7.0", Diagnostic: "deleted by an administrator"})
	if err != nil {
		return 0, err
	}
	return s.change(ctx, f, handling{only: "state IN (0, 4, 5)"}, func(tx *state.Tx, m meant) error {
		_, err := tx.Exec("UPDATE spool_recipients SET state = 3, due = NULL, outcome = $1 WHERE message = $2 AND number = $3",
			outcome, int64(m.message), m.number)
		return err
	})
}

// meant is a recipient that a filter means.
type meant struct {
	message     ID
	number      int64
	destination string
	place       int64
	now         int64
}

// handling is what kind of change is wanted.
type handling struct {
	only      string // a condition on the recipients that it is for
	claimable bool   // they may be tried then
	lift      bool   // their destinations are not backed off any more
}

// change carries out what an administrator wants, a page of recipients at a time.
func (s *Spool) change(ctx context.Context, f Filter, h handling, each func(*state.Tx, meant) error) (changed int, err error) {
	for last := (meant{message: -1}); ; {
		page, err := s.changePage(ctx, f, h, last, each)
		changed += len(page)
		if err != nil {
			return changed, fmt.Errorf("the spool: %w", err)
		}
		if len(page) < handleMost {
			return changed, nil
		}
		last = page[len(page)-1]
	}
}

func (s *Spool) changePage(ctx context.Context, f Filter, h handling, last meant, each func(*state.Tx, meant) error) (page []meant, err error) {
	var claimable []announcement
	var gone []meant
	rows := s.schedule.rowsNow()
	err = s.db.Write(ctx, func(tx *state.Tx) error {
		var err error
		if page, err = s.means(tx, f, h.only, last); err != nil {
			return err
		}
		claimable, gone = nil, nil
		for i, m := range page {
			if err := each(tx, m); err != nil {
				return err
			}
			if h.claimable {
				claimable = append(claimable, announcement{m.destination, shardOf(m.destination), m.now})
			}
			if i+1 < len(page) && page[i+1].message == m.message {
				continue
			}
			left, err := s.ends(tx, m.message, m.place)
			if err != nil {
				return err
			}
			if left {
				gone = append(gone, m)
			}
		}
		claimable = earliest(claimable)
		return s.schedule.announce(tx, claimable)
	})
	if err != nil {
		return nil, err
	}
	if h.lift {
		s.schedule.lift(claimable)
	}
	s.schedule.announced(claimable, rows)
	for _, m := range gone {
		s.removeFile(m.message, m.place)
	}
	return page, nil
}

// means reads a page of recipients, and locks them.
func (s *Spool) means(tx *state.Tx, f Filter, only string, last meant) (page []meant, err error) {
	condition, args := f.where(int64(last.message), last.number, handleMost)
	query := "SELECT message, number, destination FROM spool_recipients WHERE (message, number) > ($1, $2) AND " + only + " AND " + condition +
		" ORDER BY message, number LIMIT $3"
	if s.db.Shared() {
		query += " FOR UPDATE"
	}
	now := s.o.Now().UnixMicro()
	err = tx.Query(func(scan func(...any) error) error {
		m := meant{now: now}
		err := scan(&m.message, &m.number, &m.destination)
		page = append(page, m)
		return err
	}, query, args...)
	for i := range page {
		if err != nil {
			return nil, err
		}
		if i > 0 && page[i-1].message == page[i].message {
			page[i].place = page[i-1].place
			continue
		}
		_, err = tx.One([]any{&page[i].place}, "SELECT place FROM spool_messages WHERE id = $1", int64(page[i].message))
	}
	return page, err
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
		line.Oldest = timeOf(oldest >> idBits)
		if due != nil {
			line.Due = timeOf(*due)
		}
		stats = append(stats, line)
	}
	return slices.Clip(stats), rows.Err()
}
