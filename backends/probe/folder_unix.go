//go:build unix

package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"syscall"
)

// ownerOf says whose a folder is.
func ownerOf(info fs.FileInfo) string {
	owner, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return ""
	}
	id := strconv.FormatUint(uint64(owner.Uid), 10)
	if who, err := user.LookupId(id); err == nil {
		return fmt.Sprintf(", and its owner %s (%s)", who.Username, id)
	}
	return ", and its owner the user " + id
}

// writtenByAll says whether every user may make files in a folder.
func writtenByAll(info fs.FileInfo) bool { return info.Mode().Perm()&0o002 != 0 }

// otherFileSystem says that a file cannot be renamed to where it should.
func otherFileSystem(err error) bool { return errors.Is(err, syscall.EXDEV) }
