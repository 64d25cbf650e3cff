package routing_test

import (
	"net/mail"
	"strings"
	"testing"
)

// TestFirstLine: what a client sends never goes on with the gateway's own trace field. The first
// line is a field, or the header is empty.
func TestFirstLine(t *testing.T) {
	const to = "bob@sakes.example"
	for _, c := range []struct{ name, message, want string }{
		{"a field", "Subject: x\r\n\r\nbody\r\n", "Subject: x\r\n\r\nbody\r\n"},
		{"a field with white space before its colon", "Subject : x\r\n\r\n", "Subject : x\r\n\r\n"},
		{"a field that is empty", "X:\r\n\r\n", "X:\r\n\r\n"},
		{"an empty header", "\r\nbody\r\n", "\r\nbody\r\n"},
		{"nothing", "", ""},
		{"a blank", " by evil.example; x\r\nSubject: x\r\n\r\nbody\r\n", "\r\n by evil.example; x\r\nSubject: x\r\n\r\nbody\r\n"},
		{"a tab", "\tby evil.example\r\n\r\nbody\r\n", "\r\n\tby evil.example\r\n\r\nbody\r\n"},
		{"blanks alone", "  \r\nSubject: x\r\n\r\n", "\r\n  \r\nSubject: x\r\n\r\n"},
		{"a blank and a field", " Subject: x\r\n\r\n", "\r\n Subject: x\r\n\r\n"},
		{"no colon", "hello\r\nSubject: x\r\n", "\r\nhello\r\nSubject: x\r\n"},
		{"a colon alone", ": x\r\n\r\n", "\r\n: x\r\n\r\n"},
		{"words before a colon", "see this: x\r\n", "\r\nsee this: x\r\n"},
		{"UTF-8 before a colon", "Gr\u00fc\u00dfe: x\r\n", "\r\nGr\u00fc\u00dfe: x\r\n"},
		{"a name without an end", strings.Repeat("x", 5000) + ": y\r\n", "\r\n" + strings.Repeat("x", 5000) + ": y\r\n"},
		{"a line of an mbox file", "From a@b.example Sun Nov 29 17:00:00 2026\r\nSubject: x\r\n\r\n", "X-Mailbox-Line: From a@b.example Sun Nov 29 17:00:00 2026\r\nSubject: x\r\n\r\n"},
		{"a quoted one", ">From a@b.example\r\nSubject: x\r\n\r\n", "X-Mailbox-Line: >From a@b.example\r\nSubject: x\r\n\r\n"},
		{"a Return-Path that the client brings", "Return-Path: <a@b.example>\r\nSubject: x\r\n\r\n", "Subject: x\r\n\r\n"},
		{"several, folded, of any case", "Subject: x\r\nRETURN-path :\r\n <a@b>\r\n\tx\r\nreturn-path: y\r\nTo: z\r\n\r\n", "Subject: x\r\nTo: z\r\n\r\n"},
		{"in the body", "Subject: x\r\n\r\nReturn-Path: <a@b>\r\n", "Subject: x\r\n\r\nReturn-Path: <a@b>\r\n"},
		{"in a body without a header", " x\r\nReturn-Path: <a@b>\r\n", "\r\n x\r\nReturn-Path: <a@b>\r\n"},
		{"behind a line that is none", "Subject: x\r\nhello\r\nReturn-Path: <a@b>\r\n\r\n", "Subject: x\r\nhello\r\n\r\n"},
		{"one with a long line", "Return-Path: " + strings.Repeat("x", 9000) + "\r\nSubject: x\r\n\r\n", "Subject: x\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, memory := range []int{1, 20, 1 << 20} {
				g := newGateway(t)
				g.options.Buffers.MemoryMost = memory
				if got := send(t, g.mx(), "carol@far.example", []string{to}, c.message); got != "250" {
					t.Fatal(got)
				}
				got := g.sakes.copies[to][0]
				rest := strings.TrimPrefix(got, lastTrace())
				if rest == got || rest != c.want {
					t.Fatalf("stored is %.300q", got)
				}
				if size := g.sakes.delivered[0].Size; size != int64(len(got)) {
					t.Errorf("%d octets were announced, and %d came", size, len(got))
				}
				if m, err := mail.ReadMessage(strings.NewReader(got + "\r\n")); err == nil && strings.Contains(m.Header.Get("Received"), "evil") {
					t.Errorf("the trace says %q", m.Header.Get("Received"))
				}
			}
		})
	}
}

// TestHeaderErrorCountsTheClientsLines: the gateway's own fields are not counted.
func TestHeaderErrorCountsTheClientsLines(t *testing.T) {
	for message, want := range map[string]string{
		" x\r\nFrom: alice@sakes.example\r\n\r\n":            "line 1 of the header is not a header field",
		"From: alice@sakes.example\r\nhello\r\n\r\n":         "line 2 of the header is not a header field",
		"From: alice@sakes.example\r\n\tx\r\n:\r\nx\r\n\r\n": "line 3 of the header is not a header field",
	} {
		g := newGateway(t)
		code, text := sendText(t, g.submission(), "alice@sakes.example", []string{"bob@sakes.example"}, message)
		if code != "550 5.6.0" || !strings.HasSuffix(text, want) {
			t.Errorf("%q is answered %s %s", message, code, text)
		}
	}
}

// TestHeaderLimitOfSubmission: the limit is the configured one, for mail that is submitted, too.
func TestHeaderLimitOfSubmission(t *testing.T) {
	for _, c := range []struct {
		name         string
		most         int64
		lines        int // of 1000 octets
		want, reason string
	}{
		{"the default", 0, 500, "250", ""},
		{"over the default", 0, 600, "552 5.3.4", "too large"},
		{"more is allowed", 1 << 20, 1000, "250", ""},
		{"less is allowed", 16 << 10, 20, "552 5.3.4", "too large"},
		{"too many fields", 1 << 20, -1, "552 5.3.4", "too many fields"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t)
			g.options.HeaderMost = c.most
			fields := strings.Repeat("X: "+strings.Repeat("x", 995)+"\r\n", max(c.lines, 0))
			if c.lines < 0 {
				fields = strings.Repeat("a:\r\n", 10_001)
			}
			reply, text := sendText(t, g.submission(), "alice@sakes.example", []string{"bob@sakes.example"}, fields+"From: alice@sakes.example\r\n\r\n")
			if reply != c.want || !strings.Contains(text, c.reason) {
				t.Errorf("answered %s %s", reply, text)
			}
		})
	}
}
