package buffer

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// Temporary is storage in files that have no name any more, where open files can lose theirs, or
// else lose it when they are discarded.
type Temporary struct {
	// Folder is where the files are [the system's]. What processes that were killed have left in
	// one of its own is removed; the system's has others' files, too, and is left to the system.
	Folder string
}

// InFolder are the options of a buffer whose file is a temporary one in a folder [the system's].
func InFolder(folder string) Options { return Options{Storage: Temporary{Folder: folder}} }

// pattern and left are the names that files have for a moment.
const pattern = "message-*.tmp"

var left = regexp.MustCompile(`^message-[0-9]+\.tmp$`)

// leftAfter is longer than any message is kept under its name by a process that lives.
const leftAfter = 24 * time.Hour

// Create implements [Storage].
func (t Temporary) Create() (File, error) {
	_ = t.Sweep(leftAfter) // a folder that cannot be read is told by what follows
	f, err := os.CreateTemp(t.Folder, pattern)
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name()) // fails on Windows, where Discard does it
	return temporaryFile{f}, nil
}

// Sweep removes files that were left, if they were written to so long ago. With 0 it is for who
// has the folder to itself, before it makes files there.
func (t Temporary) Sweep(ago time.Duration) error {
	if t.Folder == "" {
		return nil
	}
	entries, err := os.ReadDir(t.Folder)
	for _, e := range entries {
		if !e.Type().IsRegular() || !left.MatchString(e.Name()) {
			continue
		}
		if info, e1 := e.Info(); e1 == nil && time.Since(info.ModTime()) >= ago {
			err = errors.Join(err, os.Remove(filepath.Join(t.Folder, e.Name())))
		}
	}
	return err
}

type temporaryFile struct{ *os.File }

// Commit implements [File]: the file ends with the process, so nothing is synced.
func (temporaryFile) Commit() error { return nil }

// Discard implements [File].
func (f temporaryFile) Discard() error {
	err := f.Close()
	_ = os.Remove(f.Name()) // as a rule the name is gone
	return err
}
