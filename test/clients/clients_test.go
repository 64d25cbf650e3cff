//go:build linux

package clients

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/dipylon/dipylon/test/corpus"
	"github.com/dipylon/dipylon/test/harness"
)

// everyday are the messages that clients read: those that a client can be expected to leave alone.
var everyday = []string{
	"plain/prose", "plain/mbox-from", "plain/blank-lines", "plain/smtp-dialogue", "plain/pop3-dialogue",
	"dots/all-lines", "dots/smuggling", "dots/edge-4096+0", "lines/body-998", "header/folded", "header/received-chain",
	"charset/iso-8859-1", "charset/shift_jis", "mime/attachment", "mime/signed-pgp", "encoding/quoted-printable-dots", "large/exactly-262145",
}

// found holds the contents that tests have asked for, by name: each is made once.
var found sync.Map

func contents(t *testing.T, names ...string) [][]byte {
	t.Helper()
	var all [][]byte
	for _, name := range names {
		content, ok := found.Load(name)
		if !ok {
			m, err := corpus.Find(name)
			if err != nil {
				t.Fatal(err)
			}
			content, _ = found.LoadOrStore(name, m.Content())
		}
		all = append(all, bytes.Clone(content.([]byte)))
	}
	return all
}

// protocolOf is the listener for a mode: the one that begins in the clear, or the other.
func protocolOf(m mode, begins, secure string) string {
	if m == implicit {
		return secure
	}
	return begins
}

func newAccount(t *testing.T, g *harness.Gateway, m mode, protocol string, user harness.User) account {
	return account{mode: m, port: g.Port(protocol), user: user.Address, password: user.Password, ca: g.Authority.CAFile, home: t.TempDir()}
}

// TestReaders has each client fetch everything and leave it, then fetch everything and delete it.
func TestReaders(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{PlaintextLogin: true})
	for _, r := range readers {
		for _, m := range r.modes {
			t.Run(r.name+"/"+string(m), func(t *testing.T) {
				t.Parallel()
				names := everyday
				user := g.AddUser(t, strings.ToLower(r.name)+"-"+string(m))
				deliver(t, g, user, contents(t, names...))
				a := newAccount(t, g, m, protocolOf(m, "pop3", "pop3s"), user)

				wantSame(t, r.fetch(t, a, false), contents(t, names...), r.changes)
				wantMessages(t, g, user, len(names))
				wantSame(t, r.fetch(t, a, true), contents(t, names...), r.changes)
				wantMessages(t, g, user, 0)
			})
		}
	}
}

// TestSenders has each client submit a message from one account to another.
func TestSenders(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{PlaintextLogin: true})
	for _, s := range senders {
		for _, m := range s.modes {
			t.Run(s.name+"/"+string(m), func(t *testing.T) {
				t.Parallel()
				name := strings.ToLower(s.name) + "-" + string(m)
				from, to := g.AddUser(t, name+"-from"), g.AddUser(t, name+"-to")
				a := newAccount(t, g, m, protocolOf(m, "submission", "submissions"), from)
				sent := contents(t, "plain/prose", "dots/all-lines", "charset/utf-8", "mime/attachment")
				for i := range sent {
					// Who submits has to be who the message says.
					sent[i] = bytes.ReplaceAll(sent[i], []byte("erika@corpus.example"), []byte(from.Address))
				}
				s.send(t, a, to.Address, sent)
				wantArrived(t, fetchAndDelete(t, g, to), sent, s.composes)
			})
		}
	}
}

// wantArrived wants these messages: whole, or their bodies behind other headers.
func wantArrived(t *testing.T, got, sent [][]byte, bodiesAlone bool) {
	t.Helper()
	if bodiesAlone {
		got, sent = bodies(got), bodies(sent)
	}
	wantSame(t, got, sent, nil)
}

// bodies are the messages with an empty header each.
func bodies(messages [][]byte) [][]byte {
	var all [][]byte
	for _, m := range messages {
		_, body, _ := bytes.Cut(m, []byte("\r\n\r\n"))
		all = append(all, append([]byte("\r\n\r\n"), body...))
	}
	return all
}

// deliver puts messages into a maildrop, as the Internet would.
func deliver(t *testing.T, g *harness.Gateway, to harness.User, messages [][]byte) {
	t.Helper()
	s, err := harness.DialSMTP(g.Address("smtp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n, content := range messages {
		e := harness.Envelope{From: fmt.Sprintf("sender%d@corpus.example", n), To: []string{to.Address}, EightBit: true}
		if _, err := s.Send(e, bytes.NewReader(content)); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
	}
	if err := s.Quit(); err != nil {
		t.Error(err)
	}
}

func login(t *testing.T, g *harness.Gateway, user harness.User) *harness.POP3 {
	t.Helper()
	p, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Address, user.Password)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantMessages wants that many messages to be in the maildrop.
func wantMessages(t *testing.T, g *harness.Gateway, user harness.User, wanted int) {
	t.Helper()
	p := login(t, g, user)
	defer p.Quit()
	if n, _, err := p.Stat(); err != nil || n != wanted {
		t.Errorf("the maildrop has %d messages (%v), and should have %d", n, err, wanted)
	}
}

// fetchAndDelete empties a maildrop.
func fetchAndDelete(t *testing.T, g *harness.Gateway, user harness.User) [][]byte {
	t.Helper()
	p := login(t, g, user)
	defer p.Close()
	n, _, err := p.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for i := range n {
		content, err := p.Retr(i + 1)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, content)
		if err := p.Dele(i + 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Quit(); err != nil {
		t.Fatal(err)
	}
	return all
}
