package rtf

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
)

// kind of a token. RTF 1.9.1, "RTF Syntax".
type kind uint8

const (
	tokenEnd    kind = iota // of the input
	tokenOpen               // {
	tokenClose              // }
	tokenWord               // a control word
	tokenSymbol             // a control symbol: a backslash and what is no letter
	tokenText               // octets as they are
	tokenHex                // \'hh: one octet
	tokenBinary             // \binN: the octets are read with binary
)

// token is valid until the next one is read.
type token struct {
	kind   kind
	word   []byte // of a control word, without the backslash
	number int    // its parameter
	given  bool   // whether it has one
	text   []byte
	symbol byte
}

// longestWord is what a control word may have: "RTF Syntax" has 32 letters. Longer ones are cut, and so unknown.
const longestWord = 32

// lexer splits RTF into tokens. It reads ahead no more than its buffer.
type lexer struct {
	r    *bufio.Reader
	name [longestWord]byte
	hex  [1]byte
}

// next reads a token. At the end of the input it is tokenEnd; an error is one of reading.
func (l *lexer) next() (token, error) {
	for {
		c, err := l.r.ReadByte()
		if err != nil {
			return ended(err)
		}
		switch c {
		case '{':
			return token{kind: tokenOpen}, nil
		case '}':
			return token{kind: tokenClose}, nil
		case '\r', '\n': // line ends of the file say nothing
		case '\\':
			t, err := l.control()
			if t.kind == tokenEnd && err == nil {
				continue // a \' without digits
			}
			return t, err
		default:
			return l.text()
		}
	}
}

// ended is the token for an input that cannot be read further.
func ended(err error) (token, error) {
	if errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return token{kind: tokenEnd}, err
}

// text gives what is in the buffer up to the next octet with a meaning.
func (l *lexer) text() (token, error) {
	if err := l.r.UnreadByte(); err != nil {
		return ended(err)
	}
	ahead, err := l.r.Peek(l.r.Buffered())
	if err != nil {
		return ended(err)
	}
	n := bytes.IndexAny(ahead, "\\{}\r\n")
	if n < 0 {
		n = len(ahead)
	}
	_, err = l.r.Discard(n)
	return token{kind: tokenText, text: ahead[:n]}, err
}

// control reads what follows a backslash.
func (l *lexer) control() (token, error) {
	c, err := l.r.ReadByte()
	switch {
	case err != nil:
		return ended(err)
	case letter(c):
		return l.word(c)
	case c == '\'':
		return l.octet()
	case c == '\r' || c == '\n': // the same as \par
		return token{kind: tokenWord, word: append(l.name[:0], "par"...)}, nil
	}
	return token{kind: tokenSymbol, symbol: c}, nil
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

// word reads a control word: letters, a number, and the blank that ends it.
func (l *lexer) word(c byte) (token, error) {
	t := token{kind: tokenWord, word: l.name[:0]}
	var err error
	for ; err == nil && letter(c); c, err = l.r.ReadByte() {
		if len(t.word) < longestWord {
			t.word = append(t.word, c)
		}
	}
	if err == nil && (c == '-' || digit(c)) {
		c, err = l.parameter(&t, c)
	}
	switch {
	case errors.Is(err, io.EOF): // the next token is the end
		err = nil
	case err == nil && c != ' ':
		err = l.r.UnreadByte()
	}
	if string(t.word) == "bin" {
		t.kind = tokenBinary
		t.number = max(t.number, 0)
	}
	return t, err
}

// parameter reads a number that begins with c, and the octet behind it. A number that is out of range becomes the
// last one in it.
func (l *lexer) parameter(t *token, c byte) (byte, error) {
	var err error
	negative := c == '-'
	if negative {
		if c, err = l.r.ReadByte(); err != nil || !digit(c) {
			return c, err
		}
	}
	t.given = true
	for ; err == nil && digit(c); c, err = l.r.ReadByte() {
		t.number = min(10*t.number+int(c-'0'), math.MaxInt32)
	}
	if negative {
		t.number = -t.number
	}
	return c, err
}

// octet reads the two digits of \'hh. Without them there is no token.
func (l *lexer) octet() (token, error) {
	ahead, err := l.r.Peek(2)
	if len(ahead) < 2 {
		return ended(err)
	}
	high, ok := hexDigit(ahead[0])
	low, ok2 := hexDigit(ahead[1])
	if !ok || !ok2 {
		return token{}, nil
	}
	l.hex[0] = high<<4 | low
	_, err = l.r.Discard(2)
	return token{kind: tokenHex, text: l.hex[:]}, err
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case digit(c):
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// binary copies the n octets that follow \binN.
func (l *lexer) binary(w io.Writer, n int) error {
	_, err := io.CopyN(w, l.r, int64(n))
	return err
}
