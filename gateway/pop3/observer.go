package pop3

import "time"

// Observer receives events, for metrics. Its methods are called from the sessions'
// goroutines, many at a time, and must not block.
type Observer interface {
	// SessionOpened tells of a connection that is served, before its greeting.
	SessionOpened(conn Conn)
	// SessionRefused tells of a connection over a limit: "connections", "unauthenticated" or "address".
	SessionRefused(limit string)
	// SessionClosed tells of the end of a connection that SessionOpened told of.
	SessionClosed(Summary)
	// Login tells of a login; method is "PASS" or the SASL mechanism. err is nil for success.
	Login(conn Conn, method string, err error)
	// Command tells of each command that got its response.
	Command(CommandEvent)
	// SizeMismatch tells of a message whose size differs from what the maildrop had told.
	SizeMismatch(SizeMismatch)
}

// CommandEvent is one command that was carried out or refused.
type CommandEvent struct {
	Session string
	Verb    string // upper case; "unknown" for what the engine does not know
	OK      bool   // answered with +OK
	Took    time.Duration
	Sent    int64 // octets of the response, as they are before TLS
}

// SizeMismatch is a message whose size differs from what Maildrop.Size had told.
type SizeMismatch struct {
	Session string
	Message int
	Told    int64 // octets by Maildrop.Size
	Sent    int64 // octets sent, without dot-stuffing
}

// Summary is what a session did.
type Summary struct {
	Session  string
	User     string // empty: never logged in
	Reason   string // why it ended: "quit", "time-out", "gone", "shutdown", …
	Duration time.Duration
	In, Out  int64 // octets, as they are without TLS
	Commands int
	Errors   int // commands answered with -ERR
	Retr     int // messages sent whole
	RetrSize int64
	Top      int
	Deleted  int // messages removed at QUIT
}

type nobody struct{}

func (nobody) SessionOpened(Conn)        {}
func (nobody) SessionRefused(string)     {}
func (nobody) SessionClosed(Summary)     {}
func (nobody) Login(Conn, string, error) {}
func (nobody) Command(CommandEvent)      {}
func (nobody) SizeMismatch(SizeMismatch) {}
