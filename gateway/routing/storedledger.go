package routing

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
)

// StoredLedger is a Ledger in the gateway's state, so that all gateways of an installation share
// it: a client's next try may come to another one. Make it with [OpenLedger].
type StoredLedger struct{ o LedgerOptions }

// LedgerOptions are what a StoredLedger is made of. Log and DB are needed; the rest has
// defaults, given in brackets.
type LedgerOptions struct {
	Log zerolog.Logger
	DB  *state.DB
	// Files is the folder in which earlier versions kept the ledger. What is there is taken over,
	// and the folder removed [there is none].
	Files string
	// Keep is how long an attempt is remembered: as long as clients try again (RFC 5321
	// §4.5.4.1 has four to five days) [7 days].
	Keep time.Duration
	// Brief is for how long after its first attempt a message is recognised that has nothing that
	// would tell it from another one with the same octets [5 minutes].
	Brief time.Duration
	// Hold is how long a transaction has an attempt at the most: when its gateway dies, others
	// get the attempt after that time [10 minutes].
	Hold time.Duration
	// Most is how many are remembered; the oldest goes first [10,000].
	Most int
	Now  func() time.Time // [time.Now]
}

// OpenLedger makes a ledger. Where no other gateway has the database, nobody has what an earlier
// process has left.
func OpenLedger(ctx context.Context, o LedgerOptions) (*StoredLedger, error) {
	defaultTo(&o.Keep, 7*24*time.Hour)
	defaultTo(&o.Brief, 5*time.Minute)
	defaultTo(&o.Hold, 10*time.Minute)
	defaultTo(&o.Most, 10_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &StoredLedger{o}
	err := o.DB.Write(ctx, func(tx *state.Tx) error {
		if !o.DB.Shared() {
			if _, err := tx.Exec("UPDATE deliveries SET taken = 0"); err != nil {
				return err
			}
		}
		return l.trim(tx)
	})
	if err != nil {
		return nil, fmt.Errorf("the ledger: %w", err)
	}
	return l, l.takeFilesOver(ctx)
}

func defaultTo[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// trim forgets what is too old, and the oldest beyond the bound. One that a transaction has
// taken is left to it, and one that another gateway is about to forget to that.
func (l *StoredLedger) trim(tx *state.Tx) error {
	now := l.o.Now()
	lock := ""
	if l.o.DB.Shared() {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	if _, err := tx.Exec("DELETE FROM deliveries WHERE key IN (SELECT key FROM deliveries WHERE written < $1 AND taken < $2"+lock+")",
		now.Add(-l.o.Keep).UnixMicro(), now.UnixMicro()); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM deliveries WHERE key IN (SELECT key FROM deliveries WHERE taken < $1 AND
written <= (SELECT written FROM deliveries ORDER BY written DESC LIMIT 1 OFFSET $2)`+lock+")", now.UnixMicro(), l.o.Most)
	return err
}

// Len is the number of attempts that are remembered.
func (l *StoredLedger) Len(ctx context.Context) (n int, err error) {
	return n, l.o.DB.QueryRow(ctx, "SELECT COUNT(*) FROM deliveries").Scan(&n)
}

// Chores are what has to be cleaned up.
func (l *StoredLedger) Chores() []state.Chore {
	return []state.Chore{{Name: "deliveries that nobody has tried again", Do: func(ctx context.Context, most int) (rows int64, err error) {
		now := l.o.Now()
		err = l.o.DB.Write(ctx, func(tx *state.Tx) error {
			rows, err = tx.Exec("DELETE FROM deliveries WHERE key IN (SELECT key FROM deliveries WHERE written < $1 AND taken < $2 LIMIT $3)",
				now.Add(-l.o.Keep).UnixMicro(), now.UnixMicro(), most)
			return err
		})
		return rows, err
	}}}
}

// Take implements [Ledger]. Most messages were never seen before: that is one query. A first attempt that
// lies ahead was made before the clock was put back: it says as little of now as an old one.
func (l *StoredLedger) Take(ctx context.Context, m Message) (*Attempt, error) {
	attempts, err := l.seen(ctx, m)
	for _, a := range attempts {
		if !a.knows(m.Recipients) || l.o.Now().Sub(a.First).Abs() > l.o.Brief && !m.unlike(a.First) {
			continue
		}
		mine, err := l.claim(ctx, a)
		if err != nil {
			return nil, fmt.Errorf("the ledger: %w", err)
		}
		if mine {
			return a, nil
		}
	}
	return newAttempt(m.Fingerprint, l.o.Now()), err
}

// seen gives the attempts of a message that nobody has, the oldest first.
func (l *StoredLedger) seen(ctx context.Context, m Message) (attempts []*Attempt, err error) {
	now := l.o.Now()
	rows, err := l.o.DB.Query(ctx, "SELECT key, attempt FROM deliveries WHERE fingerprint = $1 AND taken < $2 AND written >= $3 ORDER BY written, key",
		m.Fingerprint, now.UnixMicro(), now.Add(-l.o.Keep).UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("the ledger: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var key, text string
		if err := rows.Scan(&key, &text); err != nil {
			return nil, fmt.Errorf("the ledger: %w", err)
		}
		a := &Attempt{Fingerprint: m.Fingerprint, Again: true}
		if err := json.Unmarshal([]byte(text), a); err != nil || a.Key != key {
			l.o.Log.Error().Err(err).Str("key", key).Msg("a delivery's record cannot be read, and is left alone until it is too old")
			continue
		}
		attempts = append(attempts, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("the ledger: %w", err)
	}
	return attempts, nil
}

// claim makes an attempt the caller's, unless somebody else has it by now. Among several gateways it
// is a statement by itself, which waits for no other one's transaction, nor for the disk.
func (l *StoredLedger) claim(ctx context.Context, a *Attempt) (mine bool, err error) {
	const statement = "UPDATE deliveries SET taken = $2 WHERE key = $1 AND taken < $3"
	now := l.o.Now()
	until := now.Add(l.o.Hold).UnixMicro()
	if l.o.DB.Shared() {
		result, err := l.o.DB.Quick().ExecContext(ctx, statement, a.Key, until, now.UnixMicro())
		if err != nil {
			return false, err
		}
		rows, err := result.RowsAffected()
		return rows > 0, err
	}
	err = l.o.DB.Write(ctx, func(tx *state.Tx) error {
		rows, err := tx.Exec(statement, a.Key, until, now.UnixMicro())
		mine = rows > 0
		return err
	})
	return mine, err
}

// Put implements [Ledger].
func (l *StoredLedger) Put(ctx context.Context, a *Attempt) error {
	if a.empty() && !a.Again {
		return nil
	}
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("the ledger: %w", err)
	}
	err = l.o.DB.Write(ctx, func(tx *state.Tx) error {
		if a.empty() {
			_, err := tx.Exec("DELETE FROM deliveries WHERE key = $1", a.Key)
			return err
		}
		if err := l.insert(tx, a, string(text), l.o.Now()); err != nil {
			return err
		}
		return l.trim(tx)
	})
	if err != nil {
		return fmt.Errorf("the ledger: %w", err)
	}
	return nil
}

func (l *StoredLedger) insert(tx *state.Tx, a *Attempt, text string, written time.Time) error {
	_, err := tx.Exec(`INSERT INTO deliveries (key, fingerprint, attempt, written, taken) VALUES ($1, $2, $3, $4, 0)
ON CONFLICT (key) DO UPDATE SET attempt = excluded.attempt, written = excluded.written, taken = 0`, a.Key, a.Fingerprint, text, written.UnixMicro())
	return err
}
