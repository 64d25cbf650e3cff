//go:build linux

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	"github.com/dipylon/dipylon/test/exchange"
	"github.com/dipylon/dipylon/test/harness"
)

// exchangeMail delivers mail to a mailbox of a double, as a server does that keeps what it was.
func exchangeMail(t *testing.T, box *exchange.Mailbox, text string) {
	t.Helper()
	m, err := mime.Reader{Received: time.Now(), Skeleton: true}.Read(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	w := fasttransfer.NewWriter(&stream)
	if err := w.Content(m); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	box.DeliverAt(time.Now(), "mail", stream.Bytes())
}

// TestExchange: an Exchange server behind the shipped backend: one's own mailbox, that of another by the forms of names that Exchange 5
// had, an application password by the service account, and what "dipylon doctor" says.
func TestExchange(t *testing.T) {
	t.Parallel()
	server := exchange.Start(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "exchange.pem"), server.Certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	boxes := make(map[string]*exchange.Mailbox)
	for _, name := range []string{"george", "chris", "info", "gate"} {
		boxes[name] = server.AddMailbox(name+"@sakes.example", name+"-secret", "/o=Sakes/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn="+name)
		exchangeMail(t, boxes[name], "Subject: for "+name+"\r\n\r\nHello.\r\n")
	}
	boxes["info"].Grant(boxes["george"], exchange.Rights{Reads: true})
	boxes["george"].Grant(boxes["gate"], exchange.Rights{Reads: true})
	g := harness.Start(t, harness.Options{Dir: dir, Stores: []harness.Mapping{{
		"name": "sakes", "plugin": "exchange", "domains": []string{"sakes.example"},
		"settings": harness.Mapping{"url": server.Root, "ca": "exchange.pem", "service": harness.Mapping{"user": "gate@sakes.example", "password": "gate-secret"}},
	}}, More: harness.Mapping{"login": harness.Mapping{"realms": harness.Mapping{"SAKES": "sakes.example"}}}})

	out, err := g.Command("password", "add", "--config", g.ConfigFile, "george@sakes.example").Output()
	if err != nil {
		t.Fatal(err)
	}
	application := strings.TrimSpace(string(out))
	for _, login := range []struct{ name, password, subject string }{
		{"george@sakes.example", "george-secret", "for george"},
		{`SAKES\george`, "george-secret", "for george"},
		{`SAKES\george\info`, "george-secret", "for info"},
		{"george@sakes.example!info@sakes.example", "george-secret", "for info"},
		{"george@sakes.example", application, "for george"},
	} {
		p, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), login.name, login.password)
		if err != nil {
			t.Errorf("%s: %v", login.name, err)
			continue
		}
		message, err := p.Retr(1)
		if err != nil || !strings.Contains(string(message), "Subject: "+login.subject+"\r\n") {
			t.Errorf("%s reads %q, %v", login.name, message, err)
		}
		if err := p.Quit(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{`SAKES\george\chris`, "george@sakes.example!nobody@sakes.example"} {
		if _, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), name, "george-secret"); err == nil || !strings.Contains(err.Error(), "may not open that mailbox") {
			t.Errorf("%s: %v", name, err)
		}
	}

	out, err = g.Command("doctor", "--config", g.ConfigFile, "sakes", "george@sakes.example").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "message: the first message is mail of") || strings.Contains(string(out), "cause:") || strings.Contains(string(out), "-secret") {
		t.Errorf("%v\n%s", err, out)
	}
	wrong := g.Command("doctor", "--config", g.ConfigFile, "--password-stdin", "sakes", `SAKES\george\chris`)
	wrong.Stdin = strings.NewReader("george-secret\n")
	out, _ = wrong.CombinedOutput()
	if wrong.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "cause: no-permission") || strings.Contains(string(out), "george-secret") {
		t.Errorf("status %d\n%s", wrong.ProcessState.ExitCode(), out)
	}
}
