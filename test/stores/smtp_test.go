//go:build linux

package stores

import (
	"bytes"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// TestMailComesInBySMTP: a store whose mail another server takes by SMTP has it there once the
// sender is told so, and that server's word at RCPT is the gateway's. One that has the gateway's
// own name is the gateway, and mail for it would go round in circles.
func TestMailComesInBySMTP(t *testing.T) {
	t.Parallel()
	dovecot := peers.StartDovecot(t, peers.DovecotOptions{})
	far := harness.Start(t, harness.Options{More: harness.Mapping{"hostname": "inside.example"}})
	itself := harness.Start(t, harness.Options{}) // has the name that all gateways here have
	reader := far.AddUser(t, "reader")
	to := func(address string) harness.Envelope {
		return harness.Envelope{From: "sender@corpus.example", To: []string{address}}
	}
	near := func(smtp string) *harness.SMTP {
		g := front(t, harness.Mapping{"name": "real", "plugin": "imap", "domains": []string{harness.Domain}, "settings": harness.Mapping{
			"address": dovecot.IMAPS, "ca": dovecot.CA, "tls_name": "localhost", "delivery": harness.Mapping{"smtp": smtp},
		}})
		s := mx(t, g)
		t.Cleanup(s.Close)
		return s
	}

	s := near(far.Address("smtp"))
	if _, err := s.Send(to(reader.Address), bytes.NewReader(simple("by SMTP"))); err != nil {
		t.Fatal(err)
	}
	refusal(t, s.Begin(to("nobody@"+harness.Domain)), "550 5.1.1")
	p, err := harness.LoginPOP3(far.Address("pop3s"), far.Authority.Client(), reader.Address, reader.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Quit()
	if got, err := p.Retr(1); err != nil || !strings.Contains(string(got), "by SMTP") || strings.Count(string(got), "Return-Path:") != 1 {
		t.Errorf("what arrived is %q (%v)", got, err)
	}

	refusal(t, near(itself.Address("smtp")).Begin(to(reader.Address)), "554 5.4.6")
}
