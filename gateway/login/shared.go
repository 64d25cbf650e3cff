package login

import (
	"context"
	"maps"
	"math"
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
	// sharedKeyMost is the longest key that is shared: no account has such a name.
	sharedKeyMost = 512
	// rowsMost is how many counters go to the database, or come from it, at a time, and stepMost how long they may take.
	rowsMost = 1000
	stepMost = 5 * time.Second
	// lateMost is how late a row may become visible after the time that it has.
	lateMost = 10 * time.Second
	// forgetFailures and forgetKnown are how long counters are kept that nobody has changed.
	forgetFailures, forgetKnown = 24 * time.Hour, 60 * 24 * time.Hour
)

// SharedThrottle is a [Throttle] whose counters are in the state, too: they outlast a restart, an
// administrator can look at them and reset them, and several gateways share them through
// PostgreSQL. Each decides by its own memory, without asking anybody, and every second tells the
// database what it has counted and learns what has changed there. Without the database each counts
// alone, and tells what it can still remember when it is back.
//
// A guesser who asks several nodes at once gains at most what they let pass in that second.
type SharedThrottle struct {
	*MemoryThrottle
	log   zerolog.Logger
	db    throttleTable
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
	known    bool // it was used with success; the failures are those after that
}

// throttleTable is the table of counters in the state.
type throttleTable interface {
	// tell adds counts: a success clears what was counted before it, otherwise they add up, after
	// they have decayed.
	tell(ctx context.Context, counts map[string]count, halfLife time.Duration) error
	// clock is the database's time, in microseconds.
	clock(ctx context.Context) (int64, error)
	// learn gives the counters that were changed after a time, or at it and have a greater key, until another time: the earliest
	// first, at most so many.
	learn(ctx context.Context, since int64, key string, until int64, most int, row func(row throttleRow)) error
	// sweep removes counters that nobody has changed for long.
	sweep(ctx context.Context, most int) (int64, error)
	// reset takes back the failures of some keys, or of all where there are none.
	reset(ctx context.Context, keys []string) (int64, error)
}

// throttleRow is a counter in the state.
type throttleRow struct {
	key      string
	failures float64
	known    bool
	changed  int64 // by the database's clock, in microseconds
	now      int64 // of the same clock
}

func tableOf(db *state.DB) throttleTable {
	if db.Shared() {
		return postgresThrottle{db.Quick()}
	}
	return sqliteThrottle{db}
}

// NewThrottle makes the throttle of a gateway.
func NewThrottle(log zerolog.Logger, db *state.DB, limits ThrottleLimits) *SharedThrottle {
	return share(log, tableOf(db), NewMemoryThrottle(limits), shareEvery)
}

func share(log zerolog.Logger, db throttleTable, memory *MemoryThrottle, every time.Duration) *SharedThrottle {
	s := &SharedThrottle{
		MemoryThrottle: memory, log: log, db: db, every: every,
		quit: make(chan struct{}), ended: make(chan struct{}), unshared: make(map[string]count),
	}
	memory.counted = s.count
	s.exchange() // what was known before a restart is known from the first login on
	go s.keep()
	return s
}

// Close tells the database what it has not been told, and ends the sharing.
func (s *SharedThrottle) Close() {
	close(s.quit)
	<-s.ended
}

// count notes an outcome. Successes that change nothing cost the database nothing.
func (s *SharedThrottle) count(keys attemptKeys, good, news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if good && news {
		s.note(keys.pair, count{known: true})
	}
	if good {
		return
	}
	if !news {
		keys.pair = ""
	}
	for _, key := range []string{keys.network, keys.account, keys.pair} {
		if key != "" {
			s.note(key, count{failures: 1})
		}
	}
}

// note adds to what is to be told. The lock is held.
func (s *SharedThrottle) note(key string, c count) {
	before, there := s.unshared[key]
	if !there && len(s.unshared) >= unsharedMost || len(key) > sharedKeyMost || !utf8.ValidString(key) || strings.Contains(key, "\x00") {
		return
	}
	if !c.known {
		c = count{before.failures + c.failures, before.known}
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
	ctx := context.Background() // each step has its own end
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

func (s *SharedThrottle) tell(ctx context.Context) error {
	s.mu.Lock()
	counts := s.unshared
	s.unshared = make(map[string]count)
	s.mu.Unlock()
	if len(counts) == 0 {
		return nil
	}
	s.MemoryThrottle.mu.Lock()
	halfLife := s.limits.HalfLife
	s.MemoryThrottle.mu.Unlock()
	keys := slices.Sorted(maps.Keys(counts))
	for some := range slices.Chunk(keys, rowsMost) {
		part := make(map[string]count, len(some))
		for _, key := range some {
			part[key] = counts[key]
		}
		if err := s.step(ctx, func(ctx context.Context) error { return s.db.tell(ctx, part, halfLife) }); err != nil {
			s.putBack(counts) // those that have not been told
			return err
		}
		for _, key := range some {
			delete(counts, key)
		}
	}
	return nil
}

// step is a part of an exchange: however many counters there are and however slow the database is, each part gets on.
func (s *SharedThrottle) step(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepMost)
	defer cancel()
	return do(ctx)
}

// putBack keeps what could not be told, beside what was counted since.
func (s *SharedThrottle) putBack(counts map[string]count) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.unshared
	s.unshared = counts
	for key, c := range since {
		if c.known {
			s.note(key, count{known: true})
		}
		s.note(key, count{failures: c.failures})
	}
}

// learn takes what has changed in the database. There is no bound on how many counters these are: the
// time asked about begins before what is known, and a bound could be used up by what is.
func (s *SharedThrottle) learn(ctx context.Context) error {
	until, err := s.asOf(ctx)
	if err != nil {
		return err
	}
	since, last := s.since-lateMost.Microseconds(), ""
	for rows := rowsMost; rows >= rowsMost; {
		rows = 0
		err := s.step(ctx, func(ctx context.Context) error {
			return s.db.learn(ctx, since, last, until, rowsMost, func(row throttleRow) {
				s.merge(row.key, row.failures, row.known, time.Duration(row.now-row.changed)*time.Microsecond)
				s.since = max(s.since, row.changed)
				since, last, rows = row.changed, row.key, rows+1
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// asOf is until when counters are learnt: until now, but for the first time, when nothing is known. Where the database's clock was set
// back, what changes from then on is earlier than what is known, and all nodes would count alone until that time comes again: it is known
// until now only. Rows of a time that is yet to come are known already.
func (s *SharedThrottle) asOf(ctx context.Context) (until int64, err error) {
	if s.since == 0 {
		return math.MaxInt64, nil
	}
	err = s.step(ctx, func(ctx context.Context) error {
		until, err = s.db.clock(ctx)
		return err
	})
	if err == nil {
		s.since = min(s.since, until)
	}
	return until, err
}

// merge takes a counter that was right some time ago: the sum of all nodes, but for what this one
// has not told yet.
func (s *SharedThrottle) merge(key string, failures float64, known bool, ago time.Duration) {
	s.mu.Lock()
	own := s.unshared[key]
	s.mu.Unlock()
	m := s.MemoryThrottle
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	c := m.touch(key, now)
	c.known = c.known || known
	if own.known {
		return // what the database has is from before
	}
	c.failures, c.at = failures, now.Add(-max(ago, 0))
	m.find(key, now) // decays
	c.failures += own.failures
	c.tell() // those who wait may have to wait no longer
	m.drop(c)
}

// Tasks are what the counters in the state leave to clean up.
func (s *SharedThrottle) Tasks() []state.Task {
	return []state.Task{{Name: "counts of failed logins from long ago", Do: s.db.sweep}}
}
