package events

import (
	"net"
	"time"
)

// Connection is a session as its protocol's engine knows it. Lines of the log that have its id are
// the session's.
type Connection struct {
	ID     string
	Remote net.Addr // the client's address; nil where the connection has none
	Since  time.Time
}
