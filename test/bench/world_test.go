//go:build bench && linux

package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/test/corpus"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// What the mailboxes hold.
const (
	domain    = "bench.example"
	boxes     = 1000 // u0@bench.example and so on
	drained   = 32   // the first of them have ordinary mail, the others a few short messages
	messages  = 200
	few       = 10
	bigBox    = "big@bench.example" // many short messages
	many      = 100_000
	largeBox  = "large@bench.example" // one large message
	largeSize = 100_000_000
)

// secretHash is "bench-secret" in the one scheme that both servers take, with the least costs
// there are: hashing is not what is measured.
const secretHash = "$argon2id$v=19$m=8,t=1,p=1$ZGlweWxvbi1iZW5jaA$rgLKM0uJvNR0/nE9bmsYtonOgreSX1i8ddwhM4qz2jM"

// world is the two servers on one set of Maildirs.
type world struct {
	t      *testing.T
	load   string // the load generator's binary
	mail   string // <mail>/<domain>/<local part>
	octets int64  // of each of the drained mailboxes, summed up
	sum    uint64

	noFiles bool // the plugin hands no files over

	dovecot *peers.Dovecot
	gateway gateway
}

// gateway is the gateway under measurement, with its log in a file as Dovecot's is.
type gateway struct {
	cmd   *exec.Cmd
	log   string
	ca    string
	ports map[string]string // addresses by protocol
}

// server is one of the two, as a client and a look at its memory find it.
type server struct {
	address, secure string // without TLS, and with it from the start
	ca              string
	pid             int
}

func (g *gateway) server() server {
	return server{g.ports["pop3"], g.ports["pop3s"], g.ca, g.cmd.Process.Pid}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, load: harness.Helper(t, "./test/bench/load")}
	names := []string{bigBox, largeBox}
	for i := range boxes {
		names = append(names, fmt.Sprintf("u%d@%s", i, domain))
	}
	users := map[string]string{}
	for _, name := range names {
		users[name] = "{ARGON2ID}" + secretHash
	}
	w.mail = filepath.Join(t.TempDir(), "mail")
	if err := os.MkdirAll(w.mail, 0o777); err != nil {
		t.Fatal(err)
	}
	w.fill()
	openTree(t, filepath.Dir(w.mail))
	w.dovecot = peers.StartDovecot(t, peers.DovecotOptions{
		Users: users, MailLocation: "maildir:" + w.mail + "/%d/%n",
		// With TLS it has one such process for each session, and allows 100.
		Extra: fmt.Sprintf("service pop3-login {\n  process_limit = %d\n}\n", boxes+100),
	})
	writeAccounts(t, w.mail, names)
	w.startGateway(t)
	w.gateway.stopAtEnd(t)
	return w
}

// fill makes the mailboxes. Their files have LF for line ends, as both servers write them.
func (w *world) fill() {
	table := crc32.MakeTable(crc32.Castagnoli)
	for i := range boxes {
		dir := w.box(fmt.Sprintf("u%d", i))
		if i >= drained {
			for n := range few {
				w.put(dir, n, corpus.Sized(fmt.Sprintf("few-%d-%d", i, n), 3000))
			}
			continue
		}
		for mail := range (corpus.Mailbox{Seed: uint64(i), Messages: messages}).All() {
			sum := crc32.New(table)
			w.octets += w.put(dir, mail.Number, io.TeeReader(mail.Reader(), sum))
			w.sum += uint64(sum.Sum32())
		}
	}
	dir := w.box("big")
	for n := range many {
		w.put(dir, n, corpus.Sized(fmt.Sprintf("big-%d", n), 700))
	}
	w.put(w.box("large"), 0, corpus.Sized("large", largeSize))
}

func (w *world) box(local string) string {
	dir := filepath.Join(w.mail, domain, local)
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o777); err != nil {
			w.t.Fatal(err)
		}
	}
	return dir
}

// put puts a message into a Maildir, under a name as Dovecot gives it.
func (w *world) put(dir string, n int, from io.Reader) (octets int64) {
	var text bytes.Buffer
	lines := crlf.NewWriter(&text)
	octets, err := io.Copy(lines, from)
	if err = errors.Join(err, lines.Flush()); err != nil {
		w.t.Fatal(err)
	}
	name := fmt.Sprintf("%d.M%dP1.bench,S=%d,W=%d:2,S", 1_700_000_000+n, n%1_000_000, text.Len(), octets)
	if err := os.WriteFile(filepath.Join(dir, "cur", name), text.Bytes(), 0o666); err != nil {
		w.t.Fatal(err)
	}
	return octets
}

func writeAccounts(t *testing.T, root string, names []string) {
	t.Helper()
	var file strings.Builder
	file.WriteString("accounts:\n")
	for _, name := range names {
		fmt.Fprintf(&file, "  - {address: %s, password: %q}\n", name, secretHash)
	}
	if err := os.WriteFile(filepath.Join(root, "accounts.yaml"), []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startGateway starts a new gateway, in the place of the one that runs.
func (w *world) startGateway(t *testing.T) {
	t.Helper()
	w.gateway.stop()
	plugin := any("maildir")
	if w.noFiles { // descriptor 3 is the socket for them
		plugin = harness.Mapping{"command": []string{"/bin/sh", "-c", `exec "$0" plugin maildir 3<&-`, harness.Binary(t, harness.Plain)}}
	}
	g := harness.Prepare(w.t, harness.Options{
		Kind: harness.Plain, PlaintextLogin: true,
		Stores: []harness.Mapping{{
			"name": "mail", "plugin": plugin, "domains": []string{domain},
			"settings": harness.Mapping{"root": w.mail},
		}},
		More: harness.Mapping{
			"log":    harness.Mapping{"level": "info", "format": "json"},
			"limits": harness.Mapping{"connections": 2000, "per_address": 2000},
			"listeners": []harness.Mapping{
				{"protocol": "pop3", "address": "127.0.0.1:0"}, {"protocol": "pop3s", "address": "127.0.0.1:0"},
			},
		},
	})
	w.gateway = serve(t, g, 2)
}

// serve starts a prepared gateway, and waits for so many listeners.
func serve(t *testing.T, g *harness.Gateway, listeners int) gateway {
	t.Helper()
	started := gateway{cmd: g.Command("serve", "--config", g.ConfigFile), log: filepath.Join(g.Dir, "log"), ca: g.Authority.CAFile}
	file, err := os.Create(started.log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	started.cmd.Stderr = file
	if err := started.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, time.Minute, "the gateway listening", func() bool {
		started.ports = listening(started.log)
		return len(started.ports) == listeners
	})
	return started
}

// stopAtEnd stops the gateway with the test, and shows the end of its log where the test has failed.
func (g *gateway) stopAtEnd(t *testing.T) {
	t.Cleanup(func() {
		g.stop()
		if t.Failed() {
			text, _ := os.ReadFile(g.log)
			t.Logf("the end of the gateway's log:\n%s", text[max(0, len(text)-4000):])
		}
	})
}

func (g *gateway) stop() {
	if g.cmd != nil {
		_ = g.cmd.Process.Signal(syscall.SIGTERM)
		_ = g.cmd.Wait()
		g.cmd = nil
	}
}

// listening are the addresses of the listeners in the log.
func listening(log string) map[string]string {
	ports := map[string]string{}
	text, _ := os.ReadFile(log)
	for line := range bytes.Lines(text) {
		var entry struct{ Message, Protocol, Address string }
		if json.Unmarshal(line, &entry) == nil && entry.Message == "listening" {
			ports[entry.Protocol] = entry.Address
		}
	}
	return ports
}

// result is what the load generator prints.
type result struct {
	Seconds            float64
	Sessions, Messages int
	Octets             int64
	Sum                uint64
	Login, Work        float64
	Relayed            float64
	Came               []float64
	Open               int
}

// run lets the load generator work.
func (w *world) run(address string, args ...string) (r result, err error) {
	return runLoad(w.load, address, args...)
}

func runLoad(load, address string, args ...string) (r result, err error) {
	cmd := exec.Command(load, append([]string{"-address", address}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("%w: %s", err, said.Bytes())
	}
	return r, json.Unmarshal(out, &r)
}

// hold lets sessions be open and idle until the returned function ends them.
func (w *world) hold(args ...string) (end func() error, err error) {
	cmd := exec.Command(w.load, append([]string{"-work", "idle"}, args...)...)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, errors.Join(err, in.Close(), cmd.Wait())
	}
	return func() error { return errors.Join(in.Close(), cmd.Wait()) }, nil
}
