package content

import (
	"bytes"
	"net/mail"
	"time"

	"github.com/dipylon/dipylon/backends/mail/fold"
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
