package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dipylon/dipylon/backends/filelock"
	"github.com/dipylon/dipylon/gateway/state"
)

// StateLock keeps a second gateway out of a state folder. The system lets go of it when the
// process ends, however it does.
type StateLock struct{ file *os.File }

// LockState makes a state folder this process's own until Release.
func LockState(folder string) (*StateLock, error) {
	name := filepath.Join(folder, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the state folder: %w", err)
	}
	if err := state.Inherit(name); err != nil {
		return nil, errors.Join(fmt.Errorf("the state folder: %w", err), f.Close())
	}
	if err := filelock.Try(f); err != nil {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("another gateway uses the state folder %s: %w", folder, err)
	}
	return &StateLock{f}, nil
}

// Release gives the folder free. A nil lock has nothing to give.
func (l *StateLock) Release() {
	if l != nil {
		_ = l.file.Close() // nothing was written
	}
}
