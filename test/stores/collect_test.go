//go:build linux

package stores

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
	"github.com/dipylon/dipylon/test/provider"
)

// TestCollectByToken: mailboxes that take nothing but tokens are collected, by POP3 and by IMAP, as an application with a certificate;
// the commands say so, and what is wrong when the application may no more.
func TestCollectByToken(t *testing.T) {
	p := provider.Start(t)
	certificate, file, key := provider.NewCertificate(t, provider.NewKey(t), time.Now().Add(60*24*time.Hour))
	p.Applications[tokenApplication] = &provider.Application{Certificates: []*x509.Certificate{certificate}}
	dovecot := peers.StartDovecot(t, peers.DovecotOptions{Introspection: p.Introspection, AnyMailbox: true})
	account := func(name, protocol, host, user, to string) harness.Mapping {
		return harness.Mapping{
			"name": name, "protocol": protocol, "host": host, "ca": dovecot.CA, "tls_name": "localhost", "user": user, "to": to + "@" + harness.Domain, "every": "1h",
			"oauth": harness.Mapping{"issuer": p.Issuer, "ca": p.CA, "client_id": tokenApplication, "certificate": file, "certificate_key": key, "scopes": []string{"mail/.default"}},
		}
	}
	fill := func(user, text string) {
		dovecot.Doveadm("mailbox", "status", "-u", user, "messages", "INBOX") // it makes the folders
		name := filepath.Join(dovecot.Mail, user, "Maildir", "new", "1.x."+text)
		if err := os.WriteFile(name, []byte("Subject: "+text+"\n\ntext\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	fill(ada, "by-pop3")
	fill(office, "by-imap")
	g := harness.Prepare(t, harness.Options{More: harness.Mapping{"collect": []harness.Mapping{
		account("pop3", "pop3", dovecot.POP3S, ada, "anna"), account("imap", "imap", dovecot.IMAPS, office, "bert"),
	}}})
	anna, bert := g.AddUser(t, "anna"), g.AddUser(t, "bert")
	g.Run(t)
	command := func(args ...string) (string, error) {
		out, err := g.Command(append([]string{"collect", args[0], "--config", g.ConfigFile}, args[1:]...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := command("run", "--wait"); err != nil || strings.Count(out, "well") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
	for subject, user := range map[string]harness.User{"by-pop3": anna, "by-imap": bert} {
		c, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Address, user.Password)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := c.Retr(1); err != nil || !strings.Contains(string(m), "Subject: "+subject) {
			t.Errorf("%s: %q, %v", user.Address, m, err)
		}
		if err := c.Quit(); err != nil {
			t.Error(err)
		}
	}
	for _, user := range []string{ada, office} {
		if out := dovecot.Doveadm("mailbox", "status", "-u", user, "messages", "INBOX"); !strings.Contains(out, "messages=0") {
			t.Errorf("%s: %s", user, out)
		}
	}
	p.Do(func(p *provider.Provider) { delete(p.Applications, tokenApplication) })
	p.Revoke()
	out, err := command("run", "--wait", "--json")
	if err == nil || strings.Count(out, `"failures":1`) != 2 {
		t.Errorf("the application is gone: %v\n%s", err, out)
	}
	if out, err = command("status", "pop3"); err == nil || !strings.Contains(out, "failed") {
		t.Errorf("%v\n%s", err, out)
	}
}
