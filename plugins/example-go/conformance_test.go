package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest"
)

const (
	anna = "anna@sakes.example"
	bert = "bert@sakes.example"
)

// TestConformance runs the contract's suite against the store, in process. That it passes as a
// plugin, too, is tested in test/e2e.
func TestConformance(t *testing.T) {
	root := filepath.Join(t.TempDir(), "mail")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	// Cheap hashes: the suite logs in a thousand times, with the names of nobody, too.
	defer func(usual string) { nobody = usual }(nobody)
	nobody = newHash("", 10)
	text := anna + " " + newHash("open sesame", 10) + "\n" + bert + " " + newHash("close sesame", 10) + "\n"
	if err := os.WriteFile(filepath.Join(root, "accounts"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(settings{Root: "mail"})
	if err != nil {
		t.Fatal(err)
	}
	in := backends.Settings{Store: "test", BaseDir: filepath.Dir(root), Domains: []string{"sakes.example"}, Raw: raw}
	storetest.Run(t, storetest.Target{
		New: func(context.Context) (backends.Store, error) { return &store{}, nil },
		Open: func(ctx context.Context) (backends.Store, error) {
			s := &store{}
			return s, s.Configure(ctx, in)
		},
		Settings:    in,
		BadSettings: map[string]string{"root": `{"root": "/dev/null"}`},
		User:        anna, Password: "open sesame", Address: anna,
		SecondUser: bert, SecondPassword: "close sesame", SecondAddress: bert,
		Put: func(_ context.Context, user string, message []byte) error {
			dir := filepath.Join(root, user)
			if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
				return err
			}
			f, err := os.CreateTemp(dir, "*.part")
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := f.Write(message); err != nil {
				return err
			}
			now := time.Now() // the kernel's own stamps are as coarse as its clock's tick
			return errors.Join(os.Chtimes(f.Name(), now, now), os.Rename(f.Name(), f.Name()+".eml"))
		},
		Expunge: func(_ context.Context, user string, id backends.MessageID) error {
			return os.Remove(filepath.Join(root, user, string(id)))
		},
	})
}
