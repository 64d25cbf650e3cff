//go:build !linux && !darwin

package host

import (
	"errors"
	"os"
)

// fileSocket: open files are not handed over here.
type fileSocket struct{}

func newFileSocket() (*fileSocket, *os.File, error) { return nil, nil, nil }

func (*fileSocket) expect(int) uint64               { return 0 }
func (*fileSocket) take(uint64, int) ([]int, error) { return nil, errors.ErrUnsupported }
func (*fileSocket) forget(uint64)                   {}
func (*fileSocket) drop(...int)                     {}
func (*fileSocket) refuse()                         {}
func (*fileSocket) fit(int) (int64, error)          { return 0, errors.ErrUnsupported }
func (*fileSocket) close()                          {}

func readAt(int, []byte, int64) (int, error) { return 0, errors.ErrUnsupported }
