package content

import (
	"bytes"
	"net/mail"
	"time"

	"github.com/dipylon/dipylon/backends/mail/fold"
)

// IdentityWithin is how much of a message's beginning Identity is worth being given, in octets.
const IdentityWithin = 32 << 10

// Identity says what tells a message from others that are alike: whether it has a Message-ID, and
// its Date; zero: there is none that can be read.
func Identity(start []byte) (named bool, dated time.Time) {
	for len(start) > 0 {
		field, rest := firstField(start)
		if len(bytes.TrimSpace(field)) == 0 {
			return named, dated
		}
		if name, ok := fieldName(field); ok {
			value := string(bytes.Join(bytes.Fields(field[bytes.IndexByte(field, ':')+1:]), []byte(" ")))
			switch fold.Lower(name) {
			case "message-id":
				named = named || value != "" && value != "<>"
			case "date":
				if at, err := mail.ParseDate(value); err == nil {
					dated = at
				}
			}
		}
		start = rest
	}
	return named, dated
}

// firstField cuts a field with its continuation lines off (RFC 5322 §2.2.3).
func firstField(text []byte) (field, rest []byte) {
	for end := 0; ; {
		next := bytes.IndexByte(text[end:], '\n')
		if next < 0 {
			return text, nil
		}
		end += next + 1
		if end == 1 || end == 2 && text[0] == '\r' || end >= len(text) || text[end] != ' ' && text[end] != '\t' {
			return text[:end], text[end:]
		}
	}
}
