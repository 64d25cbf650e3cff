//go:build bench && linux

package bench

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/corpus"
	"github.com/dipylon/dipylon/test/delay"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

const (
	farTrip     = 40 * time.Millisecond
	farMessages = 200
)

// TestIMAPFar drains a mailbox of a store that is far away: through the gateway with its IMAP
// backend, and through Dovecot with its own imapc storage. Both are near the client, and both
// reach the same Dovecot through the same delay.
func TestIMAPFar(t *testing.T) {
	store := peers.StartDovecot(t, peers.DovecotOptions{})
	fill(t, filepath.Join(store.Mail, "ada@peer.example", "Maildir"), farMessages)
	if got := store.Doveadm("-f", "flow", "mailbox", "status", "-u", "ada@peer.example", "messages", "INBOX"); got == "" {
		t.Fatal("doveadm says nothing")
	}
	far := delay.Proxy(t, store.IMAP, farTrip)
	gateway := harness.Start(t, harness.Options{
		Kind: harness.Plain, PlaintextLogin: true,
		Stores: []harness.Mapping{{
			"name": "far", "plugin": "imap", "domains": []string{"peer.example"},
			"settings": harness.Mapping{"address": far, "tls": "none"},
		}},
		More: harness.Mapping{"log": harness.Mapping{"level": "info", "format": "json"}},
	})
	host, port, _ := net.SplitHostPort(far)
	theirs := peers.StartDovecot(t, peers.DovecotOptions{
		MailLocation: "imapc:~/imapc",
		Extra: fmt.Sprintf(`imapc_host = %s
imapc_port = %s
imapc_user = ada@peer.example
imapc_password = ada-secret
imapc_features = rfc822.size fetch-headers
mail_prefetch_count = 20
`, host, port),
	})
	run := func(address string) func() (float64, error) {
		return func() (float64, error) {
			begin := time.Now()
			err := drain(address, "ada@peer.example", "ada-secret", farMessages)
			return farMessages / time.Since(begin).Seconds(), err
		}
	}
	if _, err := run(theirs.POP3)(); err != nil { // the first time it fills its cache
		t.Fatal(err)
	}
	heading("Dipylon", "Dovecot's imapc")
	compare(t, row{what: fmt.Sprintf("%d messages listed and drained, %v away", farMessages, farTrip), unit: "messages/s", goal: 8},
		side{"Dipylon", run(gateway.Address("pop3"))}, side{"imapc", run(theirs.POP3)})
}

// fill makes a Maildir with ordinary mail.
func fill(t *testing.T, dir string, messages int) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for mail := range (corpus.Mailbox{Seed: 1, Messages: messages}).All() {
		path := filepath.Join(dir, "cur", fmt.Sprintf("%d.M%dP1.bench,S=%d,W=%d:2,", 1_700_000_000+mail.Number, mail.Number, mail.Size, mail.Size))
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(file, mail.Reader()); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	openTree(t, filepath.Dir(dir))
}

// openTree lets any server's user use a tree.
func openTree(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, 0o777)
	})
	if err != nil {
		t.Fatal(err)
	}
}
