// Package durable makes changes to folders outlast a power failure.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// SyncFolder makes the names in a folder durable: those that were added, and those that were
// removed. It is called once what the names stand for is on the disk. Windows syncs no folders,
// and nothing is done there.
func SyncFolder(path string) error { return syncFolder(path) }

// Replace writes a file whole, which is on the disk then, or leaves the old one. Its mode is 0600.
func Replace(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".new*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone once it has its name
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(name))
}
