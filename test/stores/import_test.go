//go:build linux

package stores

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// TestImportedUIDLs: a mailbox moves from Dovecot to Cyrus by a tool that keeps neither UIDs nor
// the order, and writes nothing into the messages. With an export from before, clients are told
// the unique-ids that they know; a message that is copied late gets its own, too.
func TestImportedUIDLs(t *testing.T) {
	t.Parallel()
	d := peers.StartDovecot(t, peers.DovecotOptions{Users: accounts(), Master: "keeper:keeper-secret"})
	c := peers.StartCyrus(t, peers.CyrusOptions{Users: accounts()})
	before := imapSettings(d.IMAPS, d.CA, d.LMTP, "keeper", "keeper-secret")
	before["uidl"] = "dovecot"
	s := store{plugin: "imap", settings: before}.mapping()
	g := front(t, s)
	deliver(t, g, "swap", simple("one"), simple("two"), simple("three"), simple("four"))
	old := dialIMAP(t, d.IMAP, "swap")
	known := uidls(t, login(t, g, "swap"), true)

	file := filepath.Join(t.TempDir(), "swap.uidl")
	name := s["name"].(string)
	export := g.Command("uidl", "export", "--config", g.ConfigFile, "--user", address("swap"), name)
	export.Stdin = bytes.NewReader([]byte(secret("swap") + "\n"))
	exported, err := export.Output()
	if err != nil {
		t.Fatalf("exporting: %v\n%s", err, exported)
	}
	if err := os.WriteFile(file, exported, 0o600); err != nil {
		t.Fatal(err)
	}

	fresh := dialIMAP(t, c.IMAP, "swap")
	for _, n := range []int{3, 1, 2} {
		fresh.add(t, append([]byte("X-Migrated: yes\r\n"), old.body(t, n)...))
	}
	fresh.add(t, simple("arrived since"))
	g.Configure(t, func(o *harness.Options) {
		o.Stores = []harness.Mapping{store{plugin: "jmap", settings: jmapSettings(c)}.mapping()}
	})
	if out, err := g.Command("uidl", "import", "--config", g.ConfigFile, "--account", address("swap"), name, file).CombinedOutput(); err != nil {
		t.Fatalf("importing: %v\n%s", err, out)
	}
	g.Reload(t)
	for range 2 {
		now := uidls(t, login(t, g, "swap"), true)
		if len(now) != 4 || !slices.Equal(now[:3], []string{known[2], known[0], known[1]}) || slices.Contains(known, now[3]) {
			t.Errorf("after the move the unique-ids are %q, and were %q", now, known)
		}
	}
	fresh.add(t, old.body(t, 4))
	if now := uidls(t, login(t, g, "swap"), true); len(now) != 5 || now[4] != known[3] {
		t.Errorf("a message that was copied late has not the unique-id %s: %q", known[3], now)
	}
}
