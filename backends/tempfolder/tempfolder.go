// Package tempfolder makes folders for the time of a process, for its owner alone, that do not stay
// for ever when the process is killed: each has a file that its process keeps locked, and whoever
// makes the next one takes away those whose lock nobody holds.
package tempfolder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends/filelock"
)

const (
	// lockName is the file that says whose a folder is. It gets this name when it is locked already:
	// a folder of a living process never has one that is free.
	lockName  = "lock.dipylon"
	unlocked  = lockName + ".new"
	prefix    = "dipylon-"
	abandoned = 24 * time.Hour // a folder without a lock is then no longer about to get one
)

// names are those of [os.MkdirTemp].
var names = regexp.MustCompile(`^dipylon-[a-z-]*[0-9]+$`)

// Folder is a folder of mode 0700, locked by this process.
type Folder struct {
	Path string
	lock *os.File
	once sync.Once
	err  error
}

// New makes a folder in root, or in the system's folder for temporary files where root is empty, and
// takes away what killed processes of the same user have left there. The name says what it is for: lower-case
// letters and dashes, or nothing.
func New(root, name string) (*Folder, error) {
	if root == "" {
		root = os.TempDir()
	}
	Sweep(root)
	if name != "" {
		name += "-"
	}
	path, err := os.MkdirTemp(root, prefix+name)
	if err != nil {
		return nil, err
	}
	lock, err := lockIn(path)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return &Folder{Path: path, lock: lock}, nil
}

func lockIn(folder string) (*os.File, error) {
	fresh := filepath.Join(folder, unlocked)
	f, err := os.OpenFile(fresh, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := filelock.Try(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", fresh, err), f.Close())
	}
	if err := os.Rename(fresh, filepath.Join(folder, lockName)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Remove takes the folder away, with all that is in it.
func (f *Folder) Remove() error {
	f.once.Do(func() {
		// Somebody else's sweep may begin in between: to remove twice does no harm.
		f.err = errors.Join(f.lock.Close(), os.RemoveAll(f.Path))
	})
	return f.err
}

// Sweep removes the folders in root that nobody has any more. What cannot be removed stays: it may be
// another user's.
func Sweep(root string) {
	around, err := os.Stat(root)
	if err != nil {
		return
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !names.MatchString(e.Name()) { // a symbolic link is no folder here
			continue
		}
		info, err := e.Info()
		if err == nil && mine(around, info) {
			sweepFolder(filepath.Join(root, e.Name()), time.Since(info.ModTime()))
		}
	}
}

func sweepFolder(folder string, age time.Duration) {
	path := filepath.Join(folder, lockName)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && age > abandoned:
		// Killed before it had its lock, and so before anything else was in it; one that was not
		// made here is not empty, and stays.
		_ = os.Remove(filepath.Join(folder, unlocked))
		_ = os.Remove(folder)
		return
	case err != nil || !info.Mode().IsRegular():
		return
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	err = filelock.Try(f)
	_ = f.Close()
	if err == nil {
		_ = os.RemoveAll(folder)
	}
}
