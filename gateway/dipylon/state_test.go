package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/config"
)

// TestTellMoved: who removes what can be removed leaves the folders, which the gateway uses.
func TestTellMoved(t *testing.T) {
	dir := t.TempDir()
	database, contents := filepath.Join(dir, "dipylon.db"), filepath.Join(dir, "spool")
	content := filepath.Join(contents, "12ab.message")
	if err := errors.Join(os.Mkdir(contents, 0o700), os.WriteFile(database, nil, 0o600), os.WriteFile(content, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{StateFolder: dir}
	cfg.State.Folder = dir
	var out strings.Builder
	tellMoved(&out, 7, cfg)
	for line := range strings.Lines(out.String()) {
		if name, is := strings.CutPrefix(line, "  "); is {
			files, err := filepath.Glob(strings.TrimSpace(name))
			if err != nil || len(files) != 1 || os.Remove(files[0]) != nil {
				t.Errorf("%q: %q, %v", name, files, err)
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 1 || left[0] != contents {
		t.Errorf("%q stay, %v", left, err)
	}
}
