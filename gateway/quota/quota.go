// Package quota counts the recipients that a destination has got, so that a bound of those of a day holds over restarts,
// and over the gateways that share a state.
//
//	q := quota.New(db)
//	taken, again, err := q.Take(ctx, "route:provider", 100, 500) // 100 recipients, of 500 a day
//	// taken may be sent now; if they are less than 100, others may from again on
//	err = q.GiveBack(ctx, "route:provider", 3) // three were not sent
//
// A day is the last 24 hours and what has passed of this one: it is counted by hours. They are those since 1970, so that
// time zones and their changes do not matter. What is counted in more than an hour from now was so by a clock that was
// wrong, and counts for nothing.
package quota

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

const (
	hours = 24 // how many hours back recipients count, the hour that it is excluded
	ahead = 1  // how many hours from now: clocks of gateways differ
)

// Counts are those of a state.
type Counts struct {
	db  *state.DB
	now func() time.Time
}

// New counts in a database.
func New(db *state.DB) *Counts { return &Counts{db: db, now: time.Now} }

func (c *Counts) hour() int64 { return c.now().Unix() / 3600 }

// used is what was counted in an hour.
type used struct{ hour, recipients int64 }

// day reads what counts, the oldest first.
func day(tx *state.Tx, destination string, hour int64) (all []used, sum int64, err error) {
	err = tx.Query(func(scan func(...any) error) error {
		var u used
		err := scan(&u.hour, &u.recipients)
		all, sum = append(all, u), sum+u.recipients
		return err
	}, "SELECT hour, recipients FROM quota WHERE destination = $1 AND hour BETWEEN $2 AND $3 ORDER BY hour", destination, hour-hours, hour+ahead)
	return all, sum, err
}

// again is when there are fewer than so many.
func again(all []used, sum, perDay int64) time.Time {
	for _, u := range all {
		if sum -= u.recipients; sum < perDay {
			return time.Unix((u.hour+hours+1)*3600, 0)
		}
	}
	return time.Time{}
}

// Left is how many more recipients may get mail now, of so many a day. Where it is none, again is when there will be
// some.
func (c *Counts) Left(ctx context.Context, destination string, perDay int) (left int, when time.Time, err error) {
	err = c.db.Read(ctx, func(tx *state.Tx) error {
		all, sum, err := day(tx, destination, c.hour())
		if left = int(max(int64(perDay)-sum, 0)); left == 0 {
			when = again(all, sum, int64(perDay))
		}
		return err
	})
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("the recipients of %s: %w", destination, err)
	}
	return left, when, nil
}

// Take counts recipients, as many of those that are wanted as there may be of so many a day. Where that is not all,
// again is when there may be more.
func (c *Counts) Take(ctx context.Context, destination string, want, perDay int) (taken int, when time.Time, err error) {
	err = c.db.Write(ctx, func(tx *state.Tx) error {
		hour := c.hour()
		if err := add(tx, destination, hour, 0); err != nil { // it has the row locked: others wait
			return err
		}
		all, sum, err := day(tx, destination, hour)
		if err != nil {
			return err
		}
		taken, when = int(min(int64(want), max(int64(perDay)-sum, 0))), time.Time{}
		if taken < want {
			all[slices.IndexFunc(all, func(u used) bool { return u.hour == hour })].recipients += int64(taken)
			when = again(all, sum+int64(taken), int64(perDay))
		}
		return add(tx, destination, hour, taken)
	})
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("the recipients of %s: %w", destination, err)
	}
	return taken, when, nil
}

// GiveBack takes recipients off that were counted and have got nothing: those that were counted last. No hour has less
// than none, which others could use when the hour is over that they were counted in.
func (c *Counts) GiveBack(ctx context.Context, destination string, recipients int) error {
	err := c.db.Write(ctx, func(tx *state.Tx) error {
		hour, left := c.hour(), int64(recipients)
		if err := add(tx, destination, hour, 0); err != nil { // as in Take
			return err
		}
		all, _, err := day(tx, destination, hour)
		for _, u := range slices.Backward(all) {
			back := min(left, u.recipients)
			if err != nil || back <= 0 || u.hour > hour { // rows are locked from this hour backwards by all
				continue
			}
			left -= back
			err = add(tx, destination, u.hour, int(-back))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("the recipients of %s: %w", destination, err)
	}
	return nil
}

// Rename has what a destination has got count for another name, in place of what that has.
func Rename(tx *state.Tx, from, to string) error {
	if _, err := tx.Exec("DELETE FROM quota WHERE destination = $1", to); err != nil {
		return err
	}
	_, err := tx.Exec("UPDATE quota SET destination = $1 WHERE destination = $2", to, from)
	return err
}

func add(tx *state.Tx, destination string, hour int64, recipients int) error {
	_, err := tx.Exec(`INSERT INTO quota (destination, hour, recipients) VALUES ($1, $2, $3)
ON CONFLICT (destination, hour) DO UPDATE SET recipients = quota.recipients + excluded.recipients`, destination, hour, recipients)
	return err
}

// Task forgets what counts no more.
func (c *Counts) Task() state.Task {
	return state.Task{Name: "recipients of a day", Do: func(ctx context.Context, most int) (rows int64, err error) {
		err = c.db.Write(ctx, func(tx *state.Tx) (err error) {
			rows, err = tx.Exec(`DELETE FROM quota WHERE (destination, hour) IN (
	SELECT destination, hour FROM quota WHERE hour < $1 OR hour > $2 LIMIT $3)`, c.hour()-hours, c.hour()+hours, most)
			return err
		})
		return rows, err
	}}
}
