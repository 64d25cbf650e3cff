package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dipylon/dipylon/backends/durable"
	"github.com/dipylon/dipylon/backends/tempfolder"
)

// Restore puts a backup in a database's place, which nobody may be using. The backup is looked at
// first, and stays. What was there is kept beside it under another name, which is returned; empty:
// nothing was there. Change may change what is put there, before it is there; nil: nothing is changed.
func Restore(ctx context.Context, o Options, file string, now time.Time, change func(context.Context, *DB) error) (kept string, err error) {
	if o.URL != "" {
		return "", ErrNotCopied
	}
	to := filepath.Join(o.Folder, FileName)
	if err := MakeFolder(o.Folder); err != nil {
		return "", fmt.Errorf("the state folder: %w", err)
	}
	folder, err := tempfolder.New(o.Folder, "restore")
	if err != nil {
		return "", fmt.Errorf("the backup: %w", err)
	}
	defer folder.Remove() //nolint:errcheck // the next one, or the gateway's start, sweeps it
	part, err := copyOf(file, folder.Path)
	if err != nil {
		return "", fmt.Errorf("the backup: %w", err)
	}
	report, err := inspectSQLite(ctx, part)
	if err != nil {
		return "", fmt.Errorf("the backup: %w", err)
	}
	if len(report.Problems) > 0 {
		return "", &Unusable{What: file + " is no good backup", Err: errors.New(report.Problems[0]), Do: "take another one; nothing was changed"}
	}
	if change != nil {
		if err := changePart(ctx, o, part, change); err != nil {
			return "", fmt.Errorf("the backup: %w", err)
		}
	}
	if kept, err = setAside(to, to+".before-"+now.UTC().Format("20060102T150405Z")); err != nil {
		return "", err
	}
	if err := errors.Join(os.Rename(part, to), Inherit(to), durable.SyncFolder(o.Folder)); err != nil {
		return kept, fmt.Errorf("the state database: %w", err)
	}
	return kept, nil
}

// changePart changes a database that nobody has in use. All of it is in the one file then, on stable storage.
func changePart(ctx context.Context, o Options, part string, change func(context.Context, *DB) error) error {
	o.Folder, o.Alone = filepath.Dir(part), true
	db, err := Open(ctx, o)
	if err != nil {
		return err
	}
	if err := errors.Join(change(ctx, db), db.Close(), isAlone(part)); err != nil {
		return err
	}
	synced, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(synced.Sync(), synced.Close())
}

// isAlone fails where a database that is closed is not in the one file as a whole.
func isAlone(part string) error {
	for _, file := range beside(part) {
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			return fmt.Errorf("%s could not be emptied", file)
		}
	}
	return nil
}

// copyOf copies a file into a folder of its own, on stable storage, for its owner alone. The folder is then
// the state folder's owner's, too, who sweeps it if this process is killed.
func copyOf(file, folder string) (part string, err error) {
	from, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer from.Close()
	part = filepath.Join(folder, FileName)
	to, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(folder)
	err = errors.Join(err, Inherit(folder))
	for _, e := range entries {
		err = errors.Join(err, Inherit(filepath.Join(folder, e.Name())))
	}
	if err == nil {
		_, err = io.Copy(to, from)
	}
	return part, errors.Join(err, to.Sync(), to.Close())
}

// setAside renames a database and the files beside it, the database last: what is beside a database
// belongs to it, and to no other.
func setAside(file, name string) (kept string, err error) {
	for n, first := 2, name; ; n++ { // another restore may have kept something in this second
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", fmt.Errorf("keeping what is there: %w", err)
		}
		name = first + "-" + strconv.Itoa(n)
	}
	old, made := append(beside(file), file), append(beside(name), name)
	for i, from := range old {
		switch err := os.Rename(from, made[i]); {
		case err == nil && from == file:
			kept = name
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("keeping what is there: %w", err)
		}
	}
	return kept, nil
}
