//go:build linux

package growth

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mapi/mime"
)

// messages are Internet mail that becomes message objects, and mail again.
var messages = []pass{
	objects("a file's name in many pieces", 1000, func(n int) string {
		var b strings.Builder
		b.WriteString("Content-Type: a/b")
		for i := range n {
			fmt.Fprintf(&b, ";name*%d*=%%41", n-i)
		}
		return b.String() + "\r\n\r\n"
	}),
	objects("parameters", 2000, func(n int) string { return "Content-Type: a/b" + strings.Repeat(";a=b", n) + "\r\n\r\n" }),
	objects("comments in a type", 2000, func(n int) string { return "Content-Type: a/b" + strings.Repeat("(a)x", n) + ";a=b\r\n\r\n" }),
	objects("encoded words", 1000, func(n int) string { return "Subject: " + strings.Repeat("=?utf-8?Q?a?= ", n) + "\r\n\r\n" }),
	objects("encoded words without an end", 2000, func(n int) string { return "Subject: " + strings.Repeat("=?a?Q?", n) + "\r\n\r\n" }),
	objects("encoded words with one end", 2000, func(n int) string { return "Subject: " + strings.Repeat("=?a?X?", n) + "?=\r\n\r\n" }),
	objects("what begins encoded words", 2000, func(n int) string { return "Subject: " + strings.Repeat("=?", n) + "?=\r\n\r\n" }),
	objects("a subject that is folded", 1000, func(n int) string { return "Subject: a\r\n" + strings.Repeat(" word\r\n", n) + "\r\n" }),
	objects("recipients", 500, func(n int) string { return "To: a@b" + strings.Repeat(",A <a@b>", n) + "\r\n\r\n" }),
	objects("names without addresses", 500, func(n int) string { return "To: " + strings.Repeat("a,", n) + "\r\n\r\n" }),
	objects("addresses that begin everything", 1000, func(n int) string { return "To: " + strings.Repeat("[", n) + strings.Repeat("([ ", n) + "\r\n\r\n" }),
	objects("words of one name", 1000, func(n int) string { return "To: " + strings.Repeat("a ", n) + "<a@b>\r\n\r\n" }),
	objects("fields", 500, func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X-%d: a\r\n", i)
		}
		return b.String() + "\r\n"
	}),
	objects("lines that are no fields", 500, func(n int) string { return strings.Repeat("none\r\na:b\r\n", n) + "\r\n" }),
	objects("parts", 200, func(n int) string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\na\r\n", n)
	}),
	objects("a message in messages", 100, func(n int) string {
		return strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n) + "\r\ntext"
	}),
	objects("a message in thousands of messages", 2500, func(n int) string { // 10,000
		return strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n) + "\r\ntext"
	}),
	refused("a parameter in 100,000 parts", 25_000, func(n int) string {
		var b strings.Builder
		b.WriteString("Content-Type: a/b")
		for i := range n {
			fmt.Fprintf(&b, ";name*%d*=%%41", i)
		}
		return b.String() + "\r\n\r\n"
	}),
	objects("lines that are nearly delimiters", 1000, func(n int) string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + strings.Repeat("--b-\r\n", n)
	}),
	objects("blanks in quoted-printable", 2000, func(n int) string {
		return "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat(" ", n) + strings.Repeat("= ", n)
	}),
	objects("base64 that is none", 2000, func(n int) string { return "Content-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("=A.", n) }),
	objects("references in HTML", 500, func(n int) string {
		return "Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n" + strings.Repeat("cid:a ", n) + "\r\n--b\r\nContent-ID: <a>\r\n\r\n--b--"
	}),
	objects("instances taken out of a meeting", 200, func(n int) string {
		var b strings.Builder
		b.WriteString("Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTART;VALUE=DATE:20260101\r\nRRULE:FREQ=DAILY\r\n")
		for i := range n {
			b.WriteString("EXDATE;VALUE=DATE:" + time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC).Format("20060102") + "\r\n")
		}
		return b.String() + "END:VEVENT\r\nEND:VCALENDAR\r\n"
	}),
	objects("events of a calendar", 40, func(n int) string {
		return "Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\n" + events(n, func(i int, day string) string {
			return fmt.Sprintf("UID:%d\r\nDTSTART;VALUE=DATE:%s\r\n", i, day)
		}) + "END:VCALENDAR\r\n"
	}),
	objects("instances of a series that were changed", 40, func(n int) string {
		return "Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTART;VALUE=DATE:20260101\r\nRRULE:FREQ=DAILY\r\nEND:VEVENT\r\n" +
			events(n, func(_ int, day string) string {
				return fmt.Sprintf("UID:a\r\nDTSTART;VALUE=DATE:%s\r\nRECURRENCE-ID;VALUE=DATE:%s\r\nSUMMARY:%s\r\n", day, day, day)
			}) + "END:VCALENDAR\r\n"
	}),
	objects("calendars of several events", 20, func(n int) string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\nContent-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\n"+
			events(2, func(i int, day string) string { return fmt.Sprintf("UID:%d\r\nDTSTART;VALUE=DATE:%s\r\n", i, day) })+"END:VCALENDAR\r\n", n)
	}),
	objects("instances of a series that were moved", 40, func(n int) string {
		dates := func(first int) string {
			var b strings.Builder
			for i := range n {
				b.WriteString("," + time.Date(2026, 1, first+7*i, 0, 0, 0, 0, time.UTC).Format("20060102"))
			}
			return b.String()[1:]
		}
		return "Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTART;VALUE=DATE:20260101\r\nRRULE:FREQ=WEEKLY\r\nEXDATE;VALUE=DATE:" +
			dates(8) + "\r\nRDATE;VALUE=DATE:" + dates(9) + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	}),
	objects("messages beside one another", 50, func(n int) string {
		return "Content-Type: multipart/digest; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nSubject: x\r\n\r\ntext\r\n", n)
	}),
	objects("lines of a vCard", 200, func(n int) string {
		return "Content-Type: text/vcard\r\n\r\nBEGIN:VCARD\r\nFN:x\r\n" + strings.Repeat("TEL;TYPE=WORK:1\r\nADR;TYPE=HOME:;;a\r\n", n) + "END:VCARD\r\n"
	}),
	objects("text before BinHex", 200, func(n int) string {
		return "Content-Type: application/mac-binhex40\r\n\r\n" + strings.Repeat("(This file must be converted with BinHex 4.0)\r\n", n)
	}),
	objects("recipients of a report", 200, func(n int) string {
		return "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n" + strings.Repeat("Action: failed\r\n\r\n", n)
	}),
}

// files are messages with files in UUENCODE in their texts.
var files = []pass{
	uuencoded("files", 50, "\r\nbegin 644 a\r\n#86)C\r\n`\r\nend\r\n"),
	uuencoded("what begins files", 1000, "begin 644 a\r\n#86)C\r\n"),
	uuencoded("a long line", 2000, "begin 644 a "),
}

func uuencoded(name string, n int, text string) pass {
	return pass{"UUENCODE: " + name, n, func(t *testing.T, n int) {
		message := "Subject: x\r\n\r\n" + strings.Repeat(text, n)
		m, err := mime.Reader{UUEncode: true}.Read(strings.NewReader(message), int64(len(message)))
		if err != nil {
			t.Fatal(err)
		}
		if err := (mime.Writer{Form: mime.Form{UUEncode: true}}).Write(io.Discard, m); err != nil {
			t.Fatal(err)
		}
	}}
}

// events are events of a calendar, one a day.
func events(n int, lines func(i int, day string) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("BEGIN:VEVENT\r\n" + lines(i, time.Date(2026, 1, 2+i, 0, 0, 0, 0, time.UTC).Format("20060102")) + "END:VEVENT\r\n")
	}
	return b.String()
}

// refused is a message that is too much to be read, or becomes so.
func refused(name string, n int, message func(n int) string) pass {
	return pass{"a message: " + name, n, func(_ *testing.T, n int) {
		text := message(n)
		if m, err := (mime.Reader{}).Read(strings.NewReader(text), int64(len(text))); err == nil {
			sink += m.Len()
		}
	}}
}

// objects is a message that is read and written: anew, and as it came.
func objects(name string, n int, message func(n int) string) pass {
	return pass{"a message: " + name, n, func(t *testing.T, n int) {
		text := message(n)
		for _, kept := range []bool{false, true} {
			m, err := mime.Reader{Skeleton: kept}.Read(strings.NewReader(text), int64(len(text)))
			if err != nil {
				t.Fatal(err)
			}
			if err := (mime.Writer{Bcc: true, Kept: kept}).Write(io.Discard, m); err != nil {
				t.Fatal(err)
			}
		}
	}}
}
