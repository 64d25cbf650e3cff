package entity

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/dipylon/dipylon/backends/mail/codepage"
)

// Text returns a header's text, which is UTF-8 (RFC 6532) or else taken for Windows' western code page:
// then no octet is lost.
func Text(raw string) string {
	if utf8.ValidString(raw) {
		return raw
	}
	return DecodeCharset([]byte(raw), "")
}

// DecodeCharset returns octets of a charset as UTF-8. Octets of a charset that is not known are taken as
// [Text] does.
func DecodeCharset(octets []byte, charset string) string {
	page, known := charsetPage(charset)
	if !known || page.Number == codepage.ASCII {
		if page = guessed; utf8.Valid(octets) {
			return string(octets)
		}
	}
	text, err := page.Decode(octets)
	if err != nil { // a decoder replaces; it does not fail
		return strings.ToValidUTF8(string(octets), "\uFFFD")
	}
	return text
}

var guessed, _ = codepage.Find(codepage.WesternEuro)

// KnowsCharset says whether octets of a charset are read as what they are, and not guessed.
func KnowsCharset(charset string) bool {
	_, known := charsetPage(charset)
	return known
}

// charsetPage returns the code page of a charset's name.
func charsetPage(charset string) (codepage.Page, bool) {
	charset = strings.Trim(charset, " '\"")
	if strings.EqualFold(charset, "utf-16") { // RFC 2781 §4.3: the mark says which, and without one it is big-endian
		return codepage.Page{Number: codepage.UTF16LE, Charset: "utf-16", Encoding: unicode.UTF16(unicode.BigEndian, unicode.UseBOM)}, true
	}
	if strings.EqualFold(charset, "utf-7") || strings.EqualFold(charset, "unicode-1-1-utf-7") {
		return utf7Page, true
	}
	if strings.EqualFold(charset, "gb2312") { // what is called so has GBK's characters, and GB 18030 has both
		charset = "gb18030"
	}
	return codepage.OfCharset(charset)
}

// TextPage returns the code page of a text: that of its charset, and where that is missing, not known, or
// US-ASCII with octets above 127, UTF-8 if the text is that, and otherwise Windows' western. It may have to
// read the text for it.
func (e *Entity) TextPage() (codepage.Page, error) {
	charset := e.Type.Get("charset")
	page, known := charsetPage(charset)
	if known && page.Number != codepage.ASCII {
		return page, nil
	}
	ascii, valid, err := survey(e.Decoded())
	switch {
	case err != nil:
		return page, err
	case ascii && (known || charset == ""):
		page, _ = codepage.Find(codepage.ASCII)
	case valid:
		page, _ = codepage.Find(codepage.UTF8)
	default:
		page = guessed
	}
	return page, nil
}

// survey says whether a text is ASCII, and whether it is UTF-8.
func survey(r io.Reader) (ascii, valid bool, err error) {
	ascii, valid = true, true
	runes := bufio.NewReaderSize(r, 4<<10)
	for {
		r, size, err := runes.ReadRune()
		if errors.Is(err, io.EOF) {
			return ascii, valid, nil
		}
		if err != nil {
			return false, false, err
		}
		ascii = ascii && r < utf8.RuneSelf
		valid = valid && (r != utf8.RuneError || size > 1)
	}
}

// DecodedText is the body as UTF-8, in the code page given.
func (e *Entity) DecodedText(page codepage.Page) io.Reader {
	return transform.NewReader(e.Decoded(), page.Encoding.NewDecoder())
}
