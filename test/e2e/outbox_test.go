//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// withOutbox starts a gateway whose store has outboxes, and whose other mail goes to a smart host.
func withOutbox(t *testing.T) (*harness.Gateway, *fakesmtp.Server) {
	t.Helper()
	host := (&fakesmtp.Server{
		Name: "smart.example", Offers: []string{"PIPELINING", "8BITMIME"},
		Rcpt: func(_ fakesmtp.Transaction, path string) string {
			if strings.Contains(path, "nobody") {
				return "550 5.1.1 there is no nobody here"
			}
			return ""
		},
	}).Start(t)
	store := harness.MaildirStore("mail", harness.Domain)
	store["settings"] = harness.Mapping{"root": "mail", "outbox": true}
	g := harness.Start(t, harness.Options{Stores: []harness.Mapping{store}, More: harness.Mapping{
		"routes": []harness.Mapping{{"name": "out", "domains": []string{"*"}, "to": "smtp", "hosts": []string{host.Address}, "tls": "clear"}},
	}})
	return g, host
}

// drop puts a message into a user's outbox as a local program does.
func drop(t *testing.T, g *harness.Gateway, user harness.User, content string) {
	t.Helper()
	dir := outboxOf(g, user)
	for _, part := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, part), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tmp := filepath.Join(dir, "tmp", "message")
	if err := os.WriteFile(tmp, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, "new", "message")); err != nil {
		t.Fatal(err)
	}
}

func outboxOf(g *harness.Gateway, user harness.User) string {
	name, domain, _ := strings.Cut(user.Address, "@")
	return filepath.Join(g.Dir, "mail", domain, name, ".Outbox")
}

// TestOutbox: with a reload that gives the store outboxes, a file in the outbox reaches a local mailbox and the smart host, without Bcc, and its author hears of the
// recipient that the host does not take.
func TestOutbox(t *testing.T) {
	t.Parallel()
	g, host := withOutbox(t)
	g.Configure(t, func(o *harness.Options) { o.Stores[0]["settings"] = harness.Mapping{"root": "mail"} })
	g.Reload(t)
	from, to := g.AddUser(t, "erika"), g.AddUser(t, "max")
	place := g.Log.Len()
	drop(t, g, from, "To: Max <max>, zoe@far.example\nCc: nobody@far.example\nBcc: secret@far.example\nSubject: from a script\n\nHello\n")
	g.Configure(t, func(o *harness.Options) { o.Stores[0]["settings"] = harness.Mapping{"root": "mail", "outbox": true} })
	if g.Log.Has("collected") {
		t.Error("a store without outboxes is asked for mail")
	}
	g.Reload(t)
	g.Log.Wait(t, place, `"event":"collected"`)
	harness.Eventually(t, time.Minute, "the local copy", func() bool { return len(readAll(t, g, to)) > 0 })
	local := readAll(t, g, to)[0]
	for _, want := range []string{"Return-Path: <" + from.Address + ">", "From: " + from.Address, "Subject: from a script", "\r\n\r\nHello\r\n"} {
		if !bytes.Contains(local, []byte(want)) {
			t.Errorf("%q is not in\n%s", want, local)
		}
	}
	harness.Eventually(t, time.Minute, "the message at the smart host", func() bool { return len(host.Received()) > 0 })
	there := host.Received()[0]
	if len(there.Paths) != 2 || strings.Contains(there.Content, "secret") {
		t.Errorf("the smart host has %+v", there)
	}
	harness.Eventually(t, time.Minute, "the report", func() bool { return len(readAll(t, g, from)) > 0 })
	if report := readAll(t, g, from)[0]; !bytes.Contains(report, []byte("nobody@far.example")) || !bytes.Contains(report, []byte("Status: 5.1.1")) {
		t.Errorf("the author has\n%s", report)
	}
	for _, line := range []string{`"event":"collected"`, `"event":"queued"`, `"event":"relay"`} {
		once(t, g.Log.Wait(t, 0, line))
	}
	harness.Eventually(t, time.Minute, "the outbox being empty", func() bool {
		left, err := os.ReadDir(filepath.Join(outboxOf(g, from), "cur"))
		return err == nil && len(left) == 0
	})
}

// TestOutboxKilled (I1, I2): the gateway is killed before the store has been told that a message was taken over, which has
// left the queue by then: the store hands it over again, nobody gets a second copy, and what comes next is sent.
func TestOutboxKilled(t *testing.T) {
	t.Parallel()
	g, host := withOutbox(t)
	from := g.AddUser(t, "erika")
	const first = "To: zoe@far.example\nSubject: first\n\nx\n"
	drop(t, g, from, first)
	taken := g.Log.Wait(t, 0, "message taken over from a store's outbox")
	harness.Eventually(t, time.Minute, "the message having left the queue", func() bool {
		out, err := g.Command("queue", "list", "--json", "--config", g.ConfigFile).Output()
		return len(host.Received()) > 0 && err == nil && !bytes.Contains(out, []byte("zoe@"))
	})
	g.Signal(t, syscall.SIGKILL)
	_ = g.WaitExit(t) // it was killed
	_, id, _ := strings.Cut(taken.Field("id"), "/")
	cur := filepath.Join(outboxOf(g, from), "cur")
	left, err := filepath.Glob(filepath.Join(cur, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range left { // it was killed before the store was told
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(cur, id+",claimed=0"), []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Run(t)
	g.Log.Wait(t, 0, "message taken over from a store's outbox", fmt.Sprintf("%q:%q", "key", taken.Field("key")))
	sendmail := g.Command("sendmail", "--config", g.ConfigFile, "--account", from.Address, "-t")
	sendmail.Stdin = strings.NewReader("To: zoe@far.example\nSubject: second\n\nx\n.\n")
	if out, err := sendmail.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	subjects := func() (n, m int) {
		for _, r := range host.Received() {
			n += strings.Count(r.Content, "Subject: first")
			m += strings.Count(r.Content, "Subject: second")
		}
		return n, m
	}
	harness.Eventually(t, time.Minute, "both messages at the smart host", func() bool { n, m := subjects(); return n > 0 && m > 0 })
	if n, _ := subjects(); n != 1 {
		t.Errorf("the first message comes %d times", n)
	}
}

// TestOutboxPoison (I8, I10): a message in an outbox that ends the plugin each time it is read is set aside after some
// times, and the administrator is told. The others leave meanwhile, and so does that one once it is released and can be read.
func TestOutboxPoison(t *testing.T) {
	t.Parallel()
	g, host := withOutbox(t)
	g.Configure(t, func(o *harness.Options) {
		o.Stores[0]["plugin"] = harness.Mapping{"command": []string{harness.Helper(t, "./test/plugins/misbehave"), "crashes"}}
	})
	g.Reload(t)
	bad, good := g.AddUser(t, "erika"), g.AddUser(t, "max")
	came := func(subject string) bool {
		return slices.ContainsFunc(host.Received(), func(m fakesmtp.Message) bool { return strings.Contains(m.Content, "Subject: "+subject+"\r\n") })
	}
	drop(t, g, bad, "X-Poison: kills\nTo: zoe@far.example\nSubject: poison\n\nx\n")
	for _, subject := range []string{"first", "second", "third"} {
		drop(t, g, good, "To: zoe@far.example\nSubject: "+subject+"\n\nx\n")
		harness.Eventually(t, time.Minute, subject+" at the smart host", func() bool { return came(subject) })
	}
	harness.Eventually(t, 3*time.Minute, "the message being set aside", func() bool {
		endLease(t, g, bad) // it would be read again once its lease is over: in minutes
		return g.Log.Has("a message in the store's outbox breaks its collection, it is set aside")
	})
	told := g.Log.Wait(t, 0, "a message in the store's outbox breaks its collection, it is set aside")
	number := told.Field("number")
	out, status := command(g, "quarantine", "list", "--config", g.ConfigFile)
	if status != 0 || !strings.Contains(out, number) || !strings.Contains(out, bad.Address) {
		t.Errorf("the quarantine, with status %d, has\n%s", status, out)
	}

	drop(t, g, good, "To: zoe@far.example\nSubject: beside it\n\nx\n")
	harness.Eventually(t, time.Minute, "mail at the smart host", func() bool { return came("beside it") })
	if came("poison") {
		t.Error("the message has left")
	}
	if err := os.WriteFile(filepath.Join(g.Dir, "antidote"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := command(g, "quarantine", "release", "--config", g.ConfigFile, number); status != 0 {
		t.Fatalf("release, with status %d: %s", status, out)
	}
	harness.Eventually(t, time.Minute, "the message at the smart host", func() bool {
		endLease(t, g, bad)
		return came("poison")
	})
	if n := strings.Count(strings.Join(contents(host), ""), "Subject: poison"); n != 1 {
		t.Errorf("it has left %d times", n)
	}
}

// endLease has a claimed message in a user's outbox be due.
func endLease(t *testing.T, g *harness.Gateway, user harness.User) {
	t.Helper()
	claimed, err := filepath.Glob(filepath.Join(outboxOf(g, user), "cur", "*,claimed=*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range claimed {
		id, _, _ := strings.Cut(path, ",claimed=")
		if err := os.Rename(path, id+",claimed=0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func contents(host *fakesmtp.Server) (all []string) {
	for _, m := range host.Received() {
		all = append(all, m.Content)
	}
	return all
}
