package rtf

import (
	"io"
	"strings"
	"testing"
)

type converter func(*Document, io.Writer) (Report, error)

// convert converts a document that is whole.
func convert(t testing.TB, rtf string, o Options, how converter) (string, Report) {
	t.Helper()
	d, err := Open(strings.NewReader(rtf), o)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	report, err := how(d, &out)
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), report
}

func toHTML(t testing.TB, rtf string) string {
	t.Helper()
	html, _ := convert(t, rtf, Options{}, (*Document).WriteHTML)
	return html
}

func toText(t testing.TB, rtf string) string {
	t.Helper()
	text, _ := convert(t, rtf, Options{}, (*Document).WriteText)
	return text
}

func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
