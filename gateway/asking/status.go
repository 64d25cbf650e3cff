package asking

import (
	"context"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

// Status is what is known of a server that is asked, over all gateways of a state.
type Status struct {
	Server   string
	Asked    time.Time // when it was asked last; zero: never
	Well     time.Time // when that last went well; zero: never
	Failures int       // in a row
	Reason   string    // of the last failure; empty: there was none
}

// Statuses are what a state knows of servers.
func Statuses(ctx context.Context, db *state.DB, names []string) (all []Status, err error) {
	for _, name := range names {
		s, err := statusOf(ctx, db, name)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func statusOf(ctx context.Context, db *state.DB, name string) (s Status, err error) {
	s.Server = name
	err = db.Read(ctx, func(tx *state.Tx) error {
		var asked, well int64
		_, err := tx.One([]any{&asked, &well, &s.Failures, &s.Reason}, "SELECT asked, well, failures, reason FROM etrn_servers WHERE name = $1", name)
		s.Asked, s.Well = state.TimeOf(asked), state.TimeOf(well)
		return err
	})
	return s, err
}

// put writes it down.
func (s Status) put(ctx context.Context, db *state.DB) error {
	return db.Write(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec(`INSERT INTO etrn_servers (name, asked, well, failures, reason) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (name) DO UPDATE SET asked = excluded.asked, well = excluded.well, failures = excluded.failures, reason = excluded.reason`,
			s.Server, state.Micros(s.Asked), state.Micros(s.Well), s.Failures, s.Reason)
		return err
	})
}
