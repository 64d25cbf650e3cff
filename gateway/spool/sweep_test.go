//go:build linux

package spool

import (
	"os"
	"testing"
)

// filesOf are the names of the files that a spool has.
func filesOf(t testing.TB, s *Spool) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(s.files.folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
