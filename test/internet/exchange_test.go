//go:build linux

package internet

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
	"github.com/dipylon/dipylon/backends/mapi/rtf"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
	"github.com/dipylon/dipylon/test/exchange"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// connector is the mailbox in which SAKES's server puts what is for the Internet, and toInternet the folder there.
const (
	connector  = "connector@sakes.example"
	toInternet = "To the Internet"
)

// TestExchange is the figure with an Exchange server at Kifissia, in whose mailboxes there are properties, and Postfix and Dovecot at
// pop3.dcnw.example. What is for the Internet waits in a folder of the connector's mailbox.
func TestExchange(t *testing.T) {
	t.Parallel()
	w := newExchangeWorld(t, []string{"judy", "pat", "kim"}, []string{"george", "chris", "dora"}, harness.Mapping{"mailbox": connector, "folder": toInternet})
	w.run(t, []part{
		{"letters of properties", (*world).properties},
		{"unknown there, of properties", (*world).unknownOfProperties},
		{"unknown there", (*world).unknownThere},
		{"unknown here", (*world).unknownHere},
		{"success here", (*world).successHere},
	})
}

// TestExchangeWithoutTransport has a server that sends nothing itself: what users submit stays in their Outbox, from where the gateway takes
// it, for those at SAKES, too.
func TestExchangeWithoutTransport(t *testing.T) {
	t.Parallel()
	w := newExchangeWorld(t, []string{"judy", "pat", "kim"}, []string{"george", "chris", "dora"}, harness.Mapping{"users": []string{"dora@sakes.example", "george@sakes.example"}})
	w.run(t, []part{{"letters of properties", (*world).properties}})
}

// newExchangeWorld is newWorld with an Exchange server, which the gateway reads, and creates mail in.
func newExchangeWorld(t *testing.T, there, here []string, outbox harness.Mapping) *world {
	t.Helper()
	w := newWire(t).world(t, peers.PostfixSite, there)
	w.kifissia.do(t, func() { w.exchange = exchange.Start(t) })
	ca := filepath.Join(t.TempDir(), "exchange.pem")
	if err := os.WriteFile(ca, w.exchange.Certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	w.boxes = make(map[string]*exchange.Mailbox)
	add := func(name string) *exchange.Mailbox {
		address := name + "@sakes.example"
		w.boxes[address] = w.exchange.AddMailbox(address, "open "+address, "/o=Sakes/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn="+name)
		return w.boxes[address]
	}
	gate := add("gate")
	for _, name := range append(here, "connector") {
		add(name).Grant(gate, exchange.Rights{Reads: true})
	}
	w.boxes[connector].AddFolder("", toInternet)
	w.withoutTransport = outbox["users"] != nil
	w.prepareGateway(t, harness.Mapping{
		"name": "sakes", "plugin": "exchange", "domains": []string{"sakes.example"},
		"settings": harness.Mapping{
			"url": w.exchange.Root, "ca": ca, "service": harness.Mapping{"user": gate.User, "password": gate.Password},
			"delivery": harness.Mapping{"create": true}, "outbox": outbox,
		},
	})
	w.kifissia.do(t, func() { w.gateway.Run(t) })
	return w
}

// fromGeorge is a line of what George has written in properties.
const fromGeorge = `From: "George" <george@sakes.example>`

// recipientOf is a recipient as Exchange has it: who stands in To (1) or Cc (2), and whether somebody else delivers it.
func recipientOf(kind mapi.Integer32, address string, responsible bool) *mapi.Recipient {
	r := &mapi.Recipient{}
	r.Set(mapi.PidTagRecipientType, kind)
	r.SetAddress(mapi.RecipientAddress, mapi.Address{Name: address, Type: mapi.AddressSMTP, Address: address, SMTP: address})
	if responsible {
		r.Set(mapi.PidTagResponsibility, mapi.Boolean(true))
	}
	return r
}

// fileOf is a file that is attached.
func fileOf(name, mediaType string, octets []byte) *mapi.Attachment {
	a := &mapi.Attachment{Data: mapi.ContentOf(octets)}
	a.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	a.Set(mapi.PidTagAttachLongFilename, mapi.String(name))
	a.Set(mapi.PidTagAttachMimeTag, mapi.String(mediaType))
	a.Set(mapi.PidTagRenderingPosition, mapi.Integer32(-1))
	return a
}

// noteOf is a note that somebody has written, in RTF that was made from nothing else, as Outlook of that time did.
func noteOf(t *testing.T, from, subject, text string, recipients ...*mapi.Recipient) *mapi.Message {
	t.Helper()
	m := &mapi.Message{Recipients: recipients}
	m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
	m.Set(mapi.PidTagSubject, mapi.String(subject))
	m.Set(mapi.PidTagClientSubmitTime, mapi.NewTime(time.Date(2026, 11, 30, 6, 0, 0, 0, time.UTC)))
	author := mapi.Address{Name: "George", Type: mapi.AddressSMTP, Address: from, SMTP: from}
	m.SetAddress(mapi.SenderAddress, author)
	m.SetAddress(mapi.SentRepresentingAddress, author)
	var compressed bytes.Buffer
	c := rtf.NewCompressor(&compressed)
	_, err := io.WriteString(c, `{\rtf1\ansi\ansicpg1253\deff0{\fonttbl{\f0\fnil\fcharset161 Arial;}}\pard\f0 `+text+`\par}`)
	if err := errors.Join(err, c.Close()); err != nil {
		t.Fatal(err)
	}
	m.Set(mapi.PidTagRtfCompressed, mapi.Binary(compressed.Bytes()))
	return m
}

// streamOf is a message as the server keeps it.
func streamOf(t *testing.T, m *mapi.Message) []byte {
	t.Helper()
	var stream bytes.Buffer
	w := fasttransfer.NewWriter(&stream)
	if err := errors.Join(w.Content(m), w.Flush()); err != nil {
		t.Fatal(err)
	}
	return stream.Bytes()
}

// pieces are what Python's email package has found in a message.
type pieces struct {
	Headers map[string]string
	Parts   []struct {
		Type, Name, ID, Disposition, Text string
		Octets                            []byte
	}
}

// mimeClient is what reads mail for Judy: all that a reader of MIME shows, with what was encoded decoded.
const mimeClient = `
import base64, email, email.policy, json, sys
m = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
parts = []
for p in m.walk():
    if p.is_multipart():
        continue
    octets = p.get_payload(decode=True)
    text = p.get_content() if p.get_content_maintype() == "text" else ""
    parts.append(dict(Type=p.get_content_type(), Name=p.get_filename() or "", ID=p["Content-ID"] or "",
        Disposition=p.get_content_disposition() or "", Text=text, Octets=base64.b64encode(octets).decode()))
defects = [str(d) for p in m.walk() for d in p.defects]
if defects:
    sys.exit("defects: %s" % defects)
json.dump(dict(Headers={k: str(v) for k, v in m.items()}, Parts=parts), sys.stdout)
`

// read has the MIME client read a message.
func read(t *testing.T, message []byte) (p pieces) {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", "-c", mimeClient)
	cmd.Stdin = bytes.NewReader(message)
	var told bytes.Buffer
	cmd.Stderr = &told
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the MIME client: %v: %s\n%.3000s", err, told.Bytes(), message)
	}
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// properties: George's letter is properties, with RTF, a file, and TNEF that somebody has sent him. Judy reads it in a client of MIME, and
// answers in HTML with a picture, which George has in properties. Chris reads both by POP3, and answers both.
func (w *world) properties(t *testing.T) {
	george, judy, chris := "george@sakes.example", "judy@dcnw.example", "chris@sakes.example"
	bill, winmail := []byte("%PDF-1.4\n\x00\xff\r.\r\n..\n"), winmailOf(t)
	m := noteOf(t, george, "Σχήμα 1, first", `Dear Judy, \b here\b0  is \'d3\'f7\'de\'ec\'e1 1.\par .\par ..`, recipientOf(1, judy, false), recipientOf(2, chris, !w.withoutTransport))
	m.Attachments = []*mapi.Attachment{fileOf("Σχήμα 1.pdf", "application/pdf", bill), fileOf("winmail.dat", "application/ms-tnef", winmail)}
	const submitted = 4 // MS-OXCMSG §2.2.1.6
	stream, box, folder := streamOf(t, m), connector, toInternet
	if w.withoutTransport {
		box, folder = george, "Outbox"
	} else {
		w.boxes[chris].Put("Inbox", 0, stream) // the server delivers to its own
	}
	w.boxes[box].Put(folder, submitted, stream)

	got := w.at(judy).await(t, fromGeorge, "winmail.dat")
	w.wantLetter(t, "Judy", got, bill, map[string][]byte{"application/ms-tnef winmail.dat": winmail})
	unpacks(t, winmail)
	harness.Eventually(t, patience, "the folder being empty", func() bool { return len(w.in(box, folder)) == 0 })
	first := w.at(chris).await(t, fromGeorge)
	second := map[string][]byte{"application/ms-tnef winmail.dat": winmail}
	if w.withoutTransport { // it went through the gateway, which opens the TNEF of what it creates
		second = map[string][]byte{"text/plain plan.txt": []byte(plan)}
	}
	w.wantLetter(t, "Chris", first, bill, second)

	reply := htmlReply(judy, george, chris)
	w.send(t, harness.Envelope{From: judy, To: []string{george, chris}, EightBit: true}, strings.NewReader(reply))
	arrivedWhole(t, "Chris's second", w.at(chris).await(t, "Subject: Re: the figure"), reply)
	w.wantReply(t, w.awaitIn(t, george, "Re: the figure"))

	for n, about := range []string{"Re: " + greeting + " first", "Re: Re: the figure"} {
		answer := letter(chris, "<"+george+">, <"+judy+">", about, "", attached)
		w.send(t, harness.Envelope{From: chris, To: []string{george, judy}, EightBit: true}, strings.NewReader(answer))
		arrivedWhole(t, "Judy's answer", w.at(judy).await(t, "From: <"+chris+">", "Subject: "+about), answer)
		arrivedWhole(t, "George's answer", w.at(george).await(t, "From: <"+chris+">", "Subject: "+about), answer)
		if got := w.awaitIn(t, george, []string{"Re: Σχήμα 1 first", "Re: Re: the figure"}[n]); len(got.Attachments) != 1 || got.Attachments[0].Text(mapi.PidTagAttachLongFilename) != "Σχήμα 1.pdf" {
			t.Errorf("Chris's answer has %d attachments", len(got.Attachments))
		}
	}
	for _, address := range []string{judy, chris} { // once each
		if n := w.at(address).count(t, fromGeorge); n != 1 {
			t.Errorf("%s has George's letter %d times", address, n)
		}
	}
}

// plan is a file in it.
const plan = "The plan.\r\n"

// winmailOf is TNEF that somebody has sent to George: a text and a file.
func winmailOf(t *testing.T) []byte {
	t.Helper()
	inner := &mapi.Message{Attachments: []*mapi.Attachment{fileOf("plan.txt", "text/plain", []byte(plan))}}
	inner.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
	inner.Set(mapi.PidTagBody, mapi.String("A plan"))
	var out bytes.Buffer
	if err := tnef.Encode(&out, inner, tnef.Options{}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// wantLetter looks at George's letter as a reader of MIME has it.
func (w *world) wantLetter(t *testing.T, whose string, message, bill []byte, second map[string][]byte) {
	t.Helper()
	p := read(t, message)
	for name, want := range map[string]string{"Subject": "Σχήμα 1, first", "From": "George <george@sakes.example>", "To": "judy@dcnw.example", "Cc": "chris@sakes.example"} {
		if !strings.Contains(p.Headers[name], want) {
			t.Errorf("%s reads %s: %q, want %q", whose, name, p.Headers[name], want)
		}
	}
	if at, err := time.Parse(time.RFC1123Z, p.Headers["Date"]); err != nil || !at.Equal(time.Date(2026, 11, 30, 6, 0, 0, 0, time.UTC)) {
		t.Errorf("%s reads Date: %q", whose, p.Headers["Date"])
	}
	html := false
	files := make(map[string][]byte)
	for _, part := range p.Parts {
		switch {
		case part.Name != "":
			files[part.Type+" "+part.Name] = part.Octets
		case part.Type == "text/html":
			html = strings.Contains(part.Text, "<b>here</b>") && strings.Contains(part.Text, "Σχήμα 1.")
		}
	}
	second["application/pdf Σχήμα 1.pdf"] = bill
	if !html || !maps.EqualFunc(files, second, bytes.Equal) {
		t.Errorf("%s reads the HTML: %v, and the files %q in\n%.4000s", whose, html, files, message)
	}
}

// unpacks has Debian's tnef unpack what Judy got.
func unpacks(t *testing.T, winmail []byte) {
	t.Helper()
	dir := t.TempDir()
	unpack := exec.Command("tnef", "--directory", dir)
	unpack.Stdin = bytes.NewReader(winmail)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Errorf("tnef: %v: %s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "plan.txt")); err != nil || string(got) != plan {
		t.Errorf("in winmail.dat is %q, %v", got, err)
	}
}

// picture is what Judy draws.
var picture = []byte("\x89PNG\r\n\x1a\n\x00\x00figure")

// htmlReply is an answer in HTML that shows a picture.
func htmlReply(from, to, cc string) string {
	return "From: Judy <" + from + ">\r\nTo: George <" + to + ">\r\nCc: <" + cc + ">\r\nSubject: Re: the figure\r\nDate: Mon, 30 Nov 2026 09:00:00 +0200\r\n" +
		"Message-ID: <reply@dcnw.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; type=\"text/html\"; boundary=rel\r\n\r\n" +
		"--rel\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>Καλημέρα <img src=\"cid:fig.1@dcnw.example\"></p>\r\n" +
		"--rel\r\nContent-Type: image/png; name=fig.png\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <fig.1@dcnw.example>\r\nContent-Disposition: inline; filename=fig.png\r\n\r\n" +
		"iVBORw0KGgoAAGZpZ3VyZQ==\r\n--rel--\r\n"
}

// wantReply looks at Judy's answer in George's properties.
func (w *world) wantReply(t *testing.T, m *mapi.Message) {
	t.Helper()
	const rendered = 4 // in the text, MS-OXCMSG §2.2.2.18
	page, _ := m.Integer(mapi.PidTagInternetCodepage)
	if html := string(m.Bytes(mapi.PidTagHtml)); page != 65001 || !strings.Contains(html, `Καλημέρα <img src="cid:fig.1@dcnw.example">`) {
		t.Errorf("the HTML is %q in the code page %d", html, page)
	}
	if from, _ := m.Address(mapi.SentRepresentingAddress); from.SMTP != "judy@dcnw.example" || from.Name != "Judy" || m.Text(mapi.PidTagInternetMessageId) != "<reply@dcnw.example>" {
		t.Errorf("it is from %+v with the id %q", from, m.Text(mapi.PidTagInternetMessageId))
	}
	var recipients []string
	for _, r := range m.Recipients {
		kind, _ := r.Integer(mapi.PidTagRecipientType)
		recipients = append(recipients, []string{"", "To ", "Cc "}[kind]+r.Text(mapi.PidTagSmtpAddress))
	}
	if !slices.Equal(recipients, []string{"To george@sakes.example", "Cc chris@sakes.example"}) {
		t.Errorf("the recipients are %q", recipients)
	}
	if len(m.Attachments) != 1 {
		t.Fatalf("it has %d attachments", len(m.Attachments))
	}
	a := m.Attachments[0]
	octets, err := readAll(a.Data)
	flags, _ := a.Integer(mapi.PidTagAttachFlags)
	if err != nil || !bytes.Equal(octets, picture) || a.Text(mapi.PidTagAttachContentId) != "fig.1@dcnw.example" || flags&rendered == 0 || !a.Bool(mapi.PidTagAttachmentHidden) ||
		a.Text(mapi.PidTagAttachMimeTag) != "image/png" || a.Text(mapi.PidTagAttachLongFilename) != "fig.png" {
		t.Errorf("the picture is %q, %v, of %v", octets, err, a.Properties)
	}
}

func readAll(c mapi.Content) ([]byte, error) {
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// in are the messages in a folder of a mailbox of SAKES's.
func (w *world) in(address, folder string) (all []exchange.Message) {
	for _, m := range w.boxes[address].Messages() {
		if m.Folder == folder && !m.Deleted {
			all = append(all, m)
		}
	}
	return all
}

// awaitIn waits for a message with a subject in an Inbox, and gives its properties.
func (w *world) awaitIn(t *testing.T, address, subject string) (found *mapi.Message) {
	t.Helper()
	harness.Eventually(t, patience, subject+" in the Inbox of "+address, func() bool {
		for _, m := range w.in(address, "Inbox") {
			if m.Subject != subject {
				continue
			}
			o, err := fasttransfer.NewReader(bytes.NewReader(m.Stream), fasttransfer.Options{Keep: mapi.KeepInMemory}).Message()
			if err != nil {
				t.Fatal(err)
			}
			found = o
		}
		return found != nil
	})
	return found
}

// unknownOfProperties: of George's letter to Kim and to nobody, the report on nobody reaches George, and in properties it is one.
func (w *world) unknownOfProperties(t *testing.T) {
	george, kim, nobody := "george@sakes.example", "kim@dcnw.example", "no.such.person@dcnw.example"
	m := noteOf(t, george, "to nobody", "Hello.", recipientOf(1, kim, false), recipientOf(1, nobody, false))
	w.boxes[connector].Put(toInternet, 0, streamOf(t, m))
	w.at(kim).await(t, "Subject: to nobody")
	report := w.at(george).await(t, nobody, "Action: failed", "Return-Path: <>", "Subject: to nobody")
	if strings.Contains(string(report), "Final-Recipient: rfc822; "+kim) {
		t.Errorf("the report tells of Kim, who has a copy:\n%s", report)
	}
	reports := 0
	for _, m := range w.in(george, "Inbox") {
		o, err := fasttransfer.NewReader(bytes.NewReader(m.Stream), fasttransfer.Options{Keep: mapi.KeepInMemory}).Message()
		if err != nil {
			t.Fatal(err)
		}
		if o.Text(mapi.PidTagMessageClass) == "REPORT.IPM.Note.NDR" && len(o.Recipients) == 1 && o.Recipients[0].Text(mapi.PidTagSmtpAddress) == nobody {
			reports++
		}
	}
	if reports != 1 {
		t.Errorf("George has %d reports on %s in properties", reports, nobody)
	}
}
