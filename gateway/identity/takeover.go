package identity

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/quarantine"
	"github.com/dipylon/dipylon/gateway/retention"
	"github.com/dipylon/dipylon/gateway/state"
)

// TakeOver puts what was remembered of the folder under the name that it is asked for by to the
// rest, the first time that it is. It is called by who has the folder's lock.
func (k *Keys) TakeOver(ctx context.Context, m Mailbox, known Known) (Known, error) {
	if k == nil || slices.Contains(known.Names, m.Name) || len(known.Names) >= namesMost {
		return known, nil
	}
	err := k.DB.Write(ctx, func(tx *state.Tx) error {
		rows, err := tx.Exec("INSERT INTO mailbox_names (store, key_account, key_folder, name) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			known.Store, known.Account, known.Key.Folder, m.Name)
		if err != nil || rows == 0 {
			return err
		}
		for _, from := range m.former() {
			if from == known.Key {
				continue
			}
			if err := takeOver(tx, from, known.Key, m.Name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return known, fmt.Errorf("taking over what was remembered of the mailbox: %w", err)
	}
	known.Names = append(slices.Clone(known.Names), m.Name)
	return known, nil
}

// takeOver moves what a key has. From a key that another folder has, what earlier versions wrote
// is copied, as they could not tell the two apart; kept deletions are moved, those by this name.
func takeOver(tx *state.Tx, from, to Key, name string) error {
	whose, err := ownerOf(tx, from)
	if err != nil {
		return err
	}
	until := int64(math.MaxInt64)
	if whose != nil {
		until = whose.made
	}
	if err := retention.Move(tx, retention.Folder(from), retention.Folder(to), name, until); err != nil {
		return err
	}
	if whose != nil {
		if err := index.Copy(tx, indexKey(from), indexKey(to), until); err != nil {
			return err
		}
		return quarantine.Copy(tx, quarantine.Folder(from), quarantine.Folder(to), until)
	}
	if err := index.Move(tx, indexKey(from), indexKey(to)); err != nil {
		return err
	}
	return quarantine.Move(tx, quarantine.Folder(from), quarantine.Folder(to))
}

func indexKey(k Key) index.Key {
	return index.Key{Store: k.Store, Account: k.Account, Folder: k.Folder}
}

// remembered says whether anything is remembered under a key.
func remembered(tx *state.Tx, key Key) (bool, error) {
	if has, err := index.Has(tx, indexKey(key)); err != nil || has {
		return has, err
	}
	for _, table := range []string{"quarantine", "deletions"} {
		var n int64
		found, err := tx.One([]any{&n}, "SELECT 1 FROM "+table+" WHERE store = $1 AND account = $2 AND folder = $3 LIMIT 1", key.Store, key.Account, key.Folder)
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}
