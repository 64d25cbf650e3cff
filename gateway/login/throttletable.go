package login

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

// postgresThrottle is the table in a PostgreSQL database, whose clock is the one that counts.
type postgresThrottle struct{ db *sql.DB }

// microseconds is the database's clock.
const microseconds = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

// tellCounts lets a count decay before it adds to it. One whose time is yet to come, as the clock was set back, does not.
const tellCounts = `INSERT INTO login_failures AS f (key, failures, familiar, changed)
SELECT key, failures, familiar, ` + microseconds + ` FROM unnest($1::text[], $2::float8[], $3::bool[]) AS d (key, failures, familiar)
ON CONFLICT (key) DO UPDATE SET
	failures = excluded.failures + CASE WHEN excluded.familiar THEN 0
		ELSE f.failures * power(2, LEAST(GREATEST((f.changed - excluded.changed) / $4::float8, -60), 0)) END,
	familiar = f.familiar OR excluded.familiar, changed = excluded.changed`

func (p postgresThrottle) tell(ctx context.Context, counts map[string]count, halfLife time.Duration) error {
	keys := slices.Sorted(maps.Keys(counts)) // in one order, so that nodes do not block each other
	failures, known := make([]float64, len(keys)), make([]bool, len(keys))
	for i, key := range keys {
		failures[i], known[i] = counts[key].failures, counts[key].known
	}
	_, err := p.db.ExecContext(ctx, tellCounts, keys, failures, known, float64(halfLife.Microseconds()))
	return err
}

func (p postgresThrottle) clock(ctx context.Context) (now int64, err error) {
	err = p.db.QueryRowContext(ctx, "SELECT "+microseconds).Scan(&now)
	return now, err
}

func (p postgresThrottle) learn(ctx context.Context, since int64, key string, until int64, most int, row func(throttleRow)) error {
	rows, err := p.db.QueryContext(ctx, `SELECT key, failures, familiar, changed, `+microseconds+` FROM login_failures
WHERE (changed, key) > ($1, $2) AND changed <= $3 ORDER BY changed, key LIMIT $4`, since, key, until, most)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r throttleRow
		if err := rows.Scan(&r.key, &r.failures, &r.known, &r.changed, &r.now); err != nil {
			return err
		}
		row(r)
	}
	return rows.Err()
}

func (p postgresThrottle) sweep(ctx context.Context, most int) (int64, error) {
	result, err := p.db.ExecContext(ctx, `DELETE FROM login_failures WHERE key IN (SELECT key FROM login_failures
WHERE changed < `+microseconds+` - CASE WHEN familiar THEN $1::bigint ELSE $2::bigint END LIMIT $3)`,
		forgetKnown.Microseconds(), forgetFailures.Microseconds(), most)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (p postgresThrottle) reset(ctx context.Context, keys []string) (int64, error) {
	result, err := p.db.ExecContext(ctx, `UPDATE login_failures SET failures = 0, changed = `+microseconds+`
WHERE failures > 0 AND ($1 OR key = ANY ($2::text[]))`, len(keys) == 0, keys)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// sqliteThrottle is the table in a SQLite file, which one gateway has, and the command line beside
// it.
type sqliteThrottle struct{ db *state.DB }

func (s sqliteThrottle) tell(ctx context.Context, counts map[string]count, halfLife time.Duration) error {
	return s.db.Write(ctx, func(tx *state.Tx) error {
		now := time.Now().UnixMicro()
		for key, c := range counts {
			var failures float64
			var known bool
			var changed int64
			if _, err := tx.One([]any{&failures, &known, &changed}, "SELECT failures, familiar, changed FROM login_failures WHERE key = $1", key); err != nil {
				return err
			}
			if c.known {
				failures = 0
			}
			failures = decayed(failures, time.Duration(now-changed)*time.Microsecond, halfLife) + c.failures
			if _, err := tx.Exec(`INSERT INTO login_failures (key, failures, familiar, changed) VALUES ($1, $2, $3, $4)
ON CONFLICT (key) DO UPDATE SET failures = excluded.failures, familiar = excluded.familiar, changed = excluded.changed`,
				key, failures, known || c.known, now); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s sqliteThrottle) clock(context.Context) (int64, error) { return time.Now().UnixMicro(), nil }

func (s sqliteThrottle) learn(ctx context.Context, since int64, key string, until int64, most int, row func(throttleRow)) error {
	return s.db.Read(ctx, func(tx *state.Tx) error {
		now := time.Now().UnixMicro()
		return tx.Query(func(scan func(...any) error) error {
			r := throttleRow{now: now}
			if err := scan(&r.key, &r.failures, &r.known, &r.changed); err != nil {
				return err
			}
			row(r)
			return nil
		}, "SELECT key, failures, familiar, changed FROM login_failures WHERE (changed, key) > ($1, $2) AND changed <= $3 ORDER BY changed, key LIMIT $4", since, key, until, most)
	})
}

func (s sqliteThrottle) sweep(ctx context.Context, most int) (rows int64, err error) {
	err = s.db.Write(ctx, func(tx *state.Tx) error {
		now := time.Now().UnixMicro()
		rows, err = tx.Exec(`DELETE FROM login_failures WHERE key IN (SELECT key FROM login_failures
WHERE changed < $1 - CASE WHEN familiar THEN $2 ELSE $3 END LIMIT $4)`,
			now, forgetKnown.Microseconds(), forgetFailures.Microseconds(), most)
		return err
	})
	return rows, err
}

func (s sqliteThrottle) reset(ctx context.Context, keys []string) (rows int64, err error) {
	err = s.db.Write(ctx, func(tx *state.Tx) error {
		rows = 0
		now := time.Now().UnixMicro()
		if len(keys) == 0 {
			rows, err = tx.Exec("UPDATE login_failures SET failures = 0, changed = $1 WHERE failures > 0", now)
			return err
		}
		for _, key := range keys {
			n, err := tx.Exec("UPDATE login_failures SET failures = 0, changed = $1 WHERE failures > 0 AND key = $2", now, key)
			if err != nil {
				return err
			}
			rows += n
		}
		return nil
	})
	return rows, err
}

// Count is what the state has of failed logins, for people.
type Count struct {
	Network  string    // counted for a network: 192.0.2.0/24, or local; empty: not for one
	Address  string    // of a pair with the account
	Account  string    // in lower case
	Failures float64   // as of now
	Known    bool      // the pair has been used with success
	Changed  time.Time // by the database's clock
}

// Counts gives what the state has of failed logins, the newest first.
func Counts(ctx context.Context, db *state.DB, limits ThrottleLimits) (all []Count, err error) {
	limits = limits.withDefaults()
	err = tableOf(db).learn(ctx, 0, "", math.MaxInt64, math.MaxInt32, func(r throttleRow) {
		c := countOf(r.key)
		c.Known, c.Changed = r.known, time.UnixMicro(r.changed)
		c.Failures = decayed(r.failures, time.Duration(r.now-r.changed)*time.Microsecond, limits.HalfLife)
		all = append(all, c)
	})
	if err != nil {
		return nil, fmt.Errorf("the counts of failed logins: %w", err)
	}
	slices.Reverse(all)
	return all, nil
}

// Reset takes back the failures of counts, or all where there are none; gateways that run know of it
// within seconds. It says how many there were.
func Reset(ctx context.Context, db *state.DB, counts []Count) (int64, error) {
	var keys []string
	for _, c := range counts {
		keys = append(keys, c.key())
	}
	n, err := tableOf(db).reset(ctx, keys)
	if err != nil {
		return 0, fmt.Errorf("resetting counts of failed logins: %w", err)
	}
	return n, nil
}
