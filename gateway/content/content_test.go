package content_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/gateway/content"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.FixedZone("", 3600))

func submission() content.Submission {
	return content.Submission{
		MayWrite: func(m address.Mailbox) bool {
			return strings.EqualFold(m.Local, "alice") && m.Domain == "sakes.example" || m.Domain == "shared.example"
		},
		Date: noon, MessageID: "k1@mail.sakes.example",
	}
}

const date = "Date: Sun, 22 Nov 2026 12:00:00 +0100\r\n"

const id = "Message-ID: <k1@mail.sakes.example>\r\n"

// apply runs a whole message through the fix-ups.
func apply(message string) (string, error) {
	h, size, err := header.Read(strings.NewReader(message), header.Most)
	if err != nil {
		return "", err
	}
	if err := submission().Apply(h); err != nil {
		return "", err
	}
	out, err := io.ReadAll(h.Reader())
	if err == nil && int64(len(out)) != h.Size() {
		err = errors.New("Size is not the size")
	}
	return string(out) + message[size:], err
}

func TestApply(t *testing.T) {
	const from = "From: Alice <alice@sakes.example>\r\n"
	const whole = date + id
	for _, test := range []struct{ name, in, want string }{
		{"nothing to do", from + whole + "\r\nBody\r\n", from + whole + "\r\nBody\r\n"},
		{"date and id are added at the end", from + "Subject: x\r\n\r\nBody\r\n", from + "Subject: x\r\n" + date + id + "\r\nBody\r\n"},
		{"only the id is missing", date + from + "\r\n", date + from + id + "\r\n"},
		{"names in other letters", from + "DATE: x\r\nmessage-id: <y>\r\n\r\n", from + "DATE: x\r\nmessage-id: <y>\r\n\r\n"},
		{"Bcc goes", from + "Bcc: bob@far.example\r\n" + whole + "\r\n", from + whole + "\r\n"},
		{"folded Bcc goes whole", from + "Bcc: bob@far.example,\r\n\tcarol@far.example\r\n  \r\n" + whole + "\r\n", from + whole + "\r\n"},
		{"every Bcc goes", "BCC: a@b\r\n" + from + "bcc: c@d\r\nResent-Bcc: e@f\r\n" + whole + "\r\n", from + whole + "\r\n"},
		{"Bcc with a space before its colon goes", from + "Bcc \t: a@b\r\n" + whole + "\r\n", from + whole + "\r\n"},
		{"Bcc in the body stays", from + whole + "\r\nBcc: a@b\r\n", from + whole + "\r\nBcc: a@b\r\n"},
		{"what only looks like Bcc stays", from + "X-Bcc: a@b\r\nBcc-X: c@d\r\n" + whole + "\r\n", from + "X-Bcc: a@b\r\nBcc-X: c@d\r\n" + whole + "\r\n"},
		{"folding, spaces and 8-bit stay", "Subject:  a\r\n\t b  \r\nX-8: \xe4\r\n" + from + whole + "\r\n\xff\r\n", "Subject:  a\r\n\t b  \r\nX-8: \xe4\r\n" + from + whole + "\r\n\xff\r\n"},
		{"no body", from, from + date + id},
		{"no empty body line", from + whole, from + whole},
		{"empty body", from + whole + "\r\n", from + whole + "\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := apply(test.in)
			if err != nil || got != test.want {
				t.Errorf("%v\ngot  %q\nwant %q", err, got, test.want)
			}
		})
	}
}

func TestOwnership(t *testing.T) {
	type notOwned = *content.NotOwnedError
	type unreadable = *content.AddressError
	for _, test := range []struct {
		name, header string
		check        func(error) bool
	}{
		{"own address", "From: alice@sakes.example", nil},
		{"own address in other letters", "From: ALICE@Sakes.Example", nil},
		{"own address, quoted", `From: "Alice" <"alice"@sakes.example>`, nil},
		{"an address of an own domain", "From: anything@shared.example", nil},
		{"two authors, both own", "From: alice@sakes.example, x@shared.example\r\nSender: alice@sakes.example", nil},
		{"comments", "From: (x) Alice (bob@far.example) <alice@sakes.example> (y)", nil},
		{"comments with quotes, nested", `From: alice@sakes.example (he said: "\"(\) <bob@far.example>))`, nil},
		{"comment in quotes is none", `From: "(" <alice@sakes.example>`, nil},
		{"foreign address as the name", `From: "bob@far.example" <alice@sakes.example>`, nil},
		{"charset unknown to anybody", "From: =?x-klingon?B?AAAA?= <alice@sakes.example>", nil},
		{"folded", "From: Alice\r\n <alice@sakes.example>", nil},
		{"foreign From", "From: bob@far.example", is[notOwned]},
		{"neighbour", "From: bob@sakes.example", is[notOwned]},
		{"subdomain of an own domain", "From: alice@x.shared.example", is[notOwned]},
		{"one of two foreign", "From: alice@sakes.example, bob@far.example", is[notOwned]},
		{"foreign in a group", "From: us: alice@sakes.example, bob@far.example;", is[notOwned]},
		{"at in the local part", `From: "alice@sakes.example"@far.example`, is[notOwned]},
		{"foreign Sender", "From: alice@sakes.example\r\nSender: bob@far.example", is[notOwned]},
		{"Resent-From does not excuse", "From: bob@far.example\r\nResent-From: alice@sakes.example", is[notOwned]},
		{"no From", "Subject: x", sameAs(content.ErrNoFrom)},
		{"two Froms", "From: alice@sakes.example\r\nFrom: bob@far.example", sameAs(content.ErrTwice)},
		{"two Froms, one with a space", "From: alice@sakes.example\r\nfrom : bob@far.example", sameAs(content.ErrTwice)},
		{"two Senders", "From: alice@sakes.example\r\nSender: a@b\r\nSender: c@d", sameAs(content.ErrTwice)},
		{"empty From", "From:", is[unreadable]},
		{"From that is none", "From: Alice", is[unreadable]},
		{"open comment", "From: alice@sakes.example (x", is[unreadable]},
		{"own address in a comment alone", "From: (alice@sakes.example) bob@far.example", is[notOwned]},
		{"empty group", "From: undisclosed:;", is[unreadable]},
		{"domain that is none", "From: alice@-x", is[unreadable]},
		{"From too long", "From: " + strings.Repeat("a", 70_000) + "@sakes.example", is[unreadable]},
		{"Sender that is none", "From: alice@sakes.example\r\nSender: x", is[unreadable]},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := apply(test.header + "\r\n\r\nBody\r\n")
			if test.check == nil && err != nil || test.check != nil && !test.check(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func is[E error](err error) bool { _, ok := errors.AsType[E](err); return ok }

func sameAs(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }

// FuzzApply: the header is what came, less Bcc, Resent-Bcc (RFC 5322 §3.6.3) and Return-Path
// (RFC 5321 §4.4), plus Date and Message-ID where they were missing.
func FuzzApply(f *testing.F) {
	for _, seed := range []string{
		"From: alice@sakes.example\r\nBcc: x\r\n\r\nBody\r\n", "From: a\r\n\tb\r\n\r\n", "\r\nBody", "A:b\r\nBcc\t:c\r\n d\r\n\r\nBcc: e\r\n",
		"From: alice@sakes.example\nX: y\n\nz", "From: =?utf-8?q?=40?= <alice@sakes.example>\r\n",
		"Return-path: <x@y.example>\r\nFrom: alice@sakes.example\r\nResent-bcc: z\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		h, size, err := header.Read(bytes.NewReader(message), 4096)
		if err != nil {
			return
		}
		before, err := io.ReadAll(h.Reader())
		if err != nil || !bytes.Equal(before, message[:size]) {
			t.Fatalf("%q was read as %q", message[:size], before)
		}
		want := applied(h)
		if submission().Apply(h) != nil {
			return
		}
		after, err := io.ReadAll(h.Reader())
		if err != nil || string(after) != want {
			t.Fatalf("%q became %q, want %q (%v)", before, after, want, err)
		}
	})
}

// applied is the reference for what Apply makes of a header that it takes.
func applied(h *header.Header) string {
	var kept strings.Builder
	missing := []string{date, id}
	for _, field := range h.Fields {
		switch strings.ToLower(field.Name) {
		case "bcc", "resent-bcc", "return-path":
			continue
		case "date":
			missing[0] = ""
		case "message-id":
			missing[1] = ""
		}
		kept.Write(field.Raw)
	}
	added := strings.Join(missing, "")
	if added != "" && kept.Len() > 0 && !strings.HasSuffix(kept.String(), "\n") {
		kept.WriteString("\r\n") // the message has ended within a field
	}
	return kept.String() + added + string(h.End)
}
