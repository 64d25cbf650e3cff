//go:build linux

package e2e

import (
	"bytes"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/fakedns"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// TestRelay has an account write to everybody: what is local is there at once, what is far goes by MX, and on
// who is not there the author gets a report.
func TestRelay(t *testing.T) {
	t.Parallel()
	far := (&fakesmtp.Server{
		Name: "mx.far.example", Offers: []string{"PIPELINING", "SIZE 1000000", "8BITMIME"},
		Rcpt: func(_ fakesmtp.Transaction, path string) string {
			if strings.Contains(path, "nobody") {
				return "550 5.1.1 there is no nobody here"
			}
			return ""
		},
	}).Start(t)
	_, port, err := net.SplitHostPort(far.Address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	zone := (&fakedns.Server{Records: `
		far.example.    MX 10 mx.far.example.
		mx.far.example. A  127.0.0.1
	`}).Start(t)
	g := harness.Start(t, harness.Options{More: harness.Mapping{
		"routes": []harness.Mapping{{"name": "internet", "domains": []string{"*"}, "to": "mx"}},
		"relay": harness.Mapping{
			"resolvers": []string{zone.Address}, "port": number, "report_to": "postmaster@" + harness.Domain, "report_classes": []string{"5.1"},
		},
	}})
	from, to, administrator := g.AddUser(t, "erika"), g.AddUser(t, "max"), g.AddUser(t, "postmaster")
	content := bytes.Replace(simple("to everybody"), []byte("sender@corpus.example"), []byte(from.Address), 1)
	s, err := harness.DialSMTP(g.Address("submissions"), g.Authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Auth(from.Address, from.Password); err != nil {
		t.Fatal(err)
	}
	reply, err := s.Send(harness.Envelope{From: from.Address, To: []string{to.Address, "zoe@far.example", "nobody@far.example"}}, bytes.NewReader(content))
	if err != nil {
		t.Fatal(reply, err)
	}
	if got := readAll(t, g, to); len(got) != 1 || !bytes.Contains(got[0], []byte("Subject: to everybody")) {
		t.Errorf("max has %q", got)
	}
	harness.Eventually(t, time.Minute, "the message at the far server", func() bool { return len(far.Received()) > 0 })
	there := far.Received()[0]
	if len(there.Paths) != 1 || !strings.HasPrefix(there.Content, "Received: ") || !strings.Contains(there.Content, "Subject: to everybody") {
		t.Errorf("the far server has %+v", there)
	}
	var report []byte
	harness.Eventually(t, time.Minute, "the report", func() bool {
		all := readAll(t, g, from)
		if len(all) > 0 {
			report = all[0]
		}
		return len(all) > 0
	})
	for _, want := range []string{
		"Return-Path: <>", "report-type=delivery-status", "nobody@far.example", "Action: failed", "Status: 5.1.1", "there is no nobody here",
	} {
		if !bytes.Contains(report, []byte(want)) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
	if bytes.Contains(report, []byte("zoe@")) {
		t.Error("the report tells of zoe, whose copy was taken")
	}
	harness.Eventually(t, time.Minute, "the administrator's copy", func() bool { return len(readAll(t, g, administrator)) > 0 })
	if copied := readAll(t, g, administrator)[0]; !bytes.Contains(copied, []byte("To: <"+from.Address+">")) || !bytes.Contains(copied, []byte("Status: 5.1.1")) {
		t.Errorf("the administrator has\n%s", copied)
	}
	if len(far.Received()) != 1 {
		t.Errorf("the far server has %d messages", len(far.Received()))
	}
	isTracked(t, g, from.Address, to.Address)
}

// isTracked has the life of the message told, by a recipient's address, up to the report.
func isTracked(t *testing.T, g *harness.Gateway, from, to string) {
	t.Helper()
	var out []byte
	harness.Eventually(t, time.Minute, "the report in the track", func() bool {
		out, _ = g.Command("track", "--config", g.ConfigFile, "nobody@far.example", "--since", "10m").Output()
		return bytes.Contains(out, []byte("reported as")) && bytes.Count(out, []byte("delivered")) >= 2
	})
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if !strings.Contains(lines[0], "from <"+from+">") {
		t.Errorf("the track begins with %q", lines[0])
	}
	for _, want := range []string{
		"delivered|" + to + "|store ", "queued|zoe@far.example|for far.example", "queued|nobody@far.example|for far.example",
		"came in||250 2.", "relayed|zoe@far.example|mx.far.example", "failed|nobody@far.example|550 5.1.1", "delivered|" + from + "|for store:",
	} {
		parts := strings.Split(want, "|")
		if !slices.ContainsFunc(lines, func(line string) bool {
			return strings.Contains(line, "  "+parts[0]+"  ") && strings.Contains(line, parts[1]) && strings.Contains(line, parts[2])
		}) {
			t.Errorf("the track has no %q:\n%s", want, out)
		}
	}
}

// readAll is every message of a maildrop, which stays as it is.
func readAll(t *testing.T, g *harness.Gateway, user harness.User) (all [][]byte) {
	t.Helper()
	p := login(t, g, user)
	defer p.Quit()
	n, _, err := p.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		content, err := p.Retr(i + 1)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, content)
	}
	return all
}
