//go:build linux

package e2e

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/fakeimap"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/provider"
)

// TestSentCopyKilled: between the sending of a message and its copy for the Sent folder of the mailbox that it is from, the plugin or the
// whole gateway is killed: the copy is there in the end, once, and the message was sent once.
func TestSentCopyKilled(t *testing.T) {
	t.Parallel()
	for name, whole := range map[string]bool{"the plugin": false, "the gateway": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const shared = "office@" + harness.Domain
			p := provider.Start(t)
			p.Applications["app"] = &provider.Application{Secret: "a-secret"}
			smtp := (&fakesmtp.Server{Offers: []string{"AUTH XOAUTH2"}, Auth: p.SMTP(nil)}).Start(t)
			hold := make(chan struct{})
			var holds atomic.Bool
			imap := &fakeimap.Server{Caps: provider.IMAPCaps}
			rules := p.IMAP(nil)
			imap.On = append(rules, fakeimap.Rule{Command: "^APPEND ", Hold: hold, Answer: "TAG BAD it was cut off\n", Times: 1})
			fakeimap.Start(t, imap)
			holds.Store(true)
			t.Cleanup(func() {
				if holds.Swap(false) {
					close(hold)
				}
			})
			g := harness.Start(t, harness.Options{PlaintextLogin: true, Stores: []harness.Mapping{{
				"name": "m365", "plugin": "imap", "domains": []string{harness.Domain}, "passwords": "application",
				"settings": harness.Mapping{
					"address": imap.Address, "tls": "none",
					"oauth":      harness.Mapping{"issuer": p.Issuer, "ca": p.CA, "client_id": "app", "client_secret": "a-secret", "scopes": []string{"mail"}},
					"delivery":   harness.Mapping{"append": true},
					"submission": harness.Mapping{"address": smtp.Address, "tls": "none", "sent": `\Sent`, "login_as": harness.Mapping{shared: "ada@" + harness.Domain}},
				},
			}}, More: harness.Mapping{
				"routes": []harness.Mapping{{"name": "m365", "domains": []string{"*"}, "to": "transport", "store": "m365", "user": shared}},
				"relay":  harness.Mapping{"retry": []string{"1s"}},
			}})
			password, err := g.Command("password", "add", "--config", g.ConfigFile, shared).Output()
			if err != nil {
				t.Fatal(err)
			}
			s, err := harness.DialSMTP(g.Address("submission"), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Auth(shared, strings.TrimSpace(string(password))); err != nil {
				t.Fatal(err)
			}
			const text = "From: " + shared + "\r\nTo: far@far.example\r\nSubject: once\r\nMessage-ID: <once@store.example>\r\n\r\nhello\r\n"
			if _, err := s.Send(harness.Envelope{From: shared, To: []string{"far@far.example"}}, strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			imap.Until(t, "an APPEND", func() bool { return len(imap.Heard("APPEND")) > 0 })
			if n := len(smtp.Received()); n != 1 {
				t.Fatalf("%d messages were sent before the copy", n)
			}
			if whole {
				victims := g.Plugins()
				harness.Kill(t, g.PID())
				_ = g.WaitExit(t) // it was killed
				g.NobodyLeft(t, victims)
				holds.Store(false)
				close(hold)
				g.Run(t)
			} else {
				harness.Kill(t, g.Plugin(t))
				holds.Store(false)
				close(hold)
			}
			imap.Until(t, "a copy", func() bool { return len(imap.Appended()) > 0 })
			harness.Eventually(t, time.Minute, "the queue is empty", func() bool {
				out, err := g.Command("queue", "list", "--config", g.ConfigFile, "--json").Output()
				return err == nil && !strings.Contains(string(out), "far@far.example")
			})
			if n := len(smtp.Received()); n != 1 {
				t.Errorf("the message was sent %d times", n)
			}
			if all := imap.Appended(); len(all) != 1 || !strings.Contains(all[0], "Message-ID: <once@store.example>") {
				t.Errorf("the copies are %q", all)
			}
			for _, c := range imap.Commands() {
				if strings.HasPrefix(c.Text, "APPEND") && !strings.Contains(c.Text, "Sent") {
					t.Errorf("something was put elsewhere: %.100q", c.Text)
				}
			}
		})
	}
}
