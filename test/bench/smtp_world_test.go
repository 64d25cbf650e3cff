//go:build bench && linux

package bench

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// Where mail goes, for both servers alike. Mail for domain itself goes into mailboxes.
const (
	heldDomain = "held.example" // accepted, and kept in the queue
	farDomain  = "far.example"  // relayed to the sink of the load generator
	author     = "author@" + domain
)

// smtpWorld is the two servers, with their mail and queues on one disk.
type smtpWorld struct {
	load string // the load generator's binary
	sink string // host:port where both relay to

	near string            // where the gateway relays mail for nearDomain to
	more []harness.Mapping // further settings of the gateway

	postfix *peers.Postfix
	gateway gateway
	folder  string // of the gateway: its mailboxes, and its state
}

// mta is one of the two.
type mta struct {
	name       string
	mx         string // host:port for mail that goes into mailboxes
	submission string // host:port for mail that goes elsewhere
	login      bool   // submission wants one
	pid        int
	folder     string   // with everything that it keeps
	boxes      []string // Maildirs
	empty      func()   // takes everything out of its queue
}

// address is where mail for a domain is sent to, and whether the client logs in there.
func (m mta) address(to string) (address string, login bool) {
	if to == domain {
		return m.mx, false
	}
	return m.submission, m.login
}

func newSMTPWorld(t *testing.T) *smtpWorld {
	t.Helper()
	w := &smtpWorld{load: harness.Helper(t, "./test/bench/load"), sink: peers.FreeAddress(t), folder: t.TempDir()}
	w.postfix = peers.StartPostfix(t, peers.PostfixOptions{Boxes: benchBoxes(), Settings: []string{
		"relay_domains = " + heldDomain, "defer_transports = relay", // all for heldDomain is deferred
		"relayhost = [127.0.0.1]" + w.sink[strings.LastIndexByte(w.sink, ':'):],
	}})
	w.compareSettings(t)
	w.startGateway(t)
	w.gateway.stopAtEnd(t)
	return w
}

func benchBoxes() (names []string) {
	for i := range drained {
		names = append(names, fmt.Sprintf("u%d@%s", i, domain))
	}
	return names
}

// compareSettings wants Postfix's settings to be those that are told beside the results.
func (w *smtpWorld) compareSettings(t *testing.T) {
	t.Helper()
	told, err := os.ReadFile("postfix.cf")
	if err != nil {
		t.Fatal(err)
	}
	is := strings.NewReplacer(w.postfix.Dir, "HERE", w.postfix.Unpacked, "UNPACKED", w.sink[strings.LastIndexByte(w.sink, ':')+1:], "SINK").
		Replace(w.postfix.Command("postconf", "-n"))
	if is != string(told) {
		t.Fatalf("test/bench/postfix.cf tells other settings than postconf -n:\n%s", is)
	}
}

// startGateway starts the gateway with the Maildir backend, and routes to where Postfix relays to. What a
// client may do is not bounded by less than Postfix's default.
func (w *smtpWorld) startGateway(t *testing.T) {
	t.Helper()
	root := filepath.Join(w.folder, "mail")
	if err := os.MkdirAll(root, 0o700); err != nil {
		t.Fatal(err)
	}
	writeAccounts(t, root, append(benchBoxes(), author))
	near := w.near
	if near == "" {
		near = w.sink
	}
	more := harness.Mapping{
		"log":        harness.Mapping{"level": "info", "format": "json"},
		"limits":     harness.Mapping{"messages": 100_000},
		"listeners":  []harness.Mapping{{"protocol": "smtp", "address": "127.0.0.1:0"}, {"protocol": "submission", "address": "127.0.0.1:0"}},
		"submission": harness.Mapping{"plaintext_login": true},
		"smtp":       harness.Mapping{"relay_for": []string{"127.0.0.0/8"}}, // as Postfix's mynetworks
		"routes": []harness.Mapping{
			{"name": "held", "domains": []string{heldDomain}, "to": "hold"},
			{"name": "sink", "domains": []string{farDomain}, "to": "smtp", "hosts": []string{w.sink}, "tls": "opportunistic"},
			{"name": "near", "domains": []string{nearDomain}, "to": "smtp", "hosts": []string{near}, "tls": "opportunistic"},
			{"name": "dead", "domains": []string{deadDomain}, "to": "smtp", "hosts": []string{"127.0.0.1:1"}, "tls": "opportunistic"},
		},
	}
	for _, further := range w.more {
		maps.Copy(more, further)
	}
	w.gateway = serve(t, harness.Prepare(t, harness.Options{
		Kind: harness.Plain, Dir: w.folder, Stores: []harness.Mapping{harness.MaildirStore("mail", domain)}, More: more,
	}), 2)
}

func (w *smtpWorld) ours() mta {
	m := mta{
		name: "Dipylon", mx: w.gateway.ports["smtp"], submission: w.gateway.ports["smtp"], pid: w.gateway.cmd.Process.Pid, folder: w.folder,
		empty: func() {},
	}
	for i := range drained {
		m.boxes = append(m.boxes, filepath.Join(w.folder, "mail", domain, fmt.Sprintf("u%d", i)))
	}
	return m
}

func (w *smtpWorld) theirs() mta {
	m := mta{name: "Postfix", mx: w.postfix.SMTP, submission: w.postfix.SMTP, pid: w.postfix.PID(), folder: w.postfix.Dir, empty: w.emptyPostfix}
	for _, name := range benchBoxes() {
		m.boxes = append(m.boxes, filepath.Join(w.postfix.Mail, name))
	}
	return m
}

// emptyPostfix waits until its queue manager has looked at every message, and deletes what it has deferred.
func (w *smtpWorld) emptyPostfix() {
	for _, queue := range []string{"incoming", "active"} {
		for files(filepath.Join(w.postfix.Dir, "queue", queue)) > 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	w.postfix.Command("postsuper", "-d", "ALL")
}

// files counts what is in folders; one that is not there yet has nothing.
func files(folders ...string) (n int) {
	for _, folder := range folders {
		entries, _ := os.ReadDir(folder)
		n += len(entries)
	}
	return n
}

// arrived waits until the mailboxes have so many messages, and says how long that was.
func (m mta) arrived(messages int) (time.Duration, error) {
	begin := time.Now()
	folders := make([]string, len(m.boxes))
	for i, box := range m.boxes {
		folders[i] = filepath.Join(box, "new")
	}
	for {
		n := files(folders...)
		waited := time.Since(begin)
		switch {
		case n == messages:
			return waited, nil
		case n > messages || waited > time.Minute:
			return waited, fmt.Errorf("%d messages are in the mailboxes, not %d", n, messages)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// clear takes everything out of the queue and the mailboxes, and has the disk at rest. The mail is moved away and not
// deleted: ext4 without a journal makes files several times as slowly where thousands were deleted within the last
// minutes.
func (m mta) clear(t *testing.T) {
	t.Helper()
	m.empty()
	attic := filepath.Join(m.folder, "attic")
	if err := os.MkdirAll(attic, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, box := range m.boxes {
		all, _ := filepath.Glob(filepath.Join(box, "new/*"))
		for _, file := range all {
			if err := os.Rename(file, filepath.Join(attic, filepath.Base(box)+"."+filepath.Base(file))); err != nil {
				t.Fatal(err)
			}
		}
	}
	unix.Sync()
}
