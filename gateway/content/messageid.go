package content

import (
	"bytes"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/header"
)

// MessageIDWithin is how much of a message's beginning MessageID is worth being given, in octets.
const MessageIDWithin = 16 << 10

// messageIDMost is how many octets of a Message-ID are given.
const messageIDMost = 255

// MessageID finds a message's Message-ID in its beginning, for the log: it is cut at 255 octets, and
// empty where the beginning has none.
func MessageID(start []byte) string { return firstID(start, "Message-ID") }

// InReplyTo finds what a message answers to (RFC 5322 §3.6.4), or reports on, in the same way.
func InReplyTo(start []byte) string { return firstID(start, "In-Reply-To") }

func firstID(start []byte, field string) string {
	for len(start) > 0 {
		line, rest, _ := bytes.Cut(start, []byte("\n"))
		if len(bytes.TrimRight(line, "\r")) == 0 {
			return ""
		}
		if name, ok := header.FieldName(line); ok && strings.EqualFold(name, field) {
			value := bytes.TrimSpace(line[bytes.IndexByte(line, ':')+1:])
			if len(value) == 0 && len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
				line, _, _ = bytes.Cut(rest, []byte("\n")) // folded right behind the name (RFC 5322 §2.2.3)
				value = bytes.TrimSpace(line)
			}
			return string(value[:min(len(value), messageIDMost)])
		}
		start = rest
	}
	return ""
}
