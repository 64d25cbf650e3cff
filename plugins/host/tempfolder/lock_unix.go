//go:build unix

package tempfolder

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// tryLock locks a file for this open file, until the process ends however it ends, or fails at once.
func tryLock(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// mine tells whether a folder is this user's, and closed to others: in a folder that all may write to,
// anybody can choose a name.
func mine(info fs.FileInfo) bool {
	owner, known := info.Sys().(*syscall.Stat_t)
	return known && int(owner.Uid) == os.Geteuid() && info.Mode().Perm() == 0o700
}
