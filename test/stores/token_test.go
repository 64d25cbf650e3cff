//go:build linux

package stores

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
	"github.com/dipylon/dipylon/test/provider"
)

const (
	tokenApplication = "00000000-0000-0000-0000-000000000001"
	ada, office      = "ada@peer.example", "bob@peer.example" // bob's mailbox is a shared one here, which ada sends from
)

// tokenWorld is a gateway in front of a provider that takes nothing but tokens: a real Dovecot and a real Exim that ask the
// provider about each.
type tokenWorld struct {
	provider *provider.Provider
	dovecot  *peers.Dovecot
	exim     *peers.Exim
	gateway  *harness.Gateway
	password map[string]string // application passwords
}

func startTokenWorld(t *testing.T, life time.Duration) *tokenWorld {
	t.Helper()
	w := &tokenWorld{provider: provider.Start(t), password: make(map[string]string)}
	w.provider.Life = life
	certificate, file, key := provider.NewCertificate(t, provider.NewKey(t), time.Now().Add(60*24*time.Hour))
	w.provider.Applications[tokenApplication] = &provider.Application{Certificates: []*x509.Certificate{certificate}}
	w.dovecot = peers.StartDovecot(t, peers.DovecotOptions{Introspection: w.provider.Introspection, AnyMailbox: true})
	w.exim = peers.StartExim(t, peers.EximOptions{Dovecot: w.dovecot})
	w.gateway = harness.Start(t, harness.Options{
		Listeners: map[string]harness.Mapping{"submission": {"legacy": true}, "pop3": {"legacy": true}},
		Stores: []harness.Mapping{{"name": "m365", "plugin": "imap", "domains": []string{domain}, "settings": harness.Mapping{
			"address": w.dovecot.IMAPS, "ca": both(t, w.dovecot.CA, w.exim.CA), "tls_name": "localhost", "timeout": "10s", "connections": harness.Mapping{"keep": "0s"},
			"oauth": harness.Mapping{
				"issuer": w.provider.Issuer, "ca": w.provider.CA, "client_id": tokenApplication, "certificate": file, "certificate_key": key, "scopes": []string{"mail/.default"},
			},
			"delivery":   harness.Mapping{"append": true},
			"submission": harness.Mapping{"address": w.exim.Submission, "sent": `\Sent`, "login_as": harness.Mapping{office: ada}},
		}}},
		More: harness.Mapping{
			"routes": []harness.Mapping{{"name": "m365", "domains": []string{"*"}, "to": "transport", "store": "m365", "user": ada, "provider": "microsoft", "per_minute": 1000}},
			"relay":  harness.Mapping{"retry": []string{"1s"}},
		},
	})
	for _, who := range []string{ada, office} {
		out, err := w.gateway.Command("password", "add", "--config", w.gateway.ConfigFile, who).Output()
		if err != nil {
			t.Fatal(err)
		}
		w.password[who] = strings.TrimSpace(string(out))
	}
	return w
}

// read is what a mailbox has, by a POP3 client with an application password.
func (w *tokenWorld) read(t *testing.T, login string) (messages []string) {
	t.Helper()
	mailbox, _, _ := strings.Cut(login, "+")
	p, err := harness.LoginPOP3(w.gateway.Address("pop3s"), w.gateway.Authority.Client(), login, w.password[mailbox])
	if err != nil {
		t.Fatal(err)
	}
	defer p.Quit()
	all, err := p.List()
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= len(all); n++ {
		m, err := p.Retr(n)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, string(m))
	}
	return messages
}

// submitter is a client that has logged in.
func (w *tokenWorld) submitter(t *testing.T, who string) *harness.SMTP {
	t.Helper()
	s, err := harness.DialSMTP(w.gateway.Address("submissions"), w.gateway.Authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Auth(who, w.password[who]); err != nil {
		t.Fatal(err)
	}
	return s
}

// tokenOver waits until a further token is asked for.
func (w *tokenWorld) tokenOver(t *testing.T) {
	t.Helper()
	requests := w.provider.Requests()
	harness.Eventually(t, 2*time.Minute, "a request for another token", func() bool {
		p, err := harness.LoginPOP3(w.gateway.Address("pop3s"), w.gateway.Authority.Client(), ada, w.password[ada])
		if err == nil {
			_ = p.Quit()
		}
		return w.provider.Requests() > requests
	})
}

func note(from string, n int) []byte {
	return fmt.Appendf(nil, "From: %s\r\nTo: far@far.example\r\nMessage-ID: <%d.%s>\r\nSubject: number %d\r\n\r\nhello\r\n", from, n, from, n)
}

// sentBy waits until Exim has as many messages, and says that each is there once.
func (w *tokenWorld) sentBy(t *testing.T, want int) []peers.Queued {
	t.Helper()
	harness.Eventually(t, 2*time.Minute, fmt.Sprintf("%d messages at Exim", want), func() bool { return len(w.exim.Queue()) >= want })
	all := w.exim.Queue()
	if len(all) != want {
		t.Errorf("%d messages, not %d", len(all), want)
	}
	return all
}

// TestTokenOnlyProvider: mail comes into a mailbox of a store that takes tokens alone, is read by a POP3 client with an
// application password, and what clients submit leaves through the provider as the mailbox that it is from, or by the shared
// one's delegate, with one copy in that mailbox's Sent folder.
func TestTokenOnlyProvider(t *testing.T) {
	t.Parallel()
	w := startTokenWorld(t, time.Hour)
	mx, err := harness.DialSMTP(w.gateway.Address("smtp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer mx.Close()
	if _, err := mx.Send(harness.Envelope{From: "far@far.example", To: []string{ada, office}}, bytes.NewReader(note("far@far.example", 0))); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{ada, office} {
		if got := w.read(t, who); len(got) != 1 || !strings.Contains(got[0], "Subject: number 0\r\n") {
			t.Errorf("%s reads %q", who, got)
		}
	}
	for i, who := range []string{ada, office} {
		if _, err := w.submitter(t, who).Send(harness.Envelope{From: who, To: []string{"far@far.example"}}, bytes.NewReader(note(who, i+1))); err != nil {
			t.Fatal(err)
		}
	}
	from := make(map[string]int)
	for _, m := range w.sentBy(t, 2) {
		if from[m.From]++; m.Login != ada || len(m.To) != 1 || m.To[0] != "far@far.example" {
			t.Errorf("sent: %+v", m)
		}
	}
	if from[ada] != 1 || from[office] != 1 {
		t.Errorf("sent from %v", from)
	}
	for i, who := range []string{ada, office} {
		var sent []string
		harness.Eventually(t, time.Minute, "a copy in the Sent folder of "+who, func() bool {
			sent = w.read(t, who+"+Sent")
			return len(sent) > 0
		})
		if len(sent) != 1 || !strings.Contains(sent[0], fmt.Sprintf("Subject: number %d\r\n", i+1)) {
			t.Errorf("the Sent folder of %s has %q", who, sent)
		}
	}
	if n := w.provider.Given(); n > 3 {
		t.Errorf("%d tokens, for the gateway and two commands", n)
	}
}

// TestTokensFail: while the provider does not answer, and while the application has no consent any more, clients are told
// nothing of it: what they send waits, and leaves once when it is mended.
func TestTokensFail(t *testing.T) {
	t.Parallel()
	w := startTokenWorld(t, 5*time.Second)
	s := w.submitter(t, ada)
	n := 0
	submit := func(what string) {
		t.Helper()
		for range 3 {
			n++
			if _, err := s.Send(harness.Envelope{From: ada, To: []string{"far@far.example"}}, bytes.NewReader(note(ada, n))); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	submit("all is well")
	w.sentBy(t, n)
	place := w.gateway.Log.Len()
	w.provider.Do(func(p *provider.Provider) { p.Applications[tokenApplication].NoConsent = true })
	w.tokenOver(t)
	submit("without consent")
	w.submitter(t, ada) // and devices log in
	w.gateway.Log.Wait(t, place, "the provider gives no token")
	w.provider.Do(func(p *provider.Provider) { p.Applications[tokenApplication].NoConsent = false })
	w.sentBy(t, n)

	w.provider.Hang()
	w.tokenOver(t)
	submit("the provider hangs")
	w.provider.Continue()
	for _, m := range w.sentBy(t, n) {
		if m.From != ada {
			t.Errorf("%+v", m)
		}
	}
	harness.Eventually(t, time.Minute, "all copies in the Sent folder", func() bool { return len(w.read(t, ada+"+Sent")) == n })
}
