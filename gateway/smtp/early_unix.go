//go:build unix

package smtp

import (
	"net"
	"syscall"
)

// isSilent says, without waiting, that nothing has come on a connection and that it is still open. What the system
// cannot tell that of, as of TLS, is not.
func isSilent(conn net.Conn) bool {
	socket, is := conn.(syscall.Conn)
	if !is {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	err = raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = err == syscall.EAGAIN
	})
	return silent && err == nil
}
