// Package xtext is how the parameters of SMTP carry any text (RFC 3461 §4): what is no printable ASCII, a blank, "+" and
// "=" are "+" and two hexadecimal digits.
package xtext

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Err says that a value is no xtext, or that the text in it is none.
var Err = errors.New("the value is no xtext")

// Encode writes a text.
func Encode(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Decode reads it. A control character in the result is an error, NUL, CR and LF most of all: an envelope that
// holds one breaks whoever reads it in C or in lines. So is what is not UTF-8.
func Decode(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c <= ' ' || c >= 0x7f || c == '=':
			return "", Err
		case c == '+':
			if i+2 >= len(s) || strings.Trim(s[i+1:i+3], "0123456789ABCDEF") != "" {
				return "", Err
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil || n < ' ' || n == 0x7f {
				return "", Err
			}
			c = byte(n)
			i += 2
		}
		b.WriteByte(c)
	}
	if !utf8.ValidString(b.String()) {
		return "", Err
	}
	return b.String(), nil
}
