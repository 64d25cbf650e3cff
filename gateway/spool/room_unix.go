//go:build linux || darwin || freebsd

package spool

import "golang.org/x/sys/unix"

// freeSpace is how many octets a folder's disk has free for this process.
func freeSpace(folder string) (int64, error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(folder, &disk); err != nil {
		return 0, err
	}
	return int64(disk.Bavail) * int64(disk.Bsize), nil //nolint:unconvert // their types differ between systems
}
