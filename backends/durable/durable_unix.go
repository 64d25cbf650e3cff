//go:build unix

package durable

import (
	"errors"
	"io/fs"
	"syscall"
)

// syncFolder makes three system calls. An [os.File] would make eight, as it asks the poller in vain to watch it.
func syncFolder(path string) error {
	fd, err := again(func() (int, error) {
		return syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	})
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if _, err = again(func() (int, error) { return 0, syscall.Fsync(fd) }); err != nil {
		err = &fs.PathError{Op: "sync", Path: path, Err: err}
	}
	return errors.Join(err, syscall.Close(fd))
}

// again calls f until no signal interrupts it.
func again(f func() (int, error)) (n int, err error) {
	for n, err = f(); errors.Is(err, syscall.EINTR); {
		n, err = f()
	}
	return n, err
}
