package folder

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/state"
)

// Owner says how the folder is opened again when its owner is not there.
type Owner struct {
	Name string // the login name to act for
	Path string // the folder as the store knows it; empty: the inbox
}

// Due are messages of one folder that are to be removed.
type Due struct {
	Key
	Owner
	IDs []backends.MessageID
}

// Retention remembers which messages clients have deleted where a policy keeps them for a time.
type Retention struct {
	DB *state.DB
	// Now is the clock [time.Now].
	Now func() time.Time
}

// Time is its clock's.
func (k *Retention) Time() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}

// Keep remembers messages that a client has deleted, until they are due. nil: it is on the disk.
// One that is remembered already stays due when it was.
func (k *Retention) Keep(ctx context.Context, key Key, o Owner, ids []backends.MessageID, due time.Time) error {
	now := k.Time().Unix()
	return k.DB.Write(ctx, func(tx *state.Tx) error {
		for _, id := range ids {
			_, err := tx.Exec("INSERT INTO deletions (store, account, folder, message, owner, path, deleted, due) "+
				"VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (store, account, folder, message) DO NOTHING",
				key.Store, key.Account, key.Folder, []byte(id), o.Name, o.Path, now, due.Unix())
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// In gives a folder's kept messages, and when each is due: those that were deleted while it was
// open by one of these names; none: by any. It is asked at each login, so it is one statement and
// no transaction.
func (k *Retention) In(ctx context.Context, key Key, names ...string) (kept map[backends.MessageID]time.Time, err error) {
	query, args := "SELECT message, due FROM deletions WHERE store = $1 AND account = $2 AND folder = $3", []any{key.Store, key.Account, key.Folder}
	if len(names) > 0 {
		var in string
		in, args = places(args, names)
		query += " AND path IN (" + in + ")"
	}
	rows, err := k.DB.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("the kept messages: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id []byte
		var due int64
		if err := rows.Scan(&id, &due); err != nil {
			return nil, fmt.Errorf("the kept messages: %w", err)
		}
		if kept == nil {
			kept = make(map[backends.MessageID]time.Time)
		}
		kept[backends.MessageID(id)] = time.Unix(due, 0)
	}
	return kept, rows.Err()
}

// Due gives at most so many messages of these stores that are due, by folder and owner, in no order: a
// folder that cannot be opened now is in nobody's way.
func (k *Retention) Due(ctx context.Context, stores []string, most int) (all []Due, err error) {
	if len(stores) == 0 {
		return nil, nil
	}
	in, args := places([]any{k.Time().Unix(), most}, stores)
	type name struct {
		Key
		Owner
	}
	byName := make(map[name]int) // two folders may have shared a key, before stores told them apart
	err = k.DB.Read(ctx, func(tx *state.Tx) error {
		return tx.Query(func(scan func(...any) error) error {
			var d Due
			var id []byte
			if err := scan(&d.Store, &d.Account, &d.Folder, &d.Name, &d.Path, &id); err != nil {
				return err
			}
			at, known := byName[name{d.Key, d.Owner}]
			if !known {
				at = len(all)
				byName[name{d.Key, d.Owner}] = at
				all = append(all, d)
			}
			all[at].IDs = append(all[at].IDs, backends.MessageID(id))
			return nil
		}, "SELECT store, account, folder, owner, path, message FROM deletions WHERE due <= $1 AND store IN ("+
			in+") ORDER BY random() LIMIT $2", args...)
	})
	return all, err
}

// places are the places of texts in a statement, behind other arguments.
func places(args []any, texts []string) (list string, all []any) {
	in := make([]string, 0, len(texts))
	for _, text := range texts {
		args = append(args, text)
		in = append(in, "$"+strconv.Itoa(len(args)))
	}
	return strings.Join(in, ", "), args
}

// Forget forgets messages that are gone.
func (k *Retention) Forget(ctx context.Context, key Key, ids []backends.MessageID) error {
	if len(ids) == 0 {
		return nil
	}
	return k.DB.Write(ctx, func(tx *state.Tx) error {
		for _, id := range ids {
			_, err := tx.Exec("DELETE FROM deletions WHERE store = $1 AND account = $2 AND folder = $3 AND message = $4",
				key.Store, key.Account, key.Folder, []byte(id))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// moveDeletions puts deletions of a folder that was opened by a name under another key to the rest, as far
// as they are from a time, in seconds since 1970, or before. A message that both know stays due
// when it is under the other key.
func moveDeletions(tx *state.Tx, from, to Key, name string, until int64) error {
	if _, err := tx.Exec(`DELETE FROM deletions WHERE store = $1 AND account = $2 AND folder = $3 AND path = $4 AND deleted <= $5 AND message IN
(SELECT d.message FROM deletions AS d WHERE d.store = $6 AND d.account = $7 AND d.folder = $8)`,
		from.Store, from.Account, from.Folder, name, until, to.Store, to.Account, to.Folder); err != nil {
		return err
	}
	_, err := tx.Exec("UPDATE deletions SET store = $6, account = $7, folder = $8 WHERE store = $1 AND account = $2 AND folder = $3 AND path = $4 AND deleted <= $5",
		from.Store, from.Account, from.Folder, name, until, to.Store, to.Account, to.Folder)
	return err
}
