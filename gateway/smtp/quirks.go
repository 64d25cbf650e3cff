package smtp

import (
	"bytes"
	"strings"
)

// Quirks are deviations from the standard for devices and scripts that need them. None of them harms
// other clients. They are for clients that log in: an [MX] has none by default.
type Quirks uint8

const (
	// QuirkPaths takes MAIL and RCPT with an address that has no brackets, blanks within them, two
	// pairs of them, or a name in front of them or within the outer ones (RFC 5321 §4.1.2), where the
	// address can be only one: a RAID controller (cosullivan/SmtpServer#219), a UPS (OpenSMTPD#1054),
	// a sender's name in the settings (gophish#2443).
	QuirkPaths Quirks = 1 << iota
	// QuirkBlanks takes doubled blanks behind a command, a blank in front of the colon of FROM: and TO:,
	// and tabs between words and at the end of a line (RFC 5321 §4.1.1): cosullivan/SmtpServer#166,
	// monitoring-plugins#660, zone-mta#116.
	QuirkBlanks
	// QuirkHelo takes EHLO and HELO without a name, or with one that cannot be one, as of a computer
	// that is called something in windows-1252 (curl#999). The address stands for it (RFC 5321 §4.1.4).
	QuirkHelo
	// QuirkNotify takes NOTIFY=NEVER with RCPT where RFC 3461 is not offered, as no mail is relayed: no
	// notices are written then, so it asks for what is done anyway. What asks for a notice is refused.
	QuirkNotify
	// NoQuirks is none, where zero is the default.
	NoQuirks

	// DefaultQuirks are those of a [Submission] server.
	DefaultQuirks = QuirkPaths | QuirkBlanks | QuirkHelo | QuirkNotify
)

func (s *Server) quirk(q Quirks) bool {
	quirks := s.Quirks
	if quirks == 0 && s.Role == Submission {
		quirks = DefaultQuirks
	}
	return quirks&q != 0
}

// spaced is a command line with a blank in the place of each tab. In quotes a tab stays, and is
// refused.
func spaced(line []byte) []byte {
	if !bytes.ContainsRune(line, '\t') {
		return line
	}
	out := bytes.Clone(line)
	quoted := false
	for i := 0; i < len(out); i++ {
		switch c := out[i]; {
		case c == '\\' && quoted:
			i++ // a quoted-pair (RFC 5321 §4.1.2) ends no quotes
		case c == '"':
			quoted = !quoted
		case c == '\t' && !quoted:
			out[i] = ' '
		}
	}
	return out
}

// closeUp takes the blanks away that stand between FROM or TO and its colon.
func closeUp(args, keyword string) string {
	name := strings.TrimSuffix(keyword, ":")
	if len(args) < len(name) || !strings.EqualFold(args[:len(name)], name) {
		return args
	}
	return name + strings.TrimLeft(args[len(name):], " ")
}

// bracketed puts a path that is not well bracketed, and what follows it, into the standard's form.
// What can be read in two ways stays as it is, and is refused: an address in a name, a bracket that
// is not closed, since the line may have been cut, and blanks or brackets in quotes.
func bracketed(s string) string {
	if path, rest, is := named(s); is {
		return "<" + strings.Trim(path, " ") + ">" + rest
	}
	if strings.ContainsAny(s, `"<>`) {
		return s
	}
	path, rest, more := strings.Cut(s, " ")
	if !strings.Contains(path, "@") {
		return s
	}
	if more {
		rest = " " + rest
	}
	return "<" + path + ">" + rest
}

// named finds the one path of "<path>", "<<path>>", "name <path>" and "<name <path>>". A name is
// plain words, or is quoted as a whole.
func named(s string) (path, rest string, is bool) {
	name, inner, is := strings.Cut(s, "<")
	if !is || strings.ContainsAny(name, ">") {
		return "", "", false
	}
	path, rest, is = strings.Cut(inner, ">")
	if !is || strings.ContainsAny(rest, `<"`) || strings.Contains(path, `"`) {
		return "", "", false
	}
	if before, within, nested := strings.Cut(path, "<"); nested {
		if rest, is = strings.CutPrefix(strings.TrimLeft(rest, " "), ">"); !is || name != "" {
			return "", "", false
		}
		name, path = before, within
	}
	return path, rest, isName(name) && !strings.ContainsAny(path+rest, "<>")
}

// isName says whether a text in front of a path is a name and can be nothing else.
func isName(s string) bool {
	s = strings.Trim(s, " ")
	if inner, is := strings.CutPrefix(s, `"`); is {
		if s, is = strings.CutSuffix(inner, `"`); !is {
			return false
		}
	}
	return !strings.ContainsAny(s, `"\@:;,`)
}
