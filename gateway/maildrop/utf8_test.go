package maildrop_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/gateway/pop3"
)

// UTF8 is offered because the sessions say that they have it (RFC 6856 §2).
func TestSessionsHaveUTF8(t *testing.T) {
	g := newGateway(t)
	s, ok := g.session().(pop3.UTF8Session)
	if !ok {
		t.Fatal("UTF8 would not be offered")
	}
	if err := s.EnableUTF8(t.Context()); err != nil {
		t.Error(err)
	}
	if user := g.login().User; user == "" {
		t.Error("the log would not say whose maildrop it is")
	}
}

// TestUTF8 shows a message with UTF-8 in its header to a client that has asked for it, and to one
// that has not; the size that was told is right for both (RFC 6856 §2, I6).
func TestUTF8(t *testing.T) {
	const message = "Received: from a.example by b.example; Mon, 09 Nov 2026 08:01:02 +0100\r\nDKIM-Signature: v=1; b=AAAA\r\nSubject: Grüße aus Köln\r\n\r\nGrüße\r\n"
	for _, writerTo := range []bool{true, false} {
		g := newGateway(t)
		g.store.writerTo = writerTo
		g.store.add("m1", message)
		g.store.add("m2", letter)
		dial := g.serve()
		for name, utf8 := range map[string]bool{"with UTF8": true, "without": false} {
			conn := dial()
			if utf8 {
				ask(t, conn, "UTF8", "+OK")
			}
			ask(t, conn, "USER alice", "+OK")
			ask(t, conn, "PASS sesame", "+OK")
			ask(t, conn, "LIST 1", "+OK 1 "+strconv.Itoa(len(message)))
			ask(t, conn, "RETR 1", "+OK "+strconv.Itoa(len(message))+" octets")
			got := strings.ReplaceAll(lines(t, conn), "|", "\r\n") + "\r\n"
			if len(got) != len(message) {
				t.Errorf("%s: %d octets came, not %d", name, len(got), len(message))
			}
			header, body, _ := strings.Cut(got, "\r\n\r\n")
			if plain := strings.Trim(header, "\x00\r\n\t !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~") == ""; plain == utf8 {
				t.Errorf("%s: the header is %q", name, header)
			}
			if utf8 && got != message || body != "Grüße\r\n" {
				t.Errorf("%s: got %q", name, got)
			}
			ask(t, conn, "TOP 1 0", "+OK")
			if top := strings.ReplaceAll(lines(t, conn), "|", "\r\n"); !strings.HasPrefix(top, header+"\r\n") {
				t.Errorf("%s: TOP has %q, and RETR %q", name, top, header)
			}
			ask(t, conn, "RETR 2", "+OK")
			if other := strings.ReplaceAll(lines(t, conn), "|", "\r\n") + "\r\n"; other != letter {
				t.Errorf("%s: a message without UTF-8 came as %q", name, other)
			}
			ask(t, conn, "QUIT", "+OK")
		}
	}
}

// TestLastOfTheStore: what the store has marked as read counts for LAST (RFC 1460).
func TestLastOfTheStore(t *testing.T) {
	for _, c := range []struct {
		ids  string
		seen int // the last that is marked
		want int
	}{
		{"a b c", 0, 0},
		{"a b c", 2, 2},
		{"a a b c", 3, 2}, // one that is listed twice is left out
		{"", 0, 0},
	} {
		g := newGateway(t)
		for i, id := range strings.Fields(c.ids) {
			g.store.add(id, letter)
			g.store.entries[i].Seen = i == 0 && c.seen > 0 || i+1 == c.seen
		}
		if got := g.login().Accessed; got != c.want {
			t.Errorf("of %q, %d marked: %d", c.ids, c.seen, got)
		}
	}
}
