package rtf

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// htmlExample is the example of MS-OXRTFEX §3.1.
const htmlExample = `{\rtf1\ANSI\ansicpg1251\fromhtml1 \deff0
{\fonttbl {\f0\fmodern Courier New;}{\f1\fswiss Arial;}{\f2\fswiss\fcharset0 Arial;}}
{\colortbl\red0\green0\blue0;\red0\green0\blue255;}
{\*\htmltag64}
\uc1\pard\plain\deftab360 \f0\fs24
{\*\htmltag <HTML><head>\par
<style>\par
<!--\par
 /* Style Definitions */\par
 p.MsoNormal, li.MsoNormal \{font-family:Arial;\}\par
-->\par
</style>\par
\tab <!-- This is a HTML comment.\par
There is a horizontal tab (%x09) character before the comment, \par
and some new lines inside the comment. -->\par
</head>\par
<body>\par
<p\par
class="MsoNormal">}
{\htmlrtf \f1 \htmlrtf0 Note the line break inside a P tag. {\*\htmltag <b>}{\htmlrtf \b \htmlrtf0 This is a bold text{\*\htmltag </b>}} \htmlrtf\par\htmlrtf0}
\htmlrtf \par \htmlrtf0
{\*\htmltag </p>\par
<p class="MsoNormal">\par}
{\htmlrtf \f1 \htmlrtf0 This is a normal text with a character references:
{\*\htmltag &nbsp;}\htmlrtf \'a0\htmlrtf0  {\*\htmltag &lt;}\htmlrtf <\htmlrtf0  {\*\htmltag &uml;}\htmlrtf {\f2\'a8}\htmlrtf0{\*\htmltag <br>\par}\htmlrtf\line\htmlrtf0
characters which have special meaning in RTF: \{\}\\{\*\htmltag <br>\par}\htmlrtf\line\htmlrtf0\htmlrtf\par\htmlrtf0}
{\*\htmltag </p>\par
<ol>\par
    <li class="MsoNormal">}{\htmlrtf {{\*\pn\pnlvlbody\pndec\pnstart1\pnindent360{\pntxta.}}\li360\fi-360{\pntext 1.\tab} \f1 \htmlrtf0 This is a list item}\htmlrtf\par\htmlrtf0}
{\*\htmltag \par
</ol>\par
</body>\par
</HTML>\par }}`

const htmlExampleInside = `<HTML><head>
<style>
<!--
 /* Style Definitions */
 p.MsoNormal, li.MsoNormal {font-family:Arial;}
-->
</style>
	<!-- This is a HTML comment.
There is a horizontal tab (%x09) character before the comment, 
and some new lines inside the comment. -->
</head>
<body>
<p
class="MsoNormal">Note the line break inside a P tag. <b>This is a bold text</b> </p>
<p class="MsoNormal">
This is a normal text with a character references:&nbsp; &lt; &uml;<br>
characters which have special meaning in RTF: {}\<br>
</p>
<ol>
    <li class="MsoNormal">This is a list item
</ol>
</body>
</HTML>
`

func TestExampleOfHTML(t *testing.T) {
	d, err := Open(strings.NewReader(htmlExample), Options{})
	if err != nil || d.Kind() != FromHTML {
		t.Fatal(d.Kind(), err)
	}
	if got := toHTML(t, htmlExample); got != crlf(htmlExampleInside) {
		t.Errorf("%s", got)
	}
}

// TestOutlooksHTML has what Exchange and Outlook make of HTML.
func TestOutlooksHTML(t *testing.T) {
	rtf, err := os.ReadFile("testdata/outlook-html.rtf")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/outlook-html.html")
	if err != nil {
		t.Fatal(err)
	}
	if got := toHTML(t, string(rtf)); got != crlf(string(want)) {
		t.Errorf("%s", got)
	}
}

// TestExampleOfHTMLAsText: who wants text has what the RTF shows.
func TestExampleOfHTMLAsText(t *testing.T) {
	want := "Note the line break inside a P tag. This is a bold text \n\nThis is a normal text with a character references:\u00a0 < ¨\n" +
		"characters which have special meaning in RTF: {}\\\n\n1.\t This is a list item\n"
	if got := toText(t, htmlExample); got != crlf(want) {
		t.Errorf("%q", got)
	}
}

func TestKind(t *testing.T) {
	for _, c := range []struct {
		rtf  string
		want Kind
	}{
		{`{\rtf1\ansi\fromtext a}`, FromText},
		{`{\rtf1\ansi\ansicpg1252\fromhtml1 a}`, FromHTML},
		{"\r\n {\\rtf1\\ansi\r\n\\fromhtml1 a}", FromHTML},
		{`{\rtf1\ansi\fromhtml2 a}`, Genuine},
		{`{\rtf1\ansi a\fromhtml1}`, Genuine}, // behind text
		{`{\rtf1\a\b\c\d\e\f\g\fromtext}`, FromText},
		{`{\rtf1\a\b\c\d\e\f\g\h\fromtext}`, Genuine}, // the eleventh token
		{`{\rtf1}`, Genuine},
	} {
		d, err := Open(strings.NewReader(c.rtf), Options{})
		if err != nil {
			t.Errorf("%s: %v", c.rtf, err)
		} else if d.Kind() != c.want {
			t.Errorf("%s: %d, want %d", c.rtf, d.Kind(), c.want)
		}
	}
	for _, c := range []string{"", "{", "<html>", `{\rt`, "text"} {
		if _, err := Open(strings.NewReader(c), Options{}); !errors.Is(err, ErrNoRTF) {
			t.Errorf("%q: %v", c, err)
		}
	}
	failing := iotest.ErrReader(errors.New("broken"))
	if _, err := Open(failing, Options{}); err == nil || errors.Is(err, ErrNoRTF) {
		t.Errorf("%v", err)
	}
}

func TestDeencapsulation(t *testing.T) {
	for _, c := range []struct{ name, rtf, want string }{
		{"a number behind htmltag is not of the HTML", `{\*\htmltag148 <FONT face="symbol">}x{\*\htmltag1561 1}`, `<FONT face="symbol">x1`},
		{"a number without a blank", `{\*\htmltag84<b>}`, `<b>`},
		{"no number", `{\*\htmltag <b>}`, `<b>`},
		{"empty", `{\*\htmltag64}`, ``},
		{"escapes in a tag", `{\*\htmltag84 \{\}\\\'e9\tab\u8364?\~\_\lquote }`, "{}\\é\t€\u00a0\u00ad‘"},
		{"escapes in text", `\{\}\\\'e9\tab\u8364?\~\-\lquote\rquote\ldblquote\rdblquote\bullet\endash\emdash .`, "{}\\é\t€\u00a0\u00ad‘’“”•–—."},
		{"text is never markup", `<b>&amp;{\*\htmltag <i>}`, `&lt;b&gt;&amp;amp;<i>`},
		{"line ends", `a\par b\line c\` + "\n" + `d`, "a\r\nb\r\nc\r\nd"},
		{"suppressed", `a\htmlrtf b\par\'e9\u8364?\~\htmlrtf0 c\htmlrtf1 d\htmlrtf0 e`, `ace`},
		{"suppressed in groups", `\htmlrtf a{b\htmlrtf0 c{\htmlrtf d}e}f\htmlrtf0 g{\htmlrtf h}i`, `cegi`},
		{"tags that are suppressed", `\htmlrtf{\*\htmltag <b>}\htmlrtf0{\*\htmltag <i>}`, `<i>`},
		{"an MHTML tag is passed over", `{\*\htmltag84 <img src="a">}{\*\mhtmltag84 <img src="cid:a">}`, `<img src="a">`},
		{"destinations are passed over", `{\*\generator x;}{\info{\title y}}{\stylesheet{\s0 Normal;}}{\pntext z\tab}a{\*\unknown b}`, `a`},
		{"a font that is chosen within what is suppressed", `{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset204 B;}}\htmlrtf\f1\htmlrtf0\'e0`, `а`},
		{"tags are in the document's code page", `{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset204 B;}}\f1{\*\htmltag84 \'e9}\'e0`, `éа`},
		{"a font of pictures has octets", `{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset2 Wingdings;}}{\f1 J\'fc}`, `Jü`},
		{"a character in two escapes", `{\fonttbl{\f0\fcharset128 A;}}\'93\'fa\'96{\*\htmltag <b>}`, "日\ufffd<b>"},
		{"an attachment without a name", `a\objattph\'20b`, `ab`},
		{"a picture", `a{\pict\pngblip 89504e47}b`, `ab`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := toHTML(t, `{\rtf1\ansi\ansicpg1252\fromhtml1 \deff0`+c.rtf+`}`); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestTextInside(t *testing.T) {
	rtf := `{\rtf1\ansi\ansicpg1252\fromtext \deff0{\fonttbl{\f0\fmodern Courier New;}}{\*\generator x}
\uc1\pard\plain\deftab360 \f0\fs20 A < B & \{C\}\par
\tab caf\'e9 \u8364?\b  x\line\par
last}`
	want := "A < B & {C}\n\tcafé € x\n\nlast"
	if got := toText(t, rtf); got != crlf(want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAttachmentsInside(t *testing.T) {
	o := Options{Attachment: func(n int) Attachment {
		return []Attachment{{Name: `a<"&.txt`}, {ContentID: "i@x", Name: "i.png"}, {}}[n]
	}}
	body := `1\objattph\'202\objattph  3\objattph\htmlrtf\objattph\htmlrtf0 4}`
	html, report := convert(t, `{\rtf1\ansi\fromhtml1 `+body, o, (*Document).WriteHTML)
	if want := `1&lt;&lt;a&lt;&quot;&amp;.txt&gt;&gt;2<img src="cid:i@x" alt="i.png" />34`; html != want || report.Attachments != 3 {
		t.Errorf("%d %s", report.Attachments, html)
	}
	text, report := convert(t, `{\rtf1\ansi\fromtext `+strings.ReplaceAll(body, `\htmlrtf\objattph\htmlrtf0`, ``), o, (*Document).WriteText)
	if want := `1<<a<"&.txt>>2<<i.png>>34`; text != want || report.Attachments != 3 {
		t.Errorf("%d %s", report.Attachments, text)
	}
}

var insideHTML = []string{
	"", "text", "<p>a</p>", "a < b && c > d &amp; &nbsp;&bogus; &#8364; &",
	htmlExampleInside,
	"<!DOCTYPE html>\n<html><head><title>a {b} </title><style>p > a { color: red }</style>\n<script>if (a < b && \"</p>\") { x\\n }</script></head>\n" +
		"<body class='a>b'>\n\n<!-- <b> -->  two  blanks\tand\n\n tabs<br>\n<pre>a\n\tb  c\n</pre><ul>\n <li>é€😀\u00a0ü</li>\n</ul></body></html>\n",
	"<b", "<!-- no end", "<a href=\"no end>x", "<script>no end", "</", "<", "&", "a\u0001b\u007f",
	"<TITLE>x</Title>y<textarea><b></TextArea>", "“quoted” – ‘it’ • \u00ad",
}

func encapsulate(t testing.TB, html string) string {
	t.Helper()
	var out strings.Builder
	if err := EncapsulateHTML(&out, iotest.OneByteReader(strings.NewReader(html))); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func encapsulateText(t testing.TB, text string) string {
	t.Helper()
	var out strings.Builder
	if err := EncapsulateText(&out, iotest.OneByteReader(strings.NewReader(text))); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestEncapsulatedHTMLComesBack(t *testing.T) {
	for _, html := range insideHTML {
		rtf := encapsulate(t, html)
		if got := toHTML(t, rtf); got != crlf(html) {
			t.Errorf("%q comes back as %q\n%s", html, got, rtf)
		}
		for _, c := range []byte(rtf) {
			if c > 0x7e || c < ' ' && c != '\r' && c != '\n' {
				t.Errorf("%q has the octet %#x", rtf, c)
			}
		}
	}
	if err := EncapsulateHTML(&strings.Builder{}, iotest.ErrReader(errors.New("broken"))); err == nil {
		t.Error("an error of reading is not told")
	}
}

// TestEncapsulatedHTMLIsShown: who does not know what is inside sees its text.
func TestEncapsulatedHTMLIsShown(t *testing.T) {
	html := "<html><head><title>no</title>\n<style>no</style></head>\n<body>\n<!-- no -->\n<h1>Title</h1>\n<p>One,  two\n<b>three</b>&nbsp;&amp; <i>fo</i>ur.</p>\n" +
		"<ul>\n<li>a</li>\n<li>b</li></ul><table><tr><td>1</td><td>2</td></tr></table><pre>x\n  y</pre>end<br>of\nall</body></html>"
	want := "Title\nOne, two three\u00a0& four.\na\nb\n1\t2\t\nx\n  y\nend\nof all\n"
	rtf := encapsulate(t, html)
	if got := toText(t, rtf); got != crlf(want) {
		t.Errorf("%q\nwant %q\n%s", got, want, rtf)
	}
}

func TestEncapsulatedTextComesBack(t *testing.T) {
	for _, text := range []string{
		"", "a", "a\n", "a\n\nb", "{}\\ \\par \\'e4 \t x", "é€😀 \u00a0“”", " leading", "trailing \n ", "a\u0001b\u007f", strings.Repeat("long ", 5000),
	} {
		rtf := encapsulateText(t, text)
		if got := toText(t, rtf); got != crlf(text) {
			t.Errorf("%q comes back as %q\n%s", text, got, rtf)
		}
	}
	if got := toText(t, encapsulateText(t, "a\r\nb\rc\nd\xff")); got != "a\r\nb\r\nc\r\nd\ufffd" {
		t.Errorf("%q", got)
	}
}

// FuzzDeencapsulate: what is encapsulated comes back, whatever it is.
func FuzzDeencapsulate(f *testing.F) {
	f.Add(htmlExample)
	for _, html := range insideHTML {
		f.Add(encapsulate(f, html))
	}
	f.Add(encapsulateText(f, "a\r\nb\tü"))
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsRune(text, 0xfffd) || len(text) > fuzzMost {
			return
		}
		plain := strings.ReplaceAll(strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\r\n", "\n"), "\r", "\n")
		if got := toText(t, encapsulateText(t, plain)); got != crlf(plain) {
			t.Fatalf("%q comes back as %q", plain, got)
		}
		if got := toHTML(t, encapsulate(t, plain)); got != crlf(plain) {
			t.Fatalf("%q comes back as %q", plain, got)
		}
	})
}

// FuzzEncapsulated: what others encapsulate ends.
func FuzzEncapsulated(f *testing.F) {
	f.Add(htmlExample)
	for _, html := range insideHTML {
		f.Add(encapsulate(f, html))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > fuzzMost {
			return
		}
		for _, head := range []string{`{\rtf1\fromhtml1 `, `{\rtf1\fromtext `} {
			d, err := Open(strings.NewReader(head+text), Options{})
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if d.Kind() == FromHTML {
				_, _ = d.WriteHTML(&out)
			} else {
				_, _ = d.WriteText(&out)
			}
			if out.Len() > 16*(len(text)+10) {
				t.Fatalf("%d octets became %d", len(text), out.Len())
			}
		}
	})
}
