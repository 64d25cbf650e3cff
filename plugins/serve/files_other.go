//go:build !linux && !darwin

package serve

import (
	"errors"

	"github.com/dipylon/dipylon/backends"
)

// fileSocket: open files cannot be handed over here.
type fileSocket struct{}

func openFileSocket() *fileSocket { return nil }

func (*fileSocket) send(uint64, []backends.FileContent) error { return errors.ErrUnsupported }
