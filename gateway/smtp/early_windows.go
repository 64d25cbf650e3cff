package smtp

import "net"

// isSilent is not known here without waiting.
func isSilent(net.Conn) bool { return false }
