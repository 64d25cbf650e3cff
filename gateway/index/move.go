package index

import (
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/state"
)

var _ folder.Index = (*Index)(nil)

// Has implements [folder.Index].
func (*Index) Has(tx *state.Tx, key folder.Key) (bool, error) {
	var n int64
	return tx.One([]any{&n}, "SELECT 1 FROM folder_parts WHERE folder = $1 LIMIT 1", key.Hash())
}

// Move implements [folder.Index]. Where both know something of
// a message, it is the other key's that stays.
func (*Index) Move(tx *state.Tx, from, to folder.Key) error {
	if err := transfer(tx, from, to, "p.made <= $3", int64(1)<<62); err != nil {
		return err
	}
	for _, statement := range []string{"DELETE FROM folder_parts WHERE folder = $1", "DELETE FROM folders WHERE key = $1"} {
		if _, err := tx.Exec(statement, from.Hash()); err != nil {
			return err
		}
	}
	return nil
}

// Copy implements [folder.Index], with those that wait for their messages. Sizes are found again.
func (*Index) Copy(tx *state.Tx, from, to folder.Key, until int64) error {
	return transfer(tx, from, to, "p.made <= $3 AND p.kind IN ('"+kindUIDL+"', '"+kindImport+"')", until)
}

// transfer copies batches in front of those that are there: later ones go before earlier ones.
func transfer(tx *state.Tx, from, to folder.Key, which string, until int64) error {
	var used int64
	found, err := tx.One([]any{&used}, "SELECT used FROM folders WHERE key = $1", from.Hash())
	if err != nil || !found {
		return err
	}
	if _, err := tx.Exec("INSERT INTO folders (key, store, account, folder, used) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key) DO NOTHING",
		to.Hash(), to.Store, to.Account, to.Folder, used); err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO folder_parts (folder, kind, batch, made, entries)
SELECT $2, p.kind, p.batch - 1
	- (SELECT MAX(q.batch) FROM folder_parts AS q WHERE q.folder = $1 AND q.kind = p.kind)
	+ COALESCE((SELECT MIN(r.batch) FROM folder_parts AS r WHERE r.folder = $2 AND r.kind = p.kind), 1), p.made, p.entries
FROM folder_parts AS p WHERE p.folder = $1 AND `+which, from.Hash(), to.Hash(), until)
	return err
}
