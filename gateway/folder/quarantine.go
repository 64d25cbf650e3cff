package folder

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/state"
)

const (
	// FailuresMost is how often a message may fail while others can be had.
	FailuresMost = 3
	// EntriesMost is how many messages of a folder are remembered: a store that can give none
	// would fill the database.
	EntriesMost = 1000

	detailMost = 1000 // octets
)

// QuarantineState is what becomes of a message.
type QuarantineState string

// The states.
const (
	Suspected QuarantineState = "suspected" // it has failed, and is asked for again
	Held      QuarantineState = "held"      // a notice is served in its place
	Hidden    QuarantineState = "hidden"    // its notice was deleted: clients do not see it any more
	Released  QuarantineState = "released"  // it is asked for again, by the administrator's word
)

// Message is one message of a folder.
type Message struct {
	Key
	ID   backends.MessageID
	UIDL string // by which clients know it
}

// Number is what people call a message in quarantine by: 16 hexadecimal digits, the same on every
// node.
func (m Message) Number() string {
	h := sha256.New()
	for _, part := range []string{m.Store, m.Account, m.Folder, string(m.ID)} {
		h.Write(binary.AppendUvarint(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// QuarantineEntry is a message in quarantine.
type QuarantineEntry struct {
	Message
	Number   string
	State    QuarantineState
	Reason   string // for the mailbox's owner: nothing of the store's insides
	Detail   string // for the administrator
	Failures int64
	Served   int64 // how often a notice was given in its place
	First    time.Time
	Last     time.Time
}

// Quarantine remembers the messages that their stores cannot give. Nil, it remembers nothing.
type Quarantine struct {
	DB *state.DB
	// Now is the clock [time.Now].
	Now func() time.Time
}

func (q *Quarantine) now() time.Time {
	if q != nil && q.Now != nil {
		return q.Now()
	}
	return time.Now()
}

const entryColumns = "number, store, account, folder, message, uidl, state, reason, detail, failures, served, first_failed, last_failed"

func scanEntry(scan func(...any) error) (e QuarantineEntry, err error) {
	var id []byte
	var first, last int64
	err = scan(&e.Number, &e.Store, &e.Account, &e.Folder, &id, &e.UIDL, &e.State, &e.Reason, &e.Detail,
		&e.Failures, &e.Served, &first, &last)
	e.ID, e.First, e.Last = backends.MessageID(id), time.Unix(first, 0).UTC(), time.Unix(last, 0).UTC()
	return e, err
}

func queryEntries(tx *state.Tx, where string, args ...any) (entries []QuarantineEntry, err error) {
	err = tx.Query(func(scan func(...any) error) error {
		e, err := scanEntry(scan)
		entries = append(entries, e)
		return err
	}, "SELECT "+entryColumns+" FROM quarantine "+where, args...)
	return entries, err
}

// In gives what is remembered of a folder. It is asked at each login, so it is one statement and
// no transaction.
func (q *Quarantine) In(ctx context.Context, key Key) (entries []QuarantineEntry, err error) {
	if q == nil {
		return nil, nil
	}
	rows, err := q.DB.Query(ctx, "SELECT "+entryColumns+" FROM quarantine WHERE store = $1 AND account = $2 AND folder = $3", key.Store, key.Account, key.Folder)
	if err != nil {
		return nil, fmt.Errorf("the quarantine: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		e, err := scanEntry(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("the quarantine: %w", err)
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// Failed notes that a message could not be had, and says what becomes of it. With hold it is held
// now, otherwise when it has failed often enough.
func (q *Quarantine) Failed(ctx context.Context, m Message, failure *backends.Failure, hold bool) (QuarantineEntry, error) {
	now := time.Unix(q.now().Unix(), 0).UTC()
	e := QuarantineEntry{
		Message: m, Number: m.Number(), State: Suspected, Reason: failure.Reply().Text, Detail: detailOf(failure),
		Failures: 1, First: now, Last: now,
	}
	if hold {
		e.State = Held
	}
	if q == nil {
		return e, nil
	}
	err := q.DB.Write(ctx, func(tx *state.Tx) error {
		// Not by its number: one that was taken over from another key has kept that.
		before, err := queryEntries(tx, "WHERE store = $1 AND account = $2 AND folder = $3 AND message = $4 ORDER BY number LIMIT 1",
			m.Store, m.Account, m.Folder, []byte(m.ID))
		if err != nil {
			return err
		}
		if len(before) > 0 {
			e = again(before[0], e)
		}
		return putEntry(tx, e)
	})
	return e, err
}

// again is a message that fails once more.
func again(before, now QuarantineEntry) QuarantineEntry {
	now.Number, now.UIDL, now.First, now.Served = before.Number, before.UIDL, before.First, before.Served
	now.Failures = before.Failures + 1
	switch {
	case before.State == Held || before.State == Hidden:
		// The notice stays as it is, to the octet, in every session.
		now.State, now.Reason, now.Detail = before.State, before.Reason, before.Detail
	case before.State == Suspected && now.Failures >= FailuresMost:
		now.State = Held
	}
	return now
}

func putEntry(tx *state.Tx, e QuarantineEntry) error {
	_, err := tx.Exec("INSERT INTO quarantine ("+entryColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) "+
		"ON CONFLICT (number) DO UPDATE SET uidl = excluded.uidl, state = excluded.state, reason = excluded.reason, "+
		"detail = excluded.detail, failures = excluded.failures, served = excluded.served, last_failed = excluded.last_failed",
		e.Number, e.Store, e.Account, e.Folder, []byte(e.ID), e.UIDL, string(e.State), e.Reason, e.Detail,
		e.Failures, e.Served, e.First.Unix(), e.Last.Unix())
	return err
}

// detailOf is a failure's detail as a line of bounded length.
func detailOf(f *backends.Failure) string {
	text := strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, f.Error()), "?")
	if len(text) > detailMost {
		text = strings.ToValidUTF8(text[:detailMost], "") + "…"
	}
	return text
}

// Served counts that a notice was given in a message's place.
func (q *Quarantine) Served(ctx context.Context, number string) error {
	return q.each(ctx, []string{number}, "UPDATE quarantine SET served = served + 1 WHERE number = $1")
}

// Hide hides messages whose notices a client has deleted. The store keeps them.
func (q *Quarantine) Hide(ctx context.Context, numbers []string) error {
	return q.each(ctx, numbers, "UPDATE quarantine SET state = 'hidden' WHERE number = $1")
}

// Forget forgets messages that are not there any more, or that could be had after all.
func (q *Quarantine) Forget(ctx context.Context, numbers []string) error {
	return q.each(ctx, numbers, "DELETE FROM quarantine WHERE number = $1")
}

func (q *Quarantine) each(ctx context.Context, numbers []string, statement string) error {
	if q == nil || len(numbers) == 0 {
		return nil
	}
	return q.DB.Write(ctx, func(tx *state.Tx) error {
		for _, number := range numbers {
			if _, err := tx.Exec(statement, number); err != nil {
				return err
			}
		}
		return nil
	})
}

// List gives at most so many messages, those that failed last first. States bounds it to some.
func (q *Quarantine) List(ctx context.Context, most int, states ...QuarantineState) (entries []QuarantineEntry, err error) {
	where := ""
	for i, s := range states {
		where += []string{"WHERE state IN (", ", "}[min(i, 1)] + "'" + string(s) + "'" // constants of ours
	}
	if where != "" {
		where += ") "
	}
	err = q.DB.Read(ctx, func(tx *state.Tx) error {
		entries, err = queryEntries(tx, where+"ORDER BY last_failed DESC, number LIMIT $1", most)
		return err
	})
	return entries, err
}

// HeldCount is how many messages of a store are shown as notices, and since when the first of them is.
type HeldCount struct {
	Store    string
	Messages int64
	First    time.Time
}

// HeldByStore counts the messages that clients get a notice for.
func (q *Quarantine) HeldByStore(ctx context.Context) (all []HeldCount, err error) {
	err = q.DB.Read(ctx, func(tx *state.Tx) error {
		all = nil
		return tx.Query(func(scan func(...any) error) error {
			var c HeldCount
			var first int64
			err := scan(&c.Store, &c.Messages, &first)
			c.First = time.Unix(first, 0).UTC()
			all = append(all, c)
			return err
		}, "SELECT store, count(*), min(first_failed) FROM quarantine WHERE state = 'held' GROUP BY store ORDER BY store")
	})
	return all, err
}

// Find gives the messages whose number begins so.
func (q *Quarantine) Find(ctx context.Context, number string) (entries []QuarantineEntry, err error) {
	err = q.DB.Read(ctx, func(tx *state.Tx) error {
		entries, err = queryEntries(tx, "WHERE substr(number, 1, $1) = $2 ORDER BY number LIMIT 2", len(number), number)
		return err
	})
	return entries, err
}

// Release makes the gateway ask a store for a message again, from the next session on. One that
// clients have had a notice for gets another unique-id (I7: the old one was the notice's).
func (q *Quarantine) Release(ctx context.Context, e QuarantineEntry) error {
	uidl := e.UIDL
	if e.Served > 0 || e.State == Hidden {
		uidl = newUIDL()
	}
	return q.DB.Write(ctx, func(tx *state.Tx) error {
		rows, err := tx.Exec("UPDATE quarantine SET state = 'released', failures = 0, served = 0, uidl = $2 WHERE number = $1", e.Number, uidl)
		if err == nil && rows == 0 {
			err = fmt.Errorf("%s is not in quarantine any more", e.Number)
		}
		return err
	})
}

// uidlMark begins the unique-ids of released messages. Nobody else's begins so.
const uidlMark = "~q"

// Renamed says whether a unique-id is that of a released message.
func Renamed(uidl string) bool { return strings.HasPrefix(uidl, uidlMark) }

func newUIDL() string {
	var b [18]byte
	_, _ = rand.Read(b[:]) // never fails
	return uidlMark + base64.RawURLEncoding.EncodeToString(b[:])
}

// moveEntries puts what is remembered of a folder under another key to the rest. A message that both
// know is what it is under the other key. Numbers stay: people call the messages by them.
func moveEntries(tx *state.Tx, from, to Key) error {
	if _, err := tx.Exec(`DELETE FROM quarantine WHERE store = $1 AND account = $2 AND folder = $3 AND message IN
(SELECT q.message FROM quarantine AS q WHERE q.store = $4 AND q.account = $5 AND q.folder = $6)`,
		from.Store, from.Account, from.Folder, to.Store, to.Account, to.Folder); err != nil {
		return err
	}
	_, err := tx.Exec("UPDATE quarantine SET store = $4, account = $5, folder = $6 WHERE store = $1 AND account = $2 AND folder = $3",
		from.Store, from.Account, from.Folder, to.Store, to.Account, to.Folder)
	return err
}

// copyEntries has messages of a folder remembered under another key, too: those that failed first at a
// time, in seconds since 1970, or before.
func copyEntries(tx *state.Tx, from, to Key, until int64) error {
	entries, err := queryEntries(tx, "WHERE store = $1 AND account = $2 AND folder = $3 AND first_failed <= $4", from.Store, from.Account, from.Folder, until)
	if err != nil {
		return err
	}
	for _, e := range entries {
		e.Key = to
		e.Number = e.Message.Number()
		if err := putEntry(tx, e); err != nil {
			return err
		}
	}
	return nil
}
