package pop3

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"

	"github.com/dipylon/dipylon/backends/mail/sasl"
)

// Backend gives each connection its session. It knows who may log in and where the
// maildrops are; the engine knows the protocol and nothing else.
type Backend interface {
	// NewSession is called before the greeting. An error is told as -ERR instead of the
	// greeting, and ends the connection.
	NewSession(ctx context.Context, conn Conn) (Session, error)
}

// Conn is what is known of a connection.
type Conn struct {
	ID     string // the session's id, on every log line
	Remote net.Addr
	Local  net.Addr
	// TLS returns the state of the connection's TLS, nil while there is none. It changes
	// with STLS (RFC 2595).
	TLS func() *tls.ConnectionState
	// Certificate returns the server's certificate that the connection's TLS was made with, DER,
	// for channel binding (RFC 5929 §4); nil while it is not known.
	Certificate func() []byte
}

// Session is a connection in the AUTHORIZATION state (RFC 1939 §4). Its methods are called
// by one goroutine at a time. An error that is not an [*Error] is told as [SYS/TEMP].
type Session interface {
	// Password opens the maildrop with USER and PASS. The password is the rest of the
	// line, spaces included; it is wiped after the call.
	Password(ctx context.Context, user string, password []byte) (*Login, error)

	// Mechanisms names the SASL mechanisms (RFC 5034) to offer now, upper case. It is asked
	// for each CAPA and AUTH, as TLS may have changed the answer.
	Mechanisms() []string

	// Authenticate starts a SASL exchange with one of Mechanisms.
	Authenticate(ctx context.Context, mechanism string) (sasl.Exchange[Login], error)

	// Close is called once, at the connection's end, after the maildrop's.
	Close()
}

// UTF8Session is a [Session] that has a UTF8 mode (RFC 6856 §2): UTF8 is offered where a
// session is one.
type UTF8Session interface {
	Session
	// EnableUTF8 turns UTF8 mode on for the maildrop that is to be opened: it may then give
	// messages with 8-bit headers as they are. An error refuses the command.
	EnableUTF8(ctx context.Context) error
}

// PasswordPolicy is a [Session] that does not always take USER and PASS. Where it says no,
// CAPA does not offer USER, and USER is refused before a password is sent. It is asked each
// time, as TLS may have changed the answer. See also Server.InsecureAuth.
type PasswordPolicy interface {
	AllowPassword() bool
}

// Login is what a successful login yields: the maildrop, locked and open, and what the engine has
// to know of it. Only Maildrop is required.
type Login struct {
	Maildrop

	// User is whose maildrop it is, for the log. Empty: the log has the name that was given
	// with USER, and none after AUTH.
	User string
	// Accessed is the highest number of a message that was read in an earlier session, for LAST
	// (RFC 1460 §6). 0: no message was, or it is not known.
	Accessed int
	// Expire is the maildrop's EXPIRE (RFC 2449 §6.7), for CAPA after the login: "NEVER", or
	// days. Empty: the server's.
	Expire string
	// IdleTimeout and SessionLimit take the place of the server's for this session. 0: the
	// server's.
	IdleTimeout, SessionLimit time.Duration
	// MayDelete says why DELE is refused, as an [*Error]; nil: it is not. It is asked before each
	// message is marked, so that nothing is promised that QUIT could not keep. A nil function
	// refuses nothing.
	MayDelete func(ctx context.Context) error
	// Over says why the session ends before its next command, as an [*Error]; nil: it goes on. Nothing is removed then, QUIT
	// or not. A nil function ends no session.
	Over func(ctx context.Context) error
	// AfterLoss calls f in a goroutine of its own once the maildrop has ended without Close, as
	// when the process behind it dies. It returns what [context.AfterFunc] returns. The engine
	// then ends the session, even if the client says nothing, so that the lock is released. Nil:
	// the maildrop lasts until Close.
	AfterLoss func(f func()) (stop func() bool)
}

// Maildrop is the locked snapshot of a mailbox for one session in the TRANSACTION state
// (RFC 1939 §5). Messages have the numbers 1 to Len, for the whole session. The marks of
// DELE are the engine's.
type Maildrop interface {
	// Len is the number of messages, marked ones included.
	Len() int

	// Size is the number of octets that Open will give for the whole message.
	Size(ctx context.Context, n int) (int64, error)

	// UIDL is the unique-id: 1 to 70 characters in the range 0x21 to 0x7E (RFC 1939 §7).
	UIDL(n int) string

	// Open opens a message; with top >= 0 its header, the empty line and that many lines
	// of the body. Octets come without dot-stuffing; the engine stuffs, and makes every
	// line end in CRLF, the last one included.
	Open(ctx context.Context, n int, top int) (Content, error)

	// Update removes the messages that are marked, at QUIT (RFC 1939 §6, I4); it is not called when
	// none is marked. An error says that some are still there. The numbers are ascending.
	Update(ctx context.Context, deleted []int) error

	// Close releases the lock. Without Update before it nothing is removed.
	Close() error
}

// Content is a message being read. Read returns io.EOF only when it is complete (I3). It
// may implement io.WriterTo, which returns nil only when the message is complete.
//
// An error before the first octet is told as -ERR; after it the connection is dropped.
type Content interface {
	io.ReadCloser
	// Size is the number of octets of a whole message, for the answer to RETR: what Maildrop.Size
	// gives now that the message is open, which may be another message in its place. It is not
	// asked for the top of a message.
	Size() int64
}

// Error is a negative response: -ERR, a response code if it has one, and a text (RFC 1939 §3, RFC 2449
// §8).
type Error struct {
	Code string // response code without the brackets (RFC 2449 §8): "IN-USE"; may be empty
	Text string // for the client
	// Err is the cause, for the log alone.
	Err error
	// Fatal ends the connection after the response.
	Fatal bool
	// Mistake says that the client could have known: it counts towards Server.MaxErrors.
	Mistake bool
}

func (e *Error) Error() string {
	s := e.Text
	if e.Code != "" {
		s = "[" + e.Code + "] " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }
