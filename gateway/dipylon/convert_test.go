package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestConvertBrokenOff: whoever breaks a conversion off has the file that was there, and no other one.
func TestConvertBrokenOff(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.eml")
	if err := os.WriteFile(out, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	if err := writeOut(cmd, out, strings.NewReader("new")); conclude(cmd, err) != exitInterrupted {
		t.Errorf("%v", err)
	}
	files, err := os.ReadDir(filepath.Dir(out))
	if err != nil {
		t.Fatal(err)
	}
	if octets, err := os.ReadFile(out); err != nil || string(octets) != "old" || len(files) != 1 {
		t.Errorf("%q in %d files, %v", octets, len(files), err)
	}
}
