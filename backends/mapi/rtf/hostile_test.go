package rtf

import (
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// everything is a document with most of what there is.
var everything = func() string {
	var b strings.Builder
	b.WriteString(head)
	for _, c := range looksLike {
		b.WriteString(c.rtf)
		b.WriteString("\\pard\\plain\r\n")
	}
	b.WriteString(`{\*\shppict{\pict\pngblip\picwgoal100\pichgoal100 89504e47}}\objattph  end}`)
	return b.String()
}()

var showAll = Options{
	Picture:    func(Picture) (string, io.WriteCloser, error) { return "p@example.com", nil, nil },
	Attachment: func(int) Attachment { return Attachment{Name: "<name>"} },
}

// attempt converts a document that may have anything wrong with it.
func attempt(t testing.TB, rtf string, o Options, how converter) (string, error) {
	t.Helper()
	d, err := Open(strings.NewReader(rtf), o)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	_, err = how(d, &out)
	return out.String(), err
}

// TestCutOff: what there is of a document is shown, and it is said that it is not all.
func TestCutOff(t *testing.T) {
	begin := len(head)
	whole, err := attempt(t, everything, showAll, (*Document).WriteText)
	if err != nil {
		t.Fatal(err)
	}
	for n := begin; n < len(everything); n += 37 {
		html, err := attempt(t, everything[:n], showAll, (*Document).WriteHTML)
		if !errors.Is(err, ErrTruncated) {
			t.Fatalf("%d octets: %v", n, err)
		}
		wellFormed(t, html)
	}
	if text, err := attempt(t, everything[:len(everything)-1], showAll, (*Document).WriteText); text != whole || !errors.Is(err, ErrTruncated) {
		t.Errorf("%v", err)
	}
}

// TestBounded: at whatever place the bound is, the HTML is whole, and no longer than what closes it.
func TestBounded(t *testing.T) {
	whole, err := attempt(t, everything, showAll, (*Document).WriteHTML)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(whole)-200; n += 97 {
		o := showAll
		o.Most = int64(n)
		html, err := attempt(t, everything, o, (*Document).WriteHTML)
		if !errors.Is(err, ErrTooLong) {
			t.Fatalf("%d octets: %v", n, err)
		}
		if html != "" {
			wellFormed(t, html)
		}
		if len(html) > n+1000 {
			t.Fatalf("%d octets became %d", n, len(html))
		}
	}
	o := showAll
	o.Most = int64(len(whole))
	if html, err := attempt(t, everything, o, (*Document).WriteHTML); err != nil || html != whole {
		t.Errorf("%v", err)
	}
	o.Most = 100
	if text, err := attempt(t, everything, o, (*Document).WriteText); !errors.Is(err, ErrTooLong) || len(text) > 100 {
		t.Errorf("%d octets, %v", len(text), err)
	}
}

func TestNumbersOutOfRange(t *testing.T) {
	words := []string{
		"u", "uc", "f", "fs", "cf", "cb", "highlight", "li", "lin", "itap", "intbl", "ls", "ilvl", "pnstart", "listid", "levelnfc", "levelstartat",
		"ansicpg", "deff", "fcharset", "cpg", "red", "picwgoal", "super", "b", "htmlrtf", "trowd", "nestcell", "nestrow", "cell", "row", "par", "pard",
	}
	numbers := []string{"", "0", "-1", "255", "256", "65535", "65536", "-32769", "1114112", "2147483647", "-2147483648", "99999999999999999999"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		var b strings.Builder
		b.WriteString(head)
		for range 30 {
			if r.IntN(4) == 0 {
				b.WriteString([]string{"{", "}{", `{\*\listtable\list\listlevel`, `{\*\listoverridetable `, `{\pict `, `{\*\pn `, `x `, `{\fonttbl;`}[r.IntN(8)])
			}
			b.WriteString(`\` + words[r.IntN(len(words))] + numbers[r.IntN(len(numbers))] + " ")
			if r.IntN(3) == 0 {
				b.WriteString("text")
			}
		}
		html, _ := attempt(t, b.String(), showAll, (*Document).WriteHTML)
		wellFormed(t, html)
		_, _ = attempt(t, b.String(), showAll, (*Document).WriteText)
	}
}

// hostile are documents that want much work or memory of few octets, of about n octets.
var hostile = map[string]func(n int) string{
	"groups in groups":           func(n int) string { return head + strings.Repeat("{", n) + "x" + strings.Repeat("}", n) + "}" },
	"groups without an end":      func(n int) string { return head + strings.Repeat("{a", n/2) },
	"formatted groups in groups": func(n int) string { return head + strings.Repeat(`{\b\i x`, n/7) },
	"skipped groups in groups":   func(n int) string { return head + `{\*\x ` + strings.Repeat("{", n) + strings.Repeat("}", n) + "}}" },
	"choices in choices":         func(n int) string { return head + strings.Repeat(`{\upr{\*\ud `, n/11) },
	"runs": func(n int) string {
		return head + `\f1\fs2\cf1\highlight2\i\ul\strike\super ` + strings.Repeat(`\b a\b0 b`, n/9) + "}"
	},
	"a link over paragraphs": func(n int) string { return head + longLink + strings.Repeat(`a\par `, n/6) + "}}}" },
	"a link over runs":       func(n int) string { return head + longLink + strings.Repeat(`\b a\b0 b`, n/9) + "}}}" },
	"links": func(n int) string {
		return head + strings.Repeat(`{\field{\*\fldinst HYPERLINK http://a}{\fldrslt b}}`, n/48) + "}"
	},
	"links in links": func(n int) string {
		return head + strings.Repeat(`{\field{\*\fldinst HYPERLINK http://a}{\fldrslt b`, n/46)
	},
	"an instruction without an end": func(n int) string { return head + `{\field{\*\fldinst HYPERLINK ` + strings.Repeat("a", n) },
	"instructions in instructions":  func(n int) string { return head + strings.Repeat(`{\field{\*\fldinst `, n/19) },
	"lists of all depths":           func(n int) string { return head + strings.Repeat(`\ls1\ilvl8 a\par\ls2\ilvl8 a\par`, n/32) + "}" },
	"different lists":               func(n int) string { return head + many(n/12, `\ls%\pard\ls% a\par `) + "}" },
	"a list table":                  func(n int) string { return head + `{\*\listtable ` + many(n/30, `{\list{\listlevel}\listid%}`) + "}}" },
	"a list of levels":              func(n int) string { return head + `{\*\listtable{\list ` + strings.Repeat(`{\listlevel}`, n/12) },
	"tables of all depths":          func(n int) string { return head + strings.Repeat(`\itap8 a\par\itap1 a\par`, n/24) + "}" },
	"cells":                         func(n int) string { return head + strings.Repeat(`\cell`, n/5) + "}" },
	"rows":                          func(n int) string { return head + strings.Repeat(`\row\nestrow`, n/12) + "}" },
	"fonts":                         func(n int) string { return head + `{\fonttbl ` + many(n/20, `{\f% a long name;}`) + "}}" },
	"a font's name":                 func(n int) string { return head + `{\fonttbl\f9 ` + strings.Repeat("a", n) + "}}" },
	"colours":                       func(n int) string { return head + `{\colortbl ` + strings.Repeat(";", n) + "}}" },
	"characters without an end":     func(n int) string { return head + `\f4 ` + strings.Repeat(`\'93`, n/4) + "}" },
	"unknown octets":                func(n int) string { return head + `\f5 ` + strings.Repeat("\xe9", n) + "}" },
	"unknown code pages":            func(n int) string { return head + many(n/16, `\ansicpg%\f9\'e9`) + "}" },
	"surrogates":                    func(n int) string { return head + `\uc0` + strings.Repeat(`\u-10179`, n/8) + "}" },
	"stand-ins":                     func(n int) string { return head + `\uc16` + strings.Repeat(`\u1a`, n/4) + "}" },
	"pictures":                      func(n int) string { return head + strings.Repeat(`{\pict\pngblip 00}`, n/18) + "}" },
	"a picture":                     func(n int) string { return head + `{\pict\pngblip ` + strings.Repeat("00", n/2) },
	"pictures in pictures":          func(n int) string { return head + strings.Repeat(`{\pict `, n/7) },
	"notes in notes":                func(n int) string { return head + strings.Repeat(`{\footnote a`, n/12) },
	"attachments":                   func(n int) string { return head + strings.Repeat(`\objattph `, n/10) + "}" },
	"a control word":                func(n int) string { return head + `\` + strings.Repeat("a", n) + "}" },
	"a number":                      func(n int) string { return head + `\b` + strings.Repeat("1", n) + "}" },
	"stars":                         func(n int) string { return head + strings.Repeat(`\*`, n/2) + "}" },
	"numbers before an item":        func(n int) string { return head + strings.Repeat(`{\listtext aaaaaaaa}`, n/20) + "}" },
	"blanks":                        func(n int) string { return head + strings.Repeat(" ", n) + "}" },
	"paragraphs":                    func(n int) string { return head + strings.Repeat(`\par`, n/4) + "}" },
}

var longLink = `{\field{\*\fldinst HYPERLINK "http://` + strings.Repeat("&", 2000) + `"}{\fldrslt `

// many repeats a text n times, with a number for each %.
func many(n int, text string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(text, "%", itoa(i+1)))
	}
	return b.String()
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

// TestHostile: neither what is written nor what is allocated is out of proportion, and the HTML is whole. That work
// is in proportion, package growth shows.
func TestHostile(t *testing.T) {
	const n = 5_000
	for name, document := range hostile {
		t.Run(name, func(t *testing.T) {
			rtf := document(n)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			html, err := attempt(t, rtf, showAll, (*Document).WriteHTML)
			runtime.ReadMemStats(&after)
			if err != nil && !errors.Is(err, ErrTruncated) {
				t.Error(err)
			}
			wellFormed(t, html)
			if most := 120*len(rtf) + mostSpent; len(html) > most {
				t.Errorf("%d octets became %d", len(rtf), len(html))
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 8<<20 {
				t.Errorf("%d octets were allocated for %d, for HTML of %d", allocated, len(rtf), len(html))
			}
			if text, err := attempt(t, rtf, showAll, (*Document).WriteText); err != nil && !errors.Is(err, ErrTruncated) || len(text) > 20*len(rtf)+mostSpent {
				t.Errorf("%d octets of text, %v", len(text), err)
			}
		})
	}
}

// TestBinaryOfNothing: an announcement costs nothing.
func TestBinaryOfNothing(t *testing.T) {
	for _, rtf := range []string{`{\rtf1 a\bin2147483647 b`, `{\rtf1 a{\pict\pngblip\bin2147483647 b`, `{\rtf1 a{\*\x\bin99999999999999 b`} {
		html, err := attempt(t, rtf, showAll, (*Document).WriteHTML)
		if !errors.Is(err, ErrTruncated) || !strings.Contains(html, ">a") {
			t.Errorf("%s: %q, %v", rtf, html, err)
		}
		wellFormed(t, html)
	}
}

// TestPictureInAPicture: the inner one is skipped, and the outer one goes on.
func TestPictureInAPicture(t *testing.T) {
	rtf := `{\rtf1 {\pict\pngblip 01{\result{\pict\jpegblip 02}x}03{\pict 04}05\pict 06}{\pict 01\fonttbl}{\pict 01}}`
	_, report := convert(t, rtf, Options{}, (*Document).WriteHTML)
	if len(report.Pictures) != 3 || report.Pictures[0].Type != "image/png" || report.Pictures[0].Size != 3 {
		t.Errorf("%+v", report.Pictures)
	}
}

// TestDeepGroups: text at any depth is there, and formats are as they were behind it.
func TestDeepGroups(t *testing.T) {
	for _, depth := range []int{10_000, mostGroups + 1000} {
		rtf := `{\rtf1 ` + strings.Repeat(`{\b `, depth) + "deep" + strings.Repeat("}", depth) + "plain}"
		if html := inBodyOf(t, toHTML(t, rtf)); html != "<p style=\"margin:0\"><b>deep</b>plain</p>\n" {
			t.Errorf("%d groups: %s", depth, html)
		}
	}
}

// TestStreams: a document is written while it is read.
func TestStreams(t *testing.T) {
	in, feed := io.Pipe()
	got, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		d, err := Open(in, Options{})
		if err == nil {
			_, err = d.WriteText(out)
		}
		done <- errors.Join(err, out.Close())
	}()
	paragraph := strings.Repeat("x", 8000) + `\par `
	go func() { _, _ = io.WriteString(feed, `{\rtf1 `+paragraph+paragraph) }()
	if _, err := io.ReadFull(got, make([]byte, 8000)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, got)
	}()
	_ = feed.CloseWithError(io.ErrClosedPipe)
	if err := <-done; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
}

// fuzzMost is how large an input is that a fuzz target looks at: larger ones are slower, and say nothing else.
const fuzzMost = 64 << 10

func FuzzHTML(f *testing.F) {
	for _, c := range looksLike {
		f.Add(head + c.rtf + "}")
	}
	f.Add(everything)
	f.Add(htmlExample)
	f.Fuzz(func(t *testing.T, rtf string) {
		if len(rtf) > fuzzMost {
			return
		}
		if !strings.HasPrefix(rtf, `{\rtf`) {
			rtf = head + rtf
		}
		html, err := attempt(t, rtf, showAll, (*Document).WriteHTML)
		if err != nil && !errors.Is(err, ErrTruncated) {
			t.Fatal(err)
		}
		if d, _ := Open(strings.NewReader(rtf), showAll); d.Kind() != FromHTML {
			wellFormed(t, html)
		}
		if len(html) > 200*(len(rtf)+100)+mostSpent {
			t.Fatalf("%d octets became %d", len(rtf), len(html))
		}
	})
}

func FuzzText(f *testing.F) {
	for _, c := range looksLike {
		f.Add(head + c.rtf + "}")
	}
	f.Add(everything)
	f.Fuzz(func(t *testing.T, rtf string) {
		if len(rtf) > fuzzMost {
			return
		}
		if !strings.HasPrefix(rtf, `{\rtf`) {
			rtf = head + rtf
		}
		text, err := attempt(t, rtf, showAll, (*Document).WriteText)
		if err != nil && !errors.Is(err, ErrTruncated) {
			t.Fatal(err)
		}
		if len(text) > 100*(len(rtf)+100)+mostSpent {
			t.Fatalf("%d octets became %d", len(rtf), len(text))
		}
	})
}
