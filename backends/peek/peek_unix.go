//go:build unix

package peek

import (
	"net"
	"syscall"
)

func look(conn net.Conn) (arrived, known bool) {
	socket, is := conn.(syscall.Conn)
	if !is {
		return false, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true, true
	}
	// Not raw.Read: that waits for whoever else reads.
	err = raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		arrived, known = err != syscall.EAGAIN, err != syscall.EINTR
	})
	if err != nil {
		return true, true
	}
	return arrived && known, known
}
