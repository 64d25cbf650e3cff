package server

import (
	"crypto/tls"
	"os"
	"testing"
	"time"

	"github.com/dipylon/dipylon/config"
)

func TestSelfSignedIsKept(t *testing.T) {
	cfg := &config.Config{StateFolder: t.TempDir(), Hostname: "one.example"}
	files := SelfSignedFiles(cfg.StateFolder)
	kept := func() error {
		_, keep, err := selfSigned(cfg)
		if err != nil {
			return err
		}
		return keep()
	}
	if err := kept(); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(files.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := read()
	if err := kept(); err != nil || read() != first {
		t.Errorf("the second start makes another one, %v", err)
	}
	info, err := os.Stat(files.Key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v, %v", info.Mode(), err)
	}
	cfg.Hostname = "two.example"
	if err := kept(); err != nil || read() == first {
		t.Errorf("under another name it stays the same, %v", err)
	}
	pair, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"two.example", "localhost", "127.0.0.1", "::1"} {
		if err := pair.Leaf.VerifyHostname(name); err != nil {
			t.Errorf("%v", err)
		}
	}
	// One that is about to end is replaced.
	old, key, err := MakeSelfSigned("two.example", time.Now().Add(24*time.Hour-selfSignedFor))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{files.Certificate: old, files.Key: key} {
		if err := replace(name, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := kept(); err != nil || read() == string(old) {
		t.Errorf("a certificate that ends tomorrow stays, %v", err)
	}
}
