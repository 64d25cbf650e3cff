package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/gateway/state"
)

// handleMost is how many recipients one transaction of an administrator changes.
const handleMost = 200

// Place is where an administrator's change goes on: behind a recipient. Its zero value is the start.
type Place struct {
	Message ID
	Number  int
}

// Touched is a recipient that an administrator's change has to do with.
type Touched struct {
	Place
	Key string // of the message
	// Sender is the message's reverse-path; empty: the null one, or it cannot be read.
	Sender      string
	Address     string
	Destination string // where it is now
}

// Handled is what one step of an administrator's change has done.
type Handled struct {
	Changed []Touched
	// InFlight are recipients that the filter means and that are left as they are, because they are being
	// delivered at this moment: at the most some hundreds. The first step tells of them.
	InFlight []Touched
	// Looked is how many recipients were looked at.
	Looked int
	// Next is where the next step goes on; zero: everything has been looked at.
	Next Place
}

// Hold keeps recipients from being tried until they are released. It leaves out what is in flight, and
// what has ended. Like the other changes it is one step of some hundred recipients, from a place on.
func (s *Spool) Hold(ctx context.Context, f Filter, from Place) (Handled, error) {
	return s.change(ctx, f, from, handling{only: "due IS NOT NULL", each: func(tx *state.Tx, m *meant) (bool, error) {
		_, err := tx.Exec("UPDATE spool_recipients SET state = 5, due = NULL WHERE message = $1 AND number = $2", int64(m.Message), m.Number)
		return true, err
	}})
}

// Release lets recipients that are held be tried now. One that was attempted before is uncertain: nobody
// remembers whether it was when it was held.
func (s *Spool) Release(ctx context.Context, f Filter, from Place) (Handled, error) {
	return s.change(ctx, f, from, handling{only: "state = 5", each: func(tx *state.Tx, m *meant) (bool, error) {
		m.claimable = true
		_, err := tx.Exec("UPDATE spool_recipients SET state = CASE WHEN attempts > 0 THEN 4 ELSE 0 END, due = $1 WHERE message = $2 AND number = $3",
			m.now, int64(m.Message), m.Number)
		return true, err
	}})
}

// Retry lets recipients that wait be tried now, and ends the back-off of their destinations. Their mail counts as asked for:
// see [Spool.Asked].
func (s *Spool) Retry(ctx context.Context, f Filter, from Place) (Handled, error) {
	return s.change(ctx, f, from, handling{only: "due IS NOT NULL", lift: true, each: func(tx *state.Tx, m *meant) (bool, error) {
		m.claimable = true
		_, err := tx.Exec("UPDATE spool_recipients SET due = $1 WHERE message = $2 AND number = $3", m.now, int64(m.Message), m.Number)
		return true, err
	}})
}

// Delete lets recipients have failed, without a word to the sender. It leaves out what is in flight.
func (s *Spool) Delete(ctx context.Context, f Filter, from Place) (Handled, error) {
	outcome, err := outcomeText(Outcome{At: s.o.Now(), Code: "5.7.0", Diagnostic: "deleted by an administrator"})
	if err != nil {
		return Handled{}, err
	}
	return s.change(ctx, f, from, handling{only: "state IN (0, 4, 5)", each: func(tx *state.Tx, m *meant) (bool, error) {
		_, err := tx.Exec("UPDATE spool_recipients SET state = 3, due = NULL, outcome = $1 WHERE message = $2 AND number = $3",
			outcome, int64(m.Message), m.Number)
		return true, err
	}})
}

// Way is where a recipient is to go.
type Way struct {
	Destination string
	Held        bool // it waits there until it is released
}

// Reroute has recipients wait for other destinations, and be tried there now; what is held stays held. Not
// ok says that one stays as it is; so does one that goes there already. It leaves out what is in flight.
func (s *Spool) Reroute(ctx context.Context, f Filter, from Place, to func(sender, recipient string) (way Way, ok bool)) (Handled, error) {
	return s.change(ctx, f, from, handling{only: "state IN (0, 4, 5)", each: func(tx *state.Tx, m *meant) (bool, error) {
		way, ok := to(m.Sender, m.Address)
		if !ok || way.Destination == m.Destination && (m.state == Held || !way.Held) {
			return false, nil
		}
		m.Destination = way.Destination
		if way.Held {
			m.state = Held
		}
		var due any
		if m.claimable = m.state.claimable(); m.claimable {
			due = m.now
		}
		_, err := tx.Exec("UPDATE spool_recipients SET destination = $1, shard = $2, state = $3, due = $4 WHERE message = $5 AND number = $6",
			m.Destination, shardOf(m.Destination), int64(m.state), due, int64(m.Message), m.Number)
		return true, err
	}})
}

// meant is a recipient that a filter means.
type meant struct {
	Touched
	state     State
	place     int64 // of the content
	now       int64
	claimable bool // it may be tried now that it is changed
}

// handling is what kind of change is wanted.
type handling struct {
	only string // a condition on the recipients that it is for
	each func(*state.Tx, *meant) (changed bool, err error)
	lift bool // their destinations are not backed off any more, and were asked for
}

// change carries out one step of what an administrator wants. What is meant is looked for first, beside
// others: a transaction that writes has to do with some hundred rows, however many there are.
func (s *Spool) change(ctx context.Context, f Filter, from Place, h handling) (done Handled, err error) {
	step := &step{spool: s, filter: f, handling: h}
	if err := s.db.Read(ctx, func(tx *state.Tx) error { return step.find(tx, from) }); err != nil {
		return Handled{}, fmt.Errorf("the spool: %w", err)
	}
	if len(step.found) == 0 {
		return step.done, nil
	}
	rows := s.schedule.rowsNow()
	if err := s.db.Write(ctx, step.write); err != nil {
		return Handled{}, fmt.Errorf("the spool: %w", err)
	}
	if h.lift {
		s.schedule.lift(step.claimable)
	}
	s.schedule.announced(step.claimable, rows)
	for _, m := range step.gone {
		s.removeFile(m.Message, m.place)
	}
	return step.done, nil
}

// step is one step of an administrator's change.
type step struct {
	spool    *Spool
	filter   Filter
	handling handling

	found     []meant
	done      Handled
	claimable []announcement
	gone      []meant // the last recipients of messages that have left
}

// find looks for a page of recipients.
func (c *step) find(tx *state.Tx, from Place) (err error) {
	c.done = Handled{}
	if from == (Place{}) {
		if c.done.InFlight, err = c.spool.inFlight(tx, c.filter); err != nil {
			return err
		}
	}
	condition, args := c.filter.where(c.spool.scanned(), int64(from.Message), from.Number, handleMost)
	c.found, err = c.spool.touched(tx, "(message, number) > ($1, $2) AND "+c.handling.only+" AND "+condition+
		" ORDER BY message, number LIMIT $3", args...)
	c.done.Looked = len(c.found)
	if len(c.found) == handleMost {
		c.done.Next = c.found[len(c.found)-1].Place
	}
	return err
}

// write changes what was found, as far as it is still so. It may be called again.
func (c *step) write(tx *state.Tx) error {
	c.done.Changed, c.claimable, c.gone = nil, nil, nil
	page, err := c.lock(tx)
	if err != nil {
		return err
	}
	for i := range page {
		if err := c.recipient(tx, &page[i], i+1 == len(page) || page[i+1].Message != page[i].Message); err != nil {
			return err
		}
	}
	c.claimable = earliest(c.claimable)
	if c.handling.lift {
		if err := errors.Join(lift(tx, c.claimable), noteAsked(tx, c.claimable)); err != nil {
			return err
		}
	}
	return c.spool.schedule.announce(tx, c.claimable)
}

// lift ends the back-off of destinations. A negative time is when that was, and tells the gateway that has them.
func lift(tx *state.Tx, all []announcement) error {
	for _, a := range all {
		if _, err := tx.Exec("UPDATE spool_destinations SET until = $1 WHERE destination = $2", -a.due, a.destination); err != nil {
			return err
		}
	}
	return nil
}

// lock reads again what was found, and locks it.
func (c *step) lock(tx *state.Tx) ([]meant, error) {
	first, last := c.found[0].Place, c.found[len(c.found)-1].Place
	messages := make([]string, len(c.found))
	for i, m := range c.found {
		messages[i] = strconv.FormatInt(int64(m.Message), 10)
	}
	condition, args := c.filter.where(c.spool.scanned(), int64(first.Message), first.Number, int64(last.Message), last.Number)
	query := "message IN (" + strings.Join(slices.Compact(messages), ", ") + ") AND (message, number) >= ($1, $2) AND (message, number) <= ($3, $4) AND " +
		c.handling.only + " AND " + condition + " ORDER BY message, number"
	if c.spool.db.Shared() {
		query += " FOR UPDATE"
	}
	return c.spool.touched(tx, query, args...)
}

// recipient changes one recipient; last says that it is its message's last one in this step.
func (c *step) recipient(tx *state.Tx, m *meant, last bool) error {
	changed, err := c.handling.each(tx, m)
	if err != nil {
		return err
	}
	if changed {
		c.done.Changed = append(c.done.Changed, m.Touched)
	}
	if m.claimable {
		c.claimable = append(c.claimable, announcement{m.Destination, shardOf(m.Destination), m.now})
	}
	if !last {
		return nil
	}
	left, err := c.spool.ends(tx, m.Message, m.place)
	if left {
		c.gone = append(c.gone, *m)
	}
	return err
}

// inFlight reads recipients that are in flight, through the index of those.
func (s *Spool) inFlight(tx *state.Tx, f Filter) ([]Touched, error) {
	condition, args := f.where(s.scanned(), handleMost)
	page, err := s.touched(tx, "shard >= 0 AND epoch IS NOT NULL AND "+condition+" ORDER BY message, number LIMIT $1", args...)
	all := make([]Touched, len(page))
	for i, m := range page {
		all[i] = m.Touched
	}
	return all, err
}

// touched reads recipients with what concerns them of their messages.
func (s *Spool) touched(tx *state.Tx, where string, args ...any) (page []meant, err error) {
	now := s.o.Now().UnixMicro()
	err = tx.Query(func(scan func(...any) error) error {
		m := meant{now: now}
		err := scan(&m.Message, &m.Number, &m.Address, &m.Destination, &m.state)
		page = append(page, m)
		return err
	}, "SELECT message, number, address, destination, state FROM spool_recipients WHERE "+where, args...)
	for i := range page {
		if err != nil {
			return nil, err
		}
		m := &page[i]
		if i > 0 && page[i-1].Message == m.Message {
			m.place, m.Sender, m.Key = page[i-1].place, page[i-1].Sender, page[i-1].Key
			continue
		}
		var envelope string
		var row envelopeRow
		_, err = tx.One([]any{&m.place, &envelope, &m.Key}, "SELECT place, envelope, key FROM spool_messages WHERE id = $1", int64(m.Message))
		_ = json.Unmarshal([]byte(envelope), &row) // one that cannot be read names no sender
		m.Sender = row.Envelope.From
	}
	return page, err
}

// ErrInUse says that a gateway works on the mail.
var ErrInUse = errors.New("a gateway works on the mail in transit: stop it first, or wait until its lease has run out")

// HoldAll holds everything that may be tried, or was in flight, in a database that no gateway uses: it is a copy of an
// earlier time, and what waited then may have been delivered since. Released, all of it is uncertain. It says how many
// recipients there are.
func HoldAll(ctx context.Context, db *state.DB) (held int64, err error) {
	err = db.Write(ctx, func(tx *state.Tx) error {
		if db.Shared() {
			alive, err := tx.One([]any{new(int)}, "SELECT 1 FROM spool_nodes WHERE until > "+databaseNow+" LIMIT 1")
			if err != nil {
				return err
			}
			if alive {
				return ErrInUse
			}
		}
		held, err = tx.Exec("UPDATE spool_recipients SET state = 5, due = NULL, epoch = NULL, attempts = attempts + 1 WHERE state IN (0, 1, 4)")
		if err == nil {
			_, err = tx.Exec("DELETE FROM spool_destinations") // none has mail that may be tried
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("the spool: %w", err)
	}
	return held, nil
}
