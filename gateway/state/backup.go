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
// name.
func Backup(ctx context.Context, o Options, file string) (err error) {
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
	err = errors.Join(copyInto(ctx, from, part.Name()), part.Sync(), part.Close())
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
