//go:build linux

package stores

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// TestSubmissionThroughExim: what an account of Dovecot submits to the gateway goes out through
// Exim, which offers LOGIN alone, with prompts of its own, and takes 20 recipients at a time.
// Everybody gets one copy, and who is refused is told.
func TestSubmissionThroughExim(t *testing.T) {
	t.Parallel()
	dovecot := peers.StartDovecot(t, peers.DovecotOptions{Users: map[string]string{address("sender"): secret("sender")}})
	for name, o := range map[string]peers.EximOptions{
		"20 recipients at a time":     {Recipients: 20},
		"20, and the message refused": {Recipients: 20, Reject: true},
		"20, and a message at a time": {Recipients: 20, Messages: 1},
	} {
		t.Run(name, func(t *testing.T) {
			testExim(t, dovecot, o)
		})
	}
}

func testExim(t *testing.T, dovecot *peers.Dovecot, o peers.EximOptions) {
	o.Users = map[string]string{address("sender"): secret("sender")}
	exim := peers.StartExim(t, o)
	g := front(t, harness.Mapping{"name": "real", "plugin": "imap", "domains": []string{domain}, "sends": true, "settings": harness.Mapping{
		"address": dovecot.IMAPS, "ca": both(t, dovecot.CA, exim.CA), "tls_name": "localhost", "timeout": "10s",
		"submission": harness.Mapping{"address": exim.Submission},
	}})
	s, err := harness.DialSMTP(g.Address("submissions"), g.Authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Auth(address("sender"), secret("sender")); err != nil {
		t.Fatal(err)
	}
	letter := bytes.ReplaceAll(simple("many"), []byte("sender@corpus.example"), []byte(address("sender")))
	e := harness.Envelope{From: address("sender")}
	for i := range 50 {
		e.To = append(e.To, fmt.Sprintf("r%d@far.example", i))
	}
	if _, err := s.Send(e, bytes.NewReader(letter)); err != nil {
		t.Fatal(err)
	}
	copies := make(map[string]int)
	for _, m := range exim.Queue() {
		for _, to := range m.To {
			copies[to]++
		}
	}
	if len(copies) != len(e.To) {
		t.Errorf("%d recipients have copies", len(copies))
	}
	for _, to := range e.To {
		if copies[to] != 1 {
			t.Errorf("%s has %d copies", to, copies[to])
		}
	}
	e.To = []string{"nobody@far.example"}
	_, err = s.Send(e, bytes.NewReader(letter))
	refusal(t, err, "550 5.1.1")
	e.To = []string{"later@far.example"}
	_, err = s.Send(e, bytes.NewReader(letter))
	refusal(t, err, "451 4.2.0")
}

// both is a file with two authorities.
func both(t *testing.T, files ...string) string {
	t.Helper()
	var all []byte
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pem...)
	}
	name := filepath.Join(t.TempDir(), "authorities.pem")
	if err := os.WriteFile(name, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
