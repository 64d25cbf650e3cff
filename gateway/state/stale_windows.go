package state

import "net"

// isStale knows nothing here: the first statement after the server's end fails.
func isStale(net.Conn) bool { return false }
