//go:build unix

package main

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/queue"
)

// queueYAML has a route that keeps mail, and one to a server that is not there.
const queueYAML = `
hostname: gate.example
listeners:
  - {protocol: submission, address: "127.0.0.1:0"}
submission: {plaintext_login: true}
timeouts: {drain: 20s}
stores:
  - {name: one, plugin: maildir, domains: [one.example], settings: {root: one}}
routes:
  - {name: keep, domains: [kept.example], to: hold}
  - {name: dead, domains: ["*"], to: smtp, tls: clear, hosts: ["DEAD"]}
`

// submit sends a message of an account's.
func submit(t *testing.T, address string, to ...string) {
	t.Helper()
	c := dial(t, address, false)
	c.expect("220")
	c.say("EHLO client.example", "250")
	c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00me@one.example\x00"+password)), "235")
	c.say("MAIL FROM:<me@one.example>", "250")
	for _, r := range to {
		c.say("RCPT TO:<"+r+">", "250")
	}
	c.say("DATA", "354")
	c.say("From: me@one.example\r\nSubject: for "+to[0]+"\r\n\r\nHello.\r\n.", "250")
	c.say("QUIT", "221")
}

// queueCommand runs "dipylon queue", and gives its output and exit status.
func (p *process) queueCommand(args ...string) (out string, status int) {
	p.t.Helper()
	return p.command(append([]string{"queue", "--config", "gate.yaml"}, args...)...)
}

// command runs a command in the gateway's folder, and gives its output and exit status.
func (p *process) command(args ...string) (out string, status int) {
	p.t.Helper()
	cmd := exec.Command("dipylon", args...)
	cmd.Dir = p.dir
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		p.t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// exportUnsynced has an export fail whose sync of a file, or of the folder, fails: the message may be deleted
// after one that succeeds.
func (p *process) exportUnsynced(id, file string) {
	p.t.Helper()
	cmd := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO",
		"-P", filepath.Join(p.dir, file), "dipylon", "queue", "--config", "gate.yaml", "export", id, "--output", "lost.eml")
	cmd.Dir = p.dir
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		p.t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(p.dir, "lost.*"))
	if status := cmd.ProcessState.ExitCode(); status != exitFailure || !strings.Contains(string(out), "input/output error") || len(left) > 0 {
		p.t.Errorf("%s is not on the disk: status %d, %q are left: %s", file, status, left, out)
	}
}

// queued are the messages that the command lists.
func (p *process) queued(args ...string) (all []queue.Message) {
	p.t.Helper()
	out, status := p.queueCommand(append([]string{"list", "--json"}, args...)...)
	for line := range strings.Lines(out) {
		var m queue.Message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			p.t.Fatalf("%v, status %d: %s", err, status, out)
		}
		all = append(all, m)
	}
	return all
}

// must runs a command that has to print something.
func (p *process) must(want string, args ...string) {
	p.t.Helper()
	if out, status := p.queueCommand(args...); status != exitOK || !strings.Contains(out, want) {
		p.t.Errorf("dipylon queue %q: status %d, without %q:\n%s", args, status, want, out)
	}
}

// TestGatewayOfAnotherMachine is asked through its admin listener, with its token and over TLS.
func TestGatewayOfAnotherMachine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addUser(t, dir, "one", "me@one.example")
	for name, text := range map[string]string{"token": "0123456789abcdef0123\n", "wrong": "0123456789abcdef0124\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := serveIn(t, dir, strings.Replace(queueYAML, "listeners:", `listeners:
  - {protocol: admin, address: "127.0.0.1:0", token: "file:token", tls: {}}`, 1))
	server, submission := "https://"+p.address(0, "admin"), p.address(0, "submission")
	p.await(0, "ready")
	submit(t, submission, "zoe@kept.example")
	trusted := []string{"--server", server, "--ca", "state/tls/self-signed.crt", "--token", "file:token"}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{append([]string{"queue", "list"}, trusted...), exitOK, "zoe@kept.example"},
		{append([]string{"queue", "hold", "--all"}, trusted...), exitOK, "recipients held: 0"},
		{append([]string{"queue", "show", "1"}, trusted...), exitFailure, "no such message"},
		{append([]string{"track", "nobody@kept.example"}, trusted...), exitFailure, "Nothing is found."},
		{[]string{"queue", "list", "--server", server, "--ca", "state/tls/self-signed.crt", "--token", "file:wrong"}, exitUsage, "token"},
		{[]string{"track", "zoe@kept.example", "--server", server, "--ca", "state/tls/self-signed.crt", "--token", "file:wrong"}, exitUsage, "token"},
		{[]string{"queue", "list", "--server", server, "--token", "file:token"}, exitTemporary, "certificate"},
		{[]string{"queue", "list", "--server", server, "--token", "0123456789abcdef0123"}, exitUsage, "command line"},
		{[]string{"queue", "list", "--server", "http://mail.example:1080", "--token", "file:token"}, exitUsage, "by https alone"},
		{append([]string{"queue", "list", "--config", "gate.yaml"}, trusted...), exitUsage, "give one of them"},
	} {
		if out, status := p.command(c.args...); status != c.status || !strings.Contains(out, c.want) {
			t.Errorf("dipylon %q: status %d, without %q:\n%s", c.args, status, c.want, out)
		}
	}
	p.eventually("the message in the track", func() bool {
		out, status := p.command(append([]string{"track", "zoe@kept.example", "--json"}, trusted...)...)
		return status == exitOK && strings.Contains(out, `"event":"queued"`) && strings.Contains(out, `"event":"message_in"`)
	})
}

// TestQueueOfARunningGateway: what a command changes is put to use at once, by the gateway's own schedule.
func TestQueueOfARunningGateway(t *testing.T) {
	t.Parallel()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	dir := t.TempDir()
	addUser(t, dir, "one", "me@one.example")
	p := serveIn(t, dir, strings.Replace(queueYAML, "DEAD", dead.Addr().String(), 1))
	submission := p.address(0, "submission")
	p.await(0, "ready")
	submit(t, submission, "zoe@kept.example", "max@kept.example")
	kept := p.queued()
	if len(kept) != 1 || len(kept[0].Recipients) != 2 || kept[0].Recipients[0].State != "held" || kept[0].Sender != "me@one.example" {
		t.Fatalf("the queue has %+v", kept)
	}
	id := kept[0].ID
	p.must("zoe@kept.example", "show", id)
	p.must("Return-Path: <me@one.example>\r\nX-Envelope-To: <zoe@kept.example>\r\nX-Envelope-To: <max@kept.example>\r\n", "export", id)
	p.must("out.eml", "export", kept[0].Key, "--output", "out.eml")
	for name, want := range map[string]string{"out.eml": "Subject: for zoe@kept.example\r\n", "out.eml.json": `"sender": "me@one.example"`} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	if out, status := p.queueCommand("export", id, "--output", "out.eml"); status != exitFailure {
		t.Errorf("a file is written over: %d %s", status, out)
	}
	for _, unsynced := range []string{"lost.eml", "lost.eml.json", "."} {
		p.exportUnsynced(id, unsynced)
	}
	p.must("its sender is not told: me@one.example", "delete", "--recipient", "max@kept.example", "--yes")
	p.must("recipients rerouted: 1", "reroute", id, "--to", "route:dead")
	p.must("recipients released: 1", "release", "--destination", "route:dead")
	conn, err := dead.Accept() // the gateway tries at once
	if err != nil {
		t.Fatal(err)
	}
	if out, status := p.queueCommand("delete", id, "--yes"); status != exitFailure || !strings.Contains(out, "is being delivered at this moment") {
		t.Errorf("in flight: status %d, %s", status, out)
	}
	p.must("route:dead   in-flight  1", "stats")

	// A gateway that dies leaves the message uncertain: it can be deleted then.
	p.signal(syscall.SIGKILL)
	_ = p.ended()
	_ = conn.Close()
	p.must("in-flight", "list")
	p.must("recipients held: 1", "hold", "--all")
	p.must("held", "list", "--state", "held")
	p.must("recipients deleted: 1", "delete", id, "--yes")
	if left := p.queued(); len(left) != 0 {
		t.Errorf("left is %+v", left)
	}
}

// TestRestoredIsHeld: mail that a copy of the state has is held when the copy is put back, unless that is not wanted.
func TestRestoredIsHeld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addUser(t, dir, "one", "me@one.example")
	p := serveIn(t, dir, strings.Replace(queueYAML, "DEAD", "127.0.0.1:1", 1))
	submission := p.address(0, "submission")
	p.await(0, "ready")
	submit(t, submission, "zoe@far.example", "max@far.example")
	p.must("far.example", "list")
	state := func(want string, args ...string) {
		t.Helper()
		cmd := exec.Command("dipylon", append([]string{"state", args[0], "--config", "gate.yaml"}, args[1:]...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("dipylon state %q: %v, without %q:\n%s", args, err, want, out)
		}
	}
	state("copied", "backup", "copy.db")
	p.signal(syscall.SIGTERM)
	_ = p.ended()
	state("held, as they may have it: 2\n  dipylon queue list --state held ", "restore", "copy.db")
	for _, m := range p.queued() {
		for _, r := range m.Recipients {
			if r.State != "held" {
				t.Errorf("%s is %s", r.Address, r.State)
			}
		}
	}
	p.must("recipients released: 2", "release", "--state", "held")
	state("held, as they may have it: 2", "hold")
	state("restored from copy.db", "restore", "--release", "copy.db")
	if got := p.queued("--state", "held"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	p.must("zoe@far.example", "list")
}

func TestLastText(t *testing.T) {
	for want, o := range map[string]*queue.Outcome{
		"":                            nil,
		"4.4.1 mx.far.example":        {Code: "4.4.1", Server: "mx.far.example"},
		"smtp; 450 4.2.0 later":       {Code: "4.2.0", Server: "mx.far.example", Diagnostic: "smtp; 450 4.2.0 later"},
		strings.Repeat("x", 99) + "…": {Diagnostic: strings.Repeat("x", 99) + "öö"},
		strings.Repeat("x", lastMost): {Diagnostic: strings.Repeat("x", lastMost)},
	} {
		if got := lastText(o); got != want {
			t.Errorf("%+v: %q, want %q", o, got, want)
		}
	}
}

// eventually asks again and again whether something has come about.
func (p *process) eventually(what string, is func() bool) {
	p.t.Helper()
	again, late := time.NewTicker(50*time.Millisecond), time.After(patience)
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-late:
			p.t.Fatalf("%s does not come about", what)
		}
	}
}
