//go:build linux

package stores

import (
	"bytes"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// TestSubmissionLeavesThroughTheStore: what an account of Cyrus submits to the gateway goes out by
// JMAP, Cyrus's own transport takes it to another mail system (which is a gateway, too), and what
// that says of a recipient comes back to the client. The copy is in the sender's Sent mailbox.
func TestSubmissionLeavesThroughTheStore(t *testing.T) {
	t.Parallel()
	far := harness.Start(t, harness.Options{})
	reader := far.AddUser(t, "reader")
	cyrus := peers.StartCyrus(t, peers.CyrusOptions{Users: map[string]string{address("sender"): secret("sender")}, SMTP: far.Address("smtp")})
	settings := jmapSettings(cyrus)
	settings["submission"] = true
	g := front(t, harness.Mapping{
		"name": "real", "plugin": "jmap", "domains": []string{domain}, "sends": true, "settings": settings,
	})

	s, err := harness.DialSMTP(g.Address("submissions"), g.Authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Auth(address("sender"), secret("sender")); err != nil {
		t.Fatal(err)
	}
	letter := bytes.ReplaceAll(simple("a letter"), []byte("sender@corpus.example"), []byte(address("sender")))
	e := harness.Envelope{From: address("sender"), To: []string{reader.Address}}
	if _, err := s.Send(e, bytes.NewReader(letter)); err != nil {
		t.Fatal(err)
	}
	e.To = []string{"nobody@" + harness.Domain}
	_, err = s.Send(e, bytes.NewReader(letter))
	refusal(t, err, "550 5.1.") // JMAP does not say whether it is the address or the mailbox
	if err := s.Quit(); err != nil {
		t.Error(err)
	}

	p, err := harness.LoginPOP3(far.Address("pop3s"), far.Authority.Client(), reader.Address, reader.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Quit()
	if n, _, err := p.Stat(); n != 1 || err != nil {
		t.Fatalf("%d messages have arrived (%v)", n, err)
	}
	got, err := p.Retr(1)
	if err != nil || !strings.Contains(string(got), "body of a letter") {
		t.Errorf("what arrived is %q (%v)", got, err)
	}

	sent, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), "sender+Sent@"+domain, secret("sender"))
	if err != nil {
		t.Fatal(err)
	}
	defer sent.Quit()
	if n, _, err := sent.Stat(); n != 1 || err != nil {
		t.Errorf("%d messages are in Sent (%v)", n, err)
	}
}
