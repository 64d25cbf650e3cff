package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dipylon/dipylon/backends/durable"
	"github.com/dipylon/dipylon/backends/tempfolder"
)

// ErrNotCopied says that the database is not copied from here: PostgreSQL has its own ways.
var ErrNotCopied = errors.New("a PostgreSQL database is copied with pg_dump, or with the server's own backups")

// Backup copies a database, which may be in use, into a new file: the state of one moment. A
// file that is there already is not replaced; one that is not whole is never left under the
// name. Contents brings what lies beside the database into the copy, whose rows are there already; nil: nothing does.
func Backup(ctx context.Context, o Options, file string, contents func(ctx context.Context, from, to *DB) error) (err error) {
	if o.URL != "" {
		return ErrNotCopied
	}
	from := filepath.Join(o.Folder, FileName)
	if err := refuse(ctx, o, from); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no state database %s", from)
		}
		return err
	}
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("the file %s: %w", file, fs.ErrExist)
	}
	// It is made beside its place, for its owner alone.
	folder, err := tempfolder.New(filepath.Dir(file), "backup")
	if err != nil {
		return fmt.Errorf("the backup: %w", err)
	}
	defer folder.Remove() //nolint:errcheck // the next backup there sweeps it
	part, err := os.OpenFile(filepath.Join(folder.Path, FileName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("the backup: %w", err)
	}
	err = copyInto(ctx, from, part.Name())
	if err == nil && contents != nil {
		err = fillCopy(ctx, o, from, part.Name(), contents)
	}
	err = errors.Join(err, part.Sync(), part.Close())
	if err == nil {
		err = os.Link(part.Name(), file) // unlike a renaming it replaces nothing
	}
	if err == nil {
		err = durable.SyncFolder(filepath.Dir(file))
	}
	if err != nil {
		return fmt.Errorf("the backup: %w", err)
	}
	return nil
}

// copyInto fills an empty file.
func copyInto(ctx context.Context, from, to string) error {
	db, err := connectSQLite(from, "rw")
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, "VACUUM INTO $1", to)
	return err
}

// fillCopy writes into a copy that nobody else has. It is as durable as the copy, which is synced afterwards.
func fillCopy(ctx context.Context, o Options, from, part string, contents func(ctx context.Context, from, to *DB) error) error {
	source, err := connectSQLite(from, "rw", "query_only(1)")
	if err != nil {
		return err
	}
	defer source.Close()
	writing, err := connectSQLite(part, "rw", "journal_mode(MEMORY)", "synchronous(OFF)")
	if err != nil {
		return err
	}
	reading, err := connectSQLite(part, "rw", "query_only(1)")
	if err != nil {
		return errors.Join(err, writing.Close())
	}
	to := &DB{log: o.Log, name: part, pool: reading, writer: newWriter(o.Log, writing)}
	err = contents(ctx, &DB{log: o.Log, name: from, pool: source}, to)
	return errors.Join(err, to.Close(), isAlone(part))
}
