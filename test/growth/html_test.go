//go:build linux

package growth

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/htmltext"
)

// webpages are HTML that becomes text.
var webpages = []pass{
	webpage("text", 2000, "a "),
	webpage("letters without a blank", 2000, "a"),
	webpage("tags without an end", 1000, "<a "),
	webpage("attributes", 1000, "<a b=c d href='http://a.example/'>e"),
	webpage("what begins tags", 1000, "<"),
	webpage("comments", 1000, "<!-- a -"),
	webpage("scripts", 500, "<script></scrip</script>"),
	webpage("references", 1000, "&amp;&#228;&a"),
	webpage("lists in lists", 500, "<ul><li>a"),
	webpage("quotes in quotes", 500, "<blockquote>a"),
	webpage("tables in tables", 500, "<table><tr><td>a"),
	webpage("empty lines", 1000, "<br>"),
	webpage("commands of text/enriched", 1000, "<bold><param>a</param>b</italic><<"),
	webpage("links in links", 500, "<a href=http://a>b"),
}

// webpage is a text many times, as HTML, and with its lines wrapped.
func webpage(name string, n int, text string) pass {
	return pass{"HTML: " + name, n, func(t *testing.T, n int) {
		html := strings.Repeat(text, n)
		w := htmltext.NewWrapper(io.Discard, 72)
		if err := errors.Join(htmltext.Text(w, strings.NewReader(html)), htmltext.HTML(w, strings.NewReader(html)), htmltext.Enriched(w, strings.NewReader(html)), w.Close()); err != nil {
			t.Fatal(err)
		}
	}}
}
