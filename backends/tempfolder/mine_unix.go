//go:build unix

package tempfolder

import (
	"io/fs"
	"os"
	"syscall"
)

// mine tells whether a folder is this user's, and closed to others: in a folder that all may write to,
// anybody can choose a name. Root acts for whoever has the folder around it, too.
func mine(around, info fs.FileInfo) bool {
	owner, known := info.Sys().(*syscall.Stat_t)
	if !known || info.Mode().Perm() != 0o700 {
		return false
	}
	if int(owner.Uid) == os.Geteuid() {
		return true
	}
	other, known := around.Sys().(*syscall.Stat_t)
	return known && os.Geteuid() == 0 && owner.Uid == other.Uid
}
