package host

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// socketPair has to keep a child from being started before the descriptors are closed on exec.
func socketPair() ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, wire.FilesSocket, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds, err
}

func receiveRecord(fd int, record, rights []byte) (n, m, flags int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	n, m, flags, _, err = unix.Recvmsg(fd, record, rights, unix.MSG_DONTWAIT)
	if err == nil {
		for _, fd := range rightsIn(rights[:m]) {
			unix.CloseOnExec(fd)
		}
	}
	return n, m, flags, err
}

// places has nothing to remember here.
type places struct{}

func (*places) fit(fd int) (stored int64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("fstat: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, errNotRegular
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return 0, fmt.Errorf("fstatfs: %w", err)
	}
	if fs.Flags&unix.MNT_LOCAL == 0 {
		return 0, errors.New("it is on a file system that is not local, where a read may hang")
	}
	return st.Size, nil
}
