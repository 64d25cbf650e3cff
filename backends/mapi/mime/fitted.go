package mime

import (
	"bytes"
	"io"
	"strconv"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/dipylon/dipylon/backends/mail/codepage"
)

// formPage returns the code page of the charset that is wanted, nil without one.
func (p *planner) formPage() *codepage.Page {
	if p.Form.Charset == "" {
		return nil
	}
	page, known := codepage.OfCharset(p.Form.Charset)
	if !known || inHTML(page) != page.Number {
		return nil
	}
	return &page
}

// lacking returns what stands for a letter that a charset lacks.
type lacking func(r rune) string

// reference is what stands for a letter in HTML.
func reference(r rune) string { return "&#" + strconv.Itoa(int(r)) + ";" }

// plainer are signs and the ones that were there before them.
var plainer = map[rune]string{
	'\u2018': "'", '\u2019': "'", '\u201a': "'", '\u201b': "'", '\u201c': `"`, '\u201d': `"`, '\u201e': `"`, '\u2010': "-", '\u2011': "-",
	'\u2012': "-", '\u2013': "-", '\u2014': "--", '\u2015': "--", '\u2026': "...", '\u2022': "*", '\u00a0': " ", '\u2002': " ", '\u2003': " ",
	'\u2009': " ", '\u202f': " ", '\u20ac': "EUR", '\u2122': "(TM)", '\u00a9': "(C)", '\u00ae': "(R)", '\u00ab': "<<", '\u00bb': ">>",
	'\u00df': "ss", '\u00e6': "ae", '\u00c6': "AE", '\u0153': "oe", '\u0152': "OE", '\u00f8': "o", '\u00d8': "O", '\u0142': "l", '\u0141': "L",
	'\u200b': "", '\ufeff': "", '\u2028': "\r\n",
}

// nearest returns the letter without its marks, or a question mark.
func nearest(r rune) string {
	if text, is := plainer[r]; is {
		return text
	}
	base, _ := utf8.DecodeRuneInString(norm.NFKD.String(string(r)))
	if base < utf8.RuneSelf && base >= ' ' {
		return string(base)
	}
	return "?"
}

// fitted returns what writes a text with other letters for those that a code page lacks.
func fitted(text func(io.Writer) error, page codepage.Page, instead lacking) func(io.Writer) error {
	return through(text, func(w io.Writer, r io.Reader) error {
		f := &fitter{w: w, page: page, instead: instead, known: map[rune]string{}}
		if _, err := io.Copy(f, r); err != nil {
			return err
		}
		_, err := w.Write(f.split)
		return err
	})
}

// fitter writes UTF-8.
type fitter struct {
	w       io.Writer
	page    codepage.Page
	instead lacking
	known   map[rune]string
	split   []byte // the start of a letter
}

// knownMost is how many letters are kept in memory.
const knownMost = 10_000

// Write writes a piece.
func (f *fitter) Write(octets []byte) (int, error) {
	var out bytes.Buffer
	rest := append(f.split, octets...)
	for len(rest) > 0 && utf8.FullRune(rest) {
		r, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		if r < utf8.RuneSelf {
			out.WriteByte(byte(r))
			continue
		}
		out.WriteString(f.letter(r))
	}
	f.split = bytes.Clone(rest)
	_, err := f.w.Write(out.Bytes())
	return len(octets), err
}

func (f *fitter) letter(r rune) string {
	if text, is := f.known[r]; is {
		return text
	}
	text := string(r)
	if _, err := f.page.Encode(text); err != nil {
		text = f.instead(r)
		if _, err := f.page.Encode(text); err != nil {
			text = "?"
		}
	}
	if len(f.known) < knownMost {
		f.known[r] = text
	}
	return text
}
