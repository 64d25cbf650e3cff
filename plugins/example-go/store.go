package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

// store implements backends.Store, backends.Reader and backends.Receiver.
type store struct {
	root  *os.Root           // nothing outside of this folder is reached through it
	alive context.Context    // ends with Close, and with it all that is open
	end   context.CancelFunc //
	files sync.Mutex         // held while the names in a folder change
}

// settings are the "settings" of the store in the gateway's configuration.
type settings struct {
	Root string `json:"root"`
}

func (s *store) Describe(context.Context) (backends.Description, error) {
	return backends.Description{
		Name:        "example-go",
		Version:     "1.0.0",
		Credentials: []backends.CredentialKind{backends.CredentialPassword},
		ExactSizes:  true,
	}, nil
}

func (s *store) Configure(_ context.Context, given backends.Settings) error {
	var in settings
	if err := given.Decode(&in); err != nil {
		return err
	}
	dir := in.Root
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(given.BaseDir, dir)
	}
	root, err := os.OpenRoot(dir)
	if in.Root == "" || err != nil {
		var wrong backends.SettingsError
		wrong.Add("root", "expected a folder that is there")
		return wrong.Err()
	}
	if given.Check {
		return root.Close()
	}
	s.root = root
	s.alive, s.end = context.WithCancel(context.Background())
	return nil
}

func (s *store) Health(context.Context) error {
	if err := s.alive.Err(); err != nil {
		return err
	}
	if _, err := s.root.Stat("accounts"); err != nil {
		return backends.Fail(backends.Temporary, "the accounts: %w", err)
	}
	return nil
}

func (s *store) Close() error {
	if s.root == nil {
		return nil // it was never configured
	}
	s.end()
	return s.root.Close()
}
