//go:build linux

package growth

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi/rtf"
)

// bodies are RTF bodies of messages: compressed, encapsulated, and as HTML and text.
var bodies = []pass{
	document("groups in groups", 2000, func(n int) string { return strings.Repeat("{", n) + "a" + strings.Repeat("}", n) }),
	document("texts to choose from", 2000, func(n int) string { return strings.Repeat(`{\upr{\*\ud `, n) }),
	document("runs", 500, func(n int) string { return strings.Repeat(`\b a\b0 b`, n) }),
	document("links in links", 200, func(n int) string { return strings.Repeat(`{\field{\*\fldinst HYPERLINK http://a}{\fldrslt b`, n) }),
	document("lists of all depths", 200, func(n int) string { return strings.Repeat(`\ls1\ilvl8 a\par\ls2\ilvl8 a\par`, n) }),
	document("different lists", 300, func(n int) string { return numbered(n, `\ls%\pard\ls% a\par `) }),
	document("tables of all depths", 200, func(n int) string { return strings.Repeat(`\itap8 a\par\itap1 a\par`, n) }),
	document("fonts", 500, func(n int) string { return `{\fonttbl ` + numbered(n, `{\f% a name;}`) }),
	document("characters of two octets", 1000, func(n int) string { return `{\fonttbl{\f0\fcharset128 a;}}` + strings.Repeat(`\'93`, n) }),
	document("characters in Unicode", 1000, func(n int) string { return strings.Repeat(`\u-10179?`, n) }),
	document("pictures", 200, func(n int) string { return strings.Repeat(`{\pict\pngblip 00}`, n) }),
	inside("tags", 500, func(n int) string { return strings.Repeat(`{\*\htmltag84 <b>}a`, n) }),
	compressed("different octets", func(n int) string { return numbered(n/8, "abc%\\") }),
	encapsulated("tags", func(n int) string { return strings.Repeat("<b>a</b>\n", n) }),
	encapsulated("a script without an end", func(n int) string { return "<script>" + strings.Repeat("</scrip", n) }),
	encapsulated("references", func(n int) string { return strings.Repeat("&amp", n) }),
}

// numbered repeats a text n times, with a number for each %.
func numbered(n int, text string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(text, "%", itoa(i+1)))
	}
	return b.String()
}

func document(name string, n int, text func(n int) string) pass {
	return pass{"RTF: " + name, n, func(t *testing.T, n int) {
		read(t, `{\rtf1\ansi`+text(n), (*rtf.Document).WriteHTML)
		read(t, `{\rtf1\ansi`+text(n), (*rtf.Document).WriteText)
	}}
}

func inside(name string, n int, text func(n int) string) pass {
	return pass{"HTML in RTF: " + name, n, func(t *testing.T, n int) {
		read(t, `{\rtf1\ansi\fromhtml1`+text(n), (*rtf.Document).WriteHTML)
	}}
}

func read(t *testing.T, text string, how func(*rtf.Document, io.Writer) (rtf.Report, error)) {
	d, err := rtf.Open(strings.NewReader(text), rtf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := how(d, io.Discard); err != nil && !errors.Is(err, rtf.ErrTruncated) {
		t.Fatal(err)
	}
}

func compressed(name string, text func(n int) string) pass {
	return pass{"compressed RTF: " + name, 20_000, func(t *testing.T, n int) {
		var out strings.Builder
		c := rtf.NewCompressor(&out)
		if _, err := io.WriteString(c, text(n)); err != nil || c.Close() != nil {
			t.Fatal(err)
		}
		d, err := rtf.NewDecompressor(strings.NewReader(out.String()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, d); err != nil {
			t.Fatal(err)
		}
	}}
}

func encapsulated(name string, text func(n int) string) pass {
	return pass{"HTML into RTF: " + name, 1000, func(t *testing.T, n int) {
		if err := rtf.EncapsulateHTML(io.Discard, strings.NewReader(text(n))); err != nil {
			t.Fatal(err)
		}
	}}
}
