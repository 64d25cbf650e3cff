//go:build linux

package internet

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// large is more than 30 MB of lines, each another one, as long as they may be (RFC 5322 §2.1.1).
var large = sync.OnceValue(func() string {
	var body strings.Builder
	for n := 0; body.Len() < 30_000_000; n++ {
		fmt.Fprintf(&body, "%0998d\r\n", n*7919)
	}
	return "Content-Type: text/plain\r\n\r\n" + body.String()
})

// largeMail goes to the other server and comes back, by mailboxes that have nothing else.
func (w *world) largeMail(t *testing.T) {
	dora, pat, large := "dora@sakes.example", "pat@dcnw.example", large()
	for _, way := range [][2]string{{dora, pat}, {pat, dora}} {
		from, to := way[0], way[1]
		sent := letter(from, "<"+to+">", "30 MB", "", large)
		w.send(t, harness.Envelope{From: from, To: []string{to}, Size: int64(len(sent))}, strings.NewReader(sent))
		got := w.at(to).await(t, "Subject: 30 MB")
		if _, body, _ := bytes.Cut(got, []byte("\r\n\r\n")); string(body) != large[strings.Index(large, "\r\n\r\n")+4:] {
			t.Errorf("from %s to %s, %d octets came as %d", from, to, len(sent), len(got))
		}
	}
}
