//go:build linux

package stores

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/test/harness"
)

// notCanonical are messages as another program may have put them into a store: without a last CRLF,
// or with a bare LF.
func notCanonical() [][]byte {
	long := "Subject: long\r\n\r\n" + strings.Repeat("a line of thirty-two octets....\r\n", 20_000)
	texts := []string{
		"Subject: plain\r\n\r\nbody\r\n",
		"Subject: no last line end\r\n\r\nbody",
		"Subject: bare LF\r\n\r\none\ntwo\nthree\r\n",
		"Subject: nothing but LF\n\none\ntwo\n",
		long,
		long + "the end",
		long + "one\ntwo\nthree\r\n",
		"Subject: plain, too\r\n\r\nbody\r\n",
		"Subject: the last\r\n\r\nand it has no last line end",
	}
	messages := make([][]byte, len(texts))
	for i, text := range texts {
		messages[i] = []byte(text)
	}
	return messages
}

// testNotCanonical: such messages are served whole, and told with the size that they are sent with:
// from the next session on, or where all sizes are measured from the first.
func testNotCanonical(t *testing.T, s store) {
	mapping := s.mapping()
	mapping["mailboxes"] = []any{harness.Mapping{"address": address("measured"), "policy": harness.Mapping{"sizes": "measure"}}}
	g := front(t, mapping)
	for _, name := range []string{"odd", "measured"} {
		own := dialIMAP(t, s.imap, name)
		taken := 0
		for _, message := range notCanonical() {
			if err := own.append(message); err != nil {
				t.Logf("the store refuses %.30q: %v", message, err)
				continue
			}
			taken++
		}
		own = dialIMAP(t, s.imap, name) // a session does not learn at once of what it was given itself
		for session := range 3 {
			readNotCanonical(t, g, name, own, taken, session > 0 || name == "measured")
		}
	}
}

func readNotCanonical(t *testing.T, g *harness.Gateway, name string, own other, count int, told bool) {
	t.Helper()
	p := login(t, g, name)
	defer p.Quit()
	sizes, err := p.List()
	if err != nil || len(sizes) != count {
		t.Fatalf("%s: %d messages are listed (%v), and there are %d", name, len(sizes), err, count)
	}
	for n := 1; n <= count; n++ {
		want := canonical(t, own.body(t, n))
		got, err := p.Retr(n)
		if err != nil {
			t.Fatalf("%s: message %d, %.40q, of %d octets: %v", name, n, want, len(want), err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: message %d is not what the store has: %s", name, n, difference(got, want))
		}
		if told && sizes[n] != int64(len(got)) {
			t.Errorf("%s: of message %d LIST says %d octets, and RETR gives %d", name, n, sizes[n], len(got))
		}
	}
}

// canonical is a message with CRLF at the end of each line.
func canonical(t *testing.T, message []byte) []byte {
	t.Helper()
	all, err := io.ReadAll(crlf.NewReader(bytes.NewReader(message)))
	if err != nil {
		t.Fatal(err)
	}
	return all
}
