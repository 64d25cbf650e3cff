//go:build unix

package state

import (
	"crypto/tls"
	"net"
	"syscall"
)

// isStale says whether the other side of a connection that nobody uses has said something, or has
// closed it: a database server does both when it ends. It costs a system call, and no round trip.
func isStale(conn net.Conn) bool {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	stale := false
	// Not raw.Read: that waits for whoever else reads, and the client library may have left a reader
	// behind that waits for the server's next word.
	err = raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		stale = err != syscall.EAGAIN && err != syscall.EINTR
	})
	return stale || err != nil
}
