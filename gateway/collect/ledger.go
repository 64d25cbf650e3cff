package collect

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

// The states of a message in the ledger.
const (
	begun   = "begun"   // it is handed to its recipients: some may have it
	taken   = "taken"   // all of them have it
	setDown = "aside"   // it cannot be taken now, the reason says why
	removed = "removed" // taken, and the source has said that it is gone: forgotten once it is listed no more
)

// entry is what is remembered of a message.
type entry struct {
	id             string
	state          string
	size           int64
	digest, header []byte
	first, taken   time.Time
	gone           time.Time
	tries          int64
	due            time.Time
	key            string // under which it is handed over
	delivered      []string
	reason         string
}

// ledger is what was collected, in the gateway's state.
type ledger struct {
	db  *state.DB
	now func() time.Time
}

// goneFor is how long a message is remembered that its server has no more: a server that forgets its unique-ids and has
// others the next day is recognised for so long.
const goneFor = 30 * 24 * time.Hour

const entryColumns = "id, state, size, digest, header, first, taken, gone, tries, due, key, delivered, reason"

func scanEntry(scan func(...any) error) (*entry, error) {
	var e entry
	var first, taken, gone, due int64
	var delivered string
	if err := scan(&e.id, &e.state, &e.size, &e.digest, &e.header, &first, &taken, &gone, &e.tries, &due, &e.key, &delivered, &e.reason); err != nil {
		return nil, err
	}
	e.first, e.taken, e.gone, e.due = state.TimeOf(first), state.TimeOf(taken), state.TimeOf(gone), state.TimeOf(due)
	if err := json.Unmarshal([]byte(delivered), &e.delivered); err != nil {
		return nil, fmt.Errorf("the message %q: %w", e.id, err)
	}
	return &e, nil
}

// entries are all of an account, by id.
func (l *ledger) entries(ctx context.Context, account string) (map[string]*entry, error) {
	all := make(map[string]*entry)
	err := l.db.Read(ctx, func(tx *state.Tx) error {
		clear(all)
		return tx.Query(func(scan func(...any) error) error {
			e, err := scanEntry(scan)
			if err == nil {
				all[e.id] = e
			}
			return err
		}, "SELECT "+entryColumns+" FROM collect_messages WHERE account = $1", account)
	})
	if err != nil {
		return nil, fmt.Errorf("the ledger of %s: %w", account, err)
	}
	return all, nil
}

// put writes an entry as it is now.
func (l *ledger) put(ctx context.Context, account string, e *entry) error {
	return l.db.Write(ctx, func(tx *state.Tx) error { return put(tx, account, e) })
}

func put(tx *state.Tx, account string, e *entry) error {
	delivered, err := json.Marshal(e.delivered)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO collect_messages (account, `+entryColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (account, id) DO UPDATE SET state = excluded.state, size = excluded.size, digest = excluded.digest, header = excluded.header,
	first = excluded.first, taken = excluded.taken, gone = excluded.gone, tries = excluded.tries,
	due = excluded.due, key = excluded.key, delivered = excluded.delivered, reason = excluded.reason`,
		account, e.id, e.state, e.size, notNil(e.digest), notNil(e.header), state.Micros(e.first), state.Micros(e.taken), state.Micros(e.gone),
		e.tries, state.Micros(e.due), e.key, string(delivered), e.reason)
	if err != nil {
		return fmt.Errorf("the ledger of %s: %w", account, err)
	}
	return nil
}

func notNil(octets []byte) []byte {
	if octets == nil {
		return []byte{}
	}
	return octets
}

// leave has the messages of an account no longer go by their ids, as these were of another mailbox. Those that are in the new one, too, are
// known by their contents.
func (l *ledger) leave(ctx context.Context, account string) error {
	err := l.db.Write(ctx, func(tx *state.Tx) error {
		if _, err := tx.Exec("DELETE FROM collect_messages WHERE account = $1 AND state = $2", account, removed); err != nil {
			return err
		}
		now := l.now().UnixMicro()
		// No server's id has a blank.
		_, err := tx.Exec("UPDATE collect_messages SET id = $1 || id, gone = CASE WHEN gone = 0 THEN $2 ELSE gone END WHERE account = $3",
			fmt.Sprintf("until %d ", now), now, account)
		return err
	})
	if err != nil {
		return fmt.Errorf("the ledger of %s: %w", account, err)
	}
	return nil
}

// rename gives a message the id that its server has for it now.
func (l *ledger) rename(ctx context.Context, account, from string, e *entry) error {
	return l.db.Write(ctx, func(tx *state.Tx) error {
		if _, err := tx.Exec("DELETE FROM collect_messages WHERE account = $1 AND id = $2", account, from); err != nil {
			return err
		}
		return put(tx, account, e)
	})
}

// forget forgets messages that their server has no more.
func (l *ledger) forget(ctx context.Context, account string, ids []string) error {
	return l.each(ctx, ids, func(tx *state.Tx, id string) error {
		_, err := tx.Exec("DELETE FROM collect_messages WHERE account = $1 AND id = $2", account, id)
		return err
	})
}

// putAll writes several entries.
func (l *ledger) putAll(ctx context.Context, account string, all []*entry) error {
	for some := range slices.Chunk(all, atOnce) {
		err := l.db.Write(ctx, func(tx *state.Tx) error {
			for _, e := range some {
				if err := put(tx, account, e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// atOnce is how many rows a transaction changes.
const atOnce = 500

func (l *ledger) each(ctx context.Context, ids []string, f func(tx *state.Tx, id string) error) error {
	for some := range slices.Chunk(ids, atOnce) {
		err := l.db.Write(ctx, func(tx *state.Tx) error {
			for _, id := range some {
				if err := f(tx, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// seenFor is how long a Message-ID counts that has come.
const seenFor = 24 * time.Hour

// begin writes that a message is handed over from now on, and counts how often its Message-ID has come for its recipients
// in a day.
func (l *ledger) begin(ctx context.Context, account string, e *entry, messageID string, to []string) (times int64, err error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", messageID, to))
	now := l.now()
	err = l.db.Write(ctx, func(tx *state.Tx) error {
		if err := put(tx, account, e); err != nil {
			return err
		}
		if times = 1; messageID == "" || e.tries > 0 {
			return nil
		}
		_, err := tx.Exec(`INSERT INTO collect_seen (account, message, times, first) VALUES ($1, $2, 1, $3)
ON CONFLICT (account, message) DO UPDATE SET
	times = CASE WHEN collect_seen.first < $4 THEN 1 ELSE collect_seen.times + 1 END,
	first = CASE WHEN collect_seen.first < $4 THEN excluded.first ELSE collect_seen.first END`,
			account, sum[:16], now.UnixMicro(), now.Add(-seenFor).UnixMicro())
		if err != nil {
			return err
		}
		_, err = tx.One([]any{&times}, "SELECT times FROM collect_seen WHERE account = $1 AND message = $2", account, sum[:16])
		return err
	})
	return times, err
}

// aside are the messages of an account that are set aside, those that have waited longest first.
func (l *ledger) aside(ctx context.Context, account string, most int) (all []*entry, err error) {
	err = l.db.Read(ctx, func(tx *state.Tx) error {
		all = nil
		return tx.Query(func(scan func(...any) error) error {
			e, err := scanEntry(scan)
			all = append(all, e)
			return err
		}, "SELECT "+entryColumns+" FROM collect_messages WHERE account = $1 AND state = $2 AND gone = 0 ORDER BY first LIMIT $3", account, setDown, most)
	})
	return all, err
}

// tasks are what has to be forgotten.
func (l *ledger) tasks() []state.Task {
	forget := func(name, statement string, after time.Duration) state.Task {
		return state.Task{Name: name, Do: func(ctx context.Context, most int) (rows int64, err error) {
			err = l.db.Write(ctx, func(tx *state.Tx) (err error) {
				rows, err = tx.Exec(statement, l.now().Add(-after).UnixMicro(), most)
				return err
			})
			return rows, err
		}}
	}
	return []state.Task{
		forget("collected messages that their servers have no more",
			"DELETE FROM collect_messages WHERE (account, id) IN (SELECT account, id FROM collect_messages WHERE gone > 0 AND gone < $1 LIMIT $2)", goneFor),
		forget("Message-IDs of collected messages",
			"DELETE FROM collect_seen WHERE (account, message) IN (SELECT account, message FROM collect_seen WHERE first < $1 LIMIT $2)", 2*seenFor),
	}
}
