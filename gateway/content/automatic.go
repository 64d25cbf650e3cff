package content

import (
	"bytes"
	"mime"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/header"
)

// AutomaticWithin is how much of a message's beginning AutomaticOf is worth being given, in octets.
const AutomaticWithin = 32 << 10

// Automatic is what of a message has come about without a person: a set.
type Automatic uint8

// What a message may be. One that answers as out of office is no Reply.
const (
	// Reply: it answers another one by itself, or a program has made it (RFC 3834 §5).
	Reply Automatic = 1 << iota
	// OutOfOffice: it says that somebody is away (RFC 5230 §4.6).
	OutOfOffice
	// Forward: a mailbox has sent it on by itself.
	Forward
)

// AutomaticOf says what a message is by its header. Reports on messages (RFC 6522) are nothing of it: who has sent
// something has to hear of it.
func AutomaticOf(start []byte) (is Automatic) {
	for len(start) > 0 {
		field, rest := header.CutField(start)
		if len(bytes.TrimSpace(field)) == 0 {
			break
		}
		if name, ok := header.FieldName(field); ok {
			value := string(bytes.Join(bytes.Fields(field[bytes.IndexByte(field, ':')+1:]), []byte(" ")))
			if kind, _, err := mime.ParseMediaType(value); strings.EqualFold(name, "Content-Type") && err == nil && kind == "multipart/report" {
				return 0
			}
			is |= automaticBy(name, strings.ToLower(value))
		}
		start = rest
	}
	return is
}

// automaticBy says what one field tells; its value is in lower case.
func automaticBy(name, value string) Automatic {
	is := func(other string) bool { return strings.EqualFold(name, other) }
	switch {
	case is("Auto-Submitted"):
		return submitted(value)
	case is("Autoforwarded") && value == "true": // RFC 2156, of X.400
		return Forward
	case is("X-MS-Exchange-Organization-AutoForwarded") && value == "true": // MS-OXCMAIL §2.1.3.2.21
		return Forward
	case is("X-Sieve-Redirected-From"), is("X-Forwarded-For") && strings.Contains(value, "@"): // Dovecot, Gmail
		return Forward
	}
	return 0
}

// submitted is what Auto-Submitted says. Who is away says so in a comment.
func submitted(value string) Automatic {
	keyword, _, _ := strings.Cut(value, ";")
	keyword, comment, _ := strings.Cut(keyword, "(")
	switch keyword = strings.TrimSpace(keyword); {
	case keyword == "auto-forwarded":
		return Forward
	case keyword == "auto-replied" && strings.Contains(comment, "vacation"):
		return OutOfOffice
	case keyword == "auto-replied" || keyword == "auto-generated":
		return Reply
	}
	return 0
}
