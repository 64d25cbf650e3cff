// Package peek looks at connections without waiting and without reading from them.
package peek

import "net"

// Arrived says whether something has come on a connection that nobody has read yet: octets, its end, or an error, a close
// on this side among them. Nothing is known of a connection that is none of the system's, such as one with TLS, and on
// Windows. It costs one system call, and does not wait for somebody else who reads.
func Arrived(conn net.Conn) (arrived, known bool) { return look(conn) }
