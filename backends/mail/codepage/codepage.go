// Package codepage has the code pages of Windows by their numbers, as Exchange's properties (MS-OXCDATA
// §2.11.1.2), TNEF (MS-OXTNEF §2.1.3.3.1), and RTF name them, and the charset of MIME that each stands for.
//
//	page, ok := codepage.Find(932)
//	text, err := page.Decode(octets)
package codepage

import (
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

// Numbers of code pages that are spoken of by themselves.
const (
	UTF16LE     = 1200
	WesternEuro = 1252
	ASCII       = 20127
	UTF8        = 65001
)

// Page is a code page.
type Page struct {
	Number   int
	Charset  string            // as MIME calls it (IANA's preferred name)
	Encoding encoding.Encoding // replaces what it cannot decode by U+FFFD, and fails at what it cannot encode
}

// Find returns the code page of a number.
func Find(number int) (Page, bool) {
	p, ok := byNumber[number]
	return p, ok
}

// OfCharset returns the code page that a charset of MIME is kept in. Names are compared without
// regard to case, and aliases are known.
func OfCharset(name string) (Page, bool) {
	if p, ok := byCharset[strings.ToLower(name)]; ok {
		return p, true
	}
	e, err := ianaindex.MIME.Encoding(name)
	if err != nil || e == nil {
		e, err = htmlindex.Get(name) // aliases that IANA does not have, such as cp1252
	}
	if err != nil {
		return Page{}, false
	}
	canonical, err := ianaindex.MIME.Name(e)
	if err != nil {
		return Page{}, false
	}
	p, ok := byCharset[strings.ToLower(canonical)]
	return p, ok
}

// HasASCII says whether the octets of ASCII are its characters, as they are not in UTF-16 and EBCDIC. A text of mail that
// is in another page cannot be kept as octets: nobody would find its line ends.
func (p Page) HasASCII() bool {
	const some = "Az09 -=?<>\r\n" // in all charsets that have ASCII but for some signs
	text, err := p.Decode([]byte(some))
	return err == nil && text == some
}

// Decode returns text as UTF-8. What the code page does not have becomes U+FFFD.
func (p Page) Decode(octets []byte) (string, error) {
	text, err := p.Encoding.NewDecoder().Bytes(octets)
	return string(text), err
}

// Encode returns the octets of a text. It fails if the code page lacks a character of it.
func (p Page) Encode(text string) ([]byte, error) {
	return p.Encoding.NewEncoder().Bytes([]byte(text))
}

// pages in the order in which a charset is given to the first that has it.
var pages = []Page{
	{UTF8, "utf-8", unicode.UTF8},
	{UTF16LE, "utf-16le", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)},
	{1201, "utf-16be", unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)},
	{ASCII, "us-ascii", ascii{}},

	{1250, "windows-1250", charmap.Windows1250},
	{1251, "windows-1251", charmap.Windows1251},
	{WesternEuro, "windows-1252", charmap.Windows1252},
	{1253, "windows-1253", charmap.Windows1253},
	{1254, "windows-1254", charmap.Windows1254},
	{1255, "windows-1255", charmap.Windows1255},
	{1256, "windows-1256", charmap.Windows1256},
	{1257, "windows-1257", charmap.Windows1257},
	{1258, "windows-1258", charmap.Windows1258},
	{874, "windows-874", charmap.Windows874},
	{932, "shift_jis", japanese.ShiftJIS},
	{936, "gbk", simplifiedchinese.GBK},
	{949, "euc-kr", korean.EUCKR}, // with the letters that Windows added
	{950, "big5", traditionalchinese.Big5},

	{28591, "iso-8859-1", charmap.ISO8859_1},
	{28592, "iso-8859-2", charmap.ISO8859_2},
	{28593, "iso-8859-3", charmap.ISO8859_3},
	{28594, "iso-8859-4", charmap.ISO8859_4},
	{28595, "iso-8859-5", charmap.ISO8859_5},
	{28596, "iso-8859-6", charmap.ISO8859_6},
	{28597, "iso-8859-7", charmap.ISO8859_7},
	{28598, "iso-8859-8", charmap.ISO8859_8},
	{38598, "iso-8859-8-i", charmap.ISO8859_8I},
	{28599, "iso-8859-9", charmap.ISO8859_9},
	{28600, "iso-8859-10", charmap.ISO8859_10},
	{28603, "iso-8859-13", charmap.ISO8859_13},
	{28604, "iso-8859-14", charmap.ISO8859_14},
	{28605, "iso-8859-15", charmap.ISO8859_15},
	{28606, "iso-8859-16", charmap.ISO8859_16},
	{20866, "koi8-r", charmap.KOI8R},
	{21866, "koi8-u", charmap.KOI8U},

	{50220, "iso-2022-jp", japanese.ISO2022JP},
	{50221, "iso-2022-jp", japanese.ISO2022JP}, // allows katakana of one octet
	{50222, "iso-2022-jp", japanese.ISO2022JP}, // the same by SO and SI
	{51932, "euc-jp", japanese.EUCJP},
	{20932, "euc-jp", japanese.EUCJP},
	{51949, "euc-kr", korean.EUCKR},
	{51936, "gb2312", simplifiedchinese.GBK}, // GBK has all of GB2312
	{20936, "gb2312", simplifiedchinese.GBK},
	{52936, "hz-gb-2312", onlyRead},
	{54936, "gb18030", withoutPrivate},

	{437, "ibm437", charmap.CodePage437},
	{850, "ibm850", charmap.CodePage850},
	{852, "ibm852", charmap.CodePage852},
	{855, "ibm855", charmap.CodePage855},
	{858, "ibm00858", charmap.CodePage858},
	{860, "ibm860", charmap.CodePage860},
	{862, "ibm862", charmap.CodePage862},
	{863, "ibm863", charmap.CodePage863},
	{865, "ibm865", charmap.CodePage865},
	{866, "ibm866", charmap.CodePage866},
	{37, "ibm037", charmap.CodePage037},
	{1047, "ibm1047", charmap.CodePage1047},
	{1140, "ibm01140", charmap.CodePage1140},
	{10000, "macintosh", charmap.Macintosh},
	{10007, "x-mac-cyrillic", charmap.MacintoshCyrillic},
}

var byNumber, byCharset = func() (numbers map[int]Page, charsets map[string]Page) {
	numbers, charsets = map[int]Page{}, map[string]Page{}
	for _, p := range pages {
		numbers[p.Number] = p
		if _, taken := charsets[p.Charset]; !taken {
			charsets[p.Charset] = p
		}
	}
	charsets["utf-16"] = numbers[UTF16LE]
	return numbers, charsets
}()
