//go:build unix

package maildir

import (
	"os"
	"syscall"
	"testing"
)

func mkfifo(path string, mode uint32) error { return syscall.Mkfifo(path, mode) }

func ownerIDs(t *testing.T, path string) (uid, gid uint32) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return stat.Uid, stat.Gid
}
