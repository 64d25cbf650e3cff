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
)

// Restore puts a backup in a database's place, which nobody may be using. The backup is looked at
// first, and stays. What was there is kept beside it under another name, which is returned; empty:
// nothing was there.
func Restore(ctx context.Context, o Options, file string, now time.Time) (kept string, err error) {
	if o.URL != "" {
		return "", ErrNotCopied
	}
	to := filepath.Join(o.Folder, FileName)
	if err := MakeFolder(o.Folder); err != nil {
		return "", fmt.Errorf("the state folder: %w", err)
	}
	part, err := copyOf(file, o.Folder)
	if err != nil {
		return "", fmt.Errorf("the backup: %w", err)
	}
	defer os.Remove(part) //nolint:errcheck // after the renaming there is no such file
	report, err := inspectSQLite(ctx, part)
	if err != nil {
		return "", fmt.Errorf("the backup: %w", err)
	}
	if len(report.Problems) > 0 {
		return "", &Unusable{What: file + " is no good backup", Err: errors.New(report.Problems[0]), Do: "take another one; nothing was changed"}
	}
	for _, extra := range beside(part) {
		_ = os.Remove(extra) // of the look at it; a copy has none
	}
	if kept, err = setAside(to, to+".before-"+now.UTC().Format("20060102T150405Z")); err != nil {
		return "", err
	}
	if err := errors.Join(os.Rename(part, to), Inherit(to), syncFolder(o.Folder)); err != nil {
		return kept, fmt.Errorf("the state database: %w", err)
	}
	return kept, nil
}

// copyOf copies a file into a folder, on stable storage, for its owner alone.
func copyOf(file, folder string) (part string, err error) {
	from, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.CreateTemp(folder, FileName+".restore-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Sync(), to.Close(), Inherit(to.Name())); err != nil {
		return "", errors.Join(err, os.Remove(to.Name()))
	}
	return to.Name(), nil
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
