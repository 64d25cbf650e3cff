package routing

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
)

// StoredDedup is a [Dedup] in the gateway's state. All gateways of an installation share it, because a
// client's next try may reach another one. It is made with [OpenDedup].
type StoredDedup struct {
	o DedupOptions
	// known are the fingerprints that the database may have. Where nobody else uses it, one that is not among
	// them need not be asked for.
	mu    sync.Mutex
	known map[string]struct{} // nil: not known
}

// DedupOptions are the settings of a [StoredDedup]. Log and DB are required; the others have defaults,
// given in brackets.
type DedupOptions struct {
	Log zerolog.Logger
	DB  *state.DB
	// Files is the folder in which earlier versions kept the deduplication. Its content is imported,
	// and the folder is removed [none].
	Files string
	// Keep is how long an attempt is remembered: as long as clients try again (RFC 5321
	// §4.5.4.1 has four to five days) [7 days].
	Keep time.Duration
	// Hold is how long a transaction keeps an attempt at most. If its gateway dies, others get the
	// attempt after that time [10 minutes].
	Hold time.Duration
	// Most is how many attempts are remembered; the oldest is forgotten first [10,000].
	Most int
	Now  func() time.Time // [time.Now]
}

// brief is how long after its first attempt a message is recognised if nothing tells it from another
// one with the same octets.
const brief = 5 * time.Minute

// OpenDedup makes a deduplication. If no other gateway uses the database, the attempts that an earlier
// process had taken are free.
func OpenDedup(ctx context.Context, o DedupOptions) (*StoredDedup, error) {
	defaultTo(&o.Keep, 7*24*time.Hour)
	defaultTo(&o.Hold, 10*time.Minute)
	defaultTo(&o.Most, 10_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &StoredDedup{o: o}
	err := o.DB.Write(ctx, func(tx *state.Tx) error {
		if !o.DB.Shared() {
			if _, err := tx.Exec("UPDATE deliveries SET taken = 0"); err != nil {
				return err
			}
		}
		return l.trim(tx)
	})
	if err != nil {
		return nil, fmt.Errorf("deduplication: %w", err)
	}
	if err := l.takeFilesOver(ctx); err != nil {
		return l, err
	}
	return l, l.learn(ctx)
}

// learn reads which fingerprints the database has.
func (s *StoredDedup) learn(ctx context.Context) error {
	if s.o.DB.Shared() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[string]struct{})
	rows, err := s.o.DB.Query(ctx, "SELECT DISTINCT fingerprint FROM deliveries")
	if err != nil {
		return fmt.Errorf("deduplication: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var fingerprint string
		if err := rows.Scan(&fingerprint); err != nil {
			return fmt.Errorf("deduplication: %w", err)
		}
		known[fingerprint] = struct{}{}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("deduplication: %w", err)
	}
	s.known = known
	return nil
}

// note makes a fingerprint known before the database has it. Beyond the bound nothing is known any more, and
// each message costs a query until the next start.
func (s *StoredDedup) note(fingerprint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		return
	}
	if len(s.known) >= 2*s.o.Most {
		s.known = nil
		return
	}
	s.known[fingerprint] = struct{}{}
}

// mayHave says whether the database may have a fingerprint.
func (s *StoredDedup) mayHave(fingerprint string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, is := s.known[fingerprint]
	return is || s.known == nil
}

func defaultTo[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// trim forgets attempts that are too old, and the oldest ones beyond the bound. It leaves out those that
// a transaction has taken, and those that another gateway is about to forget.
func (s *StoredDedup) trim(tx *state.Tx) error {
	now := s.o.Now()
	lock := ""
	if s.o.DB.Shared() {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	if _, err := tx.Exec("DELETE FROM deliveries WHERE key IN (SELECT key FROM deliveries WHERE written < $1 AND taken < $2"+lock+")",
		now.Add(-s.o.Keep).UnixMicro(), now.UnixMicro()); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM deliveries WHERE key IN (SELECT key FROM deliveries WHERE taken < $1 AND
written <= (SELECT written FROM deliveries ORDER BY written DESC LIMIT 1 OFFSET $2)`+lock+")", now.UnixMicro(), s.o.Most)
	return err
}

// Len is the number of attempts that are remembered.
func (s *StoredDedup) Len(ctx context.Context) (n int, err error) {
	return n, s.o.DB.QueryRow(ctx, "SELECT COUNT(*) FROM deliveries").Scan(&n)
}

// Tasks are the maintenance of the deduplication.
func (s *StoredDedup) Tasks() []state.Task {
	return []state.Task{{Name: "deliveries that nobody has tried again", Do: func(ctx context.Context, most int) (rows int64, err error) {
		now := s.o.Now()
		err = s.o.DB.Write(ctx, func(tx *state.Tx) error {
			rows, err = tx.Exec("DELETE FROM deliveries WHERE key IN (SELECT key FROM deliveries WHERE written < $1 AND taken < $2 LIMIT $3)",
				now.Add(-s.o.Keep).UnixMicro(), now.UnixMicro(), most)
			return err
		})
		return rows, err
	}}}
}

// Take implements [Dedup]. Most messages were never seen before, which costs one query. A first attempt
// in the future was made before the clock was set back, and is ignored like an old one.
func (s *StoredDedup) Take(ctx context.Context, m Message) (*Attempt, error) {
	attempts, err := s.seen(ctx, m)
	for _, a := range attempts {
		mine, err := s.claim(ctx, a)
		if err != nil {
			return nil, fmt.Errorf("deduplication: %w", err)
		}
		if mine {
			return a, nil
		}
	}
	return newAttempt(m.Fingerprint, s.o.Now()), err
}

// recognises says whether the message may be one that was first seen then.
func (s *StoredDedup) recognises(m Message, first time.Time) bool {
	return s.o.Now().Sub(first).Abs() <= brief || m.unlike(first)
}

// seen returns the attempts that a message may continue and that no transaction has taken, the oldest
// first. The others are read one at a time and not kept: a message to many recipients that comes in parts
// has many.
func (s *StoredDedup) seen(ctx context.Context, m Message) (attempts []*Attempt, err error) {
	if !s.mayHave(m.Fingerprint) {
		return nil, nil
	}
	now := s.o.Now()
	rows, err := s.o.DB.Query(ctx, "SELECT key, attempt, written FROM deliveries WHERE fingerprint = $1 AND taken < $2 AND written >= $3 ORDER BY written, key",
		m.Fingerprint, now.UnixMicro(), now.Add(-s.o.Keep).UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("deduplication: %w", err)
	}
	defer rows.Close()
	asked := set(m.Recipients)
	for rows.Next() {
		var key, text string
		a := &Attempt{Fingerprint: m.Fingerprint, Again: true}
		if err := rows.Scan(&key, &text, &a.written); err != nil {
			return nil, fmt.Errorf("deduplication: %w", err)
		}
		if err := json.Unmarshal([]byte(text), a); err != nil || a.Key != key {
			s.o.Log.Error().Err(err).Str("key", key).Msg("a delivery's record cannot be read, and is left alone until it is too old")
			continue
		}
		if a.knows(asked) && s.recognises(m, a.First) {
			attempts = append(attempts, a)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("deduplication: %w", err)
	}
	return attempts, nil
}

// claim takes an attempt for the caller, unless another transaction has taken it since it was read, even
// if that has given it back: what is remembered is another then. It is one statement,
// which waits neither for the transactions of other gateways nor for the disk.
func (s *StoredDedup) claim(ctx context.Context, a *Attempt) (mine bool, err error) {
	const statement = "UPDATE deliveries SET taken = $2 WHERE key = $1 AND taken < $3 AND written = $4"
	now := s.o.Now()
	until := now.Add(s.o.Hold).UnixMicro()
	if s.o.DB.Shared() {
		result, err := s.o.DB.Quick().ExecContext(ctx, statement, a.Key, until, now.UnixMicro(), a.written)
		if err != nil {
			return false, err
		}
		rows, err := result.RowsAffected()
		return rows > 0, err
	}
	err = s.o.DB.Write(ctx, func(tx *state.Tx) error {
		rows, err := tx.Exec(statement, a.Key, until, now.UnixMicro(), a.written)
		mine = rows > 0
		return err
	})
	return mine, err
}

// Put implements [Dedup].
func (s *StoredDedup) Put(ctx context.Context, a *Attempt) error {
	if a.empty() && !a.Again {
		return nil
	}
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("deduplication: %w", err)
	}
	s.note(a.Fingerprint)
	err = s.o.DB.Write(ctx, func(tx *state.Tx) error {
		if a.empty() {
			_, err := tx.Exec("DELETE FROM deliveries WHERE key = $1", a.Key)
			return err
		}
		if err := s.insert(tx, a, string(text), s.o.Now()); err != nil {
			return err
		}
		return s.trim(tx)
	})
	if err != nil {
		return fmt.Errorf("deduplication: %w", err)
	}
	return nil
}

func (s *StoredDedup) insert(tx *state.Tx, a *Attempt, text string, written time.Time) error {
	_, err := tx.Exec(`INSERT INTO deliveries (key, fingerprint, attempt, written, taken) VALUES ($1, $2, $3, $4, 0)
ON CONFLICT (key) DO UPDATE SET attempt = excluded.attempt, written = excluded.written, taken = 0`, a.Key, a.Fingerprint, text, written.UnixMicro())
	return err
}
