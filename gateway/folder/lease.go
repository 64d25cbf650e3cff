package folder

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/state"
)

// answerMost is how long the database has to answer who wants a lease, or gives one back.
const answerMost = 5 * time.Second

// LockOptions are what locks are made of. All are needed.
type LockOptions struct {
	Log zerolog.Logger
	DB  *state.DB
	// Time is how long a lease lasts that nobody renews.
	Time time.Duration
}

// NewLocks gives locks among all gateways that have the database.
func NewLocks(o LockOptions) Locks {
	if !o.DB.Shared() {
		return &MemoryLocks{}
	}
	l := &leases{
		log: o.Log, db: o.DB.Quick(), time: o.Time, node: rand.Text(),
		held: make(map[string]*lease), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	go l.keep()
	return l
}

// leases are locks in a PostgreSQL database.
type leases struct {
	log  zerolog.Logger
	db   *sql.DB
	time time.Duration
	node string // this process; another one, even on the same machine, is another node

	// mine keeps sessions of this process apart. Among other things, it makes it safe to take
	// over a lease that the database says is this node's: nobody here has it.
	mine  MemoryLocks
	quit  chan struct{}
	ended chan struct{}

	mu   sync.Mutex
	held map[string]*lease // by key
}

// lease is a lock that is held, or was.
type lease struct {
	locks      *leases
	own        Lock // of mine
	key        []byte
	account    string
	generation int64
	once       sync.Once

	mu    sync.Mutex
	until time.Time // by this process's clock, and never later than by the database's
	lost  bool      // somebody else has had it
}

// databaseNow is the database's clock, in microseconds since 1970.
const databaseNow = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

// Somebody else's lease that has run out is taken over, and one that this node has left behind:
// the answer to its taking or to its release was lost.
const takeLease = `INSERT INTO leases (key, store, account, folder, node, generation, expires)
VALUES ($1, $2, $3, $4, $5, ` + databaseNow + `, ` + databaseNow + ` + $6)
ON CONFLICT (key) DO UPDATE SET node = excluded.node, expires = excluded.expires,
	generation = GREATEST(leases.generation + 1, excluded.generation)
WHERE leases.expires < ` + databaseNow + ` OR leases.node = excluded.node
RETURNING generation`

// Acquire implements [Locks].
func (l *leases) Acquire(ctx context.Context, key Key) (Lock, error) {
	own, err := l.mine.Acquire(ctx, key)
	if err != nil {
		return nil, err
	}
	taken := &lease{locks: l, own: own, key: key.Hash(), account: key.Account}
	if err := l.take(ctx, taken, key); err != nil {
		own.Release()
		return nil, err
	}
	l.mu.Lock()
	l.held[string(taken.key)] = taken
	l.mu.Unlock()
	return taken, nil
}

func (l *leases) take(ctx context.Context, taken *lease, key Key) error {
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	defer cancel()
	asked := time.Now()
	err := l.db.QueryRowContext(ctx, takeLease, taken.key, key.Store, key.Account, key.Folder, l.node, l.time.Microseconds()).Scan(&taken.generation)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return backends.Fail(backends.InUse, "another gateway has the maildrop of %s open", key.Account)
	case err != nil:
		return backends.Fail(backends.Temporary, "the lock on the maildrop cannot be taken: %w", err)
	}
	taken.until = asked.Add(l.time)
	return nil
}

// Held implements [Lock]: the lease is renewed for whoever asks, so that what he does
// next has the lease's whole time.
func (s *lease) Held(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	defer cancel()
	asked := time.Now()
	renewed, err := s.locks.renew(ctx, []*lease{s})
	if err != nil {
		return backends.Fail(backends.Temporary, "nobody knows who has the lock on %s: %w", s.account, err)
	}
	if !s.note(asked, len(renewed) > 0) {
		return backends.Fail(backends.Temporary, "the lock on %s has run out, and somebody else has had it", s.account)
	}
	return nil
}

// note keeps what the database has answered.
func (s *lease) note(asked time.Time, renewed bool) (held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !renewed {
		s.lost = true
	} else if until := asked.Add(s.locks.time); until.After(s.until) {
		s.until = until
	}
	return !s.lost
}

// Lost implements [Lock].
func (s *lease) Lost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost || time.Now().After(s.until)
}

// Release implements [Lock]. Where the database does not answer, the lease runs out.
func (s *lease) Release() {
	s.once.Do(func() {
		l := s.locks
		l.mu.Lock()
		delete(l.held, string(s.key))
		l.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), answerMost)
		defer cancel()
		_, err := l.db.ExecContext(ctx, "DELETE FROM leases WHERE key = $1 AND node = $2 AND generation = $3", s.key, l.node, s.generation)
		if err != nil {
			l.log.Warn().Err(err).Str("account", s.account).Dur("lease_ms", l.time).Msg("a lock could not be given back; it runs out by itself")
		}
		s.own.Release()
	})
}

// renew renews leases in one statement, and gives the keys of those that were still this
// node's. A lease that has run out is still its own as long as nobody has taken it.
func (l *leases) renew(ctx context.Context, leases []*lease) (map[string]bool, error) {
	keys, generations := make([][]byte, len(leases)), make([]int64, len(leases))
	for i, s := range leases {
		keys[i], generations[i] = s.key, s.generation
	}
	rows, err := l.db.QueryContext(ctx, `UPDATE leases SET expires = `+databaseNow+` + $1
FROM unnest($2::bytea[], $3::bigint[]) AS mine (key, generation)
WHERE leases.key = mine.key AND leases.generation = mine.generation AND leases.node = $4
RETURNING leases.key`, l.time.Microseconds(), keys, generations, l.node)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	renewed := make(map[string]bool, len(leases))
	for rows.Next() {
		var key []byte
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		renewed[string(key)] = true
	}
	return renewed, rows.Err()
}

// keep renews all that is held until the locks are closed.
func (l *leases) keep() {
	defer close(l.ended)
	tick := time.NewTicker(l.time / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.renewAll()
		case <-l.quit:
			return
		}
	}
}

func (l *leases) renewAll() {
	l.mu.Lock()
	leases := make([]*lease, 0, len(l.held))
	for _, s := range l.held {
		leases = append(leases, s)
	}
	l.mu.Unlock()
	if len(leases) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.time/3)
	defer cancel()
	asked := time.Now()
	renewed, err := l.renew(ctx, leases)
	if err != nil {
		l.log.Warn().Err(err).Int("locks", len(leases)).Msg("the locks on maildrops could not be renewed")
		return
	}
	for _, s := range leases {
		if s.note(asked, renewed[string(s.key)]) {
			continue
		}
		l.mu.Lock()
		still := l.held[string(s.key)] == s // or it was given back meanwhile
		l.mu.Unlock()
		if still {
			l.log.Warn().Str("account", s.account).Msg("the lock on a maildrop has run out, and somebody else has had it")
		}
	}
}

// Close implements [Locks].
func (l *leases) Close() {
	close(l.quit)
	<-l.ended
	ctx, cancel := context.WithTimeout(context.Background(), answerMost)
	defer cancel()
	if _, err := l.db.ExecContext(ctx, "DELETE FROM leases WHERE node = $1", l.node); err != nil {
		l.log.Warn().Err(err).Msg("the locks on maildrops could not be given back; they run out by themselves")
	}
}

// Tasks implements [Locks]: leases of nodes that are gone, of mailboxes that nobody has opened
// since.
func (l *leases) Tasks() []state.Task {
	return []state.Task{{Name: "leases of gateways that are gone", Do: func(ctx context.Context, most int) (int64, error) {
		result, err := l.db.ExecContext(ctx, `DELETE FROM leases WHERE key IN (
SELECT key FROM leases WHERE expires < `+databaseNow+` - $1 LIMIT $2) AND expires < `+databaseNow+` - $1`, (24 * time.Hour).Microseconds(), most)
		if err != nil {
			return 0, err
		}
		return result.RowsAffected()
	}}}
}
