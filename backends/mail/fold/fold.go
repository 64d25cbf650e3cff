// Package fold compares names of mailboxes, people and domains without regard to case.
//
// [strings.EqualFold] takes ſ for s and the sign for kelvin for k, and [strings.ToLower] takes İ
// for i: with either one, an address that somebody else has registered would be another's. Here a
// letter of ASCII has its two forms and no more, and other letters are folded as Unicode's simple
// lower case has it, unless that would be one of ASCII's. Servers that know ASCII alone fold it
// in the same way (RFC 5321 §2.4, RFC 4343).
package fold

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lower is a name in lower case. In one that is not UTF-8 the letters of ASCII alone are folded.
func Lower(name string) string {
	if utf8.ValidString(name) {
		return strings.Map(lower, name)
	}
	octets := []byte(name)
	for i, c := range octets {
		if 'A' <= c && c <= 'Z' {
			octets[i] += 'a' - 'A'
		}
	}
	return string(octets)
}

// Equal says whether two names differ in case at the most.
func Equal(a, b string) bool { return a == b || Lower(a) == Lower(b) }

func lower(r rune) rune {
	switch {
	case 'A' <= r && r <= 'Z':
		return r + ('a' - 'A')
	case r < utf8.RuneSelf:
		return r
	}
	if l := unicode.ToLower(r); l >= utf8.RuneSelf {
		return l
	}
	return r
}
