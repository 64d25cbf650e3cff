package rtf

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// wellFormed fails if HTML is no well-formed XML, or has an element that is not to be there.
func wellFormed(t testing.TB, html string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(html))
	d.Strict = true
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, html)
		}
		start, is := tok.(xml.StartElement)
		if !is {
			continue
		}
		if !slices.Contains(mayBe, start.Name.Local) {
			t.Fatalf("<%s> in\n%s", start.Name.Local, html)
		}
		for _, a := range start.Attr {
			if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "href" && !allowed(a.Value) {
				t.Fatalf("%s=%q in\n%s", a.Name.Local, a.Value, html)
			}
		}
	}
}

var mayBe = strings.Fields("html head meta title body p br span b i u s sup sub a img ul ol li table tr td")

// inBodyOf is what HTML has in its body.
func inBodyOf(t testing.TB, html string) string {
	t.Helper()
	wellFormed(t, html)
	_, rest, _ := strings.Cut(html, "<body")
	_, rest, ok := strings.Cut(rest, ">\r\n")
	rest, ok2 := strings.CutSuffix(rest, "</body></html>\r\n")
	if !ok || !ok2 {
		t.Errorf("no body: %s", html)
	}
	return strings.ReplaceAll(rest, "\r\n", "\n")
}

const head = `{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fswiss\fcharset0 Arial;}{\f1\froman\fcharset204{\*\panose 0202}Times New Roman{\*\falt x};}` +
	`{\f2\fnil\fcharset2 Symbol;}{\f3\fnil\fcharset2 Wingdings;}{\f4\fnil\fcharset128 MS PGothic;}{\f5\fnil\fcharset130 Johab;}{\f6 evil'\};<x>" onclick=;}}` +
	`{\colortbl;\red255\green0\blue0;\red0\green0\blue255;}` + "\r\n"

var looksLike = []struct{ name, rtf, html, text string }{
	{"paragraphs", `a\par b\par\par\pard c`, "<p>a</p>\n<p>b</p>\n<p>&#160;</p>\n<p>c</p>\n", "a\nb\n\nc\n"},
	{"lines", `a\line b\par`, "<p>a<br />\nb</p>\n", "a\nb\n"},
	{"emphasis", `{\b b}\i i\i0{\ul u}{\strike s}x{\super 2}{\sub 3}\b{\i bi}\b0 n\par`, "<p><b>b</b><i>i</i><u>u</u><s>s</s>x<sup>2</sup><sub>3</sub><b><i>bi</i></b>n</p>\n", "biusx23bin\n"},
	{"colours", `\cf1 r\cf2 b\cf0 n\cf7 n{\highlight1 h}\par`, "<p><span style=\"color:#ff0000\">r</span><span style=\"color:#0000ff\">b</span>nn<span style=\"background-color:#ff0000\">h</span></p>\n", "rbnnh\n"},
	{"sizes", `\fs20 s\fs24 n{\fs0 x}{\fs99999 y}\par`, "<p><span style=\"font-size:10pt\">s</span>n<span style=\"font-size:0.5pt\">x</span><span style=\"font-size:1638pt\">y</span></p>\n", "snxy\n"},
	{"fonts", `\f1 a\f0 b\plain\f99 c{\f6 d}\par`, "<p><span style=\"font-family:'Times New Roman'\">a</span>bc<span style=\"font-family:'evil'\">d</span></p>\n", "abcd\n"},
	{"capitals", `{\caps a}{\scaps b}{\v hidden\par\line\tab}\par`, "<p><span style=\"text-transform:uppercase\">a</span><span style=\"font-variant:small-caps\">b</span></p>\n", "ab\n"},
	{"alignment", `\pard\qc a\par\pard\qr\li720 b\par\pard\rtlpar c\par`, "<p;text-align:center\">a</p>\n<p 0 0 36pt;text-align:right\">b</p>\n<p dir=\"rtl\">c</p>\n", "a\nb\nc\n"},
	{"blanks", `  a  b\line  c\tab d\~e\par`, "<p>&#160;&#160;a &#160;b<br />\n&#160;c<span style=\"white-space:pre\">\t</span>d\u00a0e</p>\n", "  a  b\n c\td\u00a0e\n"},
	{"markup", `<script>alert("1")</script>&amp;\par`, "<p>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;amp;</p>\n", "<script>alert(\"1\")</script>&amp;\n"},
	{"control characters", `a\'01\u0?\u65535?\u-2?b` + "\x00" + `\par`, "<p>ab</p>\n", "ab\n"},
	{"tabulators as they are", "a\tb\\'09\\'09c\\par", "<p>a<span style=\"white-space:pre\">\t</span>b<span style=\"white-space:pre\">\t</span><span style=\"white-space:pre\">\t</span>c</p>\n", "a\tb\t\tc\n"},
	{"special characters", `\lquote\rquote\ldblquote\rdblquote\bullet\endash\emdash\_x\-\par`, "<p>‘’“”•–—\u2011x\u00ad</p>\n", "‘’“”•–—\u2011x\u00ad\n"},
	{"code pages", `{\f1\'ef\'f0}\'e9{\f4\'93\'fa\'96\'7b}\u8364?\u-10179?\u-8704?\uc2\u8364\'e2\'82x\uc0\u252 y\par`, "<p><span style=\"font-family:'Times New Roman'\">пр</span>é<span style=\"font-family:'MS PGothic'\">日本</span>€😀€xüy</p>\n", "прé日本€😀€xüy\n"},
	{"surrogates alone", `\u-10179?a\u-8704?\u128512?\par`, "<p>\ufffda\ufffd😀</p>\n", "\ufffda\ufffd😀\n"},
	{"symbols", `{\f2 a\'b7}{\f3 J\'fc}\par`, "<p><span style=\"font-family:'Symbol'\">α•</span><span style=\"font-family:'Wingdings'\">☺✓</span></p>\n", "α•☺✓\n"},
	{"stand-ins end with a group", `{\uc9\u8364 ?}a\u8364\par b\par`, "<p>€a€</p>\n<p>b</p>\n", "€a€\nb\n"},
	{"two texts", `{\upr{old\'e9{\b x}}{\*\ud{new\u8364?}}}\par`, "<p>new€</p>\n", "new€\n"},
	{"what is no text", `{\info{\title t}}{\stylesheet{\s1 h;}}{\header h}{\footer f}{\*\unknown u{\b v}}{\xe x}{\*\bkmkstart m}a{\*\bkmkend m}{\comment c}\unknownword b\par`, "<p>ab</p>\n", "ab\n"},
	{"notes", `a{\footnote \pard {\super\chftn} note\par more}b\par`, "<p>a [ note<br />\nmore]b</p>\n", "a [ note\nmore]b\n"},
	{"shapes", `a{\shp{\*\shpinst{\sp{\sn x}{\sv 1}}{\shptxt \pard in\par}}{\shprslt old}}b\par`, "<p>ain</p>\n<p>b</p>\n", "ain\nb\n"},
	{"objects", `a{\object\objemb{\*\objclass X}{\*\objdata 0102}{\result r}}b\par`, "<p>arb</p>\n", "arb\n"},
	{"bin", `a{\*\x\bin5 }}}}}}b\bin2 {{c\par`, "<p>abc</p>\n", "abc\n"},
	{"a link", `{\field{\*\fldinst{HYPERLINK "http://example.com/?a=1&b=2"}}{\fldrslt{\ul named}}} x\par`, "<p><a href=\"http://example.com/?a=1&amp;b=2\"><u>named</u></a> x</p>\n", "named <http://example.com/?a=1&b=2> x\n"},
	{"a link that is its name", `{\field{\*\fldinst HYPERLINK mailto:a@example.com}{\fldrslt a@example.com}}\par`, "<p><a href=\"mailto:a@example.com\">a@example.com</a></p>\n", "a@example.com\n"},
	{"a link's look and places", `{\field{\*\fldinst{HYPERLINK \\l "mark" "https://example.com/x" \\o "tip"}}{\fldrslt a{\b b}\par c}}\par`, "<p><a href=\"https://example.com/x#mark\">a<b>b</b></a></p>\n<p><a href=\"https://example.com/x#mark\">c</a></p>\n", "ab <https://example.com/x#mark>\nc <https://example.com/x#mark>\n"},
	{"a place in a link", `{\field{\*\fldinst{HYPERLINK "https://example.com/x" \\l "m"}}{\fldrslt a}}\par`, "<p><a href=\"https://example.com/x#m\">a</a></p>\n", "a <https://example.com/x#m>\n"},
	{"links that are none", `{\field{\*\fldinst{HYPERLINK "javascript:alert(1)"}}{\fldrslt a}}{\field{\*\fldinst{HYPERLINK "file:////server/x"}}{\fldrslt b}}{\field{\*\fldinst{ PAGE }}{\fldrslt 3}}{\field{\*\fldinst{HYPERLINK \\l "x"}}{\fldrslt c}}{\field{\*\fldinst{HYPERLINK "http://x\u10?y"}}{\fldrslt d}}\par`, "<p>ab3cd</p>\n", "ab3cd\n"},
	{"fields in an instruction", `{\field{\*\fldinst{HYPERLINK "http://{\field{\*\fldinst{ DOCPROPERTY x }}{\fldrslt host}}/"}}{\fldrslt a}}\par`, "<p><a href=\"http://host/\">a</a></p>\n", "a <http://host/>\n"},
	{
		"lists of WordPad", `\pard{\pntext\f2\'B7\tab}{\*\pn\pnlvlblt\pnf2\pnindent0{\pntxtb\'B7}}\fi-360\li720 a\par{\pntext\f2\'B7\tab}b\par\pard c\par\pard{\pntext 3.\tab}{\*\pn\pnlvlbody\pnindent0\pnstart3\pndec{\pntxta.}}d\par`,
		"<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n<p>c</p>\n<ol start=\"3\">\n<li>d</li>\n</ol>\n", "•\ta\n•\tb\nc\n3.\td\n",
	},
	{
		"lists of Word", `{\*\listtable{\list\listtemplateid1{\listlevel\levelnfc0\levelnfcn0\levelstartat1{\leveltext\'02\'00.;}{\levelnumbers\'01;}}{\listlevel\levelnfc4\levelnfcn4\levelstartat1{\leveltext x;}{\levelnumbers;}}\listid77}}` +
			`{\*\listoverridetable{\listoverride\listid77\listoverridecount0\ls1}}` +
			`\pard\ls1{\listtext 1.\tab}a\par{\listtext 2.\tab}b\par\pard\ls1\ilvl1{\listtext a.\tab}c\par\pard between\par\pard\ls1{\listtext 3.\tab}d\par`,
		"<ol>\n<li>a</li>\n<li>b<ol type=\"a\">\n<li>c</li>\n</ol>\n</li>\n</ol>\n<p>between</p>\n<ol start=\"3\">\n<li>d</li>\n</ol>\n", "1.\ta\n2.\tb\na.\tc\nbetween\n3.\td\n",
	},
	{"a list that does not say its numbers", `{\*\listtable{\list{\listlevel\levelnfc0\levelstartat5}\listid1}}{\*\listoverridetable{\listoverride\listid1\ls2}}\pard\ls2 a\par b\par\pard\ls3 c\par`, "<ol start=\"5\">\n<li>a</li>\n<li>b</li>\n</ol>\n<ul>\n<li>c</li>\n</ul>\n", "5.\ta\n6.\tb\n•\tc\n"},
	{"a number without a list", `\pard{\listtext 1.\tab}a\par`, "<p>1. a</p>\n", "1.\ta\n"},
	{"a list that begins deep", `\pard\ls1\ilvl2 a\par`, "<ul>\n<li><ul>\n<li><ul>\n<li>a</li>\n</ul>\n</li>\n</ul>\n</li>\n</ul>\n", "•\ta\n"},
	{
		"a table", `before\par\trowd\cellx1000\cellx2000\pard\intbl a\cell b\par c\cell\row\trowd\cellx1000\cellx2000\intbl\cell d\cell\row\pard after\par`,
		"<p>before</p>\n<table>\n<tr><td><p>a</p>\n</td><td><p>b</p>\n<p>c</p>\n</td></tr>\n<tr><td></td><td><p>d</p>\n</td></tr>\n</table>\n<p>after</p>\n", "before\na\tb\nc\n\td\nafter\n",
	},
	{
		"a table in a table", `\trowd\pard\intbl a\par\pard\intbl\itap2 n\nestcell m\nestcell{\*\nesttableprops\trowd\cellx1\nestrow}{\nonesttables\par}\pard\intbl z\cell\row\pard x\par`,
		"<table>\n<tr><td><p>a</p>\n<table>\n<tr><td><p>n</p>\n</td><td><p>m</p>\n</td></tr>\n</table>\n<p>z</p>\n</td></tr>\n</table>\n<p>x</p>\n", "a\nn\tm\nz\nx\n",
	},
	{"a list in a table", `\trowd\pard\intbl\ls1 a\par b\cell\row\pard\par`, "<table>\n<tr><td><ul>\n<li>a</li>\n<li>b</li>\n</ul>\n</td></tr>\n</table>\n<p>&#160;</p>\n", "•\ta\n•\tb\n\n"},
	{"cells without a table", `a\cell b\row c\par`, "<p>a</p>\n<table>\n<tr><td></td></tr>\n</table>\n<p>b</p>\n<p>c</p>\n", "a\tb\nc\n"},
}

func TestLooksLike(t *testing.T) {
	for _, c := range looksLike {
		t.Run(c.name, func(t *testing.T) {
			rtf := head + c.rtf + "}"
			html := inBodyOf(t, toHTML(t, rtf))
			html = strings.NewReplacer(` style="margin:0"`, ``, ` style="margin:0`, ``, ` border="1" style="border-collapse:collapse"`, ``).Replace(html)
			if html != c.html {
				t.Errorf("HTML %q\nwant %q", html, c.html)
			}
			if text := toText(t, rtf); text != crlf(c.text) {
				t.Errorf("text %q\nwant %q", text, crlf(c.text))
			}
		})
	}
}

func TestWholeHTML(t *testing.T) {
	want := "<!DOCTYPE html>\r\n<html><head><meta charset=\"utf-8\" /><title></title></head><body style=\"font-family:'Arial'\">\r\n<p style=\"margin:0\">a</p>\r\n</body></html>\r\n"
	if html := toHTML(t, head+`a\par}`); html != want {
		t.Errorf("%s", html)
	}
	if html := inBodyOf(t, toHTML(t, `{\rtf1}`)); html != "" {
		t.Errorf("%q", html)
	}
	if text := toText(t, `{\rtf1}`); text != "" {
		t.Errorf("%q", text)
	}
}

// TestCodePages: those that the package comment lists are known, and text in them is read.
func TestCodePages(t *testing.T) {
	comment, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, listed, _ := strings.Cut(string(comment), "# Code pages")
	listed, _, _ = strings.Cut(listed, "; and the fonts")
	numbers := regexp.MustCompile(`(\d+)( to\n?(?:// )? ?(\d+))?`).FindAllStringSubmatch(listed, -1)
	n := 0
	for _, number := range numbers {
		from, _ := strconv.Atoi(number[1])
		to := from
		if number[3] != "" {
			to, _ = strconv.Atoi(number[3])
		}
		for ; from <= to; from++ {
			n++
			text, report := convert(t, `{\rtf1\ansi\ansicpg`+strconv.Itoa(from)+` a\{b\par}`, Options{}, (*Document).WriteText)
			_, octets := convert(t, `{\rtf1\ansi\ansicpg`+strconv.Itoa(from)+` \'e9\'c1}`, Options{}, (*Document).WriteText)
			if text != "a{b\r\n" || len(report.CodePages)+len(octets.CodePages) > 0 {
				t.Errorf("%d: %q %v", from, text, octets.CodePages)
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d", n)
	}
}

func TestReport(t *testing.T) {
	rtf := head + `{\f5\'d0\'65\'d9}\'e9{\f3\'01}{\field{\*\fldinst{HYPERLINK "javascript:x"}}{\fldrslt a}}\objattph  b\par}`
	html, report := convert(t, rtf, Options{Attachment: func(int) Attachment { return Attachment{Name: "n"} }}, (*Document).WriteHTML)
	want := []CodePage{{Number: 1361, Count: 2, Octets: []byte("\xd0\xd9")}, {Number: 42, Count: 1, Octets: []byte{1}}}
	if !slices.EqualFunc(report.CodePages, want, func(a, b CodePage) bool {
		return a.Number == b.Number && a.Count == b.Count && bytes.Equal(a.Octets, b.Octets)
	}) {
		t.Errorf("%v", report.CodePages)
	}
	if !slices.Equal(report.Refused, []string{"javascript:x"}) || report.Attachments != 1 {
		t.Errorf("%v %d", report.Refused, report.Attachments)
	}
	if !strings.Contains(html, "\ufffde\ufffd</span>é") || !strings.Contains(html, "\uf001") || !strings.Contains(html, "a&lt;&lt;n&gt;&gt;b") {
		t.Errorf("%s", html)
	}
	_, report = convert(t, `{\rtf1\ansi\ansicpg864 \'e9}`, Options{}, (*Document).WriteText)
	if len(report.CodePages) != 1 || report.CodePages[0].Number != 864 {
		t.Errorf("%v", report.CodePages)
	}
}

// kept is a picture that a test keeps.
type kept struct {
	bytes.Buffer
	closed bool
}

func (k *kept) Close() error {
	k.closed = true
	return nil
}

func TestPictures(t *testing.T) {
	var got []Picture
	var data []*kept
	o := Options{Picture: func(p Picture) (string, io.WriteCloser, error) {
		got, data = append(got, p), append(data, &kept{})
		return fmt.Sprintf("p%d@example.com", p.Number), data[len(data)-1], nil
	}}
	rtf := head + `a{\*\shppict{\pict{\*\picprop x}\pngblip\picwgoal1500\pichgoal750 8950` + "\r\n" + `4e47}}{\nonshppict{\pict\wmetafile8 0102}}` +
		`{\pict\jpegblip\bin4 {}\\}{\pict\emfblip 010203}{\pict\wmetafile8\picw1 0}{\pict\wmetafile8 ff}{\pict}b\par}`
	html, report := convert(t, rtf, o, (*Document).WriteHTML)
	want := "<p style=\"margin:0\">a<img src=\"cid:p1@example.com\" alt=\"\" width=\"100\" height=\"50\" /><img src=\"cid:p2@example.com\" alt=\"\" />b</p>\n"
	if body := inBodyOf(t, html); body != want {
		t.Errorf("%s", body)
	}
	var all []string
	for i, p := range report.Pictures {
		all = append(all, fmt.Sprintf("%d %s %d %x %v", p.Number, p.Type, p.Size, data[i].Bytes(), data[i].closed))
	}
	if want := []string{"1 image/png 4 89504e47 true", "2 image/jpeg 4 7b7d5c5c true", "3 image/emf 3 010203 true", "4 image/wmf 1 ff true"}; !slices.Equal(all, want) || report.PictureCount != 4 {
		t.Errorf("%v", all)
	}
	d, _ := Open(strings.NewReader(rtf), Options{Picture: func(Picture) (string, io.WriteCloser, error) { return "", nil, io.ErrShortWrite }})
	if _, err := d.WriteHTML(io.Discard); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("%v", err)
	}
}
