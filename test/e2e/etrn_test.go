//go:build linux

package e2e

import (
	"bytes"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// TestETRN: mail for an office waits at one gateway until the office asks the other one for it, by where it is or by a login, and goes to
// the office's server then; that of others, in the same queue and elsewhere, stays.
func TestETRN(t *testing.T) {
	t.Parallel()
	office := (&fakesmtp.Server{Name: "mail.office.example"}).Start(t)
	route := func(name, domain string, askers harness.Mapping) harness.Mapping {
		return harness.Mapping{"name": name, "domains": []string{domain, "other." + domain}, "to": "smtp", "hosts": []string{office.Address}, "tls": "clear", "when": "asked", "etrn": askers}
	}
	one, two, _ := twoNodes(t, harness.Mapping{"routes": []harness.Mapping{
		route("office", "office.example", harness.Mapping{"networks": []string{"127.0.0.2"}}),
		route("branch", "branch.example", harness.Mapping{"accounts": []string{"erika@" + harness.Domain}}),
	}})
	erika := one.AddUserIn(t, storeRoot(one), "erika@"+harness.Domain)
	submit(t, one, erika, "a@office.example", "b@other.office.example", "c@branch.example")
	waits := func() int {
		out, err := two.Command("queue", "list", "--config", two.ConfigFile).Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return bytes.Count(out, []byte("when asked for"))
	}
	harness.Eventually(t, time.Minute, "all of it waits", func() bool { return waits() == 3 })
	explained, err := one.Command("route", "--config", one.ConfigFile, "a@office.example").Output()
	if err != nil || !bytes.Contains(explained, []byte("asked for")) || !bytes.Contains(explained, []byte("127.0.0.2/32")) {
		t.Errorf("the route is explained by\n%s%v", explained, err)
	}

	stranger := harness.Dial(t, two.Address("smtp"), nil)
	stranger.ExpectReply(220)
	if offers(stranger) {
		t.Error("ETRN is offered to somebody who may not ask")
	}
	for _, node := range []string{"office.example", "#office", "@example", "none.example"} {
		stranger.Ask("ETRN "+node, "530 5.7.0")
	}

	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", two.Address("smtp"))
	if err != nil {
		t.Fatal(err)
	}
	there := harness.Over(t, conn)
	there.ExpectReply(220)
	if !offers(there) {
		t.Error("ETRN is not offered to the office")
	}
	for node, want := range map[string]string{"branch.example": "459 4.7.1", "#branch": "459 4.7.1", "none.example": "459 4.7.1", "office.example": "253 2.0.0 OK, 1 pending", "a b": "501 5.5.4"} {
		there.Ask("ETRN "+node, want)
	}
	there.Ask("ETRN office.example", "250 2.0.0")
	arrived := func(address string) bool {
		return slices.ContainsFunc(office.Received(), func(m fakesmtp.Message) bool { return slices.Contains(m.Paths, address) })
	}
	harness.Eventually(t, time.Minute, "the office's mail is there", func() bool { return arrived("a@office.example") })
	if n := len(office.Received()); n != 1 || waits() != 1 {
		t.Errorf("%d messages have left, %d wait, and two were not asked for", n, waits())
	}

	account, err := harness.DialSMTP(two.Address("smtp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	if err := account.StartTLS(two.Authority.Client()); err != nil {
		t.Fatal(err)
	}
	if err := account.Auth(erika.Address, erika.Password); err != nil {
		t.Fatal(err)
	}
	for node, code := range map[string]int{"office.example": 459, "branch.example": 253} {
		if reply, err := account.Ask(code, "ETRN %s", node); err != nil {
			t.Errorf("%s: %+v, %v", node, reply, err)
		}
	}
	for _, step := range []struct {
		command string
		code    int
	}{{"MAIL FROM:<" + erika.Address + ">", 250}, {"RCPT TO:<zoe@far.example>", 550}} {
		if reply, err := account.Ask(step.code, "%s", step.command); err != nil {
			t.Errorf("who has logged in to ask sends: %s: %+v, %v", step.command, reply, err)
		}
	}
	harness.Eventually(t, time.Minute, "the branch's mail is there", func() bool { return arrived("c@branch.example") })
	if n := len(office.Received()); n != 2 {
		t.Errorf("%d messages have left", n)
	}
}

// offers says whether ETRN is among the answers to EHLO.
func offers(c *harness.Conn) bool {
	c.Send("EHLO office.example")
	return slices.Contains(c.ExpectReply(250), "ETRN")
}

// submit sends a message from an account.
func submit(t *testing.T, g *harness.Gateway, from harness.User, to ...string) {
	t.Helper()
	s, err := harness.DialSMTP(g.Address("submissions"), g.Authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Auth(from.Address, from.Password); err != nil {
		t.Fatal(err)
	}
	content := bytes.Replace(simple("to offices"), []byte("sender@corpus.example"), []byte(from.Address), 1)
	if reply, err := s.Send(harness.Envelope{From: from.Address, To: to}, bytes.NewReader(content)); err != nil {
		t.Fatal(reply, err)
	}
}

// TestAskPostfix: a provider's Postfix, which could not deliver while the gateway was away, starts what it keeps when the gateway asks it for
// it, by itself after its start; what it refuses is told.
func TestAskPostfix(t *testing.T) {
	t.Parallel()
	server := func(name, host, domain string) harness.Mapping {
		return harness.Mapping{"name": name, "host": host, "tls": "required", "for": []string{domain}, "every": "1h"}
	}
	g := harness.Prepare(t, harness.Options{})
	user := g.AddUser(t, "erika")
	provider := peers.StartPostfix(t, peers.PostfixOptions{Settings: []string{
		"relay_domains = " + harness.Domain, "fast_flush_domains = $relay_domains",
		"transport_maps = inline:{{" + harness.Domain + " = smtp:[" + strings.Replace(g.Address("smtp"), ":", "]:", 1) + "}}",
	}})
	g.Configure(t, func(o *harness.Options) {
		o.More = harness.Mapping{"etrn": []harness.Mapping{server("provider", provider.SMTP, harness.Domain), server("other", provider.SMTP, "other.example")}}
	})
	s, err := harness.DialSMTP(provider.SMTP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if reply, err := s.Send(harness.Envelope{From: "zoe@far.example", To: []string{user.Address}}, bytes.NewReader(simple("kept there"))); err != nil {
		t.Fatal(reply, err)
	}
	harness.Eventually(t, time.Minute, "the provider could not deliver it", func() bool { return strings.Contains(provider.Log(), "status=deferred") })
	out, err := g.Command("etrn", "run", "--config", g.ConfigFile).Output()
	if err == nil || !regexp.MustCompile(`provider +store.example +yes +250 `).Match(out) || !regexp.MustCompile(`other +other.example +no +459 `).Match(out) {
		t.Errorf("asked by hand it has started\n%s%v", out, err)
	}
	g.Run(t)
	harness.Eventually(t, time.Minute, "the mail is here", func() bool { return len(readAll(t, g, user)) == 1 })
	harness.Eventually(t, time.Minute, "both servers were asked", func() bool {
		out, err = g.Command("etrn", "status", "--config", g.ConfigFile, "--json").Output()
		return bytes.Count(out, []byte(`"asked"`)) == 2
	})
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err == nil || len(lines) != 2 || !bytes.Contains(lines[0], []byte(`"well"`)) || !bytes.Contains(lines[1], []byte("459")) {
		t.Errorf("the servers are told as\n%s%v", out, err)
	}
	if out, _ := g.Command("status", "--config", g.ConfigFile).Output(); !bytes.Contains(out, []byte("the server other does not start")) {
		t.Errorf("the gateway says of itself\n%s", out)
	}
}
