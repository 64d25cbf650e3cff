// Package quota counts the recipients that a destination has got, so that a bound of those of a day holds over restarts,
// and over the gateways that share a state.
//
//	q := quota.New(db)
//	taken, again, err := q.Take(ctx, "route:provider", 100, 500) // 100 recipients, of 500 a day
//	// taken may be sent now; if they are less than 100, others may from again on
//	err = q.GiveBack(ctx, "route:provider", 3) // three were not sent
//
// A day is the last 24 hours and what has passed of this one: it is counted by hours.
package quota

import (
	"context"
	"fmt"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

// hours is how many hours back recipients count, the hour that it is excluded.
const hours = 24

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

// day reads what counts.
func day(tx *state.Tx, destination string, hour int64) (all []used, sum int64, err error) {
	err = tx.Query(func(scan func(...any) error) error {
		var u used
		err := scan(&u.hour, &u.recipients)
		all, sum = append(all, u), sum+u.recipients
		return err
	}, "SELECT hour, recipients FROM quota WHERE destination = $1 AND hour >= $2 ORDER BY hour", destination, hour-hours)
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
			all[len(all)-1].recipients += int64(taken)
			when = again(all, sum+int64(taken), int64(perDay))
		}
		return add(tx, destination, hour, taken)
	})
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("the recipients of %s: %w", destination, err)
	}
	return taken, when, nil
}

// GiveBack takes recipients off that were counted and have got nothing.
func (c *Counts) GiveBack(ctx context.Context, destination string, recipients int) error {
	err := c.db.Write(ctx, func(tx *state.Tx) error { return add(tx, destination, c.hour(), -recipients) })
	if err != nil {
		return fmt.Errorf("the recipients of %s: %w", destination, err)
	}
	return nil
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
	SELECT destination, hour FROM quota WHERE hour < $1 LIMIT $2)`, c.hour()-hours, most)
			return err
		})
		return rows, err
	}}
}
