//go:build linux

package faults

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/fakepop3"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

var collectMessages = flag.Int("collect-messages", 240, "how many messages are collected, over all sources")

// collecting is a gateway that collects, and the mailboxes that it collects into.
type collecting struct {
	t       *testing.T
	gateway *harness.Gateway
}

// collectors are who gets the mail; post is the fall-back mailbox.
var collectors = []string{"ada", "bob", "post"}

// startCollecting starts a gateway with accounts.
func startCollecting(t *testing.T, accounts ...harness.Mapping) *collecting {
	t.Helper()
	for _, a := range accounts {
		maps.Copy(a, harness.Mapping{"catch_all": true, "fallback": "post@" + harness.Domain, "every": "10s"})
	}
	c := &collecting{t: t, gateway: harness.Prepare(t, harness.Options{Kind: harness.Plain, More: harness.Mapping{"collect": accounts}})}
	for _, name := range collectors {
		c.gateway.AddUser(t, name)
	}
	c.gateway.Run(t)
	return c
}

// fakeAccount is an account at a server of the tests.
func fakeAccount(name, address string) harness.Mapping {
	return harness.Mapping{"name": name, "protocol": "pop3", "host": address, "tls": "none", "user": "office", "password": "secret", "timeout": "5s"}
}

// kill ends the gateway and its plugins with SIGKILL, and starts it again.
func (c *collecting) kill() {
	c.t.Helper()
	plugins := c.gateway.Plugins()
	harness.Kill(c.t, c.gateway.PID())
	_ = c.gateway.WaitExit(c.t)
	for _, pid := range plugins {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended with the gateway
	}
	c.gateway.Run(c.t)
}

// run has accounts collected now. It may be that the gateway is not ready for it.
func (c *collecting) run(accounts ...string) {
	_ = c.gateway.Command(append([]string{"collect", "run", "--config", c.gateway.ConfigFile}, accounts...)...).Run() // it is tried again
}

var collectedID = regexp.MustCompile(`(?m)^Subject: (\S+)`)

// copies counts the messages by mailbox and subject.
func (c *collecting) copies() map[string]int {
	c.t.Helper()
	found := make(map[string]int)
	for _, name := range collectors {
		files, err := filepath.Glob(filepath.Join(c.gateway.Dir, "mail", "*", "*", "[nc]*", "*"))
		if err != nil {
			c.t.Fatal(err)
		}
		for _, file := range files {
			if !strings.Contains(file, "/"+name+"/") && !strings.Contains(file, "/"+name+"@") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				continue // it was moved from new to cur
			}
			if id := collectedID.FindSubmatch(text); id != nil && strings.HasSuffix(string(text), "the end\r\n") || id != nil && strings.HasSuffix(string(text), "the end\n") {
				found[name+" "+string(id[1])]++
			}
		}
	}
	return found
}

// toCollect is a message, and whose mailbox it is for.
func toCollect(n int, source string) (text, key string) {
	name := collectors[n%len(collectors)]
	fields := "Envelope-To: " + name + "@" + harness.Domain + "\r\n"
	if name == "post" {
		fields = "" // it names nobody
	}
	id := fmt.Sprintf("%s-%d", source, n)
	return fields + "From: far@away.example\r\nTo: everybody@" + harness.Domain + "\r\nMessage-ID: <" + id + "@away.example>\r\nSubject: " + id +
		"\r\n\r\n" + strings.Repeat("..some text of a message\r\n", 1+n%40) + "the end\r\n", name + " " + id
}

// judgeCollected wants each message once, in the mailbox that it is for.
func (c *collecting) judgeCollected(want map[string]bool) {
	c.t.Helper()
	lost, doubled := 0, 0
	found := c.copies()
	for key := range want {
		switch n := found[key]; {
		case n == 0:
			lost++
		case n > 1:
			doubled++
			c.t.Errorf("%s is there %d times", key, n)
		}
	}
	for key := range found {
		if !want[key] {
			c.t.Errorf("%s was not sent so", key)
		}
	}
	if c.t.Logf("%d messages collected: %d lost, %d doubled", len(want), lost, doubled); lost > 0 {
		c.t.Errorf("%d of %d messages are lost", lost, len(want))
	}
}

// TestCollectKilledAtEachStep kills the gateway between the steps of a message's way: as it reads it, when the store has it, before and
// after the source marks it, before and after the source removes it. In the end each message is there once.
func TestCollectKilledAtEachStep(t *testing.T) {
	type seam struct {
		command string
		after   bool
	}
	var seams []seam
	for _, command := range []string{"PASS", "UIDL", "RETR", "DELE", "QUIT"} {
		seams = append(seams, seam{command, false}, seam{command, true})
	}
	var at atomic.Int64 // the seam that is being tried
	reached := make(chan struct{}, 1)
	hold := func(after bool) func(int, string) string {
		return func(_ int, command string) string {
			if i := at.Load(); i < int64(len(seams)) && seams[i].after == after && strings.HasPrefix(command, seams[i].command) && at.CompareAndSwap(i, i+1) {
				reached <- struct{}{}
				return fakepop3.Silent
			}
			return ""
		}
	}
	s := (&fakepop3.Server{Reply: hold(false), After: hold(true)}).Start(t)
	c := startCollecting(t, fakeAccount("office", s.Address))
	want := make(map[string]bool)
	put := func(n int) {
		text, key := toCollect(n, "step")
		want[key] = true
		s.Put(text)
	}
	for i := range seams {
		put(3 * i)
		put(3*i + 1)
		put(3*i + 2)
		awaitCollected(t, fmt.Sprintf("the seam %+v", seams[i]), func() bool {
			c.run("office")
			select {
			case <-reached:
				return true
			default:
				return false
			}
		})
		c.kill()
	}
	// And as soon as the store has a message: the ledger may have it, or not.
	for n := 1000; n < 1004; n++ {
		put(n)
		before := len(c.copies())
		c.run("office")
		harness.Eventually(t, time.Minute, "a message in the store", func() bool { return len(c.copies()) > before })
		c.kill()
	}
	awaitCollected(t, "an empty source", func() bool { c.run("office"); return len(s.Left()) == 0 })
	c.judgeCollected(want)
	c.gateway.Stop(t)
}

// awaitCollected waits for a condition that asks the gateway each time.
func awaitCollected(t *testing.T, what string, condition func() bool) {
	t.Helper()
	harness.Eventually(t, 3*time.Minute, what, func() bool {
		if condition() {
			return true
		}
		time.Sleep(50 * time.Millisecond) // the gateway has to have time for something else
		return false
	})
}

// misbehaving is a POP3 server that breaks off, refuses and is silent at random.
func misbehaving(t *testing.T, s *fakepop3.Server, seed uint64) *fakepop3.Server {
	t.Helper()
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 2))
	by := func(n int) bool { mu.Lock(); defer mu.Unlock(); return r.IntN(n) == 0 }
	s.Reply = func(_ int, command string) string {
		switch {
		case by(150):
			return fakepop3.Close
		case strings.HasPrefix(command, "RETR") && by(60):
			return "-ERR [SYS/TEMP] not now\r\n"
		}
		return ""
	}
	s.After = func(_ int, command string) string {
		if by(150) || command == "QUIT" && by(4) {
			return fakepop3.Close
		}
		return ""
	}
	s.Content = func(_ int, stuffed string) string {
		if by(100) {
			return stuffed[:len(stuffed)/2] // and no more, until the client goes
		}
		return stuffed
	}
	return s.Start(t)
}

// TestCollectNothingLost collects from Dovecot, by POP3 and by IMAP, and from servers that misbehave, while the gateway is killed at random:
// each message is there once in the end, in the mailbox that it is for, and nothing is left at the sources.
func TestCollectNothingLost(t *testing.T) {
	seed := aSeed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	dovecot := peers.StartDovecot(t, peers.DovecotOptions{})
	fakes := map[string]*fakepop3.Server{
		"plain": misbehaving(t, &fakepop3.Server{}, seed), "numbered": misbehaving(t, &fakepop3.Server{Numbered: true}, seed+1),
		"contents": misbehaving(t, &fakepop3.Server{NoUIDL: true, NoTOP: true}, seed+2),
		"lies":     misbehaving(t, &fakepop3.Server{Size: func(string) int64 { return 7 }, SameUID: true}, seed+3),
	}
	accounts := []harness.Mapping{
		{"name": "dovecot-pop3", "protocol": "pop3", "host": dovecot.POP3S, "ca": dovecot.CA, "tls_name": "localhost", "user": "ada@peer.example", "password": "ada-secret"},
		{"name": "dovecot-imap", "protocol": "imap", "host": dovecot.IMAP, "tls": "starttls", "ca": dovecot.CA, "tls_name": "localhost", "user": "bob@peer.example", "password": "bob-secret"},
	}
	for _, name := range slices.Sorted(maps.Keys(fakes)) {
		accounts = append(accounts, fakeAccount(name, fakes[name].Address))
	}
	want := make(map[string]bool)
	boxes := map[string]string{"dovecot-pop3": "ada@peer.example", "dovecot-imap": "bob@peer.example"}
	fillSome := func(from, to int) {
		for n := from; n < to; n++ {
			account := accounts[n%len(accounts)]["name"].(string)
			text, key := toCollect(n, account)
			want[key] = true
			if box := boxes[account]; box != "" {
				fill(t, dovecot, box, n, text)
			} else {
				fakes[account].Put(text)
			}
		}
	}
	fillSome(0, 6) // the folders are there
	c := startCollecting(t, accounts...)
	left := func() (n int) {
		for _, s := range fakes {
			n += len(s.Left())
		}
		for _, box := range boxes {
			n += len(mailIn(t, dovecot, box))
		}
		return n
	}
	began, rounds := time.Now(), max(8, *collectMessages/100)
	for round := range rounds {
		fillSome(6+round*(*collectMessages-6)/rounds, 6+(round+1)*(*collectMessages-6)/rounds)
		c.run()
		// It is killed once it has done something, of which nobody knows where that ends, or does nothing.
		goal, until := left()-1-r.IntN(40), time.Now().Add(5*time.Second)
		for left() > goal && time.Now().Before(until) {
			time.Sleep(time.Duration(1+r.IntN(20)) * time.Millisecond)
		}
		c.kill()
	}
	t.Logf("%d kills in %s, %d messages left then", rounds, time.Since(began).Round(time.Second), left())
	for at := time.Now(); left() > 0 && time.Since(at) < 20*time.Minute; { // what was set aside is tried again after a minute
		c.run()
		time.Sleep(time.Second)
	}
	if n := left(); n > 0 {
		out, _ := c.gateway.Command("collect", "status", "--config", c.gateway.ConfigFile).CombinedOutput()
		t.Errorf("%d messages are at the sources:\n%s", n, out)
	}
	c.judgeCollected(want)
	c.gateway.Stop(t)
}

// fill puts a message into a mailbox of Dovecot's.
func fill(t *testing.T, d *peers.Dovecot, box string, n int, text string) {
	t.Helper()
	dir := filepath.Join(d.Mail, box, "Maildir")
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "new", fmt.Sprintf("%d.%d.x", 1_700_000_000+n, n)), []byte(strings.ReplaceAll(text, "\r\n", "\n")), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Dir(dir), dir, filepath.Join(dir, "new"), filepath.Join(dir, "cur"), filepath.Join(dir, "tmp")} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
}

// mailIn are the files of a mailbox of Dovecot's.
func mailIn(t *testing.T, d *peers.Dovecot, box string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.Mail, box, "Maildir", "[nc]*", "*.x*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
