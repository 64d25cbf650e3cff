package pop3

import (
	"bytes"
	"context"
)

// Quirks are deviations from the standard for clients that need them. None of them harms other
// clients.
type Quirks uint8

const (
	// QuirkAuthList answers AUTH without a mechanism with the list of mechanisms, as Outlook expects.
	QuirkAuthList Quirks = 1 << iota
	// QuirkBareLF takes command lines that end in LF alone, which scripts send.
	QuirkBareLF
	// QuirkLast has LAST (RFC 1460 §6), the command that UIDL replaced: the highest message
	// that has been read, in this session or, where the store knows, in an earlier one.
	QuirkLast
	// QuirkNoNUL sends NUL within a message as 0x80. Outlook Express took NUL for the end of the
	// message, and waited for the rest for ever. Sizes do not change.
	QuirkNoNUL
	// QuirkLongAuth takes AUTH with an initial response of 12288 octets in the same line, as
	// SMTP does (RFC 4954 §4). RFC 5034 §4 wants that line within 255 octets, as RFC 2449 §4
	// has it for all, and the response in one of its own; clients that came from SMTP send a
	// token of OAuth along.
	QuirkLongAuth
	// NoQuirks is none, where zero is the default.
	NoQuirks

	// DefaultQuirks are those that current clients need.
	DefaultQuirks = QuirkAuthList | QuirkBareLF | QuirkLongAuth
)

func (s *Server) quirk(q Quirks) bool {
	quirks := s.Quirks
	if quirks == 0 {
		quirks = DefaultQuirks
	}
	return quirks&q != 0
}

// highest is what LAST answers.
type highest struct{ before, now int }

// begin starts from what the store knows.
func (h *highest) begin(opened *Login) {
	h.before = max(0, min(opened.Accessed, opened.Len()))
	h.now = h.before
}

// last tells the highest message that has been read (RFC 1460 §6). RSET takes that back to what
// it was when the session began.
func (s *session) last(context.Context, args) error {
	if !s.server.quirk(QuirkLast) {
		return errUnknown
	}
	s.okNumber("", int64(s.highest.now), "")
	return nil
}

var (
	theNUL  = []byte{0}
	notANUL = []byte{0x80}
)

// withoutNUL is p without NUL, as long as it was.
func withoutNUL(p []byte) []byte {
	if bytes.IndexByte(p, 0) < 0 {
		return p
	}
	return bytes.ReplaceAll(p, theNUL, notANUL)
}
