//go:build unix

package descriptors

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Close closes descriptors, all of which are the caller's own. Those that follow each other cost one
// system call together, where the system has one for it. It sorts fds.
func Close(fds []int) {
	slices.Sort(fds)
	for len(fds) > 0 {
		n := 1
		for n < len(fds) && fds[n] == fds[n-1]+1 {
			n++
		}
		closeRow(fds[:n])
		fds = fds[n:]
	}
}

func closeEach(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
