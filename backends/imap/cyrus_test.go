//go:build linux

package imap_test

import (
	"strings"
	"testing"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/test/peers"
)

// TestCyrus is what is particular to this server: mailboxes of others, and quotas by APPEND.
func TestCyrus(t *testing.T) {
	t.Parallel()
	c := peers.StartCyrus(t, peers.CyrusOptions{})
	settings := func(delivery map[string]any) map[string]any {
		return map[string]any{
			"address": c.IMAPS, "ca": c.CA, "tls_name": "localhost",
			"master":   map[string]any{"user": peers.CyrusAdmin, "password": peers.CyrusAdminPassword},
			"delivery": delivery,
		}
	}
	bob := "bob@peer.example"
	deliver := func(delivery map[string]any, size int) *backends.Failure {
		t.Helper()
		content := two + strings.Repeat("a line of some length\r\n", size/23)
		d := backends.Delivery{Key: "cyrus", Recipients: backends.To(bob), Size: int64(len(content))}
		verdicts, err := configured(t, settings(delivery)).Deliver(t.Context(), d, strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		return verdicts[0].Failure
	}
	ways := map[string]map[string]any{"LMTP": {"lmtp": c.LMTP}, "APPEND": {"append": true}}

	if f := deliver(ways["LMTP"], 200<<10); f != nil {
		t.Fatal(f)
	}
	admin(t, c, func(a *imapclient.Client) error {
		return a.SetQuota("user/bob@peer.example", map[goimap.QuotaResourceType]int64{"STORAGE": 100}).Wait()
	})
	for name, way := range ways {
		if f := deliver(way, 0); f == nil || f.Kind != backends.OverQuota {
			t.Errorf("by %s, a full mailbox takes a message with %v", name, f)
		}
	}

	s := configured(t, settings(ways["LMTP"]))
	shared := backends.OpenRequest{Credential: password, Folder: "Other Users/bob"}
	if _, err := s.Open(t.Context(), shared); backends.KindOf(err) != backends.NotFound {
		t.Errorf("another's mailbox that is not shared: %v", err)
	}
	admin(t, c, func(a *imapclient.Client) error {
		return a.SetACL("user/bob@peer.example", goimap.RightsIdentifier("ada"), goimap.RightModificationReplace, goimap.RightSet("lrs")).Wait()
	})
	drop, err := s.Open(t.Context(), shared)
	if err != nil {
		t.Fatal(err)
	}
	defer drop.Close()
	entries := list(t, drop)
	if len(entries) != 1 {
		t.Fatalf("the shared mailbox has %+v", entries)
	}
	if got, err := fetch(t, drop, entries[0].ID); err != nil || !strings.Contains(got, "\r\n\r\ntwo, longer\r\n") {
		t.Errorf("its message is %.300q (%v)", got, err)
	}
	removed, err := drop.Remove(t.Context(), []backends.MessageID{entries[0].ID}, backends.DisposalRemove)
	if err == nil && removed[0].Failure == nil {
		t.Error("it is told as removed, without the right to")
	}
}

// admin does something as Cyrus's administrator.
func admin(t *testing.T, c *peers.Cyrus, do func(*imapclient.Client) error) {
	t.Helper()
	a, err := imapclient.DialInsecure(c.IMAP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Login(peers.CyrusAdmin, peers.CyrusAdminPassword).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := do(a); err != nil {
		t.Fatal(err)
	}
}
