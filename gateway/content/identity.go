package content

import (
	"bytes"
	"net/mail"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/header"
)

// IdentityWithin is how much of a message's beginning Identity is worth being given, in octets.
const IdentityWithin = 32 << 10

// Identity says what tells a message from others that are alike: whether it has a Message-ID, and
// its Date; zero: no Date can be read.
func Identity(start []byte) (named bool, dated time.Time) {
	for len(start) > 0 {
		field, rest := header.CutField(start)
		if len(bytes.TrimSpace(field)) == 0 {
			return named, dated
		}
		if name, ok := header.FieldName(field); ok {
			switch value := field[bytes.IndexByte(field, ':')+1:]; {
			case strings.EqualFold(name, "Message-ID"):
				value = bytes.TrimSpace(value)
				named = named || len(value) > 0 && string(value) != "<>"
			case strings.EqualFold(name, "Date"):
				if at, err := parseDate(string(bytes.Join(bytes.Fields(value), []byte(" ")))); err == nil {
					dated = at
				}
			}
		}
		start = rest
	}
	return named, dated
}

// usualDate is how nearly everybody writes a Date (RFC 5322 §3.3).
const usualDate = "Mon, 2 Jan 2006 15:04:05 -0700"

// parseDate is [mail.ParseDate], which tries some dozens of forms before the usual one and makes an error of each.
func parseDate(value string) (time.Time, error) {
	if at, err := time.Parse(usualDate, value); err == nil {
		return at, nil
	}
	return mail.ParseDate(value)
}
