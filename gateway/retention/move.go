package retention

import "github.com/dipylon/dipylon/gateway/state"

// Move puts deletions of a folder that was opened by a name under another key to the rest, as far
// as they are from a time, in seconds since 1970, or before. A message that both know stays due
// when it is under the other key.
func Move(tx *state.Tx, from, to Folder, name string, until int64) error {
	if _, err := tx.Exec(`DELETE FROM deletions WHERE store = $1 AND account = $2 AND folder = $3 AND path = $4 AND deleted <= $5 AND message IN
(SELECT d.message FROM deletions AS d WHERE d.store = $6 AND d.account = $7 AND d.folder = $8)`,
		from.Store, from.Account, from.Folder, name, until, to.Store, to.Account, to.Folder); err != nil {
		return err
	}
	_, err := tx.Exec("UPDATE deletions SET store = $6, account = $7, folder = $8 WHERE store = $1 AND account = $2 AND folder = $3 AND path = $4 AND deleted <= $5",
		from.Store, from.Account, from.Folder, name, until, to.Store, to.Account, to.Folder)
	return err
}
