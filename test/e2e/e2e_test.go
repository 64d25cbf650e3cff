//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

func TestMain(m *testing.M) {
	// Gateways, plugins and their clients wait more than they work: more tests than there are
	// processors run at a time. Those that measure time or memory are not among them.
	flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	os.Exit(harness.Main(m))
}

// login opens a maildrop over TLS.
func login(t *testing.T, g *harness.Gateway, user harness.User) *harness.POP3 {
	t.Helper()
	p, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Address, user.Password)
	if err != nil {
		t.Fatalf("logging in as %s: %v", user.Address, err)
	}
	return p
}

// addByCommand makes an account in the first store with the command that administrators use.
func addByCommand(t *testing.T, g *harness.Gateway, name string) harness.User {
	t.Helper()
	user := harness.User{Address: name + "@" + harness.Domain, Password: "a sentence of " + name}
	cmd := g.Command("maildir", "user", "add", "--root", "mail", "--password-stdin", user.Address)
	cmd.Stdin = strings.NewReader(user.Password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("adding %s: %v\n%s", user.Address, err, out)
	}
	return user
}

// mx opens a connection to the MX.
func mx(t *testing.T, g *harness.Gateway) *harness.SMTP {
	t.Helper()
	s, err := harness.DialSMTP(g.Address("smtp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// deliver sends messages to a maildrop, as the Internet would, and wants each to be taken.
func deliver(t *testing.T, g *harness.Gateway, to harness.User, contents ...[]byte) {
	t.Helper()
	s := mx(t, g)
	defer s.Close()
	for n, content := range contents {
		if _, err := s.Send(envelope(to), bytes.NewReader(content)); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
	}
	if err := s.Quit(); err != nil {
		t.Error(err)
	}
}

func envelope(to ...harness.User) harness.Envelope {
	e := harness.Envelope{From: "sender@corpus.example"}
	for _, user := range to {
		e.To = append(e.To, user.Address)
	}
	return e
}

// simple is a small message with that subject.
func simple(subject string) []byte {
	return fmt.Appendf(nil, "From: sender@corpus.example\r\nTo: somebody@store.example\r\nSubject: %s\r\nDate: Mon, 09 Nov 2026 08:01:02 +0100\r\nMessage-ID: <%s@corpus.example>\r\n\r\nbody of %s\r\n", subject, subject, subject)
}

// trace parts a stored message into the trace fields that the gateway and the store put in front
// and the rest, given what the rest has to be. It fails where anything else is in front.
func trace(stored, content []byte) ([]string, error) {
	front, ok := bytes.CutSuffix(stored, content)
	if !ok {
		return nil, fmt.Errorf("the content has changed: %s", difference(stored, content))
	}
	var fields []string
	for line := range strings.Lines(string(front)) {
		switch {
		case strings.HasPrefix(line, "Return-Path:"), strings.HasPrefix(line, "Received:"), strings.HasPrefix(line, "Delivered-To:"):
			fields = append(fields, line)
		case len(fields) > 0 && (line[0] == ' ' || line[0] == '\t'):
			fields[len(fields)-1] += line
		default:
			return nil, fmt.Errorf("in front of the content stands %q", line)
		}
	}
	return fields, nil
}

// difference is where two messages part, seen from their ends: what is in front may differ.
func difference(a, b []byte) string {
	n := 0
	for n < min(len(a), len(b)) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	show := func(x []byte) string {
		end := len(x) - n
		return fmt.Sprintf("…%q|%q…", x[max(0, end-60):end], x[end:min(len(x), end+40)])
	}
	return fmt.Sprintf("%d and %d octets, the last %d are the same: %s and %s", len(a), len(b), n, show(a), show(b))
}

// refusal wants an error to be a server's refusal that holds a text.
func refusal(t *testing.T, err error, text string) {
	t.Helper()
	var r *harness.Refusal
	if !errors.As(err, &r) || !strings.Contains(r.Answer, text) {
		t.Errorf("the answer is %v, wanted a refusal with %q", err, text)
	}
}
