package quarantine

import "github.com/dipylon/dipylon/gateway/state"

// Move puts what is remembered of a folder under another key to the rest. A message that both
// know is what it is under the other key. Numbers stay: people call the messages by them.
func Move(tx *state.Tx, from, to Folder) error {
	if _, err := tx.Exec(`DELETE FROM quarantine WHERE store = $1 AND account = $2 AND folder = $3 AND message IN
(SELECT q.message FROM quarantine AS q WHERE q.store = $4 AND q.account = $5 AND q.folder = $6)`,
		from.Store, from.Account, from.Folder, to.Store, to.Account, to.Folder); err != nil {
		return err
	}
	_, err := tx.Exec("UPDATE quarantine SET store = $4, account = $5, folder = $6 WHERE store = $1 AND account = $2 AND folder = $3",
		from.Store, from.Account, from.Folder, to.Store, to.Account, to.Folder)
	return err
}

// Copy has messages of a folder remembered under another key, too: those that failed first at a
// time, in seconds since 1970, or before.
func Copy(tx *state.Tx, from, to Folder, until int64) error {
	entries, err := query(tx, "WHERE store = $1 AND account = $2 AND folder = $3 AND first_failed <= $4", from.Store, from.Account, from.Folder, until)
	if err != nil {
		return err
	}
	for _, e := range entries {
		e.Message.Folder = to
		e.Number = e.Message.Number()
		if err := put(tx, e); err != nil {
			return err
		}
	}
	return nil
}
