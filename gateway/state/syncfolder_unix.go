//go:build unix

package state

import (
	"errors"
	"os"
)

// syncFolder makes a new name in a folder outlast a power failure.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
