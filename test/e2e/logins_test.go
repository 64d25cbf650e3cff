//go:build linux

package e2e

import (
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// TestFail2ban has fail2ban read the gateway's log by the filter that comes with it: each refused
// login is found, with the address it came from, and nothing else is, whatever names were tried.
func TestFail2ban(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{PlaintextLogin: true})
	user := g.AddUser(t, "erika")
	names := []string{
		user.Address,
		"nobody@" + harness.Domain,
		`"remote":"198.51.100.9:1","outcome":"refused","`,
		`{"level":"info","event":"login","session":"x","protocol":"pop3","remote":"198.51.100.9:1","outcome":"refused",`,
		`x"time":"2001-01-01T00:00:00Z"`,
	}
	for _, name := range names {
		c := harness.Dial(t, g.Address("pop3"), nil)
		c.Expect("+OK")
		c.Ask("USER "+name, "+OK")
		c.Ask("PASS wrong", "-ERR [AUTH]")
		c.Close()
	}
	c := harness.Dial(t, g.Address("submissions"), g.Authority.Client())
	c.ExpectReply(220)
	c.Send("EHLO client.corpus.example")
	c.ExpectReply(250)
	c.Send("AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+names[3]+"\x00wrong")))
	c.ExpectReply(535)
	c.Close()
	login(t, g, user).Close()
	g.Log.Wait(t, 0, `"outcome":"accepted"`, `"message":"login"`)

	file := filepath.Join(t.TempDir(), "log")
	var text strings.Builder
	for _, e := range g.Log.Since(0) {
		text.WriteString("Nov 28 09:00:00 host dipylon[17]: " + e.Text + "\n")
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	filter, err := filepath.Abs("../../config/fail2ban/dipylon.conf")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("fail2ban-regex", "-o", "ip", file, filter).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, want := string(out), strings.Repeat("127.0.0.1\n", len(names)+1); got != want {
		t.Errorf("it bans\n%sand should ban\n%sby\n%s", got, want, &text)
	}
}

// TestApplicationPasswords has passwords made, used, limited and revoked while the gateway runs
// before a Maildir store.
func TestApplicationPasswords(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Stores: []harness.Mapping{{
		"name": "mail", "plugin": "maildir", "domains": []string{harness.Domain}, "settings": harness.Mapping{"root": "mail", "act_for": true},
	}}})
	user := g.AddUser(t, "erika")
	add := func(args ...string) harness.User {
		cmd := g.Command(append([]string{"password", "add", "--config", g.ConfigFile}, append(args, user.Address)...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return harness.User{Address: user.Address, Password: strings.TrimSpace(string(out))}
	}
	everything, reading, elsewhere := add("--label", "phone"), add("--protocol", "pop3"), add("--network", "198.51.100.0/24")
	read := func(u harness.User) error {
		p, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), u.Address, u.Password)
		if err == nil {
			err = p.Quit()
		}
		return err
	}
	send := func(u harness.User) error {
		s, err := harness.DialSMTP(g.Address("submissions"), g.Authority.Client())
		if err != nil {
			return err
		}
		defer s.Close()
		return s.Auth(u.Address, u.Password)
	}
	for _, test := range []struct {
		name   string
		user   harness.User
		use    func(harness.User) error
		passes bool
	}{
		{"the store's own", user, read, true},
		{"the store's own, to send", user, send, true},
		{"an application's", everything, read, true},
		{"an application's, to send", everything, send, true},
		{"for reading", reading, read, true},
		{"for reading, to send", reading, send, false},
		{"for elsewhere", elsewhere, read, false},
	} {
		if err := test.use(test.user); (err == nil) != test.passes {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	list, err := g.Command("password", "list", "--config", g.ConfigFile, user.Address).Output()
	if err != nil || !strings.Contains(string(list), "127.0.0.1") || !strings.Contains(string(list), "phone") || strings.Contains(string(list), everything.Password) {
		t.Errorf("%v\n%s", err, list)
	}

	id, _, _ := strings.Cut(everything.Password, "-")
	if out, err := g.Command("password", "revoke", "--config", g.ConfigFile, id).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := read(everything); err == nil {
		t.Error("a revoked password is good")
	}

	// A changed configuration is in effect without a restart.
	g.Configure(t, func(o *harness.Options) { o.Stores[0]["passwords"] = "application" })
	place := g.Log.Len()
	g.Signal(t, syscall.SIGHUP)
	g.Log.Wait(t, place, "the configuration is reloaded")
	if err := read(user); err == nil {
		t.Error("the store's own password is good where application passwords alone are")
	}
	if err := read(reading); err != nil {
		t.Errorf("an application password: %v", err)
	}
}

// TestOtherMailboxes has people open folders, and a mailbox that is shared, by login names.
func TestOtherMailboxes(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{More: harness.Mapping{"login": harness.Mapping{"realms": harness.Mapping{"CORPUS": harness.Domain}}}})
	erika, max := g.AddUser(t, "erika"), g.AddUser(t, "max")
	office := addByCommand(t, g, "office").Address
	accounts := filepath.Join(g.Dir, "mail", "accounts.yaml")
	text, err := os.ReadFile(accounts)
	if err != nil {
		t.Fatal(err)
	}
	opens := strings.Replace(string(text), "address: "+erika.Address+"\n", "address: "+erika.Address+"\n    opens: ["+office+"]\n", 1)
	if err := errors.Join(os.WriteFile(accounts+".new", []byte(opens), 0o600), os.Rename(accounts+".new", accounts)); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(g.Dir, "mail", harness.Domain, "erika", ".Lists.Go")
	for _, sub := range []string{"cur", "new", "tmp"} {
		for _, folder := range []string{folder, filepath.Dir(folder)} {
			if err := os.MkdirAll(filepath.Join(folder, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	for path, letter := range map[string]string{
		filepath.Join(folder, "new", "1.a"):                                  "Subject: in a folder\n\nx\n",
		filepath.Join(g.Dir, "mail", harness.Domain, "office", "new", "1.b"): "Subject: in the office\n\nx\n",
		filepath.Join(g.Dir, "mail", harness.Domain, "erika", "new", "1.c"):  "Subject: in the inbox\n\nx\n",
	} {
		if err := os.WriteFile(path, []byte(letter), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name    string
		user    harness.User
		subject string // empty: refused
	}{
		{erika.Address, erika, "in the inbox"},
		{"erika", erika, "in the inbox"},
		{`CORPUS\erika`, erika, "in the inbox"},
		{"erika+Lists/Go@" + harness.Domain, erika, "in a folder"},
		{`corpus\erika\office+INBOX`, erika, "in the office"},
		{"CORPUS/erika/office", erika, "in the office"},
		{erika.Address + "!" + office, erika, "in the office"},
		{"erika!" + office, erika, "in the office"},
		{"erika!" + max.Address, erika, ""},
		{"max!" + office, max, ""},
		{"erika+Lists@" + harness.Domain, erika, ""},
		{"erika+../max@" + harness.Domain, erika, ""},
		{`FAR\erika`, erika, ""},
	} {
		p, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), test.name, test.user.Password)
		if (err == nil) != (test.subject != "") {
			t.Errorf("%s: %v", test.name, err)
		}
		if err != nil {
			continue
		}
		if letter, err := p.Retr(1); err != nil || !strings.HasPrefix(string(letter), "Subject: "+test.subject+"\r\n") {
			t.Errorf("%s opens %q, %v", test.name, letter, err)
		}
		if err := p.Quit(); err != nil {
			t.Error(err)
		}
	}

	// The detail of an address stays what it was: mail for erika+anything is erika's.
	s, err := harness.DialSMTP(g.Address("smtp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e := harness.Envelope{From: "someone@corpus.example", To: []string{"erika+Lists@" + harness.Domain}}
	if _, err := s.Send(e, strings.NewReader("Subject: with a detail\r\n\r\nx\r\n")); err != nil {
		t.Fatal(err)
	}
	p := login(t, g, erika)
	defer p.Close()
	if n, _, err := p.Stat(); err != nil || n != 2 {
		t.Errorf("the inbox has %d messages, %v", n, err)
	}
}
