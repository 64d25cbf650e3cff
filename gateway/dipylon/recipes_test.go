//go:build unix

package main

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/test/fakeimap"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/provider"
)

// recipes is the folder of the pages whose configurations are run here.
const recipes = "../../config/recipes/"

// recipe is a page, and the world around its configuration: a double of the provider.
type recipe struct {
	*process
	page     string
	dir      string
	provider *provider.Provider
	imap     *fakeimap.Server
	smtp     *fakesmtp.Server
}

// readRecipe reads a page and makes its configuration one of this machine: what stands in the page is for that of its reader.
func readRecipe(t *testing.T, name string) *recipe {
	t.Helper()
	page, err := os.ReadFile(recipes + name)
	if err != nil {
		t.Fatal(err)
	}
	r := &recipe{page: string(page), dir: t.TempDir(), provider: provider.Start(t)}
	r.smtp = (&fakesmtp.Server{Offers: []string{"AUTH XOAUTH2 PLAIN", "8BITMIME"}, Auth: r.provider.SMTP(nil)}).Start(t)
	r.imap = fakeimap.Start(t, &fakeimap.Server{
		Caps: provider.IMAPCaps, On: r.provider.IMAP(nil),
		Messages: []fakeimap.Message{{UID: 1, Content: "From: judy@far.example\r\nSubject: a question\r\n\r\nWhere is it?\r\n"}},
	})
	certificate, file, key := provider.NewCertificate(t, provider.NewKey(t), time.Now().Add(300*24*time.Hour))
	r.provider.Do(func(p *provider.Provider) {
		p.Applications["00000000-0000-0000-0000-000000000001"] = &provider.Application{Certificates: []*x509.Certificate{certificate}}
	})
	own, ownKey, err := server.MakeSelfSigned("mail.office.example", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{"mail.crt": own, "mail.key": ownKey, "provider.password": []byte("of the provider\n")} {
		if err := os.WriteFile(filepath.Join(r.dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	yaml := regexp.MustCompile("(?s)```yaml\n(hostname:.*?)```").FindStringSubmatch(r.page)
	if yaml == nil {
		t.Fatal("the page has no configuration")
	}
	text := yaml[1]
	for from, to := range map[string]string{
		"provider: microsoft\n        tenant: office.example": "issuer: " + r.provider.Issuer + "\n        scopes: [mail]\n        ca: " + r.provider.CA,
		"provider: google\n        service_account":           "ca: " + r.provider.CA + "\n        provider: google\n        service_account",
		"address: outlook.office365.com":                      `address: "` + r.imap.Address + "\"\n      tls: none",
		"address: imap.gmail.com":                             `address: "` + r.imap.Address + "\"\n      tls: none",
		`{address: "smtp.office365.com:587"}`:                 `{address: "` + r.smtp.Address + `", tls: none}`,
		`{address: "smtp.gmail.com:587"}`:                     `{address: "` + r.smtp.Address + `", tls: none}`,
		`hosts: ["smtp.provider.example:587"], user: machine@office.example, password: "file:/etc/dipylon/provider.password"`: `hosts: ["` + r.smtp.Address + `"], tls: clear`,
		"/etc/dipylon/m365.crt": file, "/etc/dipylon/m365.key": key, "/etc/dipylon/google.json": r.provider.NewServiceAccount("gateway@project.example"),
	} {
		text = strings.ReplaceAll(text, from, to)
	}
	text = strings.NewReplacer("/etc/dipylon", r.dir, "/var/lib/dipylon", r.dir+"/state").Replace(text)
	text = regexp.MustCompile(`address: "[^"]*:(995|465|25|1080)"`).ReplaceAllString(text, `address: "127.0.0.1:0"`)
	write(t, r.dir, text)
	r.process = &process{t: t, dir: r.dir}
	return r
}

// serve checks the configuration, and runs the gateway by it.
func (r *recipe) serve() {
	r.t.Helper()
	if out, code := r.command("check", "--config", "gate.yaml"); code != exitOK || strings.Contains(out, "warning") {
		r.t.Fatalf("the configuration is not a good one (%d): %s", code, out)
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "gate.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.process = serveIn(r.t, r.dir, string(text))
	r.await(0, "ready")
}

// run runs a command of the page, which begins so, and gives what it prints.
func (r *recipe) run(begin string) string {
	r.t.Helper()
	for line := range strings.Lines(r.page) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, begin) {
			line = strings.NewReplacer("192.168.7.20", "127.0.0.1", "/etc/dipylon/dipylon.yaml", "gate.yaml", "/var/lib/dipylon", r.dir+"/state").Replace(strings.TrimPrefix(line, "dipylon "))
			out, code := r.command(words(line)...)
			if code != exitOK {
				r.t.Fatalf("dipylon %s: status %d: %s", line, code, out)
			}
			return strings.TrimSpace(out)
		}
	}
	r.t.Fatalf("the page has no command that begins with %q", begin)
	return ""
}

// words parts a command line as a shell does, as far as the pages need it.
func words(line string) (all []string) {
	for _, word := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(line, -1) {
		all = append(all, strings.Trim(word, `"`))
	}
	return all
}

// doctored says that the doctor finds nothing wrong.
func (r *recipe) doctored(begin string) {
	r.t.Helper()
	out := r.run(begin)
	if strings.Contains(out, "cause:") || !strings.Contains(out, "login") {
		r.t.Errorf("%s", out)
	}
}

// sent waits for the mail that the provider has taken.
func (r *recipe) sent(n int) string {
	r.t.Helper()
	for begin := time.Now(); len(r.smtp.Received()) < n; time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > patience {
			r.t.Fatalf("the provider has %d mails, and not %d", len(r.smtp.Received()), n)
		}
	}
	return r.smtp.Received()[n-1].Content
}

// submits sends a mail as somebody with a password.
func (r *recipe) submits(who, secret, to string) {
	r.t.Helper()
	c := dial(r.t, r.address(0, "submissions"), true)
	c.expect("220")
	c.say("EHLO client.example", "250")
	c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+who+"\x00"+secret)), "235")
	c.say("MAIL FROM:<"+who+">", "250")
	c.say("RCPT TO:<"+to+">", "250")
	c.say("DATA", "354")
	c.say("From: <"+who+">\r\nTo: <"+to+">\r\nSubject: an answer\r\n\r\nHere it is.\r\n.", "250")
	c.say("QUIT", "221")
}

// reads reads a mailbox by POP3.
func (r *recipe) reads(who, secret string) {
	r.t.Helper()
	c := dial(r.t, r.address(0, "pop3s"), true)
	c.expect("+OK")
	c.say("USER "+who, "+OK")
	c.say("PASS "+secret, "+OK")
	c.say("STAT", "+OK 1 ")
	c.say("QUIT", "+OK")
}

// TestRecipes: the configuration of each page runs, and does what the page says, with a double in the provider's place.
func TestRecipes(t *testing.T) {
	t.Parallel()
	for name, try := range map[string]func(r *recipe){
		"microsoft365.md": func(r *recipe) { r.provides("dipylon doctor --config /etc/dipylon/dipylon.yaml m365") },
		"google.md":       func(r *recipe) { r.provides("dipylon doctor --config /etc/dipylon/dipylon.yaml google") },
		"scanner.md":      (*recipe).scans,
		"tickets.md": func(r *recipe) {
			r.serve()
			lines := strings.Fields(r.run("dipylon device add tickets"))
			secret := lines[len(lines)-1]
			r.reads("tickets@office.example", secret)
			r.submits("tickets@office.example", secret, "judy@far.example")
			r.sent(1)
		},
		"monitoring.md": (*recipe).monitors,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			try(readRecipe(t, name))
		})
	}
	pages, err := filepath.Glob(recipes + "*.md")
	if err != nil || len(pages) != 6 { // and the README
		t.Errorf("%d pages, and five are tried: %v", len(pages), err)
	}
}

// provides: somebody with an application password reads and sends, and the doctor finds nothing wrong.
func (r *recipe) provides(doctor string) {
	const who = "scanner@office.example"
	r.serve()
	r.doctored(doctor)
	out, code := r.command("password", "add", "--config", "gate.yaml", who)
	if code != exitOK {
		r.t.Fatal(out)
	}
	lines := strings.Fields(out)
	r.reads(who, lines[len(lines)-1])
	r.submits(who, lines[len(lines)-1], "judy@far.example")
	r.sent(1)
}

// scans: a device without TLS and a login, with a From of its own making.
func (r *recipe) scans() {
	r.run("dipylon device add scanner")
	r.serve()
	c := dial(r.t, r.address(0, "submission"), false)
	c.expect("220")
	c.say("HELO MFP", "250")
	c.say("MAIL FROM:<mfp@printer>", "250")
	c.say("RCPT TO:<judy@far.example>", "250")
	c.say("DATA", "354")
	c.say("From: Scanner <mfp@printer>\r\nTo: judy@far.example\r\nSubject: scan\r\n\r\nA page.\r\n.", "250")
	c.say("QUIT", "221")
	if mail := r.sent(1); !strings.Contains(mail, "<scanner@office.example>") || strings.Contains(mail, "From: Scanner <mfp@printer>") {
		r.t.Errorf("%s", mail)
	}
}

// monitors: cron's mail leaves, the monitor's line is there, and so are the metrics that the rules are about.
func (r *recipe) monitors() {
	if err := os.MkdirAll(filepath.Join(r.dir, "state", "mail"), 0o700); err != nil {
		r.t.Fatal(err)
	}
	addUser(r.t, r.dir, "state/mail", "root@machine.office.example")
	r.serve()
	line := ""
	for l := range strings.Lines(r.page) {
		if _, after, is := strings.Cut(l, "| dipylon "); is && line == "" {
			line = strings.ReplaceAll(strings.TrimSpace(after), "/etc/dipylon/dipylon.yaml", "gate.yaml")
		}
	}
	r.pipe("the backup is done\n", words(line)...)
	if mail := r.sent(1); !strings.Contains(mail, "the backup is done") || !strings.Contains(mail, "Backup") {
		r.t.Errorf("%s", mail)
	}
	out, code := r.command("status", "--monitor", "--config", "gate.yaml")
	if code != monitorOK || !strings.HasPrefix(out, "DIPYLON OK") {
		r.t.Errorf("%d %s", code, out)
	}
	response, err := http.Get("http://" + r.address(0, "admin") + "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	metrics, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, metric := range regexp.MustCompile(`\bdipylon_[a-z_]+`).FindAllString(r.page, -1) {
		if !bytes.Contains(metrics, []byte("\n"+metric+"{")) && !bytes.Contains(metrics, []byte("\n"+metric+" ")) {
			r.t.Errorf("there is no metric %s", metric)
		}
	}
}

// pipe runs a command with an input.
func (r *recipe) pipe(input string, args ...string) {
	r.t.Helper()
	cmd := exec.Command("dipylon", args...)
	cmd.Dir = r.dir
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("dipylon %q: %v: %s", args, err, out)
	}
}
