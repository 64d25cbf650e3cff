package folder

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

const (
	// namesMost is how many names of one folder are remembered: where case does not matter there
	// is no end of them.
	namesMost = 32
	// keysMost is how many keys are tried for a folder before it is given up.
	keysMost = 20
)

// Index is what is remembered of a folder's messages elsewhere (index.Index): it moves with the
// folder's key.
type Index interface {
	// Has says whether anything is remembered under a key.
	Has(tx *state.Tx, key Key) (bool, error)
	// Move puts what is remembered under a key to the rest of another one.
	Move(tx *state.Tx, from, to Key) error
	// Copy has unique-ids that were written up to a time, in seconds since 1970, remembered under
	// another key, too.
	Copy(tx *state.Tx, from, to Key, until int64) error
}

// Keys are the keys of all folders. Nil Keys remember none: each folder has its identity as its
// key.
type Keys struct {
	db    *state.DB
	index Index
	// Now is the clock [time.Now].
	Now func() time.Time
}

// NewKeys gives the keys in a database. What the index has is taken over with the rest.
func NewKeys(db *state.DB, index Index) *Keys { return &Keys{db: db, index: index} }

func (k *Keys) now() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}

// Find gives a folder's key. A folder that has none gets one.
func (k *Keys) Find(ctx context.Context, i Identity) (known Known, err error) {
	if k == nil {
		if i.Folder == "" {
			return Known{Key: Key{i.Store, i.Account, i.Name}}, nil
		}
		return Known{Key: Key{i.Store, i.Account, i.Folder}}, nil
	}
	known, found, err := k.look(ctx, i)
	if err != nil || found {
		return known, err
	}
	err = k.db.Write(ctx, func(tx *state.Tx) (err error) {
		known.Key, err = k.claim(tx, &i)
		return err
	})
	if err != nil {
		return Known{}, fmt.Errorf("the mailbox's key: %w", err)
	}
	return known, nil
}

// Peek gives a folder's key without changing anything: to look, and no more.
func (k *Keys) Peek(ctx context.Context, i Identity) (known Known, err error) {
	if k == nil {
		return k.Find(ctx, i)
	}
	known, found, err := k.look(ctx, i)
	if err != nil || found {
		return known, err
	}
	former := i.former()
	known.Key = former[0]
	err = k.db.Read(ctx, func(tx *state.Tx) error {
		for _, key := range former {
			if used, err := k.remembered(tx, key); err != nil || used {
				known.Key = key
				return err
			}
		}
		return nil
	})
	return known, err
}

// look is asked at each login: one statement and no transaction.
func (k *Keys) look(ctx context.Context, i Identity) (known Known, found bool, err error) {
	rows, err := k.db.Query(ctx, `SELECT k.key_account, k.key_folder, COALESCE(n.name, ''), n.name IS NOT NULL FROM mailbox_keys AS k
LEFT JOIN mailbox_names AS n ON n.store = k.store AND n.key_account = k.key_account AND n.key_folder = k.key_folder
WHERE k.store = $1 AND k.account = $2 AND k.folder = $3`, i.Store, i.Account, i.folder())
	if err != nil {
		return known, false, fmt.Errorf("the mailbox's key: %w", err)
	}
	defer rows.Close()
	known.Store = i.Store
	for rows.Next() {
		var name string
		var named bool
		if err := rows.Scan(&known.Account, &known.Folder, &name, &named); err != nil {
			return known, false, fmt.Errorf("the mailbox's key: %w", err)
		}
		found = true
		if named {
			known.Names = append(known.Names, name)
		}
	}
	if err := rows.Err(); err != nil {
		return known, false, fmt.Errorf("the mailbox's key: %w", err)
	}
	return known, found, nil
}

// claim gives the folder a key that no other folder has: one that it had before and under which
// something is remembered, or else the first one that is free.
func (k *Keys) claim(tx *state.Tx, i *Identity) (Key, error) {
	former := i.former()
	var inUse, others []Key
	for _, key := range former {
		used, err := k.remembered(tx, key)
		if err != nil {
			return Key{}, err
		}
		if used {
			inUse = append(inUse, key)
		} else {
			others = append(others, key)
		}
	}
	candidates := append(inUse, others...)
	folder := "=" + i.folder()
	if i.Folder == "" {
		folder = "=" + i.Name
	}
	for range keysMost {
		candidates = append(candidates, Key{i.Store, i.Account, folder})
		folder = "=" + folder
	}
	for _, key := range candidates {
		got, err := k.claimOne(tx, i, key)
		if err != nil || got != nil {
			return *or(got, &Key{}), err
		}
	}
	return Key{}, fmt.Errorf("%d keys of the account %s are taken", len(candidates), i.Account)
}

func or(key, otherwise *Key) *Key {
	if key != nil {
		return key
	}
	return otherwise
}

// claimOne gives the folder a key, or the one that another node has given it meanwhile; nil: the
// key is another folder's.
func (k *Keys) claimOne(tx *state.Tx, i *Identity, key Key) (*Key, error) {
	rows, err := tx.Exec(`INSERT INTO mailbox_keys (store, key_account, key_folder, account, folder, made)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, key.Store, key.Account, key.Folder, i.Account, i.folder(), k.now().Unix())
	if err != nil || rows > 0 {
		return &key, err
	}
	other := Key{Store: i.Store}
	found, err := tx.One([]any{&other.Account, &other.Folder},
		"SELECT key_account, key_folder FROM mailbox_keys WHERE store = $1 AND account = $2 AND folder = $3", i.Store, i.Account, i.folder())
	if err != nil || found {
		return &other, err
	}
	owner, err := ownerOf(tx, key)
	if err != nil || owner == nil || !i.was(owner) {
		return nil, err
	}
	// It is this very folder, by an id that the account had, or before its store said what it is.
	_, err = tx.Exec("UPDATE mailbox_keys SET account = $4, folder = $5 WHERE store = $1 AND key_account = $2 AND key_folder = $3",
		key.Store, key.Account, key.Folder, i.Account, i.folder())
	return &key, err
}

// keyOwner is whose a key is.
type keyOwner struct {
	account, folder string
	made            int64
}

func ownerOf(tx *state.Tx, key Key) (*keyOwner, error) {
	o := &keyOwner{}
	found, err := tx.One([]any{&o.account, &o.folder, &o.made},
		"SELECT account, folder, made FROM mailbox_keys WHERE store = $1 AND key_account = $2 AND key_folder = $3", key.Store, key.Account, key.Folder)
	if err != nil || !found {
		return nil, err
	}
	return o, nil
}

// was says whether an owner is this folder, by another identity.
func (i *Identity) was(o *keyOwner) bool {
	return slices.Contains(i.accounts(), o.account) && (o.folder == i.folder() || o.folder == unsaid+i.Name)
}

// unsaidKept is how long the key of a folder whose store does not say which one it is stays with nothing
// remembered under it. There is one for each name by which somebody has opened it.
const unsaidKept = 90 * 24 * time.Hour

// Tasks are what is to be cleaned up.
func (k *Keys) Tasks() []state.Task {
	return []state.Task{{Name: "keys of mailboxes that their stores do not name", Do: k.sweep}}
}

// sweep looks at some of those keys, in no order, so that those that stay are in nobody's way. A folder whose
// key is gone gets one when it is opened again.
func (k *Keys) sweep(ctx context.Context, most int) (rows int64, err error) {
	err = k.db.Write(ctx, func(tx *state.Tx) error {
		rows = 0
		var old []Key
		err := tx.Query(func(scan func(...any) error) error {
			var key Key
			err := scan(&key.Store, &key.Account, &key.Folder)
			old = append(old, key)
			return err
		}, "SELECT store, key_account, key_folder FROM mailbox_keys WHERE made < $1 AND folder LIKE $2 ORDER BY random() LIMIT $3",
			k.now().Add(-unsaidKept).Unix(), unsaid+"%", most)
		if err != nil {
			return err
		}
		for _, key := range old {
			used, err := k.remembered(tx, key)
			if err != nil {
				return err
			}
			if used {
				continue
			}
			for _, table := range []string{"mailbox_names", "mailbox_keys"} {
				if _, err := tx.Exec("DELETE FROM "+table+" WHERE store = $1 AND key_account = $2 AND key_folder = $3", key.Store, key.Account, key.Folder); err != nil {
					return err
				}
			}
			rows++
		}
		return nil
	})
	return rows, err
}
