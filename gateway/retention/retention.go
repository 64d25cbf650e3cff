// Package retention remembers which messages clients have deleted where a policy keeps them for
// a time: those are hidden from clients, and removed from the store when their time is over. It
// knows no other messages: whatever else is in a folder, and however old, is nobody's business
// here.
//
//	keeper := &retention.Keeper{DB: db}
//	err := keeper.Keep(ctx, folder, owner, ids, time.Now().Add(14*24*time.Hour)) // at QUIT
//	kept, err := keeper.In(ctx, folder)                                          // at a login: to be hidden
//	due, err := keeper.Due(ctx, []string{"sakes"}, 200)                          // now and then: to be removed
//	err = keeper.Forget(ctx, folder, ids)                                        // once they are gone
package retention

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/state"
)

// Folder is a mailbox folder, named as a lock is.
type Folder struct{ Store, Account, Folder string }

// Owner says how the folder is opened again when its owner is not there.
type Owner struct {
	Name string // the login name to act for
	Path string // the folder as the store knows it; empty: the inbox
}

// Due are messages of one folder that are to be removed.
type Due struct {
	Folder
	Owner
	IDs []backends.MessageID
}

// Keeper is where deletions are remembered.
type Keeper struct {
	DB *state.DB
	// Now is the clock [time.Now].
	Now func() time.Time
}

// Time is the keeper's.
func (k *Keeper) Time() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}

// Keep remembers messages that a client has deleted, until they are due. nil: it is on the disk.
// One that is remembered already stays due when it was.
func (k *Keeper) Keep(ctx context.Context, f Folder, o Owner, ids []backends.MessageID, due time.Time) error {
	now := k.Time().Unix()
	return k.DB.Write(ctx, func(tx *state.Tx) error {
		for _, id := range ids {
			_, err := tx.Exec("INSERT INTO deletions (store, account, folder, message, owner, path, deleted, due) "+
				"VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (store, account, folder, message) DO NOTHING",
				f.Store, f.Account, f.Folder, []byte(id), o.Name, o.Path, now, due.Unix())
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
func (k *Keeper) In(ctx context.Context, f Folder, names ...string) (kept map[backends.MessageID]time.Time, err error) {
	query, args := "SELECT message, due FROM deletions WHERE store = $1 AND account = $2 AND folder = $3", []any{f.Store, f.Account, f.Folder}
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
func (k *Keeper) Due(ctx context.Context, stores []string, most int) (all []Due, err error) {
	if len(stores) == 0 {
		return nil, nil
	}
	in, args := places([]any{k.Time().Unix(), most}, stores)
	type name struct {
		Folder
		Owner
	}
	byName := make(map[name]int) // two folders may have shared a key, before stores told them apart
	err = k.DB.Read(ctx, func(tx *state.Tx) error {
		return tx.Query(func(scan func(...any) error) error {
			var d Due
			var id []byte
			if err := scan(&d.Store, &d.Account, &d.Folder.Folder, &d.Name, &d.Path, &id); err != nil {
				return err
			}
			at, known := byName[name{d.Folder, d.Owner}]
			if !known {
				at = len(all)
				byName[name{d.Folder, d.Owner}] = at
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
func (k *Keeper) Forget(ctx context.Context, f Folder, ids []backends.MessageID) error {
	if len(ids) == 0 {
		return nil
	}
	return k.DB.Write(ctx, func(tx *state.Tx) error {
		for _, id := range ids {
			_, err := tx.Exec("DELETE FROM deletions WHERE store = $1 AND account = $2 AND folder = $3 AND message = $4",
				f.Store, f.Account, f.Folder, []byte(id))
			if err != nil {
				return err
			}
		}
		return nil
	})
}
