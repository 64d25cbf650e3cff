package smtp

import (
	"strings"

	"github.com/dipylon/dipylon/backends/mail/address"
)

// localMost is RFC 5321 §4.5.3.1.1's bound, in octets. It counts for recipients.
const localMost = 64

// noDomain is told of an address without one.
const noDomain = "the address has no domain"

// pathTexts are what the client is told of a path that cannot be read.
var pathTexts = map[error]string{
	address.ErrNotBracketed: "syntax error: a path is in angle brackets, with no name: <local-part@domain>",
	address.ErrNotClosed:    "syntax error: the path has no > at its end: <local-part@domain>",
	address.ErrLocalPart:    "syntax error in the local part",
	address.ErrDomain:       "syntax error in the domain",
	address.ErrLiteral:      "syntax error in the address literal",
	address.ErrNoDomain:     noDomain,
	address.ErrTooLong:      "the path is too long",
}

// pathOf reads "FROM:<path> parameters".
//
// QUIRK: a space in front of the path is taken, as RFC 5321 §4.1.1.2 asks not to be so
// strict, and many a script sends one.
func (s *session) pathOf(args, keyword, enhanced string) (path address.Path, rest string, r reply) {
	if s.server.quirk(QuirkBlanks) {
		args = closeUp(args, keyword)
	}
	if len(args) < len(keyword) || !strings.EqualFold(args[:len(keyword)], keyword) {
		return path, "", refuse(501, "5.5.4", "syntax error in parameters: "+keyword+"<path> expected")
	}
	text := strings.TrimLeft(args[len(keyword):], " ")
	if s.server.quirk(QuirkPaths) {
		text = bracketed(text)
	}
	path, rest, err := address.ParsePath(text)
	if err != nil {
		return path, "", refuse(501, enhanced, pathTexts[err])
	}
	// RFC 5321 §4.1.2 has these in a Quoted-string, and other servers take them for the path's end.
	// It is told here, and not by a store that has got the whole message.
	if strings.ContainsAny(path.Mailbox().Local, "<>") {
		return path, "", refuse(553, enhanced, "a local part that contains < or > is not accepted")
	}
	return path, rest, none
}

// reversePath reads the path of MAIL.
func (s *session) reversePath(args string) (path address.Path, rest string, r reply) {
	path, rest, r = s.pathOf(args, "FROM:", "5.1.7")
	if r.code == none.code && path.IsPostmaster() { // for RCPT alone: RFC 5321 §4.1.1.3
		return path, "", refuse(501, "5.1.7", noDomain)
	}
	return path, rest, r
}

// forwardPath reads the path of RCPT: one that mail can go to.
func (s *session) forwardPath(args string) (path address.Path, rest string, r reply) {
	path, rest, r = s.pathOf(args, "TO:", "5.1.3")
	switch {
	case r.code != none.code:
	case path.IsNull():
		r = refuse(501, "5.1.3", noDomain)
	case len(path.Mailbox().Unquoted()) > localMost:
		r = refuse(501, "5.1.3", "the local part is too long")
	case !s.tx.options.UTF8 && !address.ASCII(path.String()):
		r = refuse(553, "5.6.7", needsUTF8)
	}
	return path, rest, r
}
