package maildir

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/pickup"
	"github.com/dipylon/dipylon/backends/storetest"
)

// large is the size of a large message where memory is not looked at: the store with its defaults
// takes the suite's own 40 MiB.
const large = 4 << 20

// conformance is the suite's target for a store on a folder of its own.
func conformance(t *testing.T, settings map[string]any) (storetest.Target, backends.Settings) {
	t.Helper()
	w := &world{t: t, root: filepath.Join(t.TempDir(), "mail")}
	if err := os.Mkdir(w.root, 0o700); err != nil {
		t.Fatal(err)
	}
	const another = "another secret"
	before, after, _ := strings.Cut(accountsText(), ben)
	_, rest, _ := strings.Cut(after, "- address")
	writeFile(t, filepath.Join(w.root, "accounts.yaml"),
		before+ben+"\n    password: "+cheapHash(another)+"\n  - address"+rest)
	sent := filepath.Join(w.root, "sakes.example", "anna", ".Sent")
	if err := os.MkdirAll(filepath.Join(sent, "cur"), 0o700); err != nil {
		t.Fatal(err)
	}
	in := w.settings(settings)
	return storetest.Target{
		New:      func(context.Context) (backends.Store, error) { return New(), nil },
		Settings: in,
		BadSettings: map[string]string{
			"qouta":         `{"qouta": "1GiB"}`,
			"quota":         `{"quota": "much"}`,
			"root":          `{"root": "/dev/null"}`,
			"act_for":       `{"act_for": "yes"}`,
			"message_limit": `{"message_limit": {}}`,
		},
		User: anna, Password: secret, Address: anna,
		SecondUser: ben, SecondPassword: another, SecondAddress: ben,
		Folder: "Sent",
		Put: func(_ context.Context, user string, message []byte) error {
			a, err := parseAddress(user)
			if err != nil {
				return err
			}
			name := newNamer("other", time.Now).unique("put")
			return os.WriteFile(filepath.Join(boxDir(w.root, a), "new", name), message, 0o600)
		},
		Enqueue: func(_ context.Context, e backends.Outgoing, message []byte) error {
			from, err := parseAddress(e.From)
			if err != nil {
				return err
			}
			dir := filepath.Join(boxDir(w.root, from), ".Outbox")
			for _, part := range []string{"tmp", "new", "cur"} {
				if err := os.MkdirAll(filepath.Join(dir, part), 0o700); err != nil {
					return err
				}
			}
			tmp := filepath.Join(dir, "tmp", "message")
			if err := os.WriteFile(tmp, append([]byte(pickup.Envelope{Recipients: e.Recipients}.String()), message...), 0o600); err != nil {
				return err
			}
			return os.Rename(tmp, filepath.Join(dir, "new", newNamer("other", time.Now).unique("enqueue")))
		},
		Expunge: func(_ context.Context, user string, id backends.MessageID) error {
			a, err := parseAddress(user)
			if err != nil {
				return err
			}
			return os.Remove(filepath.Join(boxDir(w.root, a), "new", string(id)))
		},
	}, in
}

// TestConformance runs the suite with the defaults, and with nothing beside it: it looks at the
// memory of this process.
func TestConformance(t *testing.T) {
	target, in := conformance(t, nil)
	target.Open = opener(in)
	storetest.Run(t, target)
}

// TestConformanceOtherSettings: what settings change is nothing that the contract has a say in.
func TestConformanceOtherSettings(t *testing.T) {
	t.Parallel()
	target, in := conformance(t, map[string]any{"lf": false, "quota": "1GiB", "message_limit": "64MiB", "act_for": true, "outbox": true})
	target.Open, target.Large = opener(in), large
	storetest.Run(t, target)
}

func opener(in backends.Settings) func(context.Context) (backends.Store, error) {
	return func(ctx context.Context) (backends.Store, error) {
		s := New()
		return s, s.Configure(ctx, in)
	}
}
