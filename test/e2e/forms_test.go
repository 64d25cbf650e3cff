//go:build linux

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	"github.com/dipylon/dipylon/test/exchange"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// cameFromInternet is mail that came from the Internet, for which there is no other form.
const cameFromInternet = "From: a@far.example\r\nSubject: third\r\nX-Odd:  as it came\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>as it came\r\n"

// threeMessages are a message of the store's own with a file, a meeting, and one that came from the Internet, each as a stream.
func threeMessages(t *testing.T) (streams [][]byte) {
	t.Helper()
	own := &mapi.Message{}
	own.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
	own.Set(mapi.PidTagSubject, mapi.String("first"))
	own.Set(mapi.PidTagHtml, mapi.Binary("<p>Gr&uuml;&szlig;e aus dem <b>Hafen</b>, von allen &#8222;alten&#8220; Freunden"))
	own.Set(mapi.PidTagInternetCodepage, mapi.Integer32(65001))
	file := &mapi.Attachment{Data: mapi.ContentOf([]byte("abc"))}
	file.Set(mapi.PidTagAttachMethod, mapi.AttachByValue)
	file.Set(mapi.PidTagAttachLongFilename, mapi.String("a.txt"))
	own.Attachments = append(own.Attachments, file)
	messages := []*mapi.Message{own}
	for _, mail := range []string{
		"From: chris@sakes.example\r\nTo: george@sakes.example\r\nSubject: second\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\n" +
			"UID:1@sakes.example\r\nORGANIZER:mailto:chris@sakes.example\r\nDTSTART:20261201T090000Z\r\nDTEND:20261201T100000Z\r\nLOCATION:Hall\r\nDESCRIPTION:Bring bills\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
		cameFromInternet,
	} {
		m, err := mime.Reader{Skeleton: mail == cameFromInternet}.Read(strings.NewReader(mail), int64(len(mail)))
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	for _, m := range messages {
		var stream bytes.Buffer
		w := fasttransfer.NewWriter(&stream)
		if err := w.Content(m); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		streams = append(streams, stream.Bytes())
	}
	return streams
}

// TestForms has an Exchange server whose readers are old: the form of messages is said for the gateway, the store and a mailbox. Sizes
// are those of what is sent, and the next session has the same octets.
func TestForms(t *testing.T) {
	t.Parallel()
	server := exchange.Start(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "exchange.pem"), server.Certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	begun := time.Now().Add(-time.Hour)
	for _, name := range []string{"george", "chris", "keeper", "rich"} {
		box := server.AddMailbox(name+"@sakes.example", name+"-secret", "/o=Sakes/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn="+name)
		for i, stream := range threeMessages(t) {
			box.DeliverAt(begun.Add(time.Duration(i)*time.Minute), "mail", stream)
		}
	}
	g := harness.Start(t, harness.Options{
		Dir: dir,
		Stores: []harness.Mapping{{
			"name": "sakes", "plugin": "exchange", "domains": []string{"sakes.example"}, "settings": harness.Mapping{"url": server.Root, "ca": "exchange.pem"},
			"policy": harness.Mapping{"encoding": "uuencode", "wrap": 20, "calendar": "text"},
			"mailboxes": []harness.Mapping{
				{"address": "george@sakes.example", "policy": harness.Mapping{"encoding": "mime", "body": "enriched", "charset": "utf-8"}},
				{"address": "keeper@sakes.example", "policy": harness.Mapping{"encoding": "mime", "body": "both", "calendar": "link", "calendar_link": "https://owa.example/?id={uid}"}},
				{"address": "rich@sakes.example", "policy": harness.Mapping{"encoding": "mime", "rich_text": true}},
			},
		}},
		More: harness.Mapping{"policy": harness.Mapping{"charset": "iso-8859-1"}},
	})
	for name, want := range map[string][2][]string{
		"chris": {
			{"Content-Type: text/plain; charset=iso-8859-1", "\r\n\r\nGr\xfc\xdfe aus dem Hafen,\r\nvon allen \"alten\"\r\nFreunden\r\n\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n"},
			{"Content-Type: text/plain", "\r\n\r\nWhen: Tuesday, 1\r\nDecember 2026 09:00\r\n- 10:00 (UTC)\r\nWhere: Hall\r\n", "Bring bills"},
		},
		"george": {
			{"Content-Type: multipart/mixed", "Content-Type: text/enriched; charset=utf-8", "<bold>Hafen</bold>", "filename=a.txt"},
			{"Content-Type: text/plain", "When: Tuesday, 1"},
		},
		"rich": {
			{"multipart/mixed", "Content-Type: text/plain; charset=iso-8859-1", "Content-Type: application/ms-tnef; name=winmail.dat"},
			{"Content-Type: application/ms-tnef; name=winmail.dat", "Bring bills"},
		},
		"keeper": {
			{"multipart/alternative", "Content-Type: text/plain; charset=iso-8859-1", "Content-Type: text/html; charset=", "&#8222;"},
			{"When: Tuesday, 1", "Link:", "https://owa.example/?id=1%40sakes.example"},
		},
	} {
		user := harness.User{Address: name + "@sakes.example", Password: name + "-secret"}
		var before []string
		for session := range 2 {
			p := login(t, g, user)
			sizes, err := p.List()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := 1; i <= 3; i++ {
				message, err := p.Retr(i)
				if err != nil || int64(len(message)) != sizes[i] {
					t.Fatalf("%s: message %d has %d octets, and LIST says %d: %v", name, i, len(message), sizes[i], err)
				}
				got = append(got, string(message))
			}
			if err := p.Quit(); err != nil {
				t.Error(err)
			}
			if session > 0 {
				for i := range got {
					if got[i] != before[i] {
						t.Errorf("%s: message %d is another one the second time", name, i+1)
					}
				}
			}
			before = got
		}
		for i, pieces := range want {
			for _, piece := range pieces {
				if !strings.Contains(before[i], piece) {
					t.Errorf("%s: %q is not in\n%s", name, piece, before[i])
				}
			}
			if strings.Contains(before[i], "VCALENDAR") {
				t.Errorf("%s has a calendar:\n%s", name, before[i])
			}
		}
		if before[2] != cameFromInternet {
			t.Errorf("%s: mail from the Internet is\n%s", name, before[2])
		}
	}
}

// TestRouteForms has a message leave by a route whose domain has old readers, and as it was sent to another one.
func TestRouteForms(t *testing.T) {
	t.Parallel()
	old, usual := (&fakesmtp.Server{}).Start(t), (&fakesmtp.Server{}).Start(t)
	to := func(name, domain string, server *fakesmtp.Server, more harness.Mapping) harness.Mapping {
		m := harness.Mapping{"name": name, "domains": []string{domain}, "to": "smtp", "hosts": []string{server.Address}, "tls": "clear"}
		for k, v := range more {
			m[k] = v
		}
		return m
	}
	g := harness.Start(t, harness.Options{More: harness.Mapping{
		"routes": []harness.Mapping{
			to("old", "old.example", old, harness.Mapping{"encoding": "uuencode", "charset": "us-ascii", "wrap": 30}), to("usual", "far.example", usual, nil),
		},
		"smtp": harness.Mapping{"relay_for": []string{"127.0.0.0/8"}},
	}})
	const message = "From: sender@corpus.example\r\nSubject: A bill\r\nMessage-ID: <bill@corpus.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>Gr=C3=BC=C3=9Fe aus dem Hafen, und <b>die Rechnung</b>\r\n" +
		"--b\r\nContent-Type: text/plain; name=a.txt\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nabc\r\n--b--\r\n"
	s := mx(t, g)
	if _, err := s.Send(envelope(harness.User{Address: "eve@old.example"}, harness.User{Address: "bob@far.example"}), strings.NewReader(message)); err != nil {
		t.Fatal(err)
	}
	if err := s.Quit(); err != nil {
		t.Error(err)
	}
	harness.Eventually(t, 3*time.Minute, "both servers have the message", func() bool { return len(old.Received()) == 1 && len(usual.Received()) == 1 })
	if got := usual.Received()[0].Content; !strings.HasSuffix(got, message) {
		t.Errorf("as it was sent:\n%s", got)
	}
	const want = "Subject: A bill\r\nMessage-ID: <bill@corpus.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" +
		"Grusse aus dem Hafen, und die\r\nRechnung\r\n\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n"
	if got := old.Received()[0].Content; !strings.HasSuffix(got, want) {
		t.Errorf("for old readers:\n%s", got)
	}
	out, err := g.Command("route", "eve@old.example").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "uuencode, US-ASCII, 30 columns") {
		t.Errorf("dipylon route: %v\n%s", err, out)
	}
}
