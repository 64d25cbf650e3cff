package entity

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/text/transform"

	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/test/corpus"
)

func read(t *testing.T, message string) *Entity {
	t.Helper()
	e, err := Read(strings.NewReader(message), int64(len(message)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// shape is the structure of an entity on one line.
func shape(e *Entity) string {
	switch {
	case e.Message != nil:
		return e.Type.Value + "(" + shape(e.Message) + ")"
	case len(e.Parts) > 0:
		var parts []string
		for _, part := range e.Parts {
			parts = append(parts, shape(part))
		}
		return e.Type.Value + "[" + strings.Join(parts, " ") + "]"
	}
	octets, err := io.ReadAll(e.Decoded())
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %q", e.Type.Value, octets)
}

func TestStructure(t *testing.T) {
	mixed := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	for _, c := range []struct{ name, message, want string }{
		{"plain", "Subject: x\r\n\r\ntext\r\n", `text/plain "text\r\n"`},
		{"nothing", "", `text/plain ""`},
		{"no body", "Subject: x\r\n", `text/plain ""`},
		{"lines of LF", "Subject: x\nContent-Type: text/html\n\n<p>\n", `text/html "<p>\n"`},
		{"two parts", mixed + "preamble\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n\r\n--b--\r\nepilogue\r\n--b\r\n", `multipart/mixed[text/plain "one" text/html "<p>\r\n"]`},
		{"part of no header", mixed + "--b\r\n\r\n--b--\r\n", `multipart/mixed[text/plain ""]`},
		{"part without an empty line", mixed + "--b\r\nno field\r\n--b--\r\n", `multipart/mixed[text/plain "no field"]`},
		{"header cut off by a delimiter", mixed + "--b\r\nContent-Type: text/html\r\n--b--\r\n", `multipart/mixed[text/html ""]`},
		{"not closed", mixed + "--b\r\n\r\none\r\n", `multipart/mixed[text/plain "one\r\n"]`},
		{"no delimiter", mixed + "text\r\n", `multipart/mixed "text\r\n"`},
		{"blanks behind", mixed + "--b \t\r\n\r\none\r\n--b-- \r\n", `multipart/mixed[text/plain "one"]`},
		{"a longer boundary is another", mixed + "--b\r\n\r\n--bb\r\n--b--\r\n", `multipart/mixed[text/plain "--bb"]`},
		{
			"the outer boundary ends the inner part", mixed + "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n",
			`multipart/mixed[multipart/mixed[text/plain "one"] text/plain "two"]`,
		},
		{
			"one boundary for both", mixed + "--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n--b\r\n\r\ntwo\r\n--b--\r\n",
			`multipart/mixed[multipart/mixed[text/plain "one"] text/plain "two"]`,
		},
		{"message", mixed + "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\ninner\r\n--b--\r\n", `multipart/mixed[message/rfc822(text/plain "inner")]`},
		{"digest", "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: y\r\n\r\ninner\r\n--b--\r\n", `multipart/digest[message/rfc822(text/plain "inner")]`},
		{"encoded message", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQUI=\r\n", `message/rfc822 "AB"`},
		{"a line in the header", "Subject: x\r\nno field\r\nContent-Type: text/html\r\n\r\n<p>\r\n", `text/html "<p>\r\n"`},
		{"the body without an empty line", "Subject: x\r\nThis is the body\r\nand goes on\r\n", `text/plain "This is the body\r\nand goes on\r\n"`},
		{"type of garbage", "Content-Type: ;;=\"/\r\n\r\ntext\r\n", `text/plain "text\r\n"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := shape(read(t, c.message)); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

func TestTransferEncodings(t *testing.T) {
	for _, c := range []struct{ encoding, body, want string }{
		{"base64", "QUI=\r\n", "AB"},
		{"base64", "QUI", "AB"},
		{"base64", "QQ==QUI=QUJD\r\n", "AABABC"},
		{"base64", "QUJDR\r\n", "ABC"},
		{"base64", "QU*JD\r\n!!\r\n  RE VG \r\n", "ABCDEF"},
		{"Base64 (a comment)", "QUI=", "AB"},
		{"quoted-printable", "=C3=a4 soft =\r\nbreak \t\r\nend", "ä soft break\r\nend"},
		{"quoted-printable", "= \r\n=G0=\r\n=4=", "=G0=4"},
		{"quoted-printable", "a  b \n", "a  b\n"},
		{"quoted-printable", strings.Repeat(" ", 3000) + "x", strings.Repeat(" ", 3000) + "x"},
		{"quoted-printable", "one \r x", "one \r x"},
		{"uuencode", "text\r\nbegin 644 x\r\n#86)C\r\n`\r\nend\r\nmore\r\n", "abc"},
		{"8bit", "as it is ", "as it is "},
		{"x-unknown", "as it is ", "as it is "},
	} {
		t.Run(c.encoding, func(t *testing.T) {
			decoded := decode(iotest.OneByteReader(strings.NewReader(c.body)), transferEncoding(c.encoding))
			if got, err := io.ReadAll(decoded); err != nil || string(got) != c.want {
				t.Errorf("%q is %q, %v; want %q", c.body, got, err, c.want)
			}
		})
	}
	broken := io.MultiReader(strings.NewReader("QUJD"), iotest.ErrReader(io.ErrClosedPipe))
	for _, encoding := range []string{"base64", "quoted-printable", "uuencode", ""} {
		if _, err := io.ReadAll(decode(broken, encoding)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%q: %v", encoding, err)
		}
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"=?iso-8859-1?Q?Gr=FC=DFe_aus?= K=?utf-8?q?=C3=B6?=ln": "Grüße aus Köln",
		"=?utf-8?B?8J+Y?= =?UTF-8?B?gA==?=":                    "😀",
		"=?utf-8?Q?one?=\r\n =?iso-8859-1?Q?=E4?= three":       "oneä three",
		"=?utf-8*de?Q?=C3=9C?=":                                "Ü",
		"=?utf-8?Q?open":                                       "=?utf-8?Q?open",
		"=?utf-8?X?abc?= =?utf-8?Q?d?=":                        "=?utf-8?X?abc?= d",
		"=?x-klingon?Q?=FF?=":                                  "ÿ",
		"=?utf-8?Q?=G1=2?=":                                    "=G1=2",
		"=? =?utf-8?Q?a b?=":                                   "=? a b",
		"a = b?= c":                                            "a = b?= c",

		"=?iso-2022-jp?B?GyRCOUEbKEI=?= =?iso-2022-jp?B?GyRCJE4bKEI=?=": "港の",
	} {
		if got := DecodeWords(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestWordsWritten(t *testing.T) {
	for _, text := range []string{
		"", "plain", "Grüße", strings.Repeat("日本語", 60), "=?utf-8?Q?literal?=", " blanks ", "two  blanks " + strings.Repeat("and words ", 30) + "x",
		"line\r\nBcc: x", "tab\tinside", strings.Repeat("x", 2000),
	} {
		written := FormatText("Subject", text)
		h, _, err := header.Read(strings.NewReader(written), header.Most)
		if err != nil || len(h.Fields) != 1 {
			t.Errorf("%q was written as %q, %v", text, written, err)
			continue
		}
		if got := DecodeWords(h.Fields[0].Value()); got != text {
			t.Errorf("%q became %q by %q", text, got, written)
		}
		for line := range strings.SplitSeq(written, "\r\n") {
			if len(line) > lineWished {
				t.Errorf("a line of %d: %q", len(line), line)
			}
		}
	}
}

func TestParameters(t *testing.T) {
	for value, want := range map[string]string{
		`text/plain; charset=utf-8`:                                           "utf-8",
		`text/plain (a comment); charset="ut\f-8" (another)`:                  `ut\f-8`,
		`x; charset=two words.txt; a=b`:                                       "two words.txt",
		`x; charset="C:\temp\a.txt"`:                                          `C:\temp\a.txt`,
		`x; charset="a \"quote\" \\"`:                                         `a "quote" \`,
		`x; charset*=utf-8''%E2%82%AC%20rates.txt`:                            "€ rates.txt",
		`x; charset*0*=utf-8''%E2%82%AC; charset*1=" rates"; charset*2*=%2Et`: "€ rates.t",
		`x; charset*1=b; charset*0=a`:                                         "ab",
		`x; charset=old; charset*=iso-8859-1''%E4`:                            "ä",
		`x; charset="=?utf-8?Q?=E2=82=AC?=.txt"`:                              "€.txt",
		`x; charset=a; charset=b`:                                             "a",
		`x; charset="open`:                                                    "open",
		`x;; ;charset`:                                                        "",
		`x; charset=größe.txt`:                                                "größe.txt",
		"x; charset=gr\xf6\xdfe.txt":                                          "größe.txt",
		`x; charset*x=a; charset*-1=b`:                                        "",
	} {
		if got := ParseParameters(value).Get("charset"); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
	for _, text := range []string{"a.txt", "", "a b.txt", `"q" \`, "größe.txt", strings.Repeat("long ", 60) + ".txt", strings.Repeat("Ü", 100), "a'b%c*", "x\r\ny", "=?utf-8?Q?a?="} {
		written := "attachment" + FormatParameter("filename", text)
		unfolded := strings.ReplaceAll(written, "\r\n", "")
		if got := ParseParameters(unfolded).Get("filename"); got != text {
			t.Errorf("%q became %q by %q", text, got, written)
		}
	}
}

func TestAddresses(t *testing.T) {
	for value, want := range map[string][]Address{
		`erika@a.example`: {{"", "erika@a.example"}},
		`Erika M. <erika@a.example>, "Max, the" <max@a.example>`:             {{"Erika M.", "erika@a.example"}, {"Max, the", "max@a.example"}},
		`Müller, Hans <h@a.example>`:                                         {{"Müller, Hans", "h@a.example"}},
		`=?utf-8?Q?M=C3=BCller=2C?= =?utf-8?Q?Hans?= <h@a.example>, b@c`:     {{"Müller,Hans", "h@a.example"}, {"", "b@c"}},
		`A Group: a@b, C <c@d>;, e@f`:                                        {{"", "a@b"}, {"C", "c@d"}, {"", "e@f"}},
		`undisclosed-recipients:;`:                                           nil,
		`"quoted local"@a.example`:                                           {{"", `"quoted local"@a.example`}},
		`dora@a.example (Dora (from) the harbour)`:                           {{"Dora (from) the harbour", "dora@a.example"}},
		`<@one.example,@two.example:e@a>, erika . muster @ corpus . example`: {{"", "e@a"}, {"", "erika.muster@corpus.example"}},
		`e@[192.0.2.1], max@[IPv6:2001:db8::1]`:                              {{"", "e@[192.0.2.1]"}, {"", "max@[IPv6:2001:db8::1]"}},
		`root, admin`:                                                        {{"root", "root"}, {"admin", "admin"}},
		`"back\\slash \"quote\"" <"odd local\ part"@a>`:                      {{`back\slash "quote"`, `"odd local\ part"@a`}},
		``:              nil,
		`<>`:            {{"", ""}},
		`broken <a@b`:   {{"broken", "a@b"}},
		`"open`:         {{"open", "open"}},
		"J\xf6rg <j@a>": {{"Jörg", "j@a"}},
		`a@b; c@d`:      {{"", "a@b"}, {"", "c@d"}},
	} {
		if got := ParseAddresses(value); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
	list := []Address{{"", "a@b"}, {"Müller, Hans", "h@a.example"}, {`q " \`, `"odd local"@a`}, {strings.Repeat("Ä", 50), "x@y"}}
	written := FormatAddresses("To", list)
	h, _, err := header.Read(strings.NewReader(written), header.Most)
	if err != nil {
		t.Fatal(err)
	}
	if got := ParseAddresses(h.Fields[0].Value()); !slices.Equal(got, list) {
		t.Errorf("%q became %q by %q", list, got, written)
	}
}

func TestDates(t *testing.T) {
	for value, want := range map[string]string{
		"Thu, 12 Nov 2026 10:06:07 +0100":          "2026-11-12T09:06:07Z",
		"12 Nov 26 10:30:07 CET":                   "2026-11-12T09:30:07Z",
		"9 Nov 98 8:01 EST":                        "1998-11-09T13:01:00Z",
		"Thu, 12 Nov 2026 10:06:07 (why) GMT (so)": "2026-11-12T10:06:07Z",
		"Thu, 12 Nov 2026 10:06:07":                "2026-11-12T10:06:07Z",
		"Thu, 12 Nov 2026 10:06:07 XYZ":            "2026-11-12T10:06:07Z",
		"12 Nov 101 10:06:07 +0000":                "2001-11-12T10:06:07Z",
		"yesterday":                                "",
		"Mon, 32 Foo 2026 25:61:61 +9999":          "",
		"":                                         "",
	} {
		at, ok := ParseDate(value)
		if got := at.UTC().Format(time.RFC3339); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %s %v, want %q", value, got, ok, want)
		}
	}
}

// TestUTF7 has the examples of RFC 2152, whole and octet by octet.
func TestUTF7(t *testing.T) {
	for octets, want := range map[string]string{
		"A+ImIDkQ.": "A≢Α.", "Hi Mom -+Jjo--!": "Hi Mom -☺-!", "+ZeVnLIqe-": "日本語", "Item 3 is +AKM-1.": "Item 3 is £1.", "1 +- 1": "1 + 1",
		"+2D3eAA-": "😀", "+2D0-x": "\uFFFDx", "+2D0": "\uFFFD", "+3gA-": "\uFFFD", "a\xff": "a\uFFFD", "+AOQA5A-": "ää", "+": "",
	} {
		if got := DecodeCharset([]byte(octets), "UTF-7"); got != want {
			t.Errorf("%q is %q, want %q", octets, got, want)
		}
		slow := transform.NewReader(iotest.OneByteReader(strings.NewReader(octets)), utf7Page.Encoding.NewDecoder())
		if got, err := io.ReadAll(slow); err != nil || string(got) != want {
			t.Errorf("%q is %q, %v, octet by octet", octets, got, err)
		}
	}
}

func TestTextPage(t *testing.T) {
	for _, c := range []struct{ charset, body, want string }{
		{"utf-8", "ä", "ä"},
		{"us-ascii", "Gr\xfc\xdfe", "Grüße"},
		{"us-ascii", "Grüße", "Grüße"},
		{"x-user-defined", "Gr\xfc\xdfe", "Grüße"},
		{"", "plain", "plain"},
		{"cp50000", "\x80", "€"},
		{"utf-16", "\xfe\xff\x00a", "a"},
		{"gb2312", "\xc4\xe3", "你"},
		{"\"ISO-8859-1\"", "\xe4", "ä"},
	} {
		e := read(t, "Content-Type: text/plain; charset="+c.charset+"\r\n\r\n"+c.body)
		page, err := e.TextPage()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(e.DecodedText(page)); err != nil || string(got) != c.want {
			t.Errorf("%s: %q, %v; want %q", c.charset, got, err, c.want)
		}
	}
}

func TestBounds(t *testing.T) {
	deep := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 10_000) + "Subject: x\r\n\r\ninnermost\r\n"
	for e, depth := read(t, deep), 0; e != nil; e, depth = e.Message, depth+1 {
		if depth > DepthMost {
			t.Fatal("it is deeper than that")
		}
		if e.Message == nil {
			if octets, err := io.ReadAll(e.Raw()); err != nil || !strings.HasSuffix(string(octets), "innermost\r\n") {
				t.Errorf("%v: what is not opened has been lost", err)
			}
		}
	}
	for name, message := range map[string]string{
		"parts":      "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n", EntitiesMost+1),
		"fields":     strings.Repeat("a:\r\n", header.FieldsMost+1),
		"header":     "a: " + strings.Repeat("x", header.Most),
		"parameters": "Content-Type: text/plain" + strings.Repeat("; a*1=b", 100_000),
	} {
		if _, err := Read(strings.NewReader(message), int64(len(message))); !errors.Is(err, ErrTooComplex) && !errors.Is(err, header.ErrTooLarge) && !errors.Is(err, header.ErrTooManyFields) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(brokenReader{}, 10); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("an error of the file became %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

// TestCorpus: every message of the corpus has a structure, and the parts lie in it one behind the other.
func TestCorpus(t *testing.T) {
	for m := range corpus.Small(200_000) {
		e := read(t, string(m.Content()))
		at := int64(0)
		for leaf := range e.Leaves() {
			if leaf.offset < at || leaf.body < leaf.offset || leaf.stop < leaf.body || leaf.stop > int64(len(m.Content())) {
				t.Errorf("%s: a part from %d with a body from %d to %d behind %d", m.Name, leaf.offset, leaf.body, leaf.stop, at)
			}
			at = leaf.stop
			if _, err := io.Copy(io.Discard, leaf.Decoded()); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	for m := range corpus.Small(2_000) {
		f.Add(m.Content())
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		e, err := Read(strings.NewReader(string(message)), int64(len(message)))
		if err != nil {
			return
		}
		for leaf := range e.Leaves() {
			if _, err := io.Copy(io.Discard, leaf.Decoded()); err != nil {
				t.Error(err)
			}
			for _, field := range leaf.Header.Fields {
				ParseAddresses(field.Value())
				DecodeWords(Text(field.Value()))
				ParseDate(field.Value())
			}
		}
	})
}

// TestEncoder: what is written in a transfer encoding is read back, in lines of 76 characters at the most.
func TestEncoder(t *testing.T) {
	for _, encoding := range []string{"base64", "quoted-printable", ""} {
		for n := range 200 {
			content := strings.Repeat("é", n)
			var out strings.Builder
			e := NewEncoder(&out, encoding)
			for _, c := range []byte(content) { // piece by piece
				if _, err := e.Write([]byte{c}); err != nil {
					t.Fatal(err)
				}
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			for line := range strings.SplitSeq(out.String(), "\r\n") {
				if encoding != "" && (len(line) > 76 || line == "" && n > 0) {
					t.Fatalf("%s of %d: a line is %q", encoding, n, line)
				}
			}
			if got, err := io.ReadAll(decode(strings.NewReader(out.String()), encoding)); string(got) != content || err != nil {
				t.Fatalf("%s of %d: %q, %v", encoding, n, got, err)
			}
		}
	}
}

// TestManyComments: comments are passed over one after another, and not one within another.
func TestManyComments(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
	if p := ParseParameters("a/b" + strings.Repeat("(a)x", header.Most/4) + ";a=b"); p.Value != "a/b" || p.Get("a") != "b" {
		t.Errorf("%q, %q", p.Value, p.Get("a"))
	}
}
