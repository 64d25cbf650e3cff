package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/plugins/host/filelock"
)

// stateLock keeps a second gateway out of a state folder. The system lets go of it when the
// process ends, however it does.
type stateLock struct{ file *os.File }

func lockState(folder string) (*stateLock, error) {
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
	return &stateLock{f}, nil
}

func (l *stateLock) release() {
	if l != nil {
		_ = l.file.Close() // nothing was written
	}
}
