// Package identity says by what key the gateway remembers a mailbox folder: its lock, its
// unique-ids and sizes, its messages in quarantine, and those that are deleted and kept.
//
//	known, err := keys.Find(ctx, mailbox)     // once the store has opened it: to take the lock
//	known, err = keys.TakeOver(ctx, mailbox, known) // with the lock: before anything is asked for
//
// A folder is what its store says that it is (backends.Account.ID and backends.Identified), and
// not what a client has typed: one folder can have several names, and names that differ in case
// can be two folders. The key, though, is a pair of texts that was first given out for the folder,
// and it stays whatever the store says later.
//
// # What was remembered before
//
// Earlier versions used the account's id and the name as it was typed, in lower case. A folder that
// is opened for the first time takes that pair as its key, so that nothing has to move: unique-ids
// last (I7). Each further name, and each id that the account had before ([Mailbox.FormerIDs]), is
// looked at once: what was remembered under it is put to the rest.
//
// Two folders whose names differ in case shared one pair. The first one to be opened gets it, and
// the other a new one with a copy of its unique-ids. Deletions that are kept say by what name they
// were made, to the letter: each folder gets its own, and none of the other's.
package identity

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/gateway/state"
)

const (
	// namesMost is how many names of one folder are remembered: where case does not matter there
	// is no end of them.
	namesMost = 32
	// keysMost is how many keys are tried for a folder before it is given up.
	keysMost = 20
)

// Mailbox is a folder that a store has opened.
type Mailbox struct {
	Store   string
	Account string // backends.Account.ID
	Folder  string // backends.Identified.FolderID; empty: the store does not say it
	// FormerIDs are the account's, see backends.Account.
	FormerIDs []string
	// Name is the folder as it was asked for; empty: the inbox.
	Name string
}

// Key is by what a folder is remembered.
type Key struct{ Store, Account, Folder string }

// Known is what is known of a folder's identity.
type Known struct {
	Key
	// Names are those by which it was asked for before. What was remembered under others is not
	// its own. None: all are.
	Names []string
}

// unsaid begins the identity of a folder whose store does not say it: no id begins so, for a line
// end cannot be printed.
const unsaid = "\n"

// folder is the folder's identity inside its account. Where the store does not say it, the name
// stands for it as it is: to take two folders for one would mean that what is deleted in one is
// removed from the other.
func (m *Mailbox) folder() string {
	if m.Folder == "" {
		return unsaid + m.Name
	}
	return m.Folder
}

// accounts are the ids that the account has, or had.
func (m *Mailbox) accounts() []string {
	ids := []string{m.Account}
	for _, id := range m.FormerIDs {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// former are the keys that earlier versions had for the folder by this name.
func (m *Mailbox) former() []Key {
	var keys []Key
	for _, id := range m.accounts() {
		keys = append(keys, Key{m.Store, id, strings.ToLower(m.Name)}) // as it was done then
	}
	return keys
}

// Lock is the key under which the folder is locked. Where a store does not say what the folder
// is, names that differ in case share a lock: it may be one folder.
func (m *Mailbox) Lock(known Known) Key {
	if m.Folder == "" {
		return Key{m.Store, m.Account, fold.Lower(m.Name)}
	}
	return known.Key
}

// Keys are the keys of all folders. Nil Keys remember none: each folder has its identity as its
// key.
type Keys struct {
	DB *state.DB
	// Now is the clock [time.Now].
	Now func() time.Time
}

func (k *Keys) now() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}

// Find gives a folder's key. A folder that has none gets one.
func (k *Keys) Find(ctx context.Context, m Mailbox) (known Known, err error) {
	if k == nil {
		if m.Folder == "" {
			return Known{Key: Key{m.Store, m.Account, m.Name}}, nil
		}
		return Known{Key: Key{m.Store, m.Account, m.Folder}}, nil
	}
	known, found, err := k.look(ctx, m)
	if err != nil || found {
		return known, err
	}
	err = k.DB.Write(ctx, func(tx *state.Tx) (err error) {
		known.Key, err = k.claim(tx, &m)
		return err
	})
	if err != nil {
		return Known{}, fmt.Errorf("the mailbox's key: %w", err)
	}
	return known, nil
}

// Peek gives a folder's key without changing anything: to look, and no more.
func (k *Keys) Peek(ctx context.Context, m Mailbox) (known Known, err error) {
	if k == nil {
		return k.Find(ctx, m)
	}
	known, found, err := k.look(ctx, m)
	if err != nil || found {
		return known, err
	}
	former := m.former()
	known.Key = former[0]
	err = k.DB.Read(ctx, func(tx *state.Tx) error {
		for _, key := range former {
			if used, err := remembered(tx, key); err != nil || used {
				known.Key = key
				return err
			}
		}
		return nil
	})
	return known, err
}

// look is asked at each login: one statement and no transaction.
func (k *Keys) look(ctx context.Context, m Mailbox) (known Known, found bool, err error) {
	rows, err := k.DB.Query(ctx, `SELECT k.key_account, k.key_folder, COALESCE(n.name, ''), n.name IS NOT NULL FROM mailbox_keys AS k
LEFT JOIN mailbox_names AS n ON n.store = k.store AND n.key_account = k.key_account AND n.key_folder = k.key_folder
WHERE k.store = $1 AND k.account = $2 AND k.folder = $3`, m.Store, m.Account, m.folder())
	if err != nil {
		return known, false, fmt.Errorf("the mailbox's key: %w", err)
	}
	defer rows.Close()
	known.Store = m.Store
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
func (k *Keys) claim(tx *state.Tx, m *Mailbox) (Key, error) {
	former := m.former()
	var inUse, others []Key
	for _, key := range former {
		used, err := remembered(tx, key)
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
	folder := "=" + m.folder()
	if m.Folder == "" {
		folder = "=" + m.Name
	}
	for range keysMost {
		candidates = append(candidates, Key{m.Store, m.Account, folder})
		folder = "=" + folder
	}
	for _, key := range candidates {
		got, err := k.claimOne(tx, m, key)
		if err != nil || got != nil {
			return *or(got, &Key{}), err
		}
	}
	return Key{}, fmt.Errorf("%d keys of the account %s are taken", len(candidates), m.Account)
}

func or(key, otherwise *Key) *Key {
	if key != nil {
		return key
	}
	return otherwise
}

// claimOne gives the folder a key, or the one that another node has given it meanwhile; nil: the
// key is another folder's.
func (k *Keys) claimOne(tx *state.Tx, m *Mailbox, key Key) (*Key, error) {
	rows, err := tx.Exec(`INSERT INTO mailbox_keys (store, key_account, key_folder, account, folder, made)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, key.Store, key.Account, key.Folder, m.Account, m.folder(), k.now().Unix())
	if err != nil || rows > 0 {
		return &key, err
	}
	other := Key{Store: m.Store}
	found, err := tx.One([]any{&other.Account, &other.Folder},
		"SELECT key_account, key_folder FROM mailbox_keys WHERE store = $1 AND account = $2 AND folder = $3", m.Store, m.Account, m.folder())
	if err != nil || found {
		return &other, err
	}
	owner, err := ownerOf(tx, key)
	if err != nil || owner == nil || !m.was(owner) {
		return nil, err
	}
	// It is this very folder, by an id that the account had, or before its store said what it is.
	_, err = tx.Exec("UPDATE mailbox_keys SET account = $4, folder = $5 WHERE store = $1 AND key_account = $2 AND key_folder = $3",
		key.Store, key.Account, key.Folder, m.Account, m.folder())
	return &key, err
}

// owner is whose a key is.
type owner struct {
	account, folder string
	made            int64
}

func ownerOf(tx *state.Tx, key Key) (*owner, error) {
	o := &owner{}
	found, err := tx.One([]any{&o.account, &o.folder, &o.made},
		"SELECT account, folder, made FROM mailbox_keys WHERE store = $1 AND key_account = $2 AND key_folder = $3", key.Store, key.Account, key.Folder)
	if err != nil || !found {
		return nil, err
	}
	return o, nil
}

// was says whether an owner is this folder, by another identity.
func (m *Mailbox) was(o *owner) bool {
	return slices.Contains(m.accounts(), o.account) && (o.folder == m.folder() || o.folder == unsaid+m.Name)
}
