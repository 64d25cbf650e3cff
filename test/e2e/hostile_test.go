//go:build linux

package e2e

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/dipylon/dipylon/test/harness"
)

// hostileHeaders are headers that MX takes and that cost work to show to a client without UTF-8.
func hostileHeaders() map[string]string {
	return map[string]string{
		"many short fields": strings.Repeat("a:é\r\n", 9_000),
		"many addresses":    "To: " + strings.Repeat("é <a@b.example>,\r\n ", 20_000) + "x <a@b.example>\r\n",
		"many foreign domains": strings.Repeat("To: "+strings.Repeat("é <a@é.example>,\r\n ", 1_500)+
			"x <a@b.example>\r\n", 9),
		"parameters":        strings.Repeat("Content-Type: text/plain"+strings.Repeat(";\r\n a*0*=utf-8''é", 1_500)+"\r\n", 9),
		"deep comments":     "To: " + strings.Repeat("(", 900) + "é" + strings.Repeat(")", 900) + " <a@b.example>\r\n",
		"one field's lines": "Subject: é\r\n" + strings.Repeat(" x\r\n", 100_000),
	}
}

// TestHostileHeader: a client without UTF-8 gets each message, of the size that it was told. One
// that goes away in the middle leaves nothing behind that holds its mailbox, and the gateway ends
// when it is told to, though a message is being read.
func TestHostileHeader(t *testing.T) {
	const soon = time.Minute // of the race detector on a busy machine; it took minutes to weeks
	g := harness.Start(t, harness.Options{More: harness.Mapping{"timeouts": harness.Mapping{"drain": "1s"}}})
	user := g.AddUser(t, "erika")
	s := mx(t, g)
	defer s.Close()
	e := envelope(user)
	e.EightBit, e.UTF8 = true, true
	for name, header := range hostileHeaders() {
		if _, err := s.Send(e, strings.NewReader(header+"\r\nbody\r\n")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	p := login(t, g, user)
	sizes, err := p.List()
	if err != nil {
		t.Fatal(err)
	}
	for n, size := range sizes {
		began := time.Now()
		content, err := p.Retr(n)
		if err != nil || int64(len(content)) != size || bytes.ContainsFunc(content, func(r rune) bool { return r > unicode.MaxASCII }) {
			t.Errorf("message %d: %d of %d octets, ASCII is expected (%v)", n, len(content), size, err)
		}
		if took := time.Since(began); took > soon {
			t.Errorf("message %d took %v", n, took)
		}
	}
	if err := p.Quit(); err != nil {
		t.Fatal(err)
	}
	for n := range sizes {
		d := begin(t, g, user, n)
		d.Close()
		if err := loginWithin(t, g, user, time.Now(), soon).Quit(); err != nil {
			t.Error(err)
		}
	}
	begin(t, g, user, 1) // and reads nothing
	since := time.Now()
	g.Signal(t, syscall.SIGTERM)
	if err := g.WaitExit(t); err != nil || time.Since(since) > 2*soon {
		t.Errorf("the gateway ended after %v (%v)", time.Since(since), err)
	}
}

// begin asks for a message and does not read it.
func begin(t *testing.T, g *harness.Gateway, user harness.User, n int) *harness.Conn {
	t.Helper()
	c := harness.Dial(t, g.Address("pop3s"), g.Authority.Client())
	c.Expect("+OK")
	c.Ask("USER "+user.Address, "+OK")
	c.Ask("PASS "+user.Password, "+OK")
	c.Send("RETR %d", n)
	return c
}
