package content_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/gateway/content"
)

var deviceNow = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func box(t testing.TB, text string) address.Mailbox {
	t.Helper()
	b, err := address.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mendDevice is what becomes of a device's message.
func mendDevice(t testing.TB, d content.DeviceMail, message string) (string, error) {
	t.Helper()
	h, size, err := header.Read(strings.NewReader(message), header.Most)
	if err != nil {
		return "", err
	}
	d.Now = deviceNow
	d.Body = func() (e content.EightBit) {
		_, _ = e.Write([]byte(message[size:]))
		return e
	}
	d.Apply(h)
	out, err := io.ReadAll(h.Reader())
	return string(out) + message[size:], err
}

// TestDeviceMail: what devices write becomes what RFC 5322 and MIME have, and nothing else changes.
func TestDeviceMail(t *testing.T) {
	const good = "Date: Mon, 30 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@scanner>\r\n"
	plain := content.DeviceMail{}
	forced := content.DeviceMail{Sender: box(t, "office@sakes.example"), Keep: content.KeepReplyTo}
	original, nothing, titled := forced, forced, forced
	original.Keep, nothing.Keep, titled.Name = content.KeepOriginal, content.KeepNothing, "Scanner, 2nd floor"
	prefixed := content.DeviceMail{SubjectPrefix: "[scan]"}
	wide := content.DeviceMail{SubjectPrefix: "[Büro]"}
	greek := content.DeviceMail{Charset: "iso-8859-7"}
	for _, c := range []struct {
		name     string
		d        content.DeviceMail
		in, want string
	}{
		{"nothing to do", plain, "From: Scanner <a@b.example>\r\n" + good + "\r\nB\r\n", "From: Scanner <a@b.example>\r\n" + good + "\r\nB\r\n"},
		{"a name with a comma", plain, "From: Scanner, 2nd floor <a@b.example>\r\n" + good + "\r\n", "From: \"Scanner, 2nd floor\" <a@b.example>\r\n" + good + "\r\n"},
		{"a name in brackets", plain, "To: [Office] <a@b.example>\r\n" + good + "\r\n", "To: \"[Office]\" <a@b.example>\r\n" + good + "\r\n"},
		{"a name in Latin 1", plain, "From: B\xfcro <a@b.example>\r\n" + good + "\r\n", "From: =?utf-8?q?B=C3=BCro?= <a@b.example>\r\n" + good + "\r\n"},
		{"a name in UTF-8", plain, "From: \"Büro\" <a@b.example>\r\n" + good + "\r\n", "From: =?utf-8?q?B=C3=BCro?= <a@b.example>\r\n" + good + "\r\n"},
		{"several addresses stay", plain, "To: a@b.example, Doe, Jo <c@d.example>\r\n" + good + "\r\n", "To: a@b.example, Doe, Jo <c@d.example>\r\n" + good + "\r\n"},

		{"From is forced", forced, "From: Scanner <scan@printer.local>\r\n" + good + "\r\nB\r\n", "From: \"Scanner\" <office@sakes.example>\r\n" + good + "Reply-To: <scan@printer.local>\r\n\r\nB\r\n"},
		{"a Reply-To stays", forced, "From: scan@printer.local\r\nReply-To: x@y.example\r\n" + good + "\r\n", "From: <office@sakes.example>\r\nReply-To: x@y.example\r\n" + good + "\r\n"},
		{"the old one is kept", original, "From: Scanner <scan@printer.local>\r\nX-Original-From: ceo@far.example\r\n" + good + "\r\n", "From: \"Scanner\" <office@sakes.example>\r\n" + good + "X-Original-From: Scanner <scan@printer.local>\r\n\r\n"},
		{"the old one is kept, though nobody can read it", original, "From: B\xfcro (2nd\r\n" + good + "\r\n", "From: =?utf-8?b?QsO8cm8gKDJuZA==?= <office@sakes.example>\r\n" + good + "X-Original-From: =?utf-8?q?B=C3=BCro_(2nd?=\r\n\r\n"},
		{"the old one is not kept", nothing, "From: Scanner <scan@printer.local>\r\n" + good + "\r\n", "From: \"Scanner\" <office@sakes.example>\r\n" + good + "\r\n"},
		{"a name of the administrator's", titled, "From: x <scan@printer.local>\r\n" + good + "\r\n", "From: \"Scanner, 2nd floor\" <office@sakes.example>\r\n" + good + "Reply-To: <scan@printer.local>\r\n\r\n"},
		{"no From", forced, "Subject: x\r\n" + good + "\r\n", "Subject: x\r\n" + good + "From: <office@sakes.example>\r\n\r\n"},
		{"its own From", forced, "From: office@sakes.example\r\n" + good + "\r\n", "From: <office@sakes.example>\r\n" + good + "\r\n"},
		{"a name alone", forced, "From: Scanner\r\n" + good + "\r\n", "From: \"Scanner\" <office@sakes.example>\r\n" + good + "\r\n"},
		{"several Froms, Sender and Resent", forced, "From: ceo@far.example\r\nSender: ceo@far.example\r\nFrom: pope@far.example\r\nResent-From: ceo@far.example\r\nresent-sender: x@y.example\r\n" + good + "\r\n", "From: <office@sakes.example>\r\n" + good + "Reply-To: <ceo@far.example>\r\n\r\n"},
		{"From folded over an address", forced, "From: scan@printer.local\r\n <ceo@far.example>\r\n" + good + "\r\n", "From: <office@sakes.example>\r\n" + good + "\r\n"},
		{"From with a blank before the colon", forced, "From : ceo@far.example\r\n" + good + "\r\n", "From: <office@sakes.example>\r\n" + good + "Reply-To: <ceo@far.example>\r\n\r\n"},
		{"From that nobody can read", forced, "From: \"a <b@c\r\n" + good + "\r\n", "From: \"a\" <office@sakes.example>\r\n" + good + "\r\n"},

		{"no Date in it", plain, "Date: today\r\nMessage-ID: <1@s>\r\n\r\n", "Message-ID: <1@s>\r\nX-Original-Date: today\r\n\r\n"},
		{"a clock without a battery", plain, "Date: Thu, 01 Jan 1970 00:03:00 +0000\r\nMessage-ID: <1@s>\r\n\r\n", "Message-ID: <1@s>\r\nX-Original-Date: Thu, 01 Jan 1970 00:03:00 +0000\r\n\r\n"},
		{"no Message-ID in it", plain, "Date: Mon, 30 Nov 2026 10:00:00 +0000\r\nMessage-ID: 4711\r\n\r\n", "Date: Mon, 30 Nov 2026 10:00:00 +0000\r\n\r\n"},
		{"a Message-ID in Latin 1", plain, "Date: Mon, 30 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@B\xfcro>\r\n\r\n", "Date: Mon, 30 Nov 2026 10:00:00 +0000\r\n\r\n"},
		{"a Message-ID in UTF-8", plain, "Date: Mon, 30 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@Γραφείο>\r\n\r\n", "Date: Mon, 30 Nov 2026 10:00:00 +0000\r\n\r\n"},
		{"two Subjects", plain, good + "Subject: a\r\nSubject: b\r\n\r\n", good + "Subject: a\r\n\r\n"},

		{"a prefix", prefixed, good + "Subject: page 1\r\n\r\n", good + "Subject: [scan] page 1\r\n\r\n"},
		{"a prefix that is there", prefixed, good + "Subject: [scan] page 1\r\n\r\n", good + "Subject: [scan] page 1\r\n\r\n"},
		{"a prefix alone", prefixed, good + "\r\n", good + "Subject: [scan]\r\n\r\n"},
		{"a prefix in front of nothing", prefixed, good + "Subject:\r\n\r\n", good + "Subject: [scan]\r\n\r\n"},
		{"a prefix with an umlaut", wide, good + "Subject: page\r\n\r\n", good + "Subject: =?utf-8?q?[B=C3=BCro]?= page\r\n\r\n"},
		{"a Subject in Latin 1", plain, good + "Subject: gr\xfcn\r\n\r\n", good + "Subject: =?utf-8?q?gr=C3=BCn?=\r\n\r\n"},
		{"a Subject in Greek", greek, good + "Subject: \xe1\r\n\r\n", good + "Subject: =?utf-8?q?=CE=B1?=\r\n\r\n"},

		{"text without a charset", plain, good + "Content-Type: text/plain\r\n\r\ngr\xfcn\r\n", good + "Content-Type: text/plain; charset=windows-1252\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\ngr\xfcn\r\n"},
		{"text in UTF-8 without a type", plain, good + "\r\ngrün\r\n", good + "Content-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\ngrün\r\n"},
		{"text in Greek", greek, good + "Content-Type: text/html; x=y\r\nMIME-Version: 1.0\r\n\r\n\xe1\r\n", good + "Content-Type: text/html; x=y; charset=iso-8859-7\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe1\r\n"},
		{"text that says its charset", plain, good + "Content-Type: text/plain; charset=x\r\n\r\n\xfc\r\n", good + "Content-Type: text/plain; charset=x\r\n\r\n\xfc\r\n"},
		{"text in ASCII", plain, good + "Content-Type: text/plain\r\n\r\ngreen\r\n", good + "Content-Type: text/plain\r\n\r\ngreen\r\n"},
		{"signed mail", plain, good + "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xfc\r\n--b--\r\n", good + "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xfc\r\n--b--\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := mendDevice(t, c.d, c.in)
			if err != nil || got != c.want {
				t.Errorf("got  %q (%v)\nwant %q", got, err, c.want)
			}
		})
	}
}

// TestDeviceLongLines: lines of a header that are too long are folded, and say the same.
func TestDeviceLongLines(t *testing.T) {
	to := "To: " + strings.Repeat("someone@far.example, ", 100) + "last@far.example\r\n"
	got, err := mendDevice(t, content.DeviceMail{}, to+"\r\nB\r\n")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(got) {
		if len(line) > 80 {
			t.Errorf("a line of %d octets", len(line))
		}
	}
	if unfolded := strings.ReplaceAll(got, "\r\n ", " "); unfolded != to+"\r\nB\r\n" {
		t.Errorf("it says %q", unfolded)
	}
}

// TestEightBit: what a body has is known however it is cut into pieces.
func TestEightBit(t *testing.T) {
	for text, want := range map[string][2]bool{
		"plain": {false, true}, "grün": {true, true}, "gr\xfcn": {true, false}, "\xf0\x9f\x93\xa0 fax": {true, true},
		"cut off \xf0\x9f": {true, false}, "": {false, true}, "\xc3\xbc\xff": {true, false}, "a\xed\xa0\x80": {true, false},
	} {
		for size := 1; size <= len(text)+1; size++ {
			var e content.EightBit
			for rest := []byte(text); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				_, _ = e.Write(rest[:min(size, len(rest))])
			}
			if got := [2]bool{e.Seen, e.UTF8()}; got != want {
				t.Errorf("%q in pieces of %d: %v, not %v", text, size, got, want)
			}
		}
	}
}

// FuzzDeviceMail: whatever a device writes, what leaves is a header with one From, the forced one, and nothing that says
// another; and mending it again changes nothing.
func FuzzDeviceMail(f *testing.F) {
	for _, seed := range []string{
		"From: a@b\r\nFrom: c@d\r\nSubject: x\r\n\r\n", "From: \"a <b@c\r\nDate: x\r\nContent-Type: text\r\n\r\n\xfc", "From : x\r\n\t<y@z>\r\nResent-From: q\r\n\r\n",
		"Subject: =?utf-8?q?x\r\n y\xff\r\nMessage-ID: <a b@c>\r\n\r\n", "Content-Type: text/plain; x=\"\xff\"\r\n\r\n\xc3", "To: \xfc\xfc, x <a@b>\r\n\r\n",
		"SuBjeCt:0\r\n ",
	} {
		f.Add([]byte(seed))
	}
	d := content.DeviceMail{Sender: box(f, "office@sakes.example"), Keep: content.KeepOriginal, SubjectPrefix: "[scan]"}
	f.Fuzz(func(t *testing.T, message []byte) {
		message = bytes.ReplaceAll(bytes.ReplaceAll(message, []byte("\r"), nil), []byte("\n"), []byte("\r\n")) // as the engine gives it
		got, err := mendDevice(t, d, string(message))
		if err != nil {
			return
		}
		h, _, err := header.Read(strings.NewReader(got), 16*header.Most)
		if err != nil {
			t.Fatalf("%q became %q: %v", message, got, err)
		}
		from := h.All("From")
		if len(from) != 1 || len(h.All("Sender")) > 0 || len(h.All("Resent-From")) > 0 || len(h.All("Subject")) != 1 {
			t.Fatalf("%q became %q", message, got)
		}
		if boxes, err := content.StrictMailboxes(from[0]); err != nil || len(boxes) != 1 || boxes[0] != d.Sender {
			t.Fatalf("%q has From %q: %v", message, from[0].Raw, err)
		}
		if !utf8.Valid(from[0].Raw) || !address.ASCII(string(from[0].Raw)) || strings.Contains(strings.ReplaceAll(got, "\r\n", ""), "\n") {
			t.Fatalf("%q became %q", message, got)
		}
	})
}
