package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dipylon/dipylon/backends/durable"
	"github.com/dipylon/dipylon/gateway/state"
)

// MoveContents brings contents into a database that has the messages' rows already, and that no gateway uses yet: into a
// PostgreSQL database large ones, which are files in a spool's folder, and into a SQLite one those of partitions. A content that is
// damaged is damaged there, too: its message is held when it is its turn. Tell is told how many there were, now and then.
func MoveContents(ctx context.Context, folder string, from, to *state.DB, tell func(contents int)) error {
	if from.Shared() {
		return movePassing(ctx, from, to, tell)
	}
	return (&files{folder: folder}).moveInto(ctx, to, tell, func(ID) error { return nil })
}

// CopyContents brings large contents into a copy of the database that they belong to, which may be in use. A message
// whose file is gone since the copy was made, as it has left the spool, leaves the copy, too.
func CopyContents(ctx context.Context, folder string, from, to *state.DB) error {
	return (&files{folder: folder}).moveInto(ctx, to, func(int) {}, func(id ID) error {
		var there bool // a row is deleted before its file, so one that is there has lost it
		err := from.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM spool_messages WHERE id = $1)", int64(id)).Scan(&there)
		if err != nil || there {
			return err
		}
		return to.Write(ctx, func(tx *state.Tx) error {
			if _, err := tx.Exec("DELETE FROM spool_recipients WHERE message = $1", int64(id)); err != nil {
				return err
			}
			return leave(tx, id, inFile)
		})
	})
}

// moveInto writes all files that a database's rows name into the database. Of a file that is missing it tells.
func (f *files) moveInto(ctx context.Context, to *state.DB, tell func(contents int), missing func(ID) error) error {
	for done := 0; ; done++ {
		var id, size int64
		found := false
		err := to.Read(ctx, func(tx *state.Tx) (err error) {
			found, err = tx.One([]any{&id, &size}, "SELECT id, size FROM spool_messages WHERE place = 1 AND place > 0 ORDER BY id LIMIT 1")
			return err
		})
		if err != nil || !found {
			return err
		}
		if err := f.moveOne(ctx, to, ID(id), size, missing); err != nil {
			return fmt.Errorf("the content of message %s: %w", ID(id), err)
		}
		tell(done + 1)
	}
}

// moveOne writes a file in parts, and has its message's row say so. Where it is missing or damaged its parts are missing, too.
func (f *files) moveOne(ctx context.Context, to *state.DB, id ID, size int64, missing func(ID) error) error {
	content, err := os.Open(f.path(id))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = missing(id)
	case err == nil:
		err = errors.Join(moveFile(ctx, to, id, size, content), content.Close())
	}
	if err != nil {
		return err
	}
	return to.Write(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec("UPDATE spool_messages SET place = 2 WHERE id = $1", int64(id))
		return err
	})
}

func moveFile(ctx context.Context, to *state.DB, id ID, size int64, content *os.File) error {
	start, whole, err := startOf(content, size)
	if err != nil || !whole { // parts of one that is damaged could be as many octets as a whole one has
		return err
	}
	if _, err := content.Seek(start, io.SeekStart); err != nil {
		return err
	}
	return writeChunks(ctx, to, id, "", content)
}

// KeepContents gives large contents, which are files in a spool's folder, second names in another folder, and says how
// many there are. It is for a database that gets out of use and may be wanted again: a gateway removes the files that
// its own database does not know.
func KeepContents(folder, to string) (kept int, err error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		if _, is := idOf(entry.Name()); !is {
			continue
		}
		if kept == 0 {
			if err := state.MakeFolder(to); err != nil {
				return 0, err
			}
		}
		if err := os.Link(filepath.Join(folder, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
			return kept, err
		}
		kept++
	}
	if kept == 0 {
		return 0, nil
	}
	return kept, durable.SyncFolder(to)
}

// movePassing copies contents that are in partitions, where the rows say so, to where those lie that wait.
func movePassing(ctx context.Context, from, to *state.DB, tell func(contents int)) error {
	for done := 0; ; done++ {
		var id, size, place int64
		found := false
		err := to.Read(ctx, func(tx *state.Tx) (err error) {
			found, err = tx.One([]any{&id, &size, &place}, "SELECT id, size, place FROM spool_messages WHERE place > 2 AND place > 0 ORDER BY place, id LIMIT 1")
			return err
		})
		if err != nil || !found {
			return err
		}
		if err := restOne(ctx, from, to, ID(id), size, place); err != nil {
			return fmt.Errorf("the content of message %s: %w", ID(id), err)
		}
		if done%sweepPage == 0 {
			tell(done + 1)
		}
	}
}

// restOne copies one of them. One that is damaged lacks parts there, too.
func restOne(ctx context.Context, from, to *state.DB, id ID, size, place int64) error {
	content, err := openRows(ctx, from, id, size, place)
	if err == nil && size <= chunkSize {
		var body []byte
		if body, err = io.ReadAll(content); err == nil {
			return to.Write(ctx, func(tx *state.Tx) error {
				_, err := tx.Exec("UPDATE spool_messages SET place = 0, body = $1 WHERE id = $2", body, int64(id))
				return err
			})
		}
	} else if err == nil {
		err = writeChunks(ctx, to, id, "", content)
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		return err
	}
	return to.Write(ctx, func(tx *state.Tx) error {
		_, err := tx.Exec("UPDATE spool_messages SET place = 2 WHERE id = $1", int64(id))
		return err
	})
}
