//go:build libreoffice

package rtf

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// libreOffice is the text that LibreOffice finds in RTF, without blanks. test/peers/libreoffice installs it.
func libreOffice(t *testing.T, rtf string) string {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, "x.rtf")
	if err := os.WriteFile(file, []byte(rtf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("soffice", "-env:UserInstallation=file://"+filepath.Join(folder, "profile"), "--headless", "--convert-to", "txt:Text (encoded):UTF8", "--outdir", folder, file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("soffice: %v (test/peers/libreoffice)\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(folder, "x.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return withoutBlanks(strings.TrimPrefix(string(text), "\ufeff"))
}

// TestLibreOfficeReads: what is encapsulated is the same text for LibreOffice, which knows RTF best of all that is free.
func TestLibreOfficeReads(t *testing.T) {
	for _, text := range []string{
		"Plain text\nof {two} lines\\\n", "é€ü “quoted” – 日本語\tend", "\\par \\'e4 \\u8364? {\\b}", strings.Repeat("many words ", 1000) + "\n",
	} {
		if got := libreOffice(t, encapsulateText(t, text)); got != withoutBlanks(text) {
			t.Errorf("%q, want %q", got, withoutBlanks(text))
		}
	}
	for html, text := range map[string]string{
		"<p>A <b>bold</b> word &amp; a &lt;tag&gt;</p>\n<p>é€&uuml;&nbsp;日本</p>":     "A bold word & a <tag> é€ü日本",
		"<html><head><title>no</title></head><body>yes<br>and {yes}\\</body></html>": "yes and {yes}\\",
	} {
		if got := libreOffice(t, encapsulate(t, html)); got != withoutBlanks(text) {
			t.Errorf("%q, want %q", got, withoutBlanks(text))
		}
	}
}

// TestAsLibreOffice: documents that were written as RTF have the same text here and there.
func TestAsLibreOffice(t *testing.T) {
	for _, rtf := range []string{
		`{\rtf1\ansi\ansicpg1252 Gr\'fc\'dfe, {\b bold} and {\i\ul both}\par second\line line\par}`,
		`{\rtf1\ansi\ansicpg1251{\fonttbl{\f0\fcharset204 Arial;}}\f0 \'cf\'f0\'e8\'e2\'e5\'f2 \u8364?\par}`,
		`{\rtf1\ansi\ansicpg932{\fonttbl{\f0\fcharset128 MS Gothic;}}\f0 \'93\'fa\'96\'7b\par}`,
		`{\rtf1\ansi before and after {\field{\*\fldinst HYPERLINK "http://a.example/"}{\fldrslt the link}}\par}`,
		`{\rtf1\ansi\trowd\cellx1000\cellx2000 one\cell two\cell\row\pard end\par}`,
	} {
		ours := strings.ReplaceAll(withoutBlanks(toText(t, rtf)), "<http://a.example/>", "")
		if theirs := libreOffice(t, rtf); ours != theirs {
			t.Errorf("%q, and LibreOffice has %q", ours, theirs)
		}
	}
}
