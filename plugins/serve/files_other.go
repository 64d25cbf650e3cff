//go:build !linux && !darwin

package serve

import "errors"

// fileSocket: open files cannot be handed over here.
type fileSocket struct{}

func openFileSocket() *fileSocket { return nil }

func (*fileSocket) send(uint64, []held) error { return errors.ErrUnsupported }
