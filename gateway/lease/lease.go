// Package lease is the lock on a maildrop among several gateways (I5): a row of the database that
// they share, which its holder keeps alive.
//
//	locks := lease.New(lease.Options{Log: log, DB: db, Time: 30 * time.Second})
//	defer locks.Close()
//	backend := maildrop.New(maildrop.Options{Locks: locks, …})
//
// A lease is taken in one round trip, and given back, at once, with its session. One statement
// renews all leases of a gateway, three times in the time that they last. When a gateway dies
// nothing renews its leases, and others get them when that time is over. The time is the
// database's alone: no gateway's clock is asked for more than how long something took.
//
// Each taking has a generation, larger than any before it, so a gateway that was out of touch
// finds out that somebody else has had the maildrop meanwhile: [maildrop.Lock].Held asks the
// database, and without its yes nothing is removed. While the database cannot be reached nobody
// can log in; sessions that are there go on until their leases are out.
//
// Leases may be forgotten when the database's machine dies: commits do not wait for its disk.
// Two sessions can have a maildrop then, and one of them cannot remove anything.
//
// With SQLite there is one gateway, and [maildrop.MemoryLocks] are all that it takes: New gives
// those. Measured with go test -run '^$' -bench . ./gateway/lease on two shared cores: taking a
// lock and giving it back is done 4,400,000 times a second in memory, and with a PostgreSQL of
// the same machine 7,000 times by one session after another and 14,500 times by 16 at once.
package lease

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/state"
)

// answerMost is how long the database has to answer who wants a lease, or gives one back.
const answerMost = 5 * time.Second

// Options are what locks are made of. All are needed.
type Options struct {
	Log zerolog.Logger
	DB  *state.DB
	// Time is how long a lease lasts that nobody renews.
	Time time.Duration
}

// Locks are [maildrop.Locks] that are to be closed.
type Locks interface {
	maildrop.Locks
	// Close gives back what is held, and ends the renewing.
	Close()
	// Tasks are what has to be cleaned up.
	Tasks() []state.Task
}

// New gives locks among all gateways that have the database.
func New(o Options) Locks {
	if !o.DB.Shared() {
		return &alone{}
	}
	l := &locks{
		log: o.Log, db: o.DB.Quick(), time: o.Time, node: rand.Text(),
		held: make(map[string]*lease), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	go l.keep()
	return l
}

// alone are the locks of a gateway that shares nothing.
type alone struct{ maildrop.MemoryLocks }

func (*alone) Close() {}

func (*alone) Tasks() []state.Task { return nil }

// locks are leases in a PostgreSQL database.
type locks struct {
	log  zerolog.Logger
	db   *sql.DB
	time time.Duration
	node string // this process; another one, even on the same machine, is another node

	// mine keeps sessions of this process apart. Among other things, it makes it safe to take
	// over a lease that the database says is this node's: nobody here has it.
	mine  maildrop.MemoryLocks
	quit  chan struct{}
	ended chan struct{}

	mu   sync.Mutex
	held map[string]*lease // by key
}

// lease is a lock that is held, or was.
type lease struct {
	locks      *locks
	own        maildrop.Lock // of mine
	key        []byte
	account    string
	generation int64
	once       sync.Once

	mu    sync.Mutex
	until time.Time // by this process's clock, and never later than by the database's
	lost  bool      // somebody else has had it
}

// now is the database's clock, in microseconds since 1970.
const now = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

// Somebody else's lease that has run out is taken over, and one that this node has left behind:
// the answer to its taking or to its release was lost.
const take = `INSERT INTO leases (key, store, account, folder, node, generation, expires)
VALUES ($1, $2, $3, $4, $5, ` + now + `, ` + now + ` + $6)
ON CONFLICT (key) DO UPDATE SET node = excluded.node, expires = excluded.expires,
	generation = GREATEST(leases.generation + 1, excluded.generation)
WHERE leases.expires < ` + now + ` OR leases.node = excluded.node
RETURNING generation`

// Acquire implements [maildrop.Locks].
func (l *locks) Acquire(ctx context.Context, key maildrop.LockKey) (maildrop.Lock, error) {
	own, err := l.mine.Acquire(ctx, key)
	if err != nil {
		return nil, err
	}
	taken := &lease{locks: l, own: own, key: hash(key), account: key.Account}
	if err := l.take(ctx, taken, key); err != nil {
		own.Release()
		return nil, err
	}
	l.mu.Lock()
	l.held[string(taken.key)] = taken
	l.mu.Unlock()
	return taken, nil
}

func (l *locks) take(ctx context.Context, taken *lease, key maildrop.LockKey) error {
	ctx, cancel := context.WithTimeout(ctx, answerMost)
	defer cancel()
	asked := time.Now()
	err := l.db.QueryRowContext(ctx, take, taken.key, key.Store, key.Account, key.Folder, l.node, l.time.Microseconds()).Scan(&taken.generation)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return backends.Fail(backends.InUse, "another gateway has the maildrop of %s open", key.Account)
	case err != nil:
		return backends.Fail(backends.Temporary, "the lock on the maildrop cannot be taken: %w", err)
	}
	taken.until = asked.Add(l.time)
	return nil
}

// hash is a key of 16 octets; each part has its length before it.
func hash(key maildrop.LockKey) []byte {
	var text []byte
	for _, part := range []string{key.Store, key.Account, key.Folder} {
		text = binary.AppendUvarint(text, uint64(len(part)))
		text = append(text, part...)
	}
	sum := sha256.Sum256(text)
	return sum[:16]
}

// Held implements [maildrop.Lock]: the lease is renewed for whoever asks, so that what he does
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

// Lost implements [maildrop.Lock].
func (s *lease) Lost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost || time.Now().After(s.until)
}

// Release implements [maildrop.Lock]. Where the database does not answer, the lease runs out.
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
func (l *locks) renew(ctx context.Context, leases []*lease) (map[string]bool, error) {
	keys, generations := make([][]byte, len(leases)), make([]int64, len(leases))
	for i, s := range leases {
		keys[i], generations[i] = s.key, s.generation
	}
	rows, err := l.db.QueryContext(ctx, `UPDATE leases SET expires = `+now+` + $1
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
func (l *locks) keep() {
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

func (l *locks) renewAll() {
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
func (l *locks) Close() {
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
func (l *locks) Tasks() []state.Task {
	return []state.Task{{Name: "leases of gateways that are gone", Do: func(ctx context.Context, most int) (int64, error) {
		result, err := l.db.ExecContext(ctx, `DELETE FROM leases WHERE key IN (
SELECT key FROM leases WHERE expires < `+now+` - $1 LIMIT $2) AND expires < `+now+` - $1`, (24 * time.Hour).Microseconds(), most)
		if err != nil {
			return 0, err
		}
		return result.RowsAffected()
	}}}
}
