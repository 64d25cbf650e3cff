package login

import (
	"context"
	"database/sql"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
)

const (
	// shareEvery is how often nodes tell each other what they have counted.
	shareEvery = time.Second
	// unsharedMost bounds what waits to be told. What comes then counts on its own node alone.
	unsharedMost = 10_000
	// learntMost is how many counters are taken from the database at a time.
	learntMost = 10_000
	// sharedKeyMost is the longest key that is shared: no account has such a name.
	sharedKeyMost = 512
	// lateMost is how late a row may become visible after the time that it has.
	lateMost = 10 * time.Second
	// forgetFailures and forgetFamiliar are how long counters are kept that nobody has changed.
	forgetFailures, forgetFamiliar = 24 * time.Hour, 60 * 24 * time.Hour
)

// SharedThrottle is a [Throttle] whose counters several gateways share through PostgreSQL. Each
// decides by its own memory, without asking anybody, and every second tells the database what it
// has counted and learns what the others have. Without the database each counts alone, and tells
// what it can still remember when it is back.
//
// A guesser who asks several nodes at once gains at most what they let pass in that second.
type SharedThrottle struct {
	*MemoryThrottle
	log   zerolog.Logger
	db    *sql.DB
	every time.Duration
	quit  chan struct{}
	ended chan struct{}

	mu       sync.Mutex
	unshared map[string]count
	since    int64 // the database's time, in microseconds, up to which its counters are known
	failing  bool
}

// count is what was counted for a key since it was told last.
type count struct {
	failures float64
	familiar bool // it was used with success; the failures are those after that
}

// NewThrottle makes the throttle of a gateway: one that is shared where the database is.
func NewThrottle(log zerolog.Logger, db *state.DB, limits ThrottleLimits) Throttle {
	memory := NewMemoryThrottle(limits)
	if !db.Shared() {
		return memory
	}
	return share(log, db.Quick(), memory, shareEvery)
}

func share(log zerolog.Logger, db *sql.DB, memory *MemoryThrottle, every time.Duration) *SharedThrottle {
	s := &SharedThrottle{
		MemoryThrottle: memory, log: log, db: db, every: every,
		quit: make(chan struct{}), ended: make(chan struct{}), unshared: make(map[string]count),
	}
	go s.keep()
	return s
}

// Close tells the database what it has not been told, and ends the sharing.
func (s *SharedThrottle) Close() {
	close(s.quit)
	<-s.ended
}

// Report implements [Throttle].
func (s *SharedThrottle) Report(ctx context.Context, peer netip.Addr, account string, good bool) error {
	network := networkKey(peer)
	pair := pairKey(network, account)
	news := s.news(pair)
	err := s.MemoryThrottle.Report(ctx, peer, account, good)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case good && news: // otherwise everybody knows already: polls cost the database nothing
		s.note(pair, count{familiar: true})
	case good:
	case account == "":
		s.note(network, count{failures: 1})
	default:
		for _, key := range []string{network, accountKey(account), pair} {
			s.note(key, count{failures: 1})
		}
	}
	return err
}

// news says whether a success would change a counter.
func (s *SharedThrottle) news(pair string) bool {
	m := s.MemoryThrottle
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.find(pair, m.limits.Now())
	return c == nil || !c.familiar || c.failures > 0
}

// note adds to what is to be told. The lock is held.
func (s *SharedThrottle) note(key string, c count) {
	before, there := s.unshared[key]
	if !there && len(s.unshared) >= unsharedMost || len(key) > sharedKeyMost || !utf8.ValidString(key) || strings.Contains(key, "\x00") {
		return
	}
	if !c.familiar {
		c = count{before.failures + c.failures, before.familiar}
	}
	s.unshared[key] = c
}

func (s *SharedThrottle) keep() {
	defer close(s.ended)
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.exchange()
		case <-s.quit:
			s.exchange()
			return
		}
	}
}

// exchange tells and learns. The log has the first failure of several.
func (s *SharedThrottle) exchange() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.tell(ctx)
	if err == nil {
		err = s.learn(ctx)
	}
	if failing := err != nil; failing != s.failing {
		s.failing = failing
		if failing {
			s.log.Warn().Err(err).Msg("failed logins are counted on this gateway alone: the database cannot be used")
		} else {
			s.log.Info().Msg("failed logins are counted together with other gateways again")
		}
	}
}

// microseconds is the database's clock.
const microseconds = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

// A success clears what was counted before it; otherwise counts add up, after they have decayed.
const tellCounts = `INSERT INTO login_failures AS f (key, failures, familiar, changed)
SELECT key, failures, familiar, ` + microseconds + ` FROM unnest($1::text[], $2::float8[], $3::bool[]) AS d (key, failures, familiar)
ON CONFLICT (key) DO UPDATE SET
	failures = excluded.failures + CASE WHEN excluded.familiar THEN 0
		ELSE f.failures * power(2, GREATEST((f.changed - excluded.changed) / $4::float8, -60)) END,
	familiar = f.familiar OR excluded.familiar, changed = excluded.changed`

func (s *SharedThrottle) tell(ctx context.Context) error {
	s.mu.Lock()
	counts := s.unshared
	s.unshared = make(map[string]count)
	s.mu.Unlock()
	if len(counts) == 0 {
		return nil
	}
	keys := slices.Sorted(maps.Keys(counts)) // in one order, so that nodes do not block each other
	failures, familiar := make([]float64, len(keys)), make([]bool, len(keys))
	for i, key := range keys {
		failures[i], familiar[i] = counts[key].failures, counts[key].familiar
	}
	_, err := s.db.ExecContext(ctx, tellCounts, keys, failures, familiar, float64(s.limits.HalfLife.Microseconds()))
	if err != nil {
		s.putBack(counts)
	}
	return err
}

// putBack keeps what could not be told, beside what was counted since.
func (s *SharedThrottle) putBack(counts map[string]count) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.unshared
	s.unshared = counts
	for key, c := range since {
		if c.familiar {
			s.note(key, count{familiar: true})
		}
		s.note(key, count{failures: c.failures})
	}
}

// learn takes what has changed in the database.
func (s *SharedThrottle) learn(ctx context.Context) error {
	rows, err := s.db.QueryContext(ctx, `SELECT key, failures, familiar, changed, `+microseconds+` FROM login_failures
WHERE changed > $1 ORDER BY changed LIMIT $2`, s.since-lateMost.Microseconds(), learntMost)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		var failures float64
		var familiar bool
		var changed, now int64
		if err := rows.Scan(&key, &failures, &familiar, &changed, &now); err != nil {
			return err
		}
		s.merge(key, failures, familiar, time.Duration(now-changed)*time.Microsecond)
		s.since = max(s.since, changed)
	}
	return rows.Err()
}

// merge takes a counter that was right some time ago: the sum of all nodes, but for what this one
// has not told yet.
func (s *SharedThrottle) merge(key string, failures float64, familiar bool, ago time.Duration) {
	s.mu.Lock()
	own := s.unshared[key]
	s.mu.Unlock()
	m := s.MemoryThrottle
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.limits.Now()
	c := m.touch(key, now)
	c.familiar = c.familiar || familiar
	if own.familiar {
		return // what the database has is from before
	}
	c.failures, c.at = failures, now.Add(-max(ago, 0))
	m.find(key, now) // decays
	c.failures += own.failures
}

// Chores are what the shared counters leave to clean up.
func (s *SharedThrottle) Chores() []state.Chore {
	return []state.Chore{{Name: "counts of failed logins from long ago", Do: func(ctx context.Context, most int) (int64, error) {
		result, err := s.db.ExecContext(ctx, `DELETE FROM login_failures WHERE key IN (SELECT key FROM login_failures
WHERE changed < `+microseconds+` - CASE WHEN familiar THEN $1::bigint ELSE $2::bigint END LIMIT $3)`,
			forgetFamiliar.Microseconds(), forgetFailures.Microseconds(), most)
		if err != nil {
			return 0, err
		}
		return result.RowsAffected()
	}}}
}
