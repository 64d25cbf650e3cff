//go:build linux

package stores

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// TestSwap: a mailbox is served by Dovecot, is copied to Cyrus, and is served from there. A
// client that leaves its mail on the server is told the unique-ids that it knows: first those of
// Dovecot's own POP3, which it used before there was a gateway, and after the copy the same.
func TestSwap(t *testing.T) {
	t.Parallel()
	d := peers.StartDovecot(t, peers.DovecotOptions{Users: accounts(), Master: "keeper:keeper-secret"})
	c := peers.StartCyrus(t, peers.CyrusOptions{Users: accounts()})
	before := imapSettings(d.IMAPS, d.CA, d.LMTP, "keeper", "keeper-secret")
	before["uidl"] = "dovecot"
	g := front(t, store{plugin: "imap", settings: before}.mapping())
	deliver(t, g, "swap", simple("one"), simple("two"), simple("three"), simple("four"))

	remove(t, d.IMAP, "swap", 2) // UIDs have gaps
	old := dialIMAP(t, d.IMAP, "swap")
	known := uidls(t, direct(t, d.POP3, "swap"), true)
	if got := uidls(t, login(t, g, "swap"), true); len(known) != 3 || !slices.Equal(got, known) {
		t.Fatalf("through the gateway the unique-ids are %q, and Dovecot's POP3 tells %q", got, known)
	}

	// The migration: what is copied says which message it was.
	var moved [][]byte
	for n, uidl := range known {
		moved = append(moved, append(fmt.Appendf(nil, "X-UIDL: %s\r\n", uidl), old.body(t, n+1)...))
	}
	fresh := dialIMAP(t, c.IMAP, "swap")
	fresh.add(t, simple("already there"))
	for _, message := range moved {
		fresh.add(t, message)
	}
	fresh.add(t, simple("arrived since"))
	for plugin, settings := range map[string]harness.Mapping{
		"imap": imapSettings(c.IMAPS, c.CA, c.LMTP, peers.CyrusAdmin, peers.CyrusAdminPassword),
		"jmap": jmapSettings(c),
	} {
		t.Run("to "+plugin, func(t *testing.T) {
			settings["uidl"] = "header:X-UIDL"
			g.Configure(t, func(o *harness.Options) {
				o.Stores = []harness.Mapping{store{plugin: plugin, settings: settings}.mapping()}
			})
			g.Reload(t)
			afterSwap(t, g, known, moved)
		})
	}
}

// afterSwap wants the messages that were moved, between two that are new, with the unique-ids
// that are known.
func afterSwap(t *testing.T, g *harness.Gateway, known []string, moved [][]byte) {
	t.Helper()
	p := login(t, g, "swap")
	defer p.Quit()
	now := uidls(t, p, false)
	if len(now) != 5 || !slices.Equal(now[1:4], known) {
		t.Fatalf("after the swap the unique-ids are %q, and were %q", now, known)
	}
	for _, uidl := range []string{now[0], now[4]} {
		if uidl == "" || slices.Contains(known, uidl) {
			t.Errorf("a new message has the unique-id %q, and the old ones have %q", uidl, known)
		}
	}
	for n, message := range moved {
		if got, err := p.Retr(n + 2); err != nil || !bytes.Equal(got, message) {
			t.Errorf("message %d is %q (%v), and %q was copied", n+2, got, err, message)
		}
	}
}

// direct is a session with a store's own POP3 server.
func direct(t *testing.T, server, name string) *harness.POP3 {
	t.Helper()
	p, err := harness.LoginPOP3(server, nil, address(name), secret(name))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// uidls are a session's unique-ids, in the order of the messages.
func uidls(t *testing.T, p *harness.POP3, quit bool) []string {
	t.Helper()
	if quit {
		defer p.Quit()
	}
	byNumber, err := p.UIDL()
	if err != nil {
		t.Fatal(err)
	}
	all := make([]string, len(byNumber))
	for n, uidl := range byNumber {
		all[n-1] = uidl
	}
	return all
}
