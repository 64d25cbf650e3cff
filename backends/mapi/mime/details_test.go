package mime

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/rtf"
)

// TestEncapsulate has the example of MS-OXCMAIL §2.1.3.1.8, and other kinds of addresses.
func TestEncapsulate(t *testing.T) {
	for _, c := range []struct{ kind, address, want string }{
		{"EX", "/O=ORG/OU=SITE/CN=RECIPIENTS/CN=GEORGE", "IMCEAEX-_O=ORG_OU=SITE_CN=RECIPIENTS_CN=GEORGE@sakes.example"},
		{"fax", "George@+1 (425) 555", "IMCEAFAX-George+40+2B1+20+28425+29+20555@sakes.example"},
		{"X400", "c=gr;a= ;s=Sakes_é", "IMCEAX400-c=gr+3Ba=+20+3Bs=Sakes+5F+C3+A9@sakes.example"},
	} {
		if got := Encapsulate(c.kind, c.address, "sakes.example"); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// TestDecapsulate: an address that encapsulates another one is read as that within the store's domains, and nowhere else.
func TestDecapsulate(t *testing.T) {
	domains := []string{"sakes.example", "tea.example"}
	for _, c := range [][2]string{{"EX", "/O=ORG/OU=First Group (X)/CN=a_b+c"}, {"FAX", "George@+1 (425) 555"}, {"X400", "c=gr;a= ;s=Sakes_é"}, {"SMTP", "ada@tea.example"}} {
		if kind, address, ok := Decapsulate(Encapsulate(c[0], c[1], "Sakes.example"), domains); kind != c[0] || address != c[1] || !ok {
			t.Errorf("%v is %s %q %v", c, kind, address, ok)
		}
	}
	if kind, address, ok := Decapsulate("imceaex-_o=a+2e_cn=b@tea.example", domains); kind != "EX" || address != "/o=a./cn=b" || !ok {
		t.Error(kind, address, ok)
	}
	for _, address := range []string{
		"ada@sakes.example", "IMCEAEX-_O=A@far.example", "IMCEAEX-_O=A@x.sakes.example", "IMCEAEX-_O=A", "IMCEA-_O=A@sakes.example", "IMCEAEX@sakes.example", "IMCEAEX-@sakes.example",
		"IMCEAEX-_O=A+2@sakes.example", "IMCEAEX-_O=A+@sakes.example", "IMCEAEX-_O=A+zz@sakes.example", "IMCEAEX-_O=A+00@sakes.example", "IMCEAEX-_O=A+0D+0Ax@sakes.example",
		"IMCEAEX-_O=A+ff@sakes.example", "IMCEAEX-a.b@sakes.example", "IMCEAE.X-_O=A@sakes.example", "IMCEASMTP-ada+40far+2Eexample@sakes.example", "IMCEASMTP-ada@sakes.example", "IMCEASMTP-sakes+2Eexample@sakes.example", "IMCEASMTP-+40sakes+2Eexample@sakes.example", "",
	} {
		if kind, original, ok := Decapsulate(address, domains); ok {
			t.Errorf("%s is %s %q", address, kind, original)
		}
	}
}

// TestDecapsulatedRecipients: who is named by an address of the address book is that recipient, and goes out as the address came. Authors from the
// Internet are nobody in it.
func TestDecapsulatedRecipients(t *testing.T) {
	const george, ada = "IMCEAEX-_O=A_CN=G@sakes.example", "IMCEASMTP-ada+40sakes+2Eexample@sakes.example"
	message := []byte("From: " + george + "\r\nReply-To: " + george + "\r\nTo: George <" + george + ">, " + ada + "\r\nCc: IMCEAEX-_O=A_CN=X@far.example\r\n\r\n")
	m := convert(t, Reader{Domains: []string{"sakes.example"}}, message)
	var got []string
	for _, r := range m.Recipients {
		a, _ := r.Address(mapi.RecipientAddress)
		got = append(got, a.Type+":"+a.Address)
	}
	if want := []string{"EX:/O=A/CN=G", "SMTP:ada@sakes.example", "SMTP:IMCEAEX-_O=A_CN=X@far.example"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if from, _ := m.Address(mapi.SenderAddress); from.Type != mapi.AddressSMTP {
		t.Errorf("%+v", from)
	}
	if to := parseAddresses(parse(t, write(t, Writer{}, m)).Field("To")); len(to) != 2 || to[0].SMTP != george || to[0].Name != "George" || to[1].SMTP != "ada@sakes.example" {
		t.Errorf("%+v", to)
	}
	if got := convert(t, Reader{}, message).Recipients[0].Text(mapi.PidTagAddressType); got != mapi.AddressSMTP {
		t.Errorf("without domains it is of the type %s", got)
	}
}

// TestOtherAddresses: the SMTP address counts if there is one; without one the address is encapsulated, or left out.
func TestOtherAddresses(t *testing.T) {
	m := &mapi.Message{}
	m.SetAddress(mapi.SentRepresentingAddress, mapi.Address{Name: "George", Type: "EX", Address: "/O=A/CN=G", SMTP: "george@sakes.example"})
	m.SetAddress(mapi.SenderAddress, mapi.Address{Name: "Dora", Type: "EX", Address: "/O=A/CN=D"})
	for domain, want := range map[string]string{
		"sakes.example": "From: \"George\" <george@sakes.example>\r\nSender: \"Dora\" <IMCEAEX-_O=A_CN=D@sakes.example>\r\n",
		"":              "From: \"George\" <george@sakes.example>\r\nSender: \"Dora\" <>\r\n",
	} {
		if got := string(write(t, Writer{Domain: domain}, m)); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %q", domain, got)
		}
	}
}

// TestEnvelope: properties and fields that the recordings do not have.
func TestEnvelope(t *testing.T) {
	message := "From: a@b\r\nDate: Thu, 12 Nov 2026 10:06:07 +0100\r\nPriority: urgent\r\nSensitivity: private\r\nThread-Topic: other\r\nSubject: AW: x\r\n" +
		"Expires: Mon, 30 Nov 2026 12:00:00 +0000\r\nReply-By: Fri, 20 Nov 2026 12:00:00 +0000\r\nX-Auto-Response-Suppress: DR, OOF\r\n" +
		"Disposition-Notification-To: R <r@b>\r\nReturn-Receipt-To: a@b\r\nX-One: =?utf-8?Q?=C3=A4?=\r\nX-One: two\r\nX-MS-Exchange-Organization-SCL: 9\r\nBcc: c@d\r\n\r\ntext\r\n"
	m := convert(t, Reader{}, []byte(message))
	for tag, want := range map[mapi.Key]mapi.Value{
		mapi.PidTagImportance: mapi.Integer32(2), mapi.PidTagSensitivity: mapi.Integer32(2), mapi.PidTagConversationTopic: mapi.String("other"),
		mapi.PidTagSubjectPrefix: mapi.String("AW: "), mapi.PidTagNormalizedSubject: mapi.String("x"), mapi.PidTagAutoResponseSuppress: mapi.Integer32(0x11),
		mapi.PidTagExpiryTime: mapi.NewTime(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)), mapi.Named{Set: mapi.PSInternetHeaders, Name: "x-one"}: mapi.String("ä"),
		mapi.PidTagReadReceiptRequested: mapi.Boolean(true), mapi.PidTagOriginatorDeliveryReportRequested: mapi.Boolean(true),
		mapi.Named{Set: mapi.PSInternetHeaders, Name: "X-MS-Exchange-Organization-SCL"}: nil,
	} {
		if got := m.Get(tag); got != want {
			t.Errorf("%v is %v, want %v", tag, got, want)
		}
	}
	if strings.Contains(m.Text(mapi.PidTagTransportMessageHeaders), "SCL") {
		t.Error("a field that is Exchange's own has come in")
	}
	written := string(write(t, Writer{}, m))
	for _, want := range []string{
		"Importance: high\r\n", "Sensitivity: private\r\n", "Thread-Topic: other\r\n", "Subject: AW: x\r\n", "Expires: Mon, 30 Nov 2026 12:00:00 +0000\r\n",
		"Reply-By: Fri, 20 Nov 2026 12:00:00 +0000\r\n", "X-Auto-Response-Suppress: DR, OOF\r\n", "Disposition-Notification-To: \"R\" <r@b>\r\n", "Return-Receipt-To: <a@b>\r\n",
		"X-One: =?utf-8?B?w6Q=?=\r\n", "Date: Thu, 12 Nov 2026 09:06:07 +0000\r\n",
	} {
		if !strings.Contains(written, want) {
			t.Errorf("%q is missing in %s", want, written)
		}
	}
	if strings.Contains(written, "Bcc") {
		t.Error("a Bcc field was written")
	}
}

// TestKept: who wants the header that came gets it, but for the fields of the structure.
func TestKept(t *testing.T) {
	head := "Received: from a by b;\r\n\tThu, 12 Nov 2026 10:06:07 +0100\r\nFrom: Erika <a@b>\r\nX-One: 1\r\nX-One: 2\r\nSubject: Gr\xfc\xdfe\r\n"
	m := convert(t, Reader{}, []byte(head+"Content-Type: text/html\r\n\r\n<p>\r\n"))
	want := strings.Replace(head, "Gr\xfc\xdfe", "=?utf-8?B?R3LDvMOfZQ==?=", 1) + "MIME-Version: 1.0\r\nContent-Type: text/html; charset=us-ascii\r\n\r\n<p>\r\n"
	if got := string(write(t, Writer{Kept: true}, m)); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// TestReports writes reports, and reads them again.
func TestReports(t *testing.T) {
	for _, name := range []string{"11-dsn-report", "31-mdn-report"} {
		before := convert(t, Reader{}, sent(t, name))
		after := convert(t, Reader{}, write(t, Writer{}, before))
		for _, tag := range []mapi.Tag{
			mapi.PidTagMessageClass, mapi.PidTagReportingMessageTransferAgent, mapi.PidTagReportText, mapi.PidTagReportDisposition,
			mapi.PidTagOriginalMessageId, mapi.PidTagReceiptTime, mapi.PidTagBody,
		} {
			if got, want := after.Get(tag), before.Get(tag); got != want {
				t.Errorf("%s: %v is %v", name, tag, got)
			}
		}
		for i, r := range before.Recipients {
			for _, tag := range []mapi.Tag{
				mapi.PidTagEmailAddress, mapi.PidTagNonDeliveryReportStatusCode, mapi.PidTagNonDeliveryReportDiagCode, mapi.PidTagSupplementaryInfo, mapi.PidTagRemoteMessageTransferAgent,
			} {
				if got, want := after.Recipients[i].Get(tag), r.Get(tag); got != want {
					t.Errorf("%s: %v is %v, and was %v", name, tag, got, want)
				}
			}
		}
	}
}

// TestActions: the class follows the most severe action, and the action the class.
func TestActions(t *testing.T) {
	for action, class := range map[string]string{
		"failed": "REPORT.IPM.Note.NDR", "delayed": "REPORT.IPM.Note.Delayed.DR", "relayed": "REPORT.IPM.Note.Relayed.DR",
		"expanded": "REPORT.IPM.Note.Expanded.DR", "delivered": "REPORT.IPM.Note.DR",
	} {
		message := "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n\r\n" +
			"Final-Recipient: rfc822; x@y\r\nAction: delivered\r\nStatus: 2.0.0\r\n\r\nFinal-Recipient: rfc822; b@c\r\nAction: " + action + "\r\nStatus: 4.4.7\r\n--b--\r\n"
		m := convert(t, Reader{}, []byte(message))
		last := m.Recipients[len(m.Recipients)-1]
		if diag, _ := last.Integer(mapi.PidTagNonDeliveryReportDiagCode); m.Text(mapi.PidTagMessageClass) != class || last.Text(mapi.PidTagSmtpAddress) != "b@c" || diag != 5 {
			t.Errorf("%s: %s, %s, %d", action, m.Text(mapi.PidTagMessageClass), last.Text(mapi.PidTagSmtpAddress), diag)
		}
		written := write(t, Writer{}, m)
		if !strings.Contains(string(written), "\r\nAction: "+action+"\r\nStatus: 4.4.7\r\n") {
			t.Errorf("%s was written as %s", action, written)
		}
		for _, m := range []*mapi.Message{m, convert(t, Reader{}, written)} { // nobody whom the report has is lost
			if lacks := len(m.Recipients) < 2; lacks != (action != "delivered") || lacks && (len(m.Attachments) != 1 || !strings.Contains(string(octetsOf(t, m.Attachments[0].Data)), "x@y")) {
				t.Errorf("%s: %d recipients, %d attachments", action, len(m.Recipients), len(m.Attachments))
			}
		}
		if got := write(t, asItCame, convert(t, Reader{Skeleton: true}, []byte(message))); string(got) != message {
			t.Errorf("%s is not as it came: %s", action, got)
		}
	}
}

// TestLongReport: the recipients of a report that are beyond what is read of it, or behind what is broken, are in an attachment.
func TestLongReport(t *testing.T) {
	group := "\r\nFinal-Recipient: rfc822; b@c\r\nAction: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: smtp; " + strings.Repeat("x", 900) + "\r\n"
	for name, status := range map[string]string{
		"long":   strings.Repeat(group, 1100),
		"broken": group + "\r\n" + strings.Repeat("X:\r\n", 20_000) + group,
	} {
		status = "Reporting-MTA: dns; a\r\n" + status + "\r\nFinal-Recipient: rfc822; last@c\r\nAction: failed\r\n"
		m := convert(t, Reader{}, []byte("Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"+status+"\r\n--b--\r\n"))
		if len(m.Recipients) == 0 || m.Text(mapi.PidTagMessageClass) != "REPORT.IPM.Note.NDR" || len(m.Attachments) != 1 || string(octetsOf(t, m.Attachments[0].Data)) != status {
			t.Errorf("%s: %s, %d recipients and %d attachments", name, m.Text(mapi.PidTagMessageClass), len(m.Recipients), len(m.Attachments))
		}
	}
}

// TestSignedToTheOctet: a signed message goes out as it has come in.
func TestSignedToTheOctet(t *testing.T) {
	message := string(sent(t, "09-multipart-signed"))
	_, entity, _ := strings.Cut(message, "Content-Type: multipart/signed")
	written := string(write(t, Writer{}, convert(t, Reader{}, []byte(message))))
	if !strings.HasSuffix(written, "Content-Type: multipart/signed"+entity) {
		t.Errorf("%s", written)
	}
	opaque := "Content-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n"
	m := convert(t, Reader{}, []byte(opaque))
	if class := m.Text(mapi.PidTagMessageClass); class != "IPM.Note.SMIME" || m.Has(mapi.PidTagBody) {
		t.Errorf("%s, %v", class, m.Get(mapi.PidTagBody))
	}
	if written := string(write(t, Writer{}, m)); !strings.Contains(written, "Content-Type: application/pkcs7-mime;") || !strings.HasSuffix(written, "\r\n\r\nQUJD\r\n") {
		t.Errorf("%s", written)
	}
	// Whoever can write into the attachment writes no field of the message with it.
	m = &mapi.Message{Attachments: []*mapi.Attachment{{Data: mapi.ContentOf([]byte("Bcc: x@y\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b--"))}}}
	m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note.SMIME.MultipartSigned"))
	if written := string(write(t, Writer{}, m)); strings.Contains(written, "Bcc") {
		t.Errorf("%s", written)
	}
}

// packed is RTF that is made from HTML or text, as PidTagRtfCompressed has it.
func packed(t *testing.T, encapsulate func(io.Writer, io.Reader) error, from string) mapi.Binary {
	t.Helper()
	var document, packed bytes.Buffer
	c := rtf.NewCompressor(&packed)
	if err := errors.Join(encapsulate(&document, strings.NewReader(from)), func() error { _, err := c.Write(document.Bytes()); return err }(), c.Close()); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// TestRTF: the HTML that RTF is made from is the body; the plain text is, where that is what it was made from.
func TestRTF(t *testing.T) {
	pack := func(encapsulate func(io.Writer, io.Reader) error, from string) mapi.Value {
		return packed(t, encapsulate, from)
	}
	m := &mapi.Message{}
	m.Set(mapi.PidTagBody, mapi.String("Grüße\r\n"))
	m.Set(mapi.PidTagRtfCompressed, pack(rtf.EncapsulateHTML, "<html><body><p>Grüße</p></body></html>"))
	if got := convert(t, Reader{}, write(t, Writer{}, m)); !strings.Contains(body(t, &got.Properties, mapi.PidTagHtml), "<p>Grüße</p>") || !strings.Contains(body(t, &got.Properties, mapi.PidTagBody), "Grüße") {
		t.Errorf("%s", write(t, Writer{}, m))
	}
	m.Set(mapi.PidTagRtfCompressed, pack(rtf.EncapsulateText, "Grüße\r\n"))
	if got := convert(t, Reader{}, write(t, Writer{}, m)); got.Has(mapi.PidTagHtml) || text(got) != "Grüße" {
		t.Errorf("%s", write(t, Writer{}, m))
	}
	m.Set(mapi.PidTagRtfCompressed, mapi.Binary("broken"))
	if got := convert(t, Reader{}, write(t, Writer{}, m)); text(got) != "Grüße" {
		t.Errorf("%s", write(t, Writer{}, m))
	}
}

// TestDamagedRTF: RTF that cannot be read whole is the body as far as it can, and is attached as it is. A message is lost
// only where its octets cannot be had.
func TestDamagedRTF(t *testing.T) {
	whole := packed(t, rtf.EncapsulateHTML, "<html><body><p>"+strings.Repeat("Grüße ", 100)+"</p></body></html>")
	wrong := bytes.Clone(whole)
	wrong[12]++ // of the checksum
	for damaged, readable := range map[string]bool{"short": false, strings.Repeat("none", 9): false, string(wrong): true, string(whole[:len(whole)-20]): true} {
		for _, plain := range []string{"", "Grüße"} {
			m := &mapi.Message{}
			m.Set(mapi.PidTagRtfCompressed, mapi.Binary(damaged))
			if plain != "" {
				m.Set(mapi.PidTagBody, mapi.String(plain))
			}
			got := convert(t, Reader{}, write(t, Writer{}, m))
			if len(got.Attachments) != 1 || string(octetsOf(t, got.Attachments[0].Data)) != damaged {
				t.Errorf("%.10q beside %q: %d attachments", damaged, plain, len(got.Attachments))
			}
			if readable && !strings.Contains(body(t, &got.Properties, mapi.PidTagHtml), "Grüße Grüße") || plain != "" && text(got) != plain {
				t.Errorf("%.10q beside %q: the body is lost", damaged, plain)
			}
		}
	}
	m := &mapi.Message{}
	failing := io.MultiReader(bytes.NewReader(whole[:100]), iotest.ErrReader(errors.ErrUnsupported))
	m.Set(mapi.PidTagRtfCompressed, mapi.Streamed{Of: mapi.PtypBinary, Content: mapi.Content{Open: func() (io.ReadCloser, error) { return io.NopCloser(failing), nil }}})
	if err := (Writer{}).Write(io.Discard, m); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("of what cannot be read: %v", err)
	}
}

// TestUnknownCodePage: RTF of which something is in a code page that nobody knows is the body as far as that goes, and is attached whole. A font of symbols
// is no such code page.
func TestUnknownCodePage(t *testing.T) {
	for document, attached := range map[string]bool{
		`{\rtf1\ansi\ansicpg864 a\'e9b\par}`: true, `{\rtf1\ansi\fromhtml1{\*\htmltag64 <p>}{\fonttbl{\f0\fcharset130 x;}}\f0 a\'e9b}`: true,
		`{\rtf1\ansi\ansicpg1253 a\'e9b\par}`: false, `{\rtf1\ansi{\fonttbl{\f0\fcharset2 x;}}a{\f0\'41}b\par}`: false,
	} {
		unchanged := func(w io.Writer, r io.Reader) error { _, err := io.Copy(w, r); return err }
		m := &mapi.Message{}
		m.Set(mapi.PidTagRtfCompressed, packed(t, unchanged, document))
		for _, form := range []Form{{}, {UUEncode: true}, {Body: BodyText}} {
			e := parse(t, write(t, Writer{Form: form}, m))
			again := convert(t, Reader{UUEncode: true}, write(t, Writer{Form: form}, m))
			if has := len(again.Attachments) == 1; has != attached || has && (name(again) != "message.rtf" || string(octetsOf(t, again.Attachments[0].Data)) != document) {
				t.Errorf("%s: %d attachments of %s", document, len(again.Attachments), e.Type.Value)
			}
			shown := body(t, &again.Properties, mapi.PidTagHtml) + body(t, &again.Properties, mapi.PidTagBody)
			if attached != strings.Contains(shown, "a\ufffdb") {
				t.Errorf("%s: %q", document, shown)
			}
		}
	}
}

// TestLarge: a large text and a large attachment stay in the file that they came in.
func TestLarge(t *testing.T) {
	long := strings.Repeat("Grüße aus Köln, und noch eine Zeile.\r\n", 5_000)
	m := convert(t, Reader{}, []byte("Content-Type: text/plain; charset=utf-8\r\n\r\n"+long))
	if v, is := m.Get(mapi.PidTagBody).(mapi.Streamed); !is || v.Content.Size != int64(2*len([]rune(long))) {
		t.Errorf("%T", m.Get(mapi.PidTagBody))
	}
	if got := convert(t, Reader{}, write(t, Writer{}, m)); body(t, &got.Properties, mapi.PidTagBody) != body(t, &m.Properties, mapi.PidTagBody) {
		t.Error("the text has changed")
	}
}

// TestLongLines: what is too long for a line is written in some other way, or left out.
func TestLongLines(t *testing.T) {
	long := strings.Repeat("x", 3*lineMost)
	message := "From: <" + long + "@b>\r\nTo: " + long + " <a@b>\r\nX-" + long + ": y\r\nSubject: " + long + "\r\nMessage-ID: <" + long + ">\r\n" +
		"Content-Type: a/" + long + "; name=" + long + "\r\nContent-ID: <" + long + ">\r\nContent-Description: " + long + "\r\n\r\n" + long
	m := convert(t, Reader{}, []byte(message))
	again := convert(t, Reader{}, write(t, Writer{}, m))
	for _, tag := range []mapi.Tag{mapi.PidTagSubject, mapi.PidTagInternetMessageId, mapi.PidTagDisplayTo} {
		if again.Text(tag) != m.Text(tag) {
			t.Errorf("%v has changed", tag)
		}
	}
	if text(again) != long {
		t.Error("the text has changed")
	}
	if sender := again.Text(mapi.PidTagSenderName); sender != long+"@b "+long+"@b" && sender != long+"@b" {
		t.Errorf("%.100q", sender)
	}
}

// TestMemory: an attachment is nowhere whole in memory, on the way in or out.
func TestMemory(t *testing.T) {
	const size = 4 << 20
	head := "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	source := io.NewSectionReader(endless(head), 0, size)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := Reader{}.Read(source, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := (Writer{}).Write(io.Discard, m); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if m.Attachments[0].Data.Size < size/2 || after.TotalAlloc-before.TotalAlloc > size/4 {
		t.Errorf("%d octets in the attachment, %d in memory", m.Attachments[0].Data.Size, after.TotalAlloc-before.TotalAlloc)
	}
}

// endless is a file that begins with a text and goes on with lines of base64.
type endless string

func (e endless) ReadAt(p []byte, offset int64) (int, error) {
	for i := range p {
		switch at := offset + int64(i); {
		case at < int64(len(e)):
			p[i] = e[at]
		case at%78 == 76:
			p[i] = '\r'
		case at%78 == 77:
			p[i] = '\n'
		default:
			p[i] = 'Q'
		}
	}
	return len(p), nil
}

// TestCharsets: a text goes out in the charset in which it came, if that has its letters.
func TestCharsets(t *testing.T) {
	for _, c := range []struct {
		page       int
		text, want string
	}{
		{28591, "ä\r\n", "iso-8859-1"},
		{50220, "港\r\n", "iso-2022-jp"},
		{28591, "港\r\n", "utf-8"},
		{4711, "ä\r\n", "utf-8"},
		{28591, "a\r\n", "us-ascii"},
		{1200, "ä\r\n", "utf-8"},
		{37, "?\r\n", "us-ascii"},
		{1140, "ä\r\n", "utf-8"}, // EBCDIC
	} {
		m := &mapi.Message{}
		m.Set(mapi.PidTagBody, mapi.String(c.text))
		m.Set(mapi.PidTagInternetCodepage, mapi.Integer32(c.page))
		e := parse(t, write(t, Writer{}, m))
		page, err := e.TextPage()
		if err != nil {
			t.Fatal(err)
		}
		octets, err := io.ReadAll(e.DecodedText(page))
		if err != nil || string(octets) != c.text || e.Type.Get("charset") != c.want {
			t.Errorf("%d: %q in %s, %v", c.page, octets, e.Type.Get("charset"), err)
		}
	}
}

// TestHTMLPages: HTML stays as it came, unless it is in a charset in which no octets of HTML can be kept.
func TestHTMLPages(t *testing.T) {
	for _, c := range []struct {
		charset, octets, want string
		page                  int64
	}{
		{"iso-8859-1", "<p>\xe4", "<p>\xe4", 28591}, {"utf-7", "<p>+AOQ-", "<p>ä", 65001}, {"utf-16be", "\x00<\x00p\x00>\x00\xe4", "<p>ä", 65001}, {"us-ascii", "<p>\xe4", "<p>\xe4", 1252},
	} {
		m := convert(t, Reader{}, []byte("Content-Type: text/html; charset="+c.charset+"\r\n\r\n"+c.octets))
		if page, _ := m.Integer(mapi.PidTagInternetCodepage); string(m.Bytes(mapi.PidTagHtml)) != c.want || page != c.page {
			t.Errorf("%s: %q in %d", c.charset, m.Bytes(mapi.PidTagHtml), page)
		}
	}
}

// TestInline: a picture is inline if the text shows it, and not if only its flags say so.
func TestInline(t *testing.T) {
	m := &mapi.Message{}
	m.Set(mapi.PidTagHtml, mapi.Binary(`<img src="CID:a%40b">`))
	for _, id := range []string{"a@b", "hidden@b"} {
		a := &mapi.Attachment{Data: mapi.ContentOf([]byte("x"))}
		a.Set(mapi.PidTagAttachContentId, mapi.String(id))
		a.Set(mapi.PidTagAttachFlags, mapi.Integer32(attachRenderedInBody))
		m.Attachments = append(m.Attachments, a)
	}
	reference := &mapi.Attachment{}
	reference.Set(mapi.PidTagAttachLongPathname, mapi.String("https://sakes.example/file"))
	m.Attachments = append(m.Attachments, reference)
	want := []string{
		"multipart/mixed", "  multipart/related", "    text/html", `    "" "<img src=\"CID:a%40b\">" ""`,
		"    application/octet-stream", `    "" "x" "a@b"`, "  application/octet-stream", `  "" "x" "hidden@b"`, "  text/uri-list", `  "" "https://sakes.example/file" ""`,
	}
	if got := outline(t, parse(t, write(t, Writer{}, m)), 0); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestHidden: what the text shows by its Content-ID is hidden where it is a picture; what the text does not show is there to be seen.
func TestHidden(t *testing.T) {
	part := func(kind, id string) string {
		return "--r\r\nContent-Type: " + kind + "\r\nContent-ID: <" + id + ">\r\n\r\nx\r\n"
	}
	m := convert(t, Reader{}, []byte("Content-Type: multipart/related; boundary=r\r\n\r\n--r\r\nContent-Type: text/html\r\n\r\n<img src=\"cid:a@b\"><a href=\"cid:c@b\">\r\n"+
		part("image/png", "a@b")+part("image/png", "not-shown@b")+part("application/pdf", "c@b")+"--r--\r\n"))
	var hidden []bool
	for _, a := range m.Attachments {
		hidden = append(hidden, a.Bool(mapi.PidTagAttachmentHidden))
	}
	if !slices.Equal(hidden, []bool{true, false, false}) || !m.Bool(mapi.PidTagHasAttachments) {
		t.Errorf("hidden are %v, and the message has attachments: %v", hidden, m.Bool(mapi.PidTagHasAttachments))
	}
}

// TestTNEF: the hook is given what is in the part; if it fails the part is an attachment.
func TestTNEF(t *testing.T) {
	message := []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--b--\r\n")
	opened := convert(t, Reader{TNEF: func(m *mapi.Message, data mapi.Content) error {
		m.Set(mapi.PidTagSubject, mapi.String(octetsOf(t, data)))
		return nil
	}}, message)
	if opened.Text(mapi.PidTagSubject) != "ABC" || len(opened.Attachments) != 0 {
		t.Errorf("%q, %d attachments", opened.Text(mapi.PidTagSubject), len(opened.Attachments))
	}
	for _, r := range []Reader{{}, {TNEF: func(*mapi.Message, mapi.Content) error { return header.ErrTooLarge }}} {
		m := convert(t, r, message)
		if len(m.Attachments) != 1 || name(m) != "winmail.dat" || string(octetsOf(t, m.Attachments[0].Data)) != "ABC" {
			t.Errorf("%d attachments", len(m.Attachments))
		}
	}
}
