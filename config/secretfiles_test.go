package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSecretFiles: a file that a secret was read from is known to have changed, however that was done, and the same text is read with what
// it has now.
func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "route.secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	text := "hostname: gate.example\nstores:\n  - {name: one, plugin: maildir, domains: [one.example]}\n" +
		"routes:\n  - {name: away, domains: ['*'], to: smtp, hosts: [a.example], tls: verified, user: gate, password: file:route.secret}\n"
	first, err := Parse("gate.yaml", dir, []byte(text), options())
	if err != nil {
		t.Fatal(err)
	}
	again := func() *Config {
		t.Helper()
		c, err := first.Again()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if changed := first.ChangedSecrets(); len(changed) != 0 {
		t.Errorf("nothing has changed: %v", changed)
	}
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if len(first.ChangedSecrets()) != 1 || !first.SameSecrets(again()) {
		t.Error("a file that was touched is unchanged, or has another content")
	}
	write("other\n") // as long
	if c := again(); len(first.ChangedSecrets()) != 1 || first.SameSecrets(c) || c.Routes[0].Password.Value != "other" || len(c.ChangedSecrets()) != 0 {
		t.Errorf("changed in its place: %q", c.Routes[0].Password.Value)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if changed := first.ChangedSecrets(); len(changed) != 0 {
		t.Errorf("one that is gone is to be read: %v", changed)
	}
	if _, err := first.Again(); err == nil {
		t.Error("one that is gone is read")
	}
}
