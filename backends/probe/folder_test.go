//go:build linux

package probe

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestFolderMounts: a folder whose parts are on two file systems is told so, and nothing is left behind.
func TestFolderMounts(t *testing.T) {
	from, err := os.MkdirTemp("/dev/shm", "dipylon-probe-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(from) })
	to, err := os.MkdirTemp("/proc/self/cwd", "probe-") // the folder of this package, on a disk
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(to) })
	if err := canRename(from, to); CauseOf(err) != FolderMounts {
		t.Errorf("%v", err)
	}
	for _, dir := range []string{from, to} {
		if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
			t.Errorf("%s has %v, %v", dir, left, err)
		}
	}
	if _, err := Folder(from, "", ""); err != nil {
		t.Error(err)
	}
	if _, err := Folder(filepath.Join(from, "none"), "", ""); CauseOf(err) != FolderMissing || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
