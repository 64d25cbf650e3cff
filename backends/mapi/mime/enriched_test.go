package mime

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
)

// TestEnriched: text/enriched is read as HTML where there is none, and is a file beside it.
func TestEnriched(t *testing.T) {
	const head, enriched = "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nplain", "\r\n--b\r\nContent-Type: text/enriched; charset=iso-8859-1\r\n\r\n<bold>\xe4</bold>"
	const made = "<html><body>\r\n<b>\u00e4</b>\r\n</body></html>\r\n"
	for _, c := range []struct {
		message, plain, html string
		attachments          int
	}{
		{"Content-Type: text/enriched\r\n\r\n<bold>\u00e4</bold>", "", made, 0},
		{head + enriched + "\r\n--b--\r\n", "plain", made, 0},
		{head + enriched + "\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>x\r\n--b--\r\n", "plain", "<p>x", 1},
		{head + "\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>x" + enriched + "\r\n--b--\r\n", "plain", "<p>x", 1},
	} {
		m := convert(t, Reader{Skeleton: true}, []byte(c.message))
		if m.Text(mapi.PidTagBody) != c.plain || string(m.Bytes(mapi.PidTagHtml)) != c.html || len(m.Attachments) != c.attachments {
			t.Errorf("%q: %q, %q and %d attachments", c.message, m.Text(mapi.PidTagBody), m.Bytes(mapi.PidTagHtml), len(m.Attachments))
		}
		if got := string(twice(t, asItCame, m)); got != c.message {
			t.Errorf("%q became %q", c.message, got)
		}
		m.Set(mapi.PidTagHtml, mapi.Binary("<p>new"))
		if got := string(twice(t, asItCame, m)); !strings.Contains(got, "<p>new") {
			t.Errorf("%q became %q, and was changed", c.message, got)
		}
	}
}
