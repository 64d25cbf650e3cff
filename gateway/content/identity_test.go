package content

import (
	"net/mail"
	"testing"
	"time"
)

// TestIdentity: a Date is read as net/mail reads it, in the usual form and in others.
func TestIdentity(t *testing.T) {
	for _, date := range []string{
		"Mon, 30 Nov 2026 01:02:03 +0000", "Mon,  2 Nov 2026 01:02:03 -0930", "Tue, 3 Mar 2026 23:59:60 +0100", "Sat, 31 Feb 2026 01:02:03 +0000",
		"30 Nov 2026 01:02:03 +0000", "Mon, 30 Nov 2026 01:02 +0000", "Mon, 30 Nov 26 01:02:03 GMT", "Mon, 30 Nov 2026 01:02:03 +0100 (CET)",
		"Mon, 30 Nov 2026 01:02:03", "2026-11-30", "soon", "",
	} {
		want, err := mail.ParseDate(date)
		if err != nil {
			want = time.Time{}
		}
		named, dated := Identity([]byte("From: a@b.example\r\nDate: " + date + "\r\nMessage-ID: <x@y>\r\n\r\nDate: none\r\n"))
		if !named || !dated.Equal(want) {
			t.Errorf("%q: %v, not %v", date, dated, want)
		}
	}
	for message, want := range map[string]bool{"Message-ID: <>\r\n\r\n": false, "Message-ID:\r\n\r\n": false, "Subject: x\r\n\r\nMessage-ID: <x@y>\r\n": false, "message-id: <x@y>": true} {
		if named, dated := Identity([]byte(message)); named != want || !dated.IsZero() {
			t.Errorf("%q: %v, %v", message, named, dated)
		}
	}
}
