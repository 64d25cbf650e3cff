package rtf

import (
	"errors"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/transform"

	"github.com/dipylon/dipylon/backends/mail/codepage"
)

// Symbols is the code page of fonts whose octets are pictures: "Symbol", "Wingdings". RTF 1.9.1, \fcharset2.
const Symbols = 42

// noText are code pages in which ASCII is something else, so that a document in ASCII cannot be in them.
var noText = map[int]bool{37: true, 1047: true, 1140: true, 1200: true, 1201: true}

// charsetPages are the code pages for \fcharset. RTF 1.9.1, "Font Table". 0 is the document's; what is not here
// is a charset without a code page that is known.
var charsetPages = map[int]int{
	0: 1252, 1: 0, 2: Symbols, 77: 10000, 78: 932, 79: 949, 80: 936, 81: 950, 89: 10007,
	128: 932, 129: 949, 130: 1361, 134: 936, 136: 950, 161: 1253, 162: 1254, 163: 1258, 177: 1255, 178: 1256,
	186: 1257, 204: 1251, 222: 874, 238: 1250, 254: 437, 255: 850,
}

// unknownPage is a code page that is not there, for a charset that is none.
const unknownPage = -1

// decoder turns octets into text, in the code page of where they are.
type decoder struct {
	current int                   // the code page of what is pending
	codec   transform.Transformer // nil for a code page that is not known
	pending []byte                // the beginning of a character
	high    rune                  // the first half of a surrogate pair
	buffer  [1024]byte
}

// textPage is the code page here. MS-OXRTFEX §2.1.3.1.4: within \*\htmltag it is the document's.
func (p *parser) textPage() int {
	if p.state.to == inHTMLTag {
		return p.page
	}
	if p.state.to == inFontTable {
		return 1252 // names are kept in ASCII only
	}
	page := p.fontHere().page
	if page == 0 || page == Symbols && p.encapsulated { // the HTML names the font, whose octets are as they were
		return p.page
	}
	return page
}

func (p *parser) fontHere() font {
	n := p.state.char.font
	if n < 0 {
		n = p.defaultFont
	}
	return p.fonts[n]
}

// octets takes text as it is in the file.
func (p *parser) octets(text []byte) {
	skip := min(p.standIns, len(text))
	p.standIns -= skip
	text = text[skip:]
	if p.placeholder && len(text) > 0 {
		p.placeholder = false
		if text[0] == ' ' {
			text = text[1:]
		}
	}
	if len(text) == 0 || p.hidden() {
		return
	}
	switch p.state.to {
	case inBody, inHTMLTag, inListText, inInstruction:
		p.decode(text)
	case inPicture:
		p.pictureText(text)
	case inFontTable:
		p.fontName(text)
	case inColorTable:
		p.colorEnd(text)
	}
}

// decode emits text in the code page here, but for a character whose end is still to come.
func (p *parser) decode(text []byte) {
	if page := p.textPage(); page != p.current {
		p.flush()
		p.choose(page)
	}
	p.lone()
	switch {
	case p.current == Symbols:
		p.symbols(text)
	case p.codec == nil:
		p.withoutPage(text)
	default:
		p.pending = p.transform(append(p.pending, text...), false)
	}
}

func (p *parser) choose(page int) {
	p.current, p.codec = page, nil
	if found, ok := codepage.Find(page); ok && !noText[page] {
		p.codec = found.Encoding.NewDecoder().Transformer
	}
}

// transform emits what can be decoded, and returns the rest.
func (p *parser) transform(text []byte, atEnd bool) []byte {
	for len(text) > 0 {
		written, read, err := p.codec.Transform(p.buffer[:], text, atEnd)
		p.emit(string(p.buffer[:written]))
		text = text[read:]
		if errors.Is(err, transform.ErrShortSrc) {
			break
		}
		if err != nil && !errors.Is(err, transform.ErrShortDst) || read == 0 && written == 0 {
			p.emit(string(utf8.RuneError))
			text = text[1:]
		}
	}
	return append(p.pending[:0], text...)
}

// flush emits what is pending, before something else is.
func (p *parser) flush() {
	if len(p.pending) > 0 {
		p.transform(p.pending, true)
		p.pending = p.pending[:0]
	}
	if p.codec != nil {
		p.codec.Reset()
	}
}

// withoutPage emits ASCII, and U+FFFD for the other octets, which the report has.
func (p *parser) withoutPage(text []byte) {
	out := make([]byte, 0, len(text))
	for _, c := range text {
		if c < utf8.RuneSelf {
			out = append(out, c)
			continue
		}
		p.report.unknown(p.current, c)
		out = utf8.AppendRune(out, utf8.RuneError)
	}
	p.emit(string(out))
}

// symbols emits the characters of a font whose octets are pictures. Those that Unicode is not known to have are in
// its private area, as Word keeps them, and in the report.
func (p *parser) symbols(text []byte) {
	out := make([]byte, 0, 3*len(text))
	for _, c := range text {
		out = utf8.AppendRune(out, p.pictogram(c))
	}
	p.emit(string(out))
}

// privateSymbols is where Word keeps the octets of such fonts in Unicode.
const privateSymbols = 0xf000

func (p *parser) pictogram(c byte) rune {
	if r := symbolIn(p.fontHere().name, c); r != 0 {
		return r
	}
	p.report.unknown(Symbols, c)
	return privateSymbols + rune(c)
}

// unicode is \uN: an UTF-16 code unit as a signed number. RTF 1.9.1, "Unicode RTF". Writers that are not Word give
// a character above U+FFFF as it is.
func (p *parser) unicode(n int) {
	if n < 0 {
		n += 1 << 16
	}
	r := rune(n)
	p.standIns = p.state.uc
	if p.high != 0 {
		pair := utf16.DecodeRune(p.high, r)
		if pair != utf8.RuneError {
			p.high = 0
			p.emit(string(pair))
			return
		}
	}
	p.lone()
	switch {
	case r >= 0xd800 && r < 0xdc00:
		p.high = r
	case r >= 0x80 && r < 0xa0 && !p.encapsulated: // QUIRK: no text has such control characters. HTML §13.2.5.80 reads them so
		p.emit(western(byte(r)))
	case r >= privateSymbols && r < privateSymbols+0x100 && p.textPage() == Symbols:
		p.emit(string(p.pictogram(byte(r))))
	default:
		p.emit(string(r)) // U+FFFD for what is no character
	}
}

// western is an octet in the code page of Western Europe, or nothing if that lacks it.
func western(c byte) string {
	page, _ := codepage.Find(codepage.WesternEuro)
	text, err := page.Decode([]byte{c})
	if err != nil {
		return ""
	}
	return text
}

// lone emits the first half of a surrogate pair whose second half has not come.
func (p *parser) lone() {
	if p.high != 0 {
		p.high = 0
		p.emit(string(utf8.RuneError))
	}
}
