package smtp

import (
	"strings"
	"unicode/utf8"
)

// mostHelo bounds the name that a client calls itself: a domain (RFC 5321 §4.5.3.1.2).
const mostHelo = 255

// validHelo says whether a client may call itself so.
//
// QUIRK: RFC 5321 §4.1.1.1 wants a domain or an address literal, and clients say the name
// of their machine, whatever it is. Any word will do that cannot be mistaken for another
// part of a Received line.
func validHelo(s string) bool {
	return s != "" && len(s) <= mostHelo && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f && r < 0xa0 || strings.ContainsRune(`()<>@,;"\`, r) })
}
