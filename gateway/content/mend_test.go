package content_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/gateway/content"
)

// mend runs a whole message through all that is done for scripts and devices.
func mend(t *testing.T, message, author string) (string, error) {
	t.Helper()
	h, size, err := content.ReadSubmitted(func() io.Reader { return strings.NewReader(message) }, 1000)
	if err != nil {
		return "", err
	}
	s := submission()
	s.DropEmpty, s.Author = true, author
	if err := s.Apply(h); err != nil {
		return "", err
	}
	out, err := io.ReadAll(h.Reader())
	if err == nil && int64(len(out)) != h.Size() {
		err = errors.New("Size is not the size")
	}
	return string(out) + message[size:], err
}

// TestMended: what a header has to have and a script or a device leaves out is added, and what says
// nothing goes (RFC 6409 §8); the body is not touched.
func TestMended(t *testing.T) {
	const from = "From: alice@sakes.example\r\n"
	const added = from + date + id
	for _, c := range []struct{ name, in, want string }{
		{"nothing to do", from + "Date: x\r\nMessage-ID: <y>\r\n\r\nB\r\n", from + "Date: x\r\nMessage-ID: <y>\r\n\r\nB\r\n"},
		{"empty Date", from + "Date:\r\n\r\nB\r\n", added + "\r\nB\r\n"},
		{"Date of blanks, folded", from + "Date:  \r\n \t\r\n\r\nB\r\n", added + "\r\nB\r\n"},
		{"a Date that is a comment", from + "Date: (none)\r\n\r\n", added + "\r\n"},
		{"two Dates, one empty", from + "Date:\r\nDate: x\r\n\r\n", from + "Date: x\r\n" + id + "\r\n"},
		{"empty Sender", from + "Sender:\r\n\r\nB\r\n", added + "\r\nB\r\n"},
		{"Sender of nothing", from + "Sender: <>\r\n\r\nB\r\n", added + "\r\nB\r\n"},
		{"two Senders, one empty", from + "Sender: \r\nSender: alice@sakes.example\r\n\r\n", from + "Sender: alice@sakes.example\r\n" + date + id + "\r\n"},
		{"empty Message-ID", from + "Message-ID: <>\r\n\r\n", added + "\r\n"},
		{"empty recipients", from + "To:\r\nCc: \r\nReply-To:\r\n\r\n", added + "\r\n"},
		{"an empty Subject is one", from + "Subject:\r\n\r\n", from + "Subject:\r\n" + date + id + "\r\n"},
		{"no From", "Subject: x\r\n\r\nB\r\n", "Subject: x\r\n" + added + "\r\nB\r\n"},
		{"empty From", "From:\r\nSubject: x\r\n\r\nB\r\n", "Subject: x\r\n" + added + "\r\nB\r\n"},
		{"From of nothing", "From: <>\r\n\r\nB\r\n", added + "\r\nB\r\n"},
		{"two Froms, one empty", "From:\r\n" + from + "\r\n", added + "\r\n"},
		{"a name alone", "From: Scanner\r\n\r\nB\r\n", "From: Scanner <alice@sakes.example>\r\n" + date + id + "\r\nB\r\n"},
		{"no From, no body", "Subject: x\r\n", "Subject: x\r\n" + added},
		{"a field that ends with the message", "Subject: x", "Subject: x\r\n" + added},
		{"a blank first line", "\r\nB\r\n", added + "\r\nB\r\n"},
		{"fields behind a blank line", "\r\nFrom: bob@far.example\r\nBcc: x\r\n\r\nB\r\n", added + "\r\nFrom: bob@far.example\r\nBcc: x\r\n\r\nB\r\n"},
		{"a first line of blanks", " \t\r\nFrom: bob@far.example\r\n\r\nB\r\n", added + "\r\nFrom: bob@far.example\r\n\r\nB\r\n"},
		{"several blank lines", "\r\n\r\nB\r\n", added + "\r\n\r\nB\r\n"},
		{"nothing at all", "", added},
		{"text alone", "Battery is low\r\nLevel: 3\r\n", added + "\r\nBattery is low\r\nLevel: 3\r\n"},
		{"text that is indented", "  Battery is low\r\n\r\nFrom: x\r\n", added + "\r\n  Battery is low\r\n\r\nFrom: x\r\n"},
		{"text without an end", "Battery is low", added + "\r\nBattery is low"},
		{"a line of an mbox file", "From alice Sun Nov 22 12:00:00 2026\r\n" + from + "\r\nB\r\n", added + "\r\nB\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := mend(t, c.in, "alice@sakes.example")
			if err != nil || got != c.want {
				t.Errorf("%v\ngot  %q\nwant %q", err, got, c.want)
			}
		})
	}
}

// TestNotMended: what is somebody else's, or a header that is broken, is refused as ever.
func TestNotMended(t *testing.T) {
	for _, c := range []struct {
		name, in, author string
		check            func(error) bool
	}{
		{"nobody's From to add", "Subject: x\r\n\r\n", "", sameAs(content.ErrNoFrom)},
		{"empty From, nobody's to add", "From:\r\n\r\n", "", sameAs(content.ErrNoFrom)},
		{"an author that is not the account", "Subject: x\r\n\r\n", "bob@far.example", is[*content.NotOwnedError]},
		{"somebody else's From stays", "From: bob@far.example\r\n\r\n", "alice@sakes.example", is[*content.NotOwnedError]},
		{"somebody else's Sender, and an empty one", "From: alice@sakes.example\r\nSender:\r\nSender: bob@far.example\r\n\r\n", "alice@sakes.example", is[*content.NotOwnedError]},
		{"two Senders", "From: alice@sakes.example\r\nSender: a@b\r\nSender: c@d\r\n\r\n", "alice@sakes.example", sameAs(content.ErrTwice)},
		{"a From in which there is no address, nobody's to add", "From: Scanner\r\n\r\n", "", is[*content.AddressError]},
		{"a broken header is no text", "Hello\r\nBcc: eve@far.example\r\n\r\n", "alice@sakes.example", is[*header.MalformedError]},
		{"nor if it is indented", " x\r\n From: alice@sakes.example\r\n\r\n", "alice@sakes.example", is[*header.MalformedError]},
		{"broken further down", "Subject: x\r\nHello\r\n\r\n", "alice@sakes.example", is[*header.MalformedError]},
		{"broken behind a line of an mbox file", "From alice\r\nHello\r\n\r\n", "alice@sakes.example", is[*header.MalformedError]},
		{"a header too large", "X: " + strings.Repeat("x", 1000) + "\r\n", "alice@sakes.example", sameAs(header.ErrTooLarge)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := mend(t, c.in, c.author); !c.check(err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
