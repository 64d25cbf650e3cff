//go:build unix

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/server"
)

// gateYAML is a gateway with a Maildir store, on free ports.
const gateYAML = `
hostname: gate.example
listeners:
  - {protocol: pop3, address: "127.0.0.1:0"}
  - {protocol: smtp, address: "127.0.0.1:0"}
pop3: {plaintext_login: true}
timeouts: {drain: 20s}
stores:
  - {name: one, plugin: maildir, domains: [one.example], settings: {root: one}}
`

// at puts the ports that a gateway has got into its configuration.
func at(configuration, pop3, smtp string) string {
	configuration = strings.Replace(configuration, `pop3, address: "127.0.0.1:0"`, `pop3, address: "`+pop3+`"`, 1)
	return strings.Replace(configuration, `smtp, address: "127.0.0.1:0"`, `smtp, address: "`+smtp+`"`, 1)
}

func gate(t *testing.T, configuration string, env ...string) (p *process, pop3, smtp string) {
	t.Helper()
	dir := t.TempDir()
	addUser(t, dir, "one", "me@one.example")
	p = serveIn(t, dir, configuration, env...)
	pop3, smtp = p.address(0, "pop3"), p.address(0, "smtp")
	p.await(0, "ready")
	return p, pop3, smtp
}

// TestServeWithoutAFile is the first minute: an empty folder, and mail goes round, with the
// commands that are printed.
func TestServeWithoutAFile(t *testing.T) {
	t.Parallel()
	if conn, err := net.DialTimeout("tcp", "127.0.0.1:1110", time.Second); err == nil {
		_ = conn.Close()
		t.Fatal("port 1110 is in use, and this test needs the ports of the built-in configuration")
	}
	dir := t.TempDir()
	p := serveIn(t, dir, "")
	printed := p.awaitPrinted("1995/1\n")
	found := regexp.MustCompile(`Password: ([-a-z2-7]{23}) `).FindStringSubmatch(printed)
	if found == nil || !strings.Contains(printed, "Account:  me@dipylon.localhost") {
		t.Fatalf("no account is printed:\n%s", printed)
	}
	if strings.Contains(p.log(), found[1]) {
		t.Error("the password is in the log")
	}
	var answers []string
	for line := range strings.Lines(printed) {
		if strings.Contains(line, "curl") {
			cmd := exec.Command("sh", "-c", strings.ReplaceAll(line, "curl", "curl -sS"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s%v\n%s", line, err, out)
			}
			answers = append(answers, string(out))
		}
	}
	if len(answers) != 3 || !strings.HasPrefix(answers[1], "1 ") || !strings.Contains(answers[2], "\r\n\r\nIt works.\r\n") {
		t.Errorf("the printed commands answer %q", answers)
	}
	p.stop()

	again := serveIn(t, dir, "")
	if printed := again.awaitPrinted("1995/1\n"); strings.Contains(printed, found[1]) || !strings.Contains(printed, "maildir user passwd") {
		t.Errorf("the second start prints:\n%s", printed)
	}
	pop3Login(t, "127.0.0.1:1995", "me@dipylon.localhost", found[1], true).say("STAT", "+OK 1 ")
	again.stop()
}

// TestReload changes everything that can be changed, while sessions are open.
func TestReload(t *testing.T) {
	t.Parallel()
	p, pop3, smtp := gate(t, gateYAML)
	deliver(t, smtp, "me@one.example", "before")
	reading := pop3Login(t, pop3, "me@one.example", password, false)
	sending := dial(t, smtp, false)
	sending.expect("220")
	sending.say("EHLO client.example", "250")
	sending.say("MAIL FROM:<sender@elsewhere.example>", "250")
	sending.say("RCPT TO:<me@one.example>", "250")

	// Another store, other settings for the first, another listener, other limits.
	p.user("two", "me@two.example")
	changed := strings.Replace(at(gateYAML, pop3, smtp), "settings: {root: one}", "settings: {root: one, quota: 1GiB}", 1) +
		"  - {name: two, plugin: maildir, domains: [two.example], settings: {root: two}}\nlimits: {recipients: 100}\n"
	changed = strings.Replace(changed, "pop3: {", "log: {level: debug}\npop3: {login: 20m, ", 1)
	changed = strings.Replace(changed, "listeners:", "listeners:\n  - {protocol: pop3s, address: \"127.0.0.1:0\"}", 1)
	write(t, p.dir, changed)
	from := p.mark()
	p.signal(syscall.SIGHUP)
	p.await(from, "the configuration is reloaded")
	deliver(t, smtp, "me@two.example", "to the new store")
	deliver(t, smtp, "me@one.example", "to the one that was swapped")
	other := pop3Login(t, pop3, "me@two.example", password, false)
	other.say("STAT", "+OK 1 ")
	other.say("QUIT", "+OK")
	pop3s := p.address(from, "pop3s")
	late := dial(t, pop3s, true)
	late.expect("+OK")

	// The sessions from before go on, with what they had.
	reading.say("STAT", "+OK 1 ")
	reading.say("RETR 1", "+OK")
	if _, err := reading.text.ReadDotBytes(); err != nil {
		t.Fatal(err)
	}
	reading.say("DELE 1", "+OK")
	reading.say("QUIT", "+OK")
	sending.say("DATA", "354")
	sending.say("Subject: under way\r\nFrom: a@b.example\r\n\r\nHello.\r\n.", "250")
	pop3Login(t, pop3, "me@one.example", password, false).say("STAT", "+OK 2 ")

	// Back again: the store and the listener go. A session of the store that goes stays.
	leaving := pop3Login(t, pop3, "me@two.example", password, false)
	write(t, p.dir, at(gateYAML, pop3, smtp))
	from = p.mark()
	p.signal(syscall.SIGHUP)
	p.await(from, "the configuration is reloaded")
	if conn, err := net.Dial("tcp", pop3s); err == nil {
		_ = conn.Close()
		t.Error("the listener that was removed still listens")
	}
	late.say("CAPA", "+OK")
	leaving.say("RETR 1", "+OK")
	if _, err := leaving.text.ReadDotBytes(); err != nil {
		t.Errorf("the store is removed under its session: %v", err)
	}
	gone := dial(t, smtp, false)
	gone.expect("220")
	gone.say("EHLO client.example", "250")
	gone.say("MAIL FROM:<sender@elsewhere.example>", "250")
	gone.say("RCPT TO:<me@two.example>", "55")
	p.stop()
}

// TestReloadOfABadFile changes nothing.
func TestReloadOfABadFile(t *testing.T) {
	t.Parallel()
	p, pop3, smtp := gate(t, gateYAML)
	good := at(gateYAML, pop3, smtp)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		name, configuration, says string
		fields                    []string
	}{
		{"unknown key", good + "limts: {}\n", "there is no such key", []string{"at=gate.yaml:10:1"}},
		{"not YAML", good + "\t:", "this is not YAML", []string{"at=gate.yaml:10:1"}},
		{"settings", strings.Replace(good, "root: one", "rot: one", 1), "there is no such setting", []string{"at=gate.yaml:9:"}},
		{"a store that does not start", good + "  - {name: two, plugin: {command: [\"false\"]}}\n", "not reloaded", []string{"error=two"}},
		{"an address in use", strings.Replace(good, "listeners:", "listeners:\n  - {protocol: pop3s, address: \""+taken.Addr().String()+"\"}", 1), "not reloaded", []string{"error=address already in use"}},
		{"another state folder", good + "state: elsewhere\n", "not reloaded", []string{"error=restart"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.t = t
			write(t, p.dir, test.configuration)
			from := p.mark()
			p.signal(syscall.SIGHUP)
			p.await(from, test.says, test.fields...)
			p.await(from, "the old one stays")
			pop3Login(t, pop3, "me@one.example", password, false).say("QUIT", "+OK")
		})
	}
	p.t = t
	write(t, p.dir, good)
	from := p.mark()
	p.signal(syscall.SIGHUP)
	p.await(from, "the configuration is reloaded")
	deliver(t, smtp, "me@one.example", "all is well")
	p.stop()
}

// TestMistakeBehindTheSettings: a file that a store's settings refer to becomes wrong, while the
// configuration stays as it is. The log, a reload, a check and the next start all say so.
func TestMistakeBehindTheSettings(t *testing.T) {
	t.Parallel()
	p, pop3, smtp := gate(t, gateYAML)
	write(t, p.dir, at(gateYAML, pop3, smtp))
	accounts := filepath.Join(p.dir, "one", "accounts.yaml")
	good, err := os.ReadFile(accounts)
	if err != nil {
		t.Fatal(err)
	}
	put := func(content []byte) { // at once: the store may read the file at any moment
		t.Helper()
		if err := errors.Join(os.WriteFile(accounts+".new", content, 0o600), os.Rename(accounts+".new", accounts)); err != nil {
			t.Fatal(err)
		}
	}
	from := p.mark()
	put(append(good, "\nacounts: oops\n"...))
	pop3Login(t, pop3, "me@one.example", password, false).say("QUIT", "+OK") // the last good accounts are in force
	p.await(from, "the accounts file cannot be used", "store=one", "level=error")
	from = p.mark()
	p.signal(syscall.SIGHUP)
	p.await(from, "", "path=store one: settings.accounts", "level=error")
	p.await(from, "the old one stays")
	check := exec.Command("dipylon", "check", "--config", "gate.yaml")
	check.Dir = p.dir
	out, err := check.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "accounts") {
		t.Errorf("check says %v: %s", err, out)
	}
	put(good)
	from = p.mark()
	p.signal(syscall.SIGHUP)
	p.await(from, "the configuration is reloaded")
	p.stop()
}

// TestReloadOfACertificate: the files have changed, the configuration has not.
func TestReloadOfACertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name string) {
		t.Helper()
		certificate, key, err := server.MakeSelfSigned(name, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string][]byte{"gate.crt": certificate, "gate.key": key} {
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("old.example")
	p := serveIn(t, dir, `
tls: {certificate: gate.crt, key: gate.key}
listeners: [{protocol: pop3s, address: "127.0.0.1:0"}]
stores: [{name: one, plugin: maildir, domains: [one.example]}]
`)
	address := p.address(0, "pop3s")
	p.await(0, "ready")
	served := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := served(); got != "old.example" {
		t.Errorf("the certificate is of %s", got)
	}
	put("new.example")
	from := p.mark()
	p.signal(syscall.SIGHUP)
	// The port is 0 in the file still: it stays the one that it got.
	p.await(from, "the configuration is reloaded")
	if got := served(); got != "new.example" {
		t.Errorf("after the reload the certificate is of %s", got)
	}
	p.stop()
}

// TestStopLetsAMessageFinish: SIGTERM while a client is sending.
func TestStopLetsAMessageFinish(t *testing.T) {
	t.Parallel()
	p, pop3, smtp := gate(t, gateYAML)
	idle := pop3Login(t, pop3, "me@one.example", password, false)
	c := dial(t, smtp, false)
	c.expect("220")
	c.say("EHLO client.example", "250")
	c.say("MAIL FROM:<sender@elsewhere.example>", "250")
	c.say("RCPT TO:<me@one.example>", "250")
	c.say("DATA", "354")
	from := p.mark()
	p.signal(syscall.SIGTERM)
	p.await(from, "stopping")
	if err := idle.text.PrintfLine("NOOP"); err == nil {
		for err == nil {
			_, err = idle.text.ReadLine() // the goodbye, perhaps, and the end
		}
	}
	c.say("From: a@b.example\r\nSubject: last\r\n\r\nHello.\r\n.", "250")
	if status := p.ended(); status != exitOK {
		t.Errorf("it ends with status %d", status)
	}
	mail, err := filepath.Glob(filepath.Join(p.dir, "one", "*", "*", "new", "*"))
	if err != nil || len(mail) != 1 {
		t.Errorf("the message that was taken is not there: %v, %v", mail, err)
	}
}

// TestSecondSignal ends it at once, whatever is under way.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p, _, smtp := gate(t, strings.Replace(gateYAML, "drain: 20s", "drain: 1d", 1))
	c := dial(t, smtp, false)
	c.expect("220")
	c.say("EHLO client.example", "250")
	c.say("MAIL FROM:<sender@elsewhere.example>", "250")
	c.say("RCPT TO:<me@one.example>", "250")
	c.say("DATA", "354")
	from := p.mark()
	p.signal(syscall.SIGINT)
	p.await(from, "stopping", "signal=interrupt")
	p.signal(syscall.SIGINT)
	p.await(from, "stopping at once")
	if status := p.ended(); status != exitOK {
		t.Errorf("it ends with status %d", status)
	}
	if _, err := c.text.ReadLine(); err == nil {
		t.Error("a message that never ended is answered")
	}
}

// TestStoreThatDoesNotStart does not keep the other from working.
func TestStoreThatDoesNotStart(t *testing.T) {
	t.Parallel()
	p, pop3, smtp := gate(t, gateYAML+"  - {name: broken, plugin: {command: [\"false\"]}, domains: [broken.example]}\n")
	deliver(t, smtp, "me@one.example", "the other store")
	pop3Login(t, pop3, "me@one.example", password, false).say("STAT", "+OK 1 ")
	c := dial(t, smtp, false)
	c.expect("220")
	c.say("EHLO client.example", "250")
	c.say("MAIL FROM:<sender@elsewhere.example>", "250")
	c.say("RCPT TO:<me@broken.example>", "4")
	p.await(0, "the plugin is not ready", "store=broken")
	p.stop()
}

func TestServeStatus(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		name, configuration string
		status              int
		says                string
	}{
		{"unknown key", gateYAML + "limts: {}\n", exitConfig, "gate.yaml:10:1: limts: there is no such key (did you mean \"limits\"?)"},
		{"settings", strings.Replace(gateYAML, "root: one", "rot: one", 1), exitConfig, "gate.yaml:9:69: store one: settings.rot: there is no such setting (did you mean root?)"},
		{"an address in use", strings.Replace(gateYAML, "127.0.0.1:0", taken.Addr().String(), 1), exitTemporary, "address already in use"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := serveIn(t, t.TempDir(), test.configuration)
			if got := p.ended(); got != test.status {
				t.Errorf("the status is %d, want %d", got, test.status)
			}
			if !strings.Contains(p.log(), test.says) {
				t.Errorf("it does not say %q", test.says)
			}
		})
	}
}

// TestSecondGateway is kept out of the first one's state.
func TestSecondGateway(t *testing.T) {
	t.Parallel()
	p, _, _ := gate(t, gateYAML)
	second := serveIn(t, p.dir, gateYAML)
	if status := second.ended(); status != exitTemporary {
		t.Errorf("the second gateway's status is %d", status)
	}
	if !strings.Contains(second.log(), "another gateway uses the state folder") {
		t.Error("it does not say why")
	}
	p.stop()
}

// TestLeftTemporaryFiles: what a killed gateway has left of messages on their way is removed, and
// nothing else.
func TestLeftTemporaryFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := filepath.Join(dir, "state", "tmp")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"message-123.tmp", "somebody-elses"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addUser(t, dir, "one", "me@one.example")
	p := serveIn(t, dir, gateYAML)
	p.await(0, "ready")
	if _, err := os.Stat(filepath.Join(folder, "message-123.tmp")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what an earlier process has left: %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "somebody-elses")); err != nil {
		t.Error(err)
	}
	p.stop()
}

// TestWarnings: what is odd and no error is in the log.
func TestWarnings(t *testing.T) {
	t.Parallel()
	p, _, _ := gate(t, strings.Replace(gateYAML, "{name: one,", "{name: one, sends: true,", 1)+
		`  - {name: far, plugin: jmap, domains: [far.example], policy: {deleted: mark}, settings: {url: "https://127.0.0.1:1/"}}`+"\n")
	p.await(0, "cannot with these settings", "path=stores[0].sends", "level=warn")
	p.await(0, "cannot do with deleted messages", "path=policy.deleted", "level=warn")
	p.await(0, "self-signed", "level=warn")
	p.stop()
}

// TestServiceManager is told how it stands.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	p, _, _ := gate(t, gateYAML, "NOTIFY_SOCKET="+name)
	expect := func(want string) {
		t.Helper()
		if got := datagram(t, socket); !strings.HasPrefix(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	expect("READY=1")
	p.signal(syscall.SIGHUP)
	expect("RELOADING=1")
	expect("READY=1")
	p.signal(syscall.SIGTERM)
	expect("STOPPING=1")
	if status := p.ended(); status != exitOK {
		t.Errorf("it ends with status %d", status)
	}
}

// TestReloadsInARow: signals that come while a reload is under way are not lost, and no
// connection is refused meanwhile.
func TestReloadsInARow(t *testing.T) {
	t.Parallel()
	p, pop3, smtp := gate(t, gateYAML)
	good := at(gateYAML, pop3, smtp)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			conn, err := net.Dial("tcp", pop3)
			if err != nil {
				ended <- err
				return
			}
			_ = conn.SetDeadline(time.Now().Add(patience))
			b := make([]byte, 3)
			if _, err := conn.Read(b); err != nil || string(b) != "+OK" {
				ended <- fmt.Errorf("greeted with %q, %w", b, err)
				return
			}
			_ = conn.Close()
		}
	}()
	for i := range 5 {
		write(t, p.dir, strings.Replace(good, "pop3: {", fmt.Sprintf("pop3: {login: %dm, ", 10+i), 1))
		from := p.mark()
		p.signal(syscall.SIGHUP)
		p.signal(syscall.SIGHUP)
		p.await(from, "the configuration is reloaded")
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Errorf("a client was turned away: %v", err)
	}
	p.stop()
}
