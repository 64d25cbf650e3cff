//go:build linux

package imap_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
	"github.com/dipylon/dipylon/test/provider"
)

// TestDovecotWithTokens: a real server that takes nothing but a provider's tokens, and asks the provider about each, lets
// the gateway act for its users: as an application, and as a service account, whose tokens are for one mailbox each.
func TestDovecotWithTokens(t *testing.T) {
	t.Parallel()
	for name, application := range map[string]bool{"an application": true, "a service account": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := provider.Start(t)
			oauth := tokenSettings(p)
			if !application {
				oauth = map[string]any{"provider": "google", "service_account": p.NewServiceAccount("gateway@project.example"), "ca": p.CA}
			}
			dovecot := peers.StartDovecot(t, peers.DovecotOptions{Introspection: p.Introspection, AnyMailbox: application})
			s := configured(t, map[string]any{"address": dovecot.IMAPS, "ca": dovecot.CA, "tls_name": "localhost", "delivery": map[string]any{"append": true}, "oauth": oauth})
			const content = "Message-ID: <1@peer.example>\r\nSubject: for Ada\r\n\r\nhello\r\n"
			verdicts, err := s.Deliver(t.Context(), backends.Delivery{Key: "k", Recipients: backends.To("ada@peer.example", "bob@peer.example"), Size: int64(len(content))}, strings.NewReader(content))
			if err != nil || verdicts[0].Failure != nil || verdicts[1].Failure != nil {
				t.Fatal(err, verdicts)
			}
			for _, user := range []string{"ada@peer.example", "bob@peer.example"} {
				d, err := s.Open(t.Context(), backends.OpenRequest{Credential: actingFor(user)})
				if err != nil {
					t.Fatal(err)
				}
				all := list(t, d)
				if len(all) != 1 {
					t.Fatalf("%s has %v", user, all)
				}
				if got, err := fetch(t, d, all[0].ID); err != nil || !strings.Contains(got, "Subject: for Ada") {
					t.Errorf("%s reads %q, %v", user, got, err)
				}
				_ = d.Close()
			}
			p.Do(func(p *provider.Provider) {
				p.Mailboxes = map[string]bool{"ada@peer.example": true, "bob@peer.example": true}
			})
			if _, err := s.Login(t.Context(), actingFor("nobody@peer.example")); !application && backends.KindOf(err) != backends.BadCredentials {
				t.Errorf("a mailbox that the provider does not have: %v", err)
			}
			if n, most := p.Given(), map[bool]int{true: 1, false: 3}[application]; n > most {
				t.Errorf("%d tokens", n)
			}
		})
	}
}

// TestEximWithTokens: a real submission server, whose logins are judged by a real Dovecot that asks the provider about tokens,
// sends from a shared mailbox, and one copy is in that mailbox's Sent folder, also after a second attempt.
func TestEximWithTokens(t *testing.T) {
	t.Parallel()
	const shared = "bob@peer.example"
	p := provider.Start(t)
	dovecot := peers.StartDovecot(t, peers.DovecotOptions{Introspection: p.Introspection, AnyMailbox: true})
	exim := peers.StartExim(t, peers.EximOptions{Dovecot: dovecot})
	both := filepath.Join(t.TempDir(), "both.pem")
	var authorities []byte
	for _, file := range []string{dovecot.CA, exim.CA} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		authorities = append(authorities, text...)
	}
	if err := os.WriteFile(both, authorities, 0o600); err != nil {
		t.Fatal(err)
	}
	s := configured(t, map[string]any{
		"address": dovecot.IMAPS, "ca": both, "tls_name": "localhost", "oauth": tokenSettings(p),
		"submission": map[string]any{"address": exim.Submission, "sent": `\Sent`, "login_as": map[string]any{shared: "ada@peer.example"}},
	})
	const content = "Message-ID: <1@peer.example>\r\nSubject: from the office\r\n\r\nhello\r\n"
	for _, retry := range []bool{false, true} {
		verdicts, err := s.Send(t.Context(), actingFor(shared), backends.Delivery{
			Key: "k", Retry: retry, Envelope: backends.Envelope{From: shared}, Recipients: backends.To("far@far.example"), Size: int64(len(content)),
		}, strings.NewReader(content))
		if err != nil || verdicts[0].Failure != nil {
			t.Fatal(err, verdicts)
		}
	}
	if sent := exim.Queue(); len(sent) != 1 || sent[0].From != shared || sent[0].Login != "ada@peer.example" {
		t.Errorf("Exim has %+v", sent)
	}
	copies := 0
	harness.Eventually(t, time.Minute, "a copy in the Sent folder", func() bool {
		d, err := s.Open(t.Context(), backends.OpenRequest{Credential: actingFor(shared), Folder: "Sent"})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		copies = len(list(t, d))
		return copies > 0
	})
	if copies != 1 {
		t.Errorf("%d copies", copies)
	}
}
