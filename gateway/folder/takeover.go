package folder

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/dipylon/dipylon/gateway/state"
)

// TakeOver puts what was remembered of the folder under the name that it is asked for by to the
// rest, the first time that it is. It is called by who has the folder's lock.
func (k *Keys) TakeOver(ctx context.Context, i Identity, known Known) (Known, error) {
	if k == nil || slices.Contains(known.Names, i.Name) || len(known.Names) >= namesMost {
		return known, nil
	}
	err := k.db.Write(ctx, func(tx *state.Tx) error {
		rows, err := tx.Exec("INSERT INTO mailbox_names (store, key_account, key_folder, name) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			known.Store, known.Account, known.Folder, i.Name)
		if err != nil || rows == 0 {
			return err
		}
		for _, from := range i.former() {
			if from == known.Key {
				continue
			}
			if err := k.takeOver(tx, from, known.Key, i.Name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return known, fmt.Errorf("taking over what was remembered of the mailbox: %w", err)
	}
	known.Names = append(slices.Clone(known.Names), i.Name)
	return known, nil
}

// takeOver moves what a key has. From a key that another folder has, what earlier versions wrote
// is copied, as they could not tell the two apart; kept deletions are moved, those by this name.
func (k *Keys) takeOver(tx *state.Tx, from, to Key, name string) error {
	whose, err := ownerOf(tx, from)
	if err != nil {
		return err
	}
	until := int64(math.MaxInt64)
	if whose != nil {
		until = whose.made
	}
	if err := moveDeletions(tx, from, to, name, until); err != nil {
		return err
	}
	if whose != nil {
		if err := k.index.Copy(tx, from, to, until); err != nil {
			return err
		}
		return copyEntries(tx, from, to, until)
	}
	if err := k.index.Move(tx, from, to); err != nil {
		return err
	}
	return moveEntries(tx, from, to)
}

// remembered says whether anything is remembered under a key.
func (k *Keys) remembered(tx *state.Tx, key Key) (bool, error) {
	if has, err := k.index.Has(tx, key); err != nil || has {
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
