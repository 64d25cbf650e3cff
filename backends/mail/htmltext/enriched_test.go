package htmltext

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEnriched(t *testing.T) {
	for enriched, want := range map[string]string{
		"": "",
		"<bold>Now</bold> is the time\r\nfor <<all>\r\n\r\n\r\nmen": "<b>Now</b> is the time\r\nfor &lt;all&gt;<br>\r\n<br>\r\nmen",
		"<color><param>red</param>Blood</color> & <unknown>x":       "Blood &amp; x",
		"<nofill>a\r\nb</nofill>\r\nc":                              "a<br>\r\nb\r\nc",
		"a < b <bold>c":                                             "a &lt; b <b>c</b>",
		"<italic><bold>a</italic>b":                                 "<i><b>ab</b></i>",
		"a<bo":                                                      "a&lt;bo",
		"<param>never ended":                                        "",
	} {
		var b strings.Builder
		if err := Enriched(&b, iotest.OneByteReader(strings.NewReader(enriched))); err != nil {
			t.Fatal(err)
		}
		got := strings.TrimSuffix(strings.TrimPrefix(b.String(), "<html><body>\r\n"), "\r\n</body></html>\r\n")
		if got != want {
			t.Errorf("%q: %q, want %q", enriched, got, want)
		}
	}
	if err := Enriched(io.Discard, iotest.ErrReader(errors.ErrUnsupported)); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if err := Enriched(failing{}, strings.NewReader("text")); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
