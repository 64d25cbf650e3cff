package smtp

import "strings"

// Quirks are what is done for devices and scripts that are older, or other, than the standard. Each
// is a deviation that harms no client that does not need it. They are for clients that log in: an
// [MX] has none by default.
type Quirks uint8

const (
	// QuirkPaths takes MAIL and RCPT with an address that has no brackets, or blanks within them
	// (RFC 5321 §4.1.2): a RAID controller (cosullivan/SmtpServer#219), a UPS (OpenSMTPD#1054).
	QuirkPaths Quirks = 1 << iota
	// QuirkBlanks takes doubled blanks behind a command, and tabs at the end of its line (RFC 5321
	// §4.1.1): cosullivan/SmtpServer#166, monitoring-plugins#660.
	QuirkBlanks
	// QuirkHelo takes EHLO and HELO without a name, or with one that cannot be one, as of a computer
	// that is called something in windows-1252 (curl#999). The address stands for it (RFC 5321 §4.1.4).
	QuirkHelo
	// NoQuirks is none, where zero is the default.
	NoQuirks

	// DefaultQuirks are those of a [Submission] server.
	DefaultQuirks = QuirkPaths | QuirkBlanks | QuirkHelo
)

func (s *Server) quirk(q Quirks) bool {
	quirks := s.Quirks
	if quirks == 0 && s.Role == Submission {
		quirks = DefaultQuirks
	}
	return quirks&q != 0
}

// bracketed puts a path that is not well bracketed, and what follows it, into the standard's form.
// What has quotes in it stays as it is: there a blank or a bracket may be a part of the address.
func bracketed(s string) string {
	if strings.Contains(s, `"`) {
		return s
	}
	if inner, is := strings.CutPrefix(s, "<"); is {
		path, rest, closed := strings.Cut(inner, ">")
		if !closed {
			return s
		}
		return "<" + strings.Trim(path, " ") + ">" + rest
	}
	path, rest, more := strings.Cut(s, " ")
	if !strings.Contains(path, "@") || strings.ContainsAny(path, "<>") {
		return s
	}
	if more {
		rest = " " + rest
	}
	return "<" + path + ">" + rest
}
