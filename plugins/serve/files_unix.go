//go:build linux || darwin

package serve

import (
	"encoding/binary"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// fileSocket is the plugin's end of the socket over which open files are handed to the gateway.
type fileSocket struct{ fd int }

// openFileSocket takes the socket that the gateway has given; nil: there is none.
func openFileSocket() *fileSocket {
	fd, err := strconv.Atoi(os.Getenv(wire.FilesKey))
	if err != nil || fd < 3 {
		return nil
	}
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != wire.FilesSocket {
		return nil // whoever started the program in between has closed it
	}
	unix.CloseOnExec(fd)
	return &fileSocket{fd}
}

// send sends open files as one record. It does not wait: an error says that the
// system has no room for it now, and nothing was sent.
func (s *fileSocket) send(number uint64, files []held) error {
	fds := make([]int, len(files))
	return s.withFDs(files, fds, 0, func() error {
		var record [wire.FilesRecord]byte
		binary.BigEndian.PutUint64(record[:], number)
		return unix.Sendmsg(s.fd, record[:], unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT)
	})
}

// withFDs calls f with the descriptors of all files. [os.File.Fd] would make the file blocking,
// which the gateway would share.
func (s *fileSocket) withFDs(files []held, fds []int, i int, f func() error) error {
	if i == len(files) {
		return f()
	}
	conn, err := files[i].file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) {
		fds[i] = int(fd)
		inner = s.withFDs(files, fds, i+1, f)
	}); err != nil {
		return err
	}
	return inner
}
