//go:build unix

// Package owners tells whose the files are that a command has made.
package owners

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Check fails the test where something below a folder, or the folder, is not the user's, or where there are
// fewer than least of them.
func Check(t *testing.T, folder string, user, least int) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		seen++
		info, err := os.Lstat(path)
		if err == nil && int(info.Sys().(*syscall.Stat_t).Uid) != user {
			t.Errorf("%s belongs to %d", path, info.Sys().(*syscall.Stat_t).Uid)
		}
		return err
	})
	if err != nil || seen < least {
		t.Errorf("%d files, %v", seen, err)
	}
}
