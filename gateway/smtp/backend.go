package smtp

import (
	"context"
	"crypto/tls"
	"io"
	"net"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/sasl"
)

// Backend gives each connection its session. It knows who may send what to whom; the
// engine knows the protocol and nothing else.
type Backend interface {
	// NewSession is called before the greeting. An error is told instead of it (554 or
	// 421, RFC 5321 §3.1) and ends the connection.
	NewSession(ctx context.Context, conn Conn) (Session, error)
}

// Conn is what is known of a connection.
type Conn struct {
	ID     string // the session's id, on every log line
	Remote net.Addr
	Local  net.Addr
	// TLS returns the state of the connection's TLS, nil while there is none. It changes
	// with STARTTLS (RFC 3207).
	TLS func() *tls.ConnectionState
	// Certificate returns the server's certificate that the connection's TLS was made with, DER,
	// for channel binding (RFC 5929 §4); nil while it is not known.
	Certificate func() []byte
	// Helo returns what the client called itself last, after the checks of RFC 5321
	// §4.1.1.1; empty before EHLO or HELO.
	Helo func() string
}

// Session is what a backend does for one connection. Its methods are called by one
// goroutine at a time, in the order that RFC 5321 §4.1.4 allows: the engine has refused
// everything else. An error that is not an [*Error] is told as 451 4.3.0.
type Session interface {
	// Mechanisms names the SASL mechanisms (RFC 4954) to offer now, upper case. None: AUTH
	// is not offered.
	Mechanisms() []string

	// Authenticate starts a SASL exchange with one of Mechanisms.
	Authenticate(ctx context.Context, mechanism string) (sasl.Exchange[sasl.Accepted], error)

	// Mail begins a transaction. The reverse-path can be null.
	Mail(ctx context.Context, reversePath address.Path, options MailOptions) error

	// Rcpt adds a recipient to the transaction; it counts only when the error is nil. Its path
	// has a domain or is <postmaster>.
	Rcpt(ctx context.Context, recipient address.Path, options RcptOptions) error

	// Data takes the message: header and body in canonical form (every line ends in CRLF,
	// no dot-stuffing), which is the client's alone. The trace is the Received field of this
	// hop (RFC 5321 §4.4). It is passed beside the body, because a first line of the body that is
	// no field would continue it: who joins the two has to separate them. A nil error means 250
	// (I1) with the text that is returned ("Ok: <id>"). The engine drains what was not read. The
	// reader fails with an error that is not io.EOF when the message did not arrive
	// whole or breaks a rule; Data passes that error on and has kept nothing. It does not
	// use the reader after it has returned. With BDAT it runs while chunks still arrive, and
	// ends with the reader's error when the client gives the message up.
	Data(ctx context.Context, trace string, body io.Reader) (text string, err error)

	// Reset forgets the transaction: after Data, RSET, EHLO, STARTTLS, a failure, and the
	// connection's end. It is called once for each Mail, whatever that returned.
	Reset()

	// Close is called once, at the connection's end.
	Close()
}

// SizeLimited is what a [Session] implements that may take less than the server's
// Limits.MessageSize.
type SizeLimited interface {
	// MessageSize is the largest message that can be taken now, in octets; negative: any that
	// the server takes. It is asked at EHLO and at MAIL, before Mail, and answers at once.
	MessageSize(ctx context.Context) int64
}

// Recognizes is what a [Session] implements that may know its client without AUTH, by where it is or by its certificate.
type Recognizes interface {
	// Recognize says whether a client that has not logged in may send mail. It is asked at MAIL, of servers of the role
	// [Submission]; an error is told.
	Recognize(ctx context.Context) (bool, error)
}

// Ends is what a [Session] implements that may be over before its client says QUIT.
type Ends interface {
	// Over says why no further command is taken, and how the client is told (421); nil: the session goes on. It is asked
	// before each command, and answers quickly.
	Over(ctx context.Context) *Error
}

// MailOptions are the parameters of MAIL (RFC 5321 §4.1.1.2).
type MailOptions struct {
	ID       string // the transaction's id, in its Received line and on its log lines
	Size     int64  // SIZE= (RFC 1870); 0: not given
	EightBit bool   // BODY=8BITMIME (RFC 6152)
	UTF8     bool   // SMTPUTF8 (RFC 6531)
	Auth     string // AUTH= (RFC 4954 §5), decoded; empty: not given or <>
	// Return and EnvelopeID are RET= and ENVID= (RFC 3461 §4.3, §4.4), decoded; given to who [Notifies].
	Return     Return
	EnvelopeID string
	// Priority is MT-PRIORITY= (RFC 6710), from -9 to 9; given to who [Prioritizes], and no more than it allows.
	Priority int
	lowered  bool // it is less than the client has asked for
	// RequireTLS is REQUIRETLS (RFC 8689); given to who [RequiresTLS].
	RequireTLS bool
}

// RcptOptions are the parameters of RCPT (RFC 5321 §4.1.1.3).
type RcptOptions struct {
	// Notify and OriginalRecipient are NOTIFY= and ORCPT= (RFC 3461 §4.1, §4.2), decoded, the latter as
	// "rfc822;ada@example.org"; given to who [Notifies].
	Notify            Notify
	OriginalRecipient string
}

// Error is a negative reply.
type Error struct {
	Code     int    // 421, 450, 550 …
	Enhanced string // "5.1.1" (RFC 3463)
	Text     string // for the client, one line or several parted by \n
	// Err is the cause, for the log alone.
	Err error
	// Fatal ends the connection after the reply (Code is 421 or 5xx).
	Fatal bool
}

func (e *Error) Error() string {
	s := e.Text
	if e.Enhanced != "" {
		s = e.Enhanced + " " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }
