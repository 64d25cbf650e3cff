//go:build linux

package stores

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// device runs a command on devices, and gives what it prints.
func (w *tokenWorld) device(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.gateway.Command(append([]string{"device", "--config", w.gateway.ConfigFile}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// scan is what an old scanner sends: two Froms, a name that is not quoted and not ASCII, its clock's first year, somebody
// else's Resent fields, a text that does not say its charset, and bare LFs.
const scan = "From: B\xfcro, 2nd floor <scanner@printer.local>\r\nFrom: ceo@far.example\r\nSender: ceo@far.example\r\nResent-From: ceo@far.example\r\n" +
	"To: Archive, the <far@far.example>\r\nSubject: page %d\r\nDate: Thu, 01 Jan 1970 00:00:07 +0000\r\n\r\ngr\xfcn\nund bunt\r\n"

// scanIn is a scanner's session: no TLS, no login.
func (w *tokenWorld) scanIn(t *testing.T) *harness.SMTP {
	t.Helper()
	s, err := harness.DialSMTP(w.gateway.Address("submission"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func pages(to ...string) harness.Envelope {
	return harness.Envelope{From: "scanner@printer.local", To: to}
}

// TestScanner: what a scanner sends from its network, without TLS and without a login, leaves as a proper message through
// the provider that takes tokens alone, from the sender that the administrator has set, with one copy in the Sent folder of
// that shared mailbox. What is refused later its owner is told, and the scanner nothing. Switched off it is so at once.
func TestScanner(t *testing.T) {
	t.Parallel()
	w := startTokenWorld(t, time.Hour)
	s := w.scanIn(t)
	_, err := s.Ask(250, "MAIL FROM:<scanner@printer.local>")
	refusal(t, err, "530 5.7.0 Authentication required")
	w.device(t, "add", "scanner", "--account", office, "--owner", ada, "--place", "2nd floor", "--network", "127.0.0.1", "--no-login", "--legacy",
		"--sender", office, "--subject-prefix", "[scan]", "--recipient", "@far.example")
	if _, err := s.Send(pages("far@far.example"), strings.NewReader(fmt.Sprintf(scan, 1))); err != nil {
		t.Fatal(err)
	}
	if m := w.sentBy(t, 1)[0]; m.From != office || m.Login != ada || len(m.To) != 1 || m.To[0] != "far@far.example" {
		t.Errorf("sent: %+v", m)
	}
	w.properMessage(t)

	_, err = s.Send(pages("someone@peer.example"), strings.NewReader(fmt.Sprintf(scan, 2)))
	refusal(t, err, "550 5.7.1 the device scanner may not send to someone@peer.example, but to @far.example")
	if _, err := s.Ask(250, "RSET"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(pages("nobody@far.example"), strings.NewReader(fmt.Sprintf(scan, 3))); err != nil {
		t.Fatal(err)
	}
	w.ownerIsTold(t)

	w.device(t, "disable", "scanner")
	_, err = s.Ask(250, "NOOP")
	refusal(t, err, "421 4.7.1 the device scanner is switched off")
	w.device(t, "enable", "scanner")
	if _, err := w.scanIn(t).Send(pages("far@far.example"), strings.NewReader(fmt.Sprintf(scan, 4))); err != nil {
		t.Error(err)
	}
	w.sentBy(t, 2)
	w.gateway.Stop(t) // what is only of interest is written by then
	var shown struct {
		LastUsed  time.Time `json:"last_used"`
		LastError string    `json:"last_error"`
	}
	if err := json.Unmarshal([]byte(w.device(t, "show", "scanner", "--json")), &shown); err != nil || shown.LastUsed.IsZero() || !strings.Contains(shown.LastError, "to nobody@far.example: ") || !strings.Contains(shown.LastError, "5.1.1") {
		t.Errorf("shown: %+v, %v", shown, err)
	}
}

// properMessage looks at the copy in the Sent folder, which is there once.
func (w *tokenWorld) properMessage(t *testing.T) {
	t.Helper()
	var sent []string
	harness.Eventually(t, time.Minute, "a copy in the Sent folder", func() bool {
		sent = w.read(t, office+"+Sent")
		return len(sent) > 0
	})
	m, err := mail.ReadMessage(strings.NewReader(sent[0]))
	if err != nil || len(sent) != 1 {
		t.Fatalf("%d copies, %v", len(sent), err)
	}
	for name, want := range map[string]string{
		"From": "=?utf-8?q?B=C3=BCro,_2nd_floor?= <" + office + ">", "Reply-To": "<scanner@printer.local>", "Sender": "", "Resent-From": "",
		"To": `"Archive, the" <far@far.example>`, "Subject": "[scan] page 1", "X-Original-Date": "Thu, 01 Jan 1970 00:00:07 +0000",
		"Content-Type": "text/plain; charset=windows-1252", "Content-Transfer-Encoding": "8bit", "MIME-Version": "1.0",
	} {
		if got := m.Header[name]; name != "From" && m.Header.Get(name) != want || len(got) > 1 {
			t.Errorf("%s is %q, wanted %q", name, got, want)
		}
	}
	from, err := m.Header.AddressList("From")
	if err != nil || len(from) != 1 || from[0].Address != office || from[0].Name != "Büro, 2nd floor" {
		t.Errorf("From is %v, %v", from, err)
	}
	if date, err := m.Header.Date(); err != nil || time.Since(date).Abs() > time.Hour || m.Header.Get("Message-ID") == "" {
		t.Errorf("Date is %v, %v, Message-ID %q", date, err, m.Header.Get("Message-ID"))
	}
	if body, err := io.ReadAll(m.Body); err != nil || string(body) != "gr\xfcn\r\nund bunt\r\n" {
		t.Errorf("the body is %q, %v", body, err)
	}
}

// ownerIsTold waits for the notice in the owner's mailbox: in words, of the device, the recipient, the cause and what to do.
func (w *tokenWorld) ownerIsTold(t *testing.T) {
	t.Helper()
	var told []string
	harness.Eventually(t, time.Minute, "a notice to the device's owner", func() bool {
		told = w.read(t, ada)
		return len(told) > 0
	})
	text := strings.ReplaceAll(told[0], "=\r\n", "")
	for _, want := range []string{
		"\r\nTo: <" + ada + ">\r\n", "\r\nSubject: Mail of the device scanner was not delivered\r\n", "the device scanner (2nd floor) has sent",
		"nobody@far.example", "There is no such address. (5.1.1)", "What to do: correct the recipient's address", "report-type=delivery-status",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the notice lacks %q:\n%s", want, text)
		}
	}
	if len(told) != 1 || len(w.read(t, office)) > 0 {
		t.Errorf("%d notices, and the sender has %q", len(told), w.read(t, office))
	}
}

// TestDeviceReads: a device reads a mailbox of the store that takes tokens alone by POP3, with a password of its own; it has
// to use TLS, even where others need not; and it is off at once.
func TestDeviceReads(t *testing.T) {
	t.Parallel()
	w := startTokenWorld(t, time.Hour)
	lines := strings.Split(strings.TrimSpace(w.device(t, "add", "tickets", "--account", office, "--owner", ada, "--protocol", "pop3,submission", "--per-day", "1")), "\n")
	w.password[office] = lines[len(lines)-1]
	mx, err := harness.DialSMTP(w.gateway.Address("smtp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer mx.Close()
	if _, err := mx.Send(harness.Envelope{From: "far@far.example", To: []string{office}}, bytes.NewReader(note("far@far.example", 0))); err != nil {
		t.Fatal(err)
	}
	p, err := harness.LoginPOP3(w.gateway.Address("pop3s"), w.gateway.Authority.Client(), office, w.password[office])
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if m, err := p.Retr(1); err != nil || !strings.Contains(string(m), "Subject: number 0\r\n") {
		t.Errorf("it reads %q (%v)", m, err)
	}
	old := w.scanIn(t)
	refusal(t, old.Auth(office, w.password[office]), "535 5.7.8 the device tickets may not log in: it has to use TLS 1.2")
	_, err = old.Ask(250, "MAIL FROM:<%s>", office)
	refusal(t, err, "530 5.7.0")
	w.inTheClear(t)
	s := w.submitter(t, office)
	if _, err := s.Send(harness.Envelope{From: office, To: []string{"far@far.example"}}, bytes.NewReader(note(office, 1))); err != nil {
		t.Fatal(err)
	}
	_, err = s.Send(harness.Envelope{From: office, To: []string{"far@far.example"}}, bytes.NewReader(note(office, 2)))
	refusal(t, err, "451 4.7.1 the device tickets has sent too much: it may send 1 messages in 24 hours")
	w.device(t, "remove", "tickets")
	_, err = p.Ask("NOOP")
	refusal(t, err, "-ERR [AUTH] the device tickets was removed")
	if _, err := p.Ask("NOOP"); err == nil || errors.As(err, new(*harness.Refusal)) {
		t.Errorf("the session goes on: %v", err)
	}
	if _, err := harness.LoginPOP3(w.gateway.Address("pop3s"), w.gateway.Authority.Client(), office, w.password[office]); err == nil {
		t.Error("its password is still good")
	}
}

// inTheClear has clients without TLS at a listener that takes devices of the old kind: nobody else is let in.
func (w *tokenWorld) inTheClear(t *testing.T) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(w.device(t, "add", "fax", "--account", ada, "--protocol", "pop3", "--legacy")), "\n")
	for _, c := range []struct{ who, password, refused string }{
		{office, w.password[office], "-ERR [SYS/PERM] the device tickets may not log in: it has to use TLS 1.2"},
		{ada, w.password[ada], "-ERR TLS is needed to log in"},
		{ada, lines[len(lines)-1], ""},
	} {
		p, err := harness.LoginPOP3(w.gateway.Address("pop3"), nil, c.who, c.password)
		if err == nil {
			p.Close()
		}
		if c.refused != "" {
			refusal(t, err, c.refused)
		} else if err != nil {
			t.Errorf("a device of the old kind: %v", err)
		}
	}
}
