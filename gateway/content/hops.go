package content

import (
	"bytes"

	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mail/header"
)

// HopsWithin is how much of a message's beginning Hops is worth being given, in octets.
const HopsWithin = 64 << 10

// Hops counts how often a host has taken a message in, by the Received fields in its beginning (RFC 5321 §4.4: the
// By-domain).
func Hops(start []byte, host string) (n int) {
	host = fold.Lower(host)
	for len(start) > 0 {
		field, rest := header.CutField(start)
		if len(bytes.TrimSpace(field)) == 0 {
			return n
		}
		if name, ok := header.FieldName(field); ok && fold.Lower(name) == "received" && by(field) == host {
			n++
		}
		start = rest
	}
	return n
}

// by is the word behind the first "by" of a field that is in no comment.
func by(field []byte) string {
	depth, next := 0, false
	for word := range bytes.FieldsSeq(field) {
		if next {
			return fold.Lower(string(bytes.TrimRight(word, ";.")))
		}
		opened := depth + bytes.Count(word, []byte("("))
		next = opened == 0 && fold.Lower(string(word)) == "by"
		depth = max(opened-bytes.Count(word, []byte(")")), 0)
	}
	return ""
}
