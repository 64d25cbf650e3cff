package mapi

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"golang.org/x/text/transform"

	"github.com/dipylon/dipylon/backends/mail/codepage"
)

// Value is the value of a property. The types of this package that have a method Type are all there are.
type Value interface {
	// Type is the type of the property, MS-OXCDATA §2.11.1.
	Type() Type
}

// The values of fixed size, MS-OXCDATA §2.11.1.
type (
	Null       struct{}
	Integer16  int16
	Integer32  int32
	Integer64  int64
	Floating32 float32
	Floating64 float64
	Currency   int64 // in ten-thousandths
	ErrorCode  uint32
	Boolean    bool
)

// The values of any size.
type (
	// String is a PtypString. It is UTF-8 here, and UTF-16 on the wire: half a surrogate pair becomes U+FFFD.
	String string
	// Binary is a PtypBinary.
	Binary []byte
	// Object is a PtypObject: what is in it, octet by octet, where a format carries that.
	Object []byte
	// ServerID is a PtypServerId: MS-OXCDATA §2.11.1.4, taken apart by [ParseServerID].
	ServerID []byte
)

// String8 is a PtypString8: octets in a code page, without the NUL at their end.
type String8 struct {
	Octets   string
	CodePage int // as package codepage counts them
}

// Streamed is a large value that is opened and read when it is needed.
type Streamed struct {
	// Of is PtypString, PtypString8, PtypBinary or PtypObject.
	Of Type
	// Content is the value's octets: UTF-16LE for a PtypString. A string has no NUL at its end.
	Content Content
	// CodePage is that of a PtypString8.
	CodePage int
}

// Type is the type of the property.
func (Null) Type() Type       { return PtypNull }
func (Integer16) Type() Type  { return PtypInteger16 }
func (Integer32) Type() Type  { return PtypInteger32 }
func (Integer64) Type() Type  { return PtypInteger64 }
func (Floating32) Type() Type { return PtypFloating32 }
func (Floating64) Type() Type { return PtypFloating64 }
func (Currency) Type() Type   { return PtypCurrency }
func (ErrorCode) Type() Type  { return PtypErrorCode }
func (Boolean) Type() Type    { return PtypBoolean }
func (String) Type() Type     { return PtypString }
func (String8) Type() Type    { return PtypString8 }
func (Binary) Type() Type     { return PtypBinary }
func (Object) Type() Type     { return PtypObject }
func (ServerID) Type() Type   { return PtypServerId }
func (s Streamed) Type() Type { return s.Of }

// String returns the amount with its four decimals.
func (c Currency) String() string {
	sign, whole := "", uint64(c) // the sign is dealt with
	if c < 0 {
		sign, whole = "-", -whole
	}
	return fmt.Sprintf("%s%d.%04d", sign, whole/10_000, whole%10_000)
}

// String returns the number as it is written about, such as 0x8004010f.
func (e ErrorCode) String() string { return fmt.Sprintf("0x%08x", uint32(e)) }

// Text returns the string as UTF-8. An octet that the code page does not have, and all above 127 of a
// code page that is not known, become U+FFFD.
func (s String8) Text() string {
	text, err := s.page().Decode([]byte(s.Octets))
	if err != nil { // a decoder replaces; it does not fail
		return strings.ToValidUTF8(s.Octets, "\uFFFD")
	}
	return text
}

func (s String8) page() codepage.Page { return page(s.CodePage) }

func page(number int) codepage.Page {
	p, ok := codepage.Find(number)
	if !ok {
		p, _ = codepage.Find(codepage.ASCII)
	}
	return p
}

// NewString8 puts a text into a code page. It fails if the page is not known, or lacks a character.
func NewString8(text string, codePage int) (String8, error) {
	p, ok := codepage.Find(codePage)
	if !ok {
		return String8{}, fmt.Errorf("code page %d is not known", codePage)
	}
	octets, err := p.Encode(text)
	if err != nil {
		return String8{}, fmt.Errorf("code page %d cannot hold the text: %w", codePage, err)
	}
	return String8{string(octets), codePage}, nil
}

// OpenText opens a string for reading as UTF-8.
func (s Streamed) OpenText() (io.ReadCloser, error) {
	if !s.Of.IsText() {
		return nil, fmt.Errorf("a value of type %s is no text", s.Of)
	}
	number := s.CodePage
	if s.Of == PtypString {
		number = codepage.UTF16LE
	}
	r, err := s.Content.Open()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{transform.NewReader(r, page(number).Encoding.NewDecoder()), r}, nil
}

// utf16Octets returns a text as UTF-16LE.
func utf16Octets(text string) []byte {
	octets := make([]byte, 0, 2*len(text))
	for _, r := range text {
		if high, low := utf16.EncodeRune(r); high != '\uFFFD' {
			octets = append(octets, byte(high), byte(high>>8), byte(low), byte(low>>8))
			continue
		}
		octets = append(octets, byte(r), byte(r>>8))
	}
	return octets
}

// textOfUTF16 returns UTF-16LE as a text. An odd octet at the end becomes U+FFFD, as half a surrogate pair does.
func textOfUTF16(octets []byte) string {
	var text strings.Builder
	text.Grow(len(octets) / 2)
	for len(octets) > 1 {
		r := rune(octets[0]) | rune(octets[1])<<8
		octets = octets[2:]
		if utf16.IsSurrogate(r) && len(octets) > 1 {
			if pair := utf16.DecodeRune(r, rune(octets[0])|rune(octets[1])<<8); pair != '\uFFFD' {
				r, octets = pair, octets[2:]
			}
		}
		text.WriteRune(r) // half a pair becomes U+FFFD
	}
	if len(octets) > 0 {
		text.WriteRune('\uFFFD')
	}
	return text.String()
}
