package lease

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/state"
)

// Openings are [maildrop.Logins] among all gateways that have a database, so that a client whose
// polls go to one gateway after another is told of the delay all the same. The time that has gone
// by is the database's.
type Openings interface {
	maildrop.Logins
	// Tasks are what has to be cleaned up.
	Tasks() []state.Task
}

// NewOpenings gives those of a database; where it is one gateway's alone, those of its memory.
func NewOpenings(db *state.DB) Openings {
	if !db.Shared() {
		return &ownOpenings{}
	}
	return &openings{db: db.Quick()}
}

type ownOpenings struct{ maildrop.MemoryLogins }

func (*ownOpenings) Tasks() []state.Task { return nil }

type openings struct{ db *sql.DB }

// Last implements [maildrop.Logins].
func (o *openings) Last(ctx context.Context, key maildrop.LockKey) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	defer cancel()
	var ago int64
	err := o.db.QueryRowContext(ctx, "SELECT "+now+" - opened FROM openings WHERE key = $1", hash(key)).Scan(&ago)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, backends.Fail(backends.Temporary, "when the maildrop was opened last: %w", err)
	}
	return time.Now().Add(-time.Duration(ago) * time.Microsecond), nil
}

// Note implements [maildrop.Logins]. It is now, whatever the caller's clock says.
func (o *openings) Note(ctx context.Context, key maildrop.LockKey, _ time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	defer cancel()
	_, err := o.db.ExecContext(ctx, `INSERT INTO openings (key, opened) VALUES ($1, `+now+`)
ON CONFLICT (key) DO UPDATE SET opened = excluded.opened`, hash(key))
	if err != nil {
		return backends.Fail(backends.Temporary, "noting that the maildrop is opened: %w", err)
	}
	return nil
}

// Tasks implements [Openings]: a delay is a day at the most.
func (o *openings) Tasks() []state.Task {
	return []state.Task{{Name: "openings of maildrops long ago", Do: func(ctx context.Context, most int) (int64, error) {
		result, err := o.db.ExecContext(ctx, `DELETE FROM openings WHERE key IN (
SELECT key FROM openings WHERE opened < `+now+` - $1 LIMIT $2) AND opened < `+now+` - $1`, (24 * time.Hour).Microseconds(), most)
		if err != nil {
			return 0, err
		}
		return result.RowsAffected()
	}}}
}
