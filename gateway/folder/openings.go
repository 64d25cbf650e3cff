package folder

import (
	"container/list"
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/state"
)

// Openings is where it is remembered when maildrops were opened last, for LOGIN-DELAY
// (RFC 2449 §6.5). It is asked by who has the maildrop's lock.
type Openings interface {
	// Last is when a maildrop was opened last; zero: not lately.
	Last(ctx context.Context, key Key) (time.Time, error)
	// Note notes that it was opened.
	Note(ctx context.Context, key Key, at time.Time) error
	// Tasks are what has to be cleaned up.
	Tasks() []state.Task
}

// openingsMost bounds a MemoryOpenings. The maildrop that was not opened for longest goes first.
const openingsMost = 100_000

// MemoryOpenings are those that one process knows of. The zero value is ready.
type MemoryOpenings struct {
	mu     sync.Mutex
	byKey  map[Key]*list.Element
	recent list.List // of opening; front: opened last
}

type opening struct {
	key Key
	at  time.Time
}

// Last implements [Openings].
func (m *MemoryOpenings) Last(_ context.Context, key Key) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if element, ok := m.byKey[key]; ok {
		return element.Value.(opening).at, nil
	}
	return time.Time{}, nil
}

// Note implements [Openings].
func (m *MemoryOpenings) Note(_ context.Context, key Key, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if element, ok := m.byKey[key]; ok {
		element.Value = opening{key, at}
		m.recent.MoveToFront(element)
		return nil
	}
	if m.byKey == nil {
		m.byKey = make(map[Key]*list.Element)
	}
	for len(m.byKey) >= openingsMost {
		delete(m.byKey, m.recent.Remove(m.recent.Back()).(opening).key)
	}
	m.byKey[key] = m.recent.PushFront(opening{key, at})
	return nil
}

// Tasks implements [Openings]: there is a bound on what is remembered.
func (*MemoryOpenings) Tasks() []state.Task { return nil }

// NewOpenings gives those of a database; where it is one gateway's alone, those of its memory.
func NewOpenings(db *state.DB) Openings {
	if !db.Shared() {
		return &MemoryOpenings{}
	}
	return &openings{db: db.Quick()}
}

type openings struct{ db *sql.DB }

// Last implements [Openings].
func (o *openings) Last(ctx context.Context, key Key) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	defer cancel()
	var ago int64
	err := o.db.QueryRowContext(ctx, "SELECT "+databaseNow+" - opened FROM openings WHERE key = $1", key.Hash()).Scan(&ago)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, backends.Fail(backends.Temporary, "when the maildrop was opened last: %w", err)
	}
	return time.Now().Add(-time.Duration(ago) * time.Microsecond), nil
}

// Note implements [Openings]. It is now, whatever the caller's clock says.
func (o *openings) Note(ctx context.Context, key Key, _ time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	defer cancel()
	_, err := o.db.ExecContext(ctx, `INSERT INTO openings (key, opened) VALUES ($1, `+databaseNow+`)
ON CONFLICT (key) DO UPDATE SET opened = excluded.opened`, key.Hash())
	if err != nil {
		return backends.Fail(backends.Temporary, "noting that the maildrop is opened: %w", err)
	}
	return nil
}

// Tasks implements [Openings]: a delay is a day at the most.
func (o *openings) Tasks() []state.Task {
	return []state.Task{{Name: "openings of maildrops long ago", Do: func(ctx context.Context, most int) (int64, error) {
		result, err := o.db.ExecContext(ctx, `DELETE FROM openings WHERE key IN (
SELECT key FROM openings WHERE opened < `+databaseNow+` - $1 LIMIT $2) AND opened < `+databaseNow+` - $1`, (24 * time.Hour).Microseconds(), most)
		if err != nil {
			return 0, err
		}
		return result.RowsAffected()
	}}}
}
