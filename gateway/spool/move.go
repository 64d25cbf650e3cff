package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/dipylon/dipylon/gateway/state"
)

// MoveContents brings large contents, which are files in a spool's folder, into a PostgreSQL database that has the
// messages' rows already, and that no gateway uses yet. A content that is damaged is damaged there, too: its message is
// held when it is its turn. Tell is told how many there were, now and then.
func MoveContents(ctx context.Context, folder string, to *state.DB, tell func(contents int)) error {
	f := &files{folder: folder}
	for done := 0; ; done++ {
		var id int64
		found := false
		err := to.Read(ctx, func(tx *state.Tx) (err error) {
			found, err = tx.One([]any{&id}, "SELECT id FROM spool_messages WHERE place = 1 ORDER BY id LIMIT 1")
			return err
		})
		if err != nil || !found {
			return err
		}
		if err := f.moveInto(ctx, to, ID(id)); err != nil {
			return fmt.Errorf("the content of message %s: %w", ID(id), err)
		}
		tell(done + 1)
	}
}

// moveInto writes a file in parts, and has its message's row say so.
func (f *files) moveInto(ctx context.Context, to *state.DB, id ID) error {
	content, err := os.Open(f.path(id))
	switch {
	case errors.Is(err, fs.ErrNotExist): // its parts are missing then
	case err != nil:
		return err
	default:
		defer content.Close()
		if err := writeChunks(ctx, to, id, content); err != nil {
			return err
		}
	}
	return to.Write(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec("UPDATE spool_messages SET place = 2 WHERE id = $1", int64(id))
		return err
	})
}
