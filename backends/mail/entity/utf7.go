package entity

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/dipylon/dipylon/backends/mail/codepage"
)

// utf7Page is UTF-7, RFC 2152, by its number among the code pages of Windows. It is read, and nobody writes it any more:
// its encoder is that of UTF-8, and package codepage does not have it.
var utf7Page = codepage.Page{Number: 65000, Charset: "utf-7", Encoding: utf7{}}

type utf7 struct{}

// NewDecoder returns a decoder of UTF-7.
func (utf7) NewDecoder() *encoding.Decoder { return &encoding.Decoder{Transformer: &utf7Decoder{}} }

// NewEncoder returns an encoder of UTF-8.
func (utf7) NewEncoder() *encoding.Encoder { return unicode.UTF8.NewEncoder() }

// utf7Decoder has what it has read of a shifted sequence, RFC 2152 rule 2.
type utf7Decoder struct {
	shifted, empty bool
	bits           uint32
	n              int  // bits
	high           rune // the first half of a surrogate pair
}

// Reset begins a new text.
func (d *utf7Decoder) Reset() { *d = utf7Decoder{} }

// Transform decodes a piece. Each octet gives at most three characters.
func (d *utf7Decoder) Transform(dst, src []byte, atEOF bool) (written, read int, err error) {
	for ; read < len(src); read++ {
		if len(dst)-written < 3*utf8.UTFMax {
			return written, read, transform.ErrShortDst
		}
		written += copy(dst[written:], d.octet(nil, src[read]))
	}
	if atEOF && d.high != 0 {
		if len(dst)-written < utf8.UTFMax {
			return written, read, transform.ErrShortDst
		}
		written += utf8.EncodeRune(dst[written:], utf8.RuneError)
		d.high = 0
	}
	return written, read, nil
}

// octet appends what an octet gives.
func (d *utf7Decoder) octet(text []byte, c byte) []byte {
	if !d.shifted {
		switch {
		case c == '+':
			*d = utf7Decoder{shifted: true, empty: true}
		case c >= utf8.RuneSelf:
			text = utf8.AppendRune(text, utf8.RuneError)
		default:
			text = append(text, c)
		}
		return text
	}
	if v := base64Values[c]; v >= 0 {
		d.empty = false
		d.bits, d.n = d.bits<<6|uint32(v), d.n+6
		if d.n >= 16 {
			d.n -= 16
			text = d.unit(text, rune(d.bits>>d.n&0xFFFF))
		}
		return text
	}
	if d.high != 0 {
		text = utf8.AppendRune(text, utf8.RuneError)
	}
	empty := d.empty
	*d = utf7Decoder{}
	switch {
	case c != '-': // it ends the sequence, and stands for itself
		return d.octet(text, c)
	case empty:
		text = append(text, '+')
	}
	return text
}

// unit appends a character of UTF-16 if it is whole.
func (d *utf7Decoder) unit(text []byte, u rune) []byte {
	if d.high != 0 {
		pair := utf16.DecodeRune(d.high, u)
		if d.high = 0; pair != utf8.RuneError {
			return utf8.AppendRune(text, pair)
		}
		text = utf8.AppendRune(text, utf8.RuneError)
	}
	if u >= 0xD800 && u < 0xDC00 {
		d.high = u
		return text
	}
	return utf8.AppendRune(text, u) // a second half alone is an error
}
