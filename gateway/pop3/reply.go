package pop3

import (
	"context"
	"errors"
	"strings"
)

// maxResponse bounds a response line, CRLF included (RFC 2449 §4).
const maxResponse = 512

// The engine's own refusals. A [refusal] is a client's mistake: it counts towards
// Server.MaxErrors.
type refusal string

func (r refusal) Error() string { return string(r) }

const (
	errUnknown    = refusal("unknown command")
	errEmpty      = refusal("no command given")
	errState      = refusal("command not valid in this state")
	errArguments  = refusal("wrong number of arguments")
	errCharacter  = refusal("invalid character")
	errNumber     = refusal("not a message number")
	errLines      = refusal("not a number of lines")
	errTooLong    = refusal("line too long")
	errNoCR       = refusal("a line ends in CR LF, not in LF alone")
	errNoUser     = refusal("USER first")
	errNoTLS      = refusal("TLS is not available")
	errHaveTLS    = refusal("TLS is already active")
	errTLSFirst   = refusal("TLS is needed to log in: use STLS first")
	errNoPassword = refusal("USER is not available")
	errMechanism  = refusal("unrecognized authentication type")
	errBase64     = refusal("invalid base64")
	errCancelled  = refusal("authentication cancelled")
	errNoUTF8     = refusal("UTF8 is not available")
	errAfterUTF8  = refusal("STLS comes before UTF8")
	errUserName   = refusal("invalid user name")
)

// The negative responses that do not count as a client's mistake.
var (
	errNoMessage = &Error{Text: "no such message"}
	errDeleted   = &Error{Text: "message already deleted"}
	errLanguage  = &Error{Text: "invalid language"}
	errFailed    = &Error{Code: "SYS/TEMP", Text: "cannot do that now, try again later"}
)

// drop is an error that ends the connection without a word: there is nobody to hear it, or
// no way to say it (I3).
type drop struct {
	reason string // for the log: "gone", "content", …
	err    error
	broken bool // the response was cut off by our side's fault
}

func (d *drop) Error() string {
	if d.err == nil {
		return d.reason
	}
	return d.reason + ": " + d.err.Error()
}

func (d *drop) Unwrap() error { return d.err }

// farewell is an error that ends the connection with a last -ERR.
type farewell struct {
	reason string
	code   string
	text   string
}

func (f *farewell) Error() string { return f.reason }

// errQuit ends the session after the response to QUIT.
var errQuit = errors.New("quit")

// answer is the response that an error gets. What is not an [*Error] is not shown.
func answer(err error) *Error {
	if r, ok := errors.AsType[refusal](err); ok {
		return &Error{Text: string(r), Mistake: true}
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: errFailed.Code, Text: errFailed.Text, Err: err}
}

// cause is what an error says to the administrator.
func cause(ctx context.Context, err error) error {
	if ctx != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}

// ok answers +OK.
func (s *session) ok(text string) {
	s.respond("+OK", "", text)
	s.lastOK = true
}

// fail answers -ERR, with a response code (RFC 2449 §8) if there is one. It ends in the session's
// id: what a user reads out leads to the lines of the log.
func (s *session) fail(code, text string) {
	named := s.named()
	if text = printable(text, maxResponse-len("-ERR [] \r\n")-len(code)-len(named)-1); text != "" {
		named = text + " " + named
	}
	s.respond("-ERR", code, named)
	s.lastOK = false
}

func (s *session) named() string { return "(session " + s.info.ID + ")" }

func (s *session) respond(status, code, text string) {
	line := append(s.out.space(maxResponse), status...)
	if code = printable(code, 64); code != "" && isCode(code) {
		line = append(line, " ["...)
		line = append(line, code...)
		line = append(line, ']')
	}
	if text = printable(text, maxResponse-len(line)-3); text != "" {
		line = append(line, ' ')
		line = append(line, text...)
	}
	s.out.took(append(line, "\r\n"...))
}

// isCode says whether a response code can be told from the text behind it (RFC 2449 §3).
func isCode(code string) bool { return !strings.ContainsAny(code, " []%*\"\\") }

// printable makes one line of at most n octets of ASCII out of any text.
func printable(text string, n int) string {
	clean := func(c rune) rune {
		if c < 0x20 || c == 0x7F {
			return ' '
		}
		if c > 0x7F {
			return '?'
		}
		return c
	}
	text = strings.TrimSpace(strings.Map(clean, text))
	return text[:min(len(text), max(n, 0))]
}
