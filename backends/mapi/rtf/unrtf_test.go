//go:build linux

package rtf

import (
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	comments = regexp.MustCompile(`(?s)<!--.*?-->`)
	tags     = regexp.MustCompile(`<[^>]*>`)
	blanks   = regexp.MustCompile(`[\s\x{a0}]+`)
)

// unrtf is the text that Debian's unrtf finds in RTF, without blanks. ./test/run installs it.
func unrtf(t *testing.T, rtf string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.rtf")
	if err := os.WriteFile(file, []byte(rtf), 0o600); err != nil {
		t.Fatal(err)
	}
	// its plain text is ASCII alone
	out, err := exec.Command("unrtf", "--html", "--nopict", file).Output()
	if err != nil {
		t.Fatalf("unrtf: %v (./test/run install)", err)
	}
	_, body, _ := strings.Cut(string(out), "<body>")
	return withoutBlanks(html.UnescapeString(tags.ReplaceAllString(comments.ReplaceAllString(body, ""), "")))
}

func withoutBlanks(text string) string { return blanks.ReplaceAllString(text, "") }

// TestUnrtfReadsTexts: what is encapsulated is the same text for who does not know it.
func TestUnrtfReadsTexts(t *testing.T) {
	for _, text := range []string{
		"Plain text\nof {two} lines\\\n", "é€ü “quoted” – 日本語\tend", "\\par \\'e4 \\u8364? {\\b}", strings.Repeat("many words ", 1000) + "\n",
	} {
		if got := unrtf(t, encapsulateText(t, text)); got != withoutBlanks(text) {
			t.Errorf("%q, want %q", got, withoutBlanks(text))
		}
	}
}

func TestUnrtfReadsHTML(t *testing.T) {
	for _, c := range []struct{ html, text string }{
		{"<p>A <b>bold</b> word &amp; a &lt;tag&gt;</p>\n<p>é€&uuml;&nbsp;日本</p>", "A bold word & a <tag> é€ü日本"},
		{"<html><head><title>no</title><style>p { color: red }</style><script>no()</script></head><body><!-- no -->yes<br>and {yes}\\</body></html>", "yes and {yes}\\"},
		{"<ul><li>one</li><li>two</li></ul><table><tr><td>1</td><td>2</td></tr></table><pre>a\n b</pre>", "one two 1 2 a b"},
		{htmlExampleInside, "Note the line break inside a P tag. This is a bold text This is a normal text with a character references: < ¨ characters which have special meaning in RTF: {}\\ This is a list item"},
	} {
		rtf := encapsulate(t, c.html)
		if got := unrtf(t, rtf); got != withoutBlanks(c.text) {
			t.Errorf("%q, want %q\n%s", got, withoutBlanks(c.text), rtf)
		}
	}
}

// notAsUnrtf are the places where unrtf 0.21.10 is wrong, by what it has there.
var notAsUnrtf = map[string]*strings.Replacer{
	// It has a word of its own for what a link is named, and loses a word behind \uc0 and \uN (RTF 1.9.1, "Unicode RTF").
	"textedit.rtf":     strings.NewReplacer("hyperlinkend", "named<https://example.com/>end", "€andλ", "€5andλx"),
	"outlook-html.rtf": strings.NewReplacer("hyperlink", "https://example.com/?a=1&b=2", "€", "€5"),
	// It leaves a control character as it is, which can only be an octet of Windows-1252.
	"outlook.rtf": strings.NewReplacer("\u0080", "€"),
}

// TestAsUnrtf: documents as Word, Outlook, WordPad, LibreOffice and TextEdit write them have the text that unrtf finds.
func TestAsUnrtf(t *testing.T) {
	files, err := filepath.Glob("testdata/*.rtf")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			rtf, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := unrtf(t, string(rtf))
			if right := notAsUnrtf[filepath.Base(file)]; right != nil {
				want = right.Replace(want)
			}
			text := toText(t, string(rtf))
			if got := withoutBlanks(text); got != want {
				t.Errorf("%s\nunrtf %s", got, want)
			}
			if html := toHTML(t, string(rtf)); !strings.Contains(string(rtf), "fromhtml") {
				wellFormed(t, html)
			}
			golden, err := os.ReadFile(strings.TrimSuffix(file, ".rtf") + ".txt")
			if err != nil || crlf(string(golden)) != text {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}
