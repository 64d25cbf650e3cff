//go:build unix

package descriptors

import (
	"errors"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestClose closes all but every fifth of some descriptors, in any order, and those stay open.
func TestClose(t *testing.T) {
	var closed, kept []int
	for i := range 40 {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if i%5 == 2 {
			kept = append(kept, fd)
		} else {
			closed = append(closed, fd)
		}
	}
	slices.Reverse(closed)
	Close(closed)
	// Nothing else in this process opens a file meanwhile.
	for _, fd := range closed {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
			t.Errorf("descriptor %d: %v, but it was to be closed", fd, err)
		}
	}
	for _, fd := range kept {
		if err := unix.Close(fd); err != nil {
			t.Errorf("descriptor %d, which was not to be closed: %v", fd, err)
		}
	}
	Close(nil)
}
