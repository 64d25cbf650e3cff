package server

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
)

// secretFiles writes the files of secrets as somebody does who changes them: in their place, or by another file that gets the name.
func secretFiles(t *testing.T, dir, content string, rename bool) {
	t.Helper()
	for _, name := range []string{"root.txt", "route.secret", "collect.secret"} {
		text, file := content, filepath.Join(dir, name)
		if name == "root.txt" {
			text = map[string]string{"first": "one", "second": "two"}[content]
		}
		to := file
		if rename {
			to += ".new"
		}
		err := os.WriteFile(to, []byte(text+"\n"), 0o600)
		if rename {
			err = errors.Join(err, os.Rename(to, file))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestSecretsChange: what stands in files is used as it is now, of a store, a route and an account that is collected, without a reload, and
// without anything else that has changed in the configuration's file; what cannot be used leaves what was there, and is told once.
func TestSecretsChange(t *testing.T) {
	for name, rename := range map[string]bool{"in place": false, "by another file": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := rootsIn(t)
			secretFiles(t, dir, "first", rename)
			text := strings.Replace(oneStore, "root: one", "root: file:root.txt", 1) + `
routes:
  - {name: away, domains: ["*"], to: smtp, hosts: ["127.0.0.1:1"], tls: verified, user: gate, password: file:route.secret}
collect:
  - {name: old, protocol: pop3, host: "127.0.0.1:1", user: ada, password: file:collect.secret, to: ada@one.example, cron: "0 0 1 1 *"}
`
			var log lockedBuffer
			g, err := New(t.Context(), Options{Log: zerolog.New(&log)}, parse(t, dir, text))
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- g.Run(t.Context()) }()
			<-g.Ready()
			old := g.Snapshot().Config
			secretFiles(t, dir, "second", rename)
			within(t, "the secrets are used", func() bool { return g.Snapshot().Config != old })
			cfg := g.Snapshot().Config
			if got := cfg.Collect[0].Password.Value; got != "second" {
				t.Errorf("the account has the password %q", got)
			}
			if got := g.routes.Load().Routes()[0].Password; got != "second" {
				t.Errorf("the route has the password %q", got)
			}
			if got := string(cfg.Stores[0].Settings.JSON); !strings.Contains(got, "two") {
				t.Errorf("the store has the settings %s", got)
			}
			within(t, "it is told", func() bool { return strings.Contains(log.String(), "are used as they are now") })
			if told := log.String(); !strings.Contains(told, "route.secret") || strings.Contains(told, `"second"`) || !strings.Contains(told, "the store is in use as it is configured now") {
				t.Errorf("the log says %s", told)
			}
			// A root that is none, and a touch that changes nothing.
			if err := os.WriteFile(filepath.Join(dir, "root.txt"), []byte("one/accounts.yaml\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			within(t, "the failure is told", func() bool { return strings.Contains(log.String(), "cannot be used as they are now") })
			if g.Snapshot().Config != cfg {
				t.Error("a root that is none is used")
			}
			secretFiles(t, dir, "second", rename)
			within(t, "the files are looked at", func() bool { return g.Snapshot().Config == cfg && len(cfg.ChangedSecrets()) > 0 })
			if err := g.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if n := strings.Count(log.String(), "cannot be used as they are now"); n != 1 {
				t.Errorf("it is told %d times", n)
			}
		})
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestSecretsDue: a file that is still being written is not read yet, and one that was read is not read again.
func TestSecretsDue(t *testing.T) {
	var w secretWatch
	one, other, more := map[string]string{"a": "1"}, map[string]string{"a": "2"}, map[string]string{"a": "2", "b": "1"}
	for i, look := range []struct {
		changed map[string]string
		due     bool
	}{
		{nil, false},
		{one, false},
		{other, false},
		{other, true},
		{other, false},
		{more, false},
		{more, true},
		{more, false},
		{other, false},
		{other, true},
		{nil, false},
		{other, false},
		{other, true},
	} {
		if due := w.due(look.changed); due != look.due {
			t.Errorf("look %d at %v: %t", i, look.changed, due)
		}
	}
}
