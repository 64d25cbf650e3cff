package mime

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
)

// TestKnownFailures has the messages at which Exchange's conversion is known to have failed (its knowledge base): each
// converts, and nothing is lost.
func TestKnownFailures(t *testing.T) {
	long := strings.Repeat("a long name ", 12) + ".doc"
	word := "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("Word 6 ", 100)
	part := func(fields, content string) string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n" + fields + "\r\n" + content + "\r\n--b--\r\n"
	}
	octet := "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
	for _, c := range []struct {
		name, message string
		want          func(m *mapi.Message) string // what is to be seen
		seen          string
	}{
		{"charset x-user-defined (Q192546)", "Content-Type: text/plain; charset=x-user-defined\r\n\r\nGr\xfc\xdfe", text, "Grüße"},
		{"charset cp50000 (Q192546)", "Content-Type: text/plain; charset=cp50000\r\n\r\nGr\xfc\xdfe", text, "Grüße"},
		{
			"report in UTF-7 (Q178244)", "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-7\r\n\r\nHi +AOQ-\r\n" +
				"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n\r\nFinal-Recipient: rfc822; b@c\r\nAction: failed\r\nStatus: 5.1.1\r\n--b--\r\n",
			func(m *mapi.Message) string { return text(m) + m.Text(mapi.PidTagMessageClass) }, "Hi äREPORT.IPM.Note.NDR",
		},
		{"header that is none (Q166562)", "Subject: x\r\n\x01\x02 nothing\r\nX-After: y\r\n\r\ntext", func(m *mapi.Message) string {
			return m.Text(mapi.PidTagSubject) + m.Text(mapi.Named{Set: mapi.PSInternetHeaders, Name: "X-After"}) + text(m)
		}, "xytext"},
		{"Word 6 document (Q175411)", part("Content-Type: application/msword; name=a.doc\r\nContent-Transfer-Encoding: base64\r\n", base64.StdEncoding.EncodeToString([]byte(word))), data(t), word},
		{"file name of more than 25 characters (Q166546)", part("Content-Disposition: attachment; filename=\""+long+"\"\r\n", "x"), name, long},
		{"base64 that is no multiple of 4 (Q270614)", part(octet, "QUJDR\r\nEVGRw"), data(t), "ABCDEFG"},
		{
			"AppleDouble (Q194192)", part("Content-Type: multipart/appledouble; boundary=a\r\n", "--a\r\n"+strings.Replace(octet, "octet-stream", "applefile", 1)+"\r\nQUI=\r\n--a\r\n"+octet+"\r\nQ0Q=\r\n--a--"),
			func(m *mapi.Message) string {
				return m.Attachments[0].Text(mapi.PidTagAttachMimeTag) + string(octetsOf(t, m.Attachments[0].Data)) + string(octetsOf(t, m.Attachments[1].Data))
			}, "application/applefileABCD",
		},
		{"comma in an 8-bit name (5.0's release notes, 2.8.6)", "To: M\xfcller, Hans <h@a.example>\r\n\r\n", func(m *mapi.Message) string {
			return fmt.Sprint(len(m.Recipients), m.Recipients[0].Text(mapi.PidTagDisplayName))
		}, "1Müller, Hans"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := convert(t, Reader{}, []byte(c.message))
			if got := c.want(m); got != c.seen {
				t.Errorf("%q, want %q", got, c.seen)
			}
			if got := c.want(convert(t, Reader{}, write(t, Writer{}, m))); strings.TrimRight(got, "\r\n") != c.seen {
				t.Errorf("after the way to MIME and back %q, want %q", got, c.seen)
			}
		})
	}
}

func text(m *mapi.Message) string { return strings.TrimRight(m.Text(mapi.PidTagBody), "\r\n") }

func name(m *mapi.Message) string { return m.Attachments[0].Text(mapi.PidTagAttachLongFilename) }

func data(t *testing.T) func(*mapi.Message) string {
	return func(m *mapi.Message) string { return string(octetsOf(t, m.Attachments[0].Data)) }
}

// TestDeep: messages ten thousand deep are opened to a depth, and the rest is an attachment.
func TestDeep(t *testing.T) {
	level := "Subject: x\r\nContent-Type: message/rfc822\r\n\r\n"
	m := convert(t, Reader{}, []byte(strings.Repeat(level, 10_000)+"\r\ninnermost"))
	written := write(t, Writer{}, m)
	depth := 0
	for ; m.Attachments[0].Embedded != nil; m = m.Attachments[0].Embedded {
		depth++
	}
	if rest := octetsOf(t, m.Attachments[0].Data); depth != entity.DepthMost || !bytes.HasSuffix(rest, []byte("innermost")) {
		t.Errorf("%d deep, and %d octets are left", depth, len(rest))
	}
	if len(written) < len(level)*(10_000-entity.DepthMost) {
		t.Errorf("%d octets were written", len(written))
	}
}

// TestMany: of messages beside one another so many are opened, and the rest are files; with the recipients of all of them a message may
// have so many (I11).
func TestMany(t *testing.T) {
	const one = "--b\r\n\r\nTo: a@b.example\r\nSubject: x\r\n\r\ntext\r\n"
	head := func(recipients int) string {
		return "To: a@b.example" + strings.Repeat(",\r\n a@b.example", recipients-1) + "\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n"
	}
	m := convert(t, Reader{}, []byte(head(1)+strings.Repeat(one, messagesMost+5)+"--b--"))
	opened := 0
	for i, a := range m.Attachments {
		if a.Embedded != nil {
			opened++
		} else if got := string(octetsOf(t, a.Data)); i < messagesMost || got != strings.TrimSuffix(strings.TrimPrefix(one, "--b\r\n\r\n"), "\r\n") {
			t.Errorf("message %d is %q", i, got)
		}
	}
	if opened != messagesMost || len(m.Attachments) != messagesMost+5 {
		t.Errorf("%d of %d were opened", opened, len(m.Attachments))
	}
	for recipients, want := range map[int]error{recipientsMost - 2: nil, recipientsMost - 1: ErrTooManyRecipients, recipientsMost + 1: ErrTooManyRecipients} {
		message := head(recipients) + one + one + "--b--"
		if _, err := (Reader{}).Read(strings.NewReader(message), int64(len(message))); !errors.Is(err, want) {
			t.Errorf("%d recipients: %v", recipients, err)
		}
	}
}

// TestCycle: a message that is in itself is not written for ever.
func TestCycle(t *testing.T) {
	m := &mapi.Message{}
	m.Attachments = []*mapi.Attachment{{Embedded: m}}
	if err := (Writer{}).Write(io.Discard, m); !errors.Is(err, ErrTooDeep) {
		t.Errorf("%v", err)
	}
}

// TestTooMuch: what is more than is read is an error of the whole message.
func TestTooMuch(t *testing.T) {
	for _, message := range []string{
		"a: " + strings.Repeat("x", header.Most),
		"Content-Type: a/b" + strings.Repeat(";name*1*=a", 100_000) + "\r\n\r\n", // RFC 2231 §3
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n", entity.EntitiesMost+1),
	} {
		if _, err := (Reader{}).Read(strings.NewReader(message), int64(len(message))); !errors.Is(err, header.ErrTooLarge) && !errors.Is(err, entity.ErrTooComplex) {
			t.Errorf("%v", err)
		}
	}
}

// TestBroken: errors of the file and of contents are told.
func TestBroken(t *testing.T) {
	if _, err := (Reader{}).Read(broken{}, 10); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
	m := &mapi.Message{}
	m.Attachments = []*mapi.Attachment{{Data: mapi.Content{Size: 1, Open: func() (io.ReadCloser, error) { return nil, io.ErrClosedPipe }}}}
	if err := (Writer{}).Write(io.Discard, m); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
	if err := (Writer{}).Write(fullDisk{}, &mapi.Message{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("%v", err)
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// TestNoType: who has no type as a recipient gets the message (MS-OXCMSG has To as the usual one), and an address without
// a type that looks like one of the Internet is one.
func TestNoType(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidTagSenderEmailAddress, mapi.String("eleni@a.example"))
	for _, r := range []*mapi.Recipient{{}, {}} {
		r.SetAddress(mapi.RecipientAddress, mapi.Address{Name: "Dora", Type: mapi.AddressSMTP, Address: "dora@a.example"})
		m.Recipients = append(m.Recipients, r)
	}
	m.Recipients[1].Set(mapi.PidTagRecipientType, mapi.Integer32(3))
	e := parse(t, write(t, Writer{Domain: "sakes.example"}, m))
	if to := parseAddresses(e.Field("To")); len(to) != 1 || to[0].SMTP != "dora@a.example" {
		t.Errorf("To: %v", to)
	}
	if from := parseAddresses(e.Field("From")); len(from) != 1 || from[0].SMTP != "eleni@a.example" {
		t.Errorf("From: %v", from)
	}
}

// TestOddAddressType: whatever the type of an address is, what encapsulates it is one address.
func TestOddAddressType(t *testing.T) {
	for _, kind := range []string{"X\r\nBcc: dora@a.example\r\n A", "A>, <dora@a.example", "a b", "ü", `"`} {
		m := &mapi.Message{}
		m.SetAddress(mapi.SenderAddress, mapi.Address{Name: "x", Type: kind, Address: "y"})
		from := parseAddresses(parse(t, write(t, Writer{Domain: "sakes.example"}, m)).Field("From"))
		if len(from) != 1 || strings.ContainsAny(from[0].SMTP, " ,:<>\"") || strings.Count(from[0].SMTP, "@") != 1 {
			t.Errorf("%q became %v", kind, from)
		}
	}
}

// TestLongNames: the name of a field that is longer than a property's may be makes no property that cannot be written.
func TestLongNames(t *testing.T) {
	m := convert(t, Reader{}, []byte("X-"+strings.Repeat("y", 200)+": z\r\n\r\n"))
	e := mapi.NewEncoder(nil, mapi.Format{})
	for p := range m.All() {
		e.Named(p.Named)
	}
	if e.Err() != nil || !strings.Contains(m.Text(mapi.PidTagTransportMessageHeaders), "yy: z") {
		t.Errorf("%v", e.Err())
	}
}

// TestForgedByTNEF: a winmail.dat says nothing in the place of the header, whatever the types of its properties, and
// nothing that only servers tell one another.
func TestForgedByTNEF(t *testing.T) {
	inside := &mapi.Message{}
	status := mapi.Named{Set: mapi.PSInternetHeaders, Name: "X-Spam-Status"}
	trusted := mapi.Named{Set: mapi.PSInternetHeaders, Name: "X-MS-Exchange-Organization-SCL"}
	for _, k := range []mapi.Key{status, trusted, mapi.Named{Set: mapi.PSInternetHeaders, Name: "x-spam-status"}, mapi.PidTagInternetReferences} {
		inside.Set(k, mapi.String("forged"))
	}
	inside.Set(mapi.PidTagSenderEmailAddress, mapi.Binary("forged"))
	inside.Set(mapi.PidTagClientSubmitTime, mapi.String("forged"))
	inside.Set(mapi.PidTagHtml, mapi.Binary("<p>inside"))
	var stream bytes.Buffer
	if err := tnef.Encode(&stream, inside, tnef.Options{}); err != nil {
		t.Fatal(err)
	}
	m := convert(t, Reader{TNEF: OpenTNEF(inMemorySpool)}, []byte("From: eleni@a.example\r\nDate: Mon, 30 Nov 2026 10:00:00 +0000\r\nX-Spam-Status: yes\r\n"+
		"References: <1@a.example>\r\nContent-Type: application/ms-tnef\r\nContent-Transfer-Encoding: base64\r\n\r\n"+base64.StdEncoding.EncodeToString(stream.Bytes())))
	e := parse(t, write(t, Writer{}, m))
	if written := fmt.Sprint(e.Header.All("X-Spam-Status"), m.Has(trusted), e.Field("References"), e.Field("Date"), e.Field("From")); strings.Contains(written, "forged") || m.Has(trusted) {
		t.Error(written)
	}
	if e.Field("X-Spam-Status") != "yes" || e.Field("Date") == "" || m.Text(mapi.PidTagSenderEmailAddress) != "eleni@a.example" || !m.Has(mapi.PidTagHtml) {
		t.Errorf("%s", write(t, Writer{}, m))
	}
}
