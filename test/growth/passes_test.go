//go:build linux

package growth

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mail/uidl"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/test/growth/scan"
)

// quadratic are passes as they must not be.
var quadratic = []pass{
	{"the most of what is left, again and again", 300, func(_ *testing.T, n int) { scan.Most(n) }},
	{"looking for the end behind each octet", 300, func(_ *testing.T, n int) { sink += scan.Ends(n) }},
	{"adding to a string", 4000, func(_ *testing.T, n int) { sink += scan.Add(n) }},
}

var sink int

var passes = slices.Concat(headers, addresses, lineEnds, lists, properties, streams, sessions, bodies, messages, files, webpages, exchange, compoundFiles)

// headers of all shapes, as a client without UTF8 is shown them, and as a submission is checked.
var headers = []pass{
	surrogate("short fields of UTF-8", func(n int) string { return strings.Repeat("a:é\r\n", n) }),
	surrogate("more of them than there may be", func(n int) string { return strings.Repeat("a:é\r\n", 20*n) }),
	surrogate("fields of all lengths", func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString("X: " + strings.Repeat("é", i%40) + "\r\n")
		}
		return b.String()
	}),
	surrogate("one long field", func(n int) string { return "Subject: " + strings.Repeat("é", n) + "\r\n" }),
	surrogate("one folded field", func(n int) string { return "Subject: é\r\n" + strings.Repeat(" é\r\n", n) }),
	surrogate("addresses", func(n int) string { return "To: é@b.example" + strings.Repeat(",\r\n é <a@b.example>", n) + "\r\n" }),
	surrogate("addresses without an end", func(n int) string { return "To: é" + strings.Repeat(",<", n) + "\r\n" }),
	surrogate("groups", func(n int) string { return "To: é:;" + strings.Repeat(",g: a@b;", n) + "\r\n" }),
	surrogate("encoded words in an address", func(n int) string { return "To: é" + strings.Repeat(" =?utf-8?q?a?=", n) + " <a@b.example>\r\n" }),
	surrogate("comments in comments", func(n int) string {
		return "To: é <a@b> " + strings.Repeat("(", n) + strings.Repeat(")", n) + "\r\n"
	}),
	surrogate("comments without an end", func(n int) string { return "To: é <a@b> " + strings.Repeat("(", n) + "\r\n" }),
	surrogate("a domain of different letters", func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteRune(rune(0x4e00 + i))
		}
		return "To: <a@" + b.String() + ">\r\n"
	}),
	surrogate("parameters", func(n int) string { return "Content-Type: a/b" + strings.Repeat("; p=é", n) + "\r\n" }),
	surrogate("a parameter in pieces", func(n int) string {
		var b strings.Builder
		b.WriteString("Content-Type: a/b; x=é")
		for i := range n {
			b.WriteString("; p*" + itoa(i) + "*=%41")
		}
		return b.String() + "\r\n"
	}),
	surrogate("lines that are none", func(n int) string { return strings.Repeat("é\r\n", n) }),
	surrogate("parts in parts", func(n int) string {
		return "Subject: é\r\n\r\n" + strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n)
	}),
	submission("short fields", func(n int) string { return "From: a@b.example\r\n" + strings.Repeat("a:\r\n", n) }),
	submission("one folded field", func(n int) string { return "From: a@b.example\r\n" + strings.Repeat(" \t\r\n", n) }),
	submission("blind copies", func(n int) string { return "From: a@b.example\r\n" + strings.Repeat("Bcc: a@b\r\n", n) }),
	submission("authors", func(n int) string { return "From: a@b.example" + strings.Repeat(",\r\n a@b.example", n) + "\r\n" }),
	submission("a name of many words", func(n int) string { return "From: a" + strings.Repeat(" a", n) + " <a@b.example>\r\n" }),
	submission("encoded words", func(n int) string { return "From:" + strings.Repeat(" =?utf-8?q?a?=", n) + " <a@b.example>\r\n" }),
	submission("comments", func(n int) string { return "From: " + strings.Repeat("(a)", n) + "a@b.example\r\n" }),
	submission("comments in comments", func(n int) string {
		return "From: " + strings.Repeat("(", n) + strings.Repeat(")", n) + "a@b.example\r\n"
	}),
	submission("a comment without an end", func(n int) string { return "From: a@b.example " + strings.Repeat("(", n) + "\r\n" }),
	submission("brackets", func(n int) string { return "From: " + strings.Repeat("<", n) + "\r\n" }),
	submission("at signs", func(n int) string { return "From: a" + strings.Repeat("@", n) + "\r\n" }),
	submission("quotes", func(n int) string { return "From: " + strings.Repeat(`"`, n) + "\r\n" }),
	submission("backslashes", func(n int) string { return `From: "` + strings.Repeat(`\`, n) + "\r\n" }),
	fingerprint("one field again and again", func(n int) string { return strings.Repeat("Subject: a\r\n", n) }),
	fingerprint("one folded field", func(n int) string { return "Subject: a\r\n" + strings.Repeat(" a\r\n", n) }),
	{"unique-id in a header: folded", 1000, func(_ *testing.T, n int) {
		rule, _ := uidl.Parse("header:X-UIDL")
		sink += len(rule.FromHeader([]byte("X-UIDL: a\r\n" + strings.Repeat(" a\r\n", n))))
	}},
}

func surrogate(name string, text func(n int) string) pass {
	return pass{"shown without UTF8: " + name, 500, func(t *testing.T, n int) {
		message := text(n) + "\r\n"
		s := content.Surrogate(context.Background(), io.NopCloser(strings.NewReader(message)))
		if octets, err := io.Copy(io.Discard, s); err != nil || octets != int64(len(message)) {
			t.Fatalf("%d octets of %d, %v", octets, len(message), err)
		}
	}}
}

func submission(name string, text func(n int) string) pass {
	return pass{"submitted: " + name, 1000, func(_ *testing.T, n int) {
		h, _, err := header.Read(strings.NewReader(text(n)+"\r\n"), header.Most)
		if err != nil {
			return // it is refused, which is an outcome too
		}
		err = content.Submission{MayWrite: func(address.Mailbox) bool { return true }, Date: time.Unix(0, 0), MessageID: "a@b"}.Apply(h)
		if err == nil {
			_, _ = io.Copy(io.Discard, h.Reader())
		}
	}}
}

func fingerprint(name string, text func(n int) string) pass {
	return pass{"recognised: " + name, 1000, func(t *testing.T, n int) {
		if _, err := index.FingerprintOf(strings.NewReader(text(n))); err != nil {
			t.Fatal(err)
		}
	}}
}

// addresses as MAIL and RCPT have them.
var addresses = []pass{
	parsed("labels", func(n int) string { return "a@" + strings.Repeat("a.", n) }),
	parsed("letters", func(n int) string { return "a@" + strings.Repeat("日", n) + ".example" }),
	parsed("quoted pairs", func(n int) string { return `"` + strings.Repeat(`\a`, n) + `"@b` }),
	parsed("dots", func(n int) string { return strings.Repeat(".", n) + "@b" }),
}

func parsed(name string, text func(n int) string) pass {
	return pass{"an address: " + name, 10, func(_ *testing.T, n int) {
		for range 100 { // bounds end it early
			if box, err := address.Parse(text(n)); err == nil {
				sink += len(box.String())
			}
		}
	}}
}

// lineEnds are messages of all line ends, on the way from a file, and into one.
var lineEnds = slices.Concat(
	converted("LF", "a\n"), converted("CR", "\r"), converted("CR CR LF", "\r\r\n"), converted("LF CR", "\n\r"),
	converted("no line end", "a"), converted("dots", "\r\n."), converted("empty lines", "\r\n"),
)

func converted(name, part string) []pass {
	const n = 2000
	return []pass{
		{"read from a file: " + name, n, func(_ *testing.T, n int) {
			_, _ = io.Copy(io.Discard, crlf.NewReader(strings.NewReader(strings.Repeat(part, n))))
		}},
		{"read from a file octet by octet: " + name, n, func(_ *testing.T, n int) {
			r, one := crlf.NewReader(strings.NewReader(strings.Repeat(part, n))), make([]byte, 1)
			for {
				if _, err := r.Read(one); err != nil {
					return
				}
			}
		}},
		{"counted: " + name, n, func(_ *testing.T, n int) {
			octets, _ := crlf.Length(strings.NewReader(strings.Repeat(part, n)))
			sink += int(octets)
		}},
		{"its top: " + name, n, func(_ *testing.T, n int) {
			_, _ = io.Copy(io.Discard, crlf.Top(strings.NewReader(strings.Repeat(part, n)), n))
		}},
		{"written to a file: " + name, n, func(_ *testing.T, n int) {
			w := crlf.NewWriter(io.Discard)
			_, _ = io.WriteString(w, strings.Repeat(part, n))
			_ = w.Flush()
		}},
	}
}
