//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile locks a file for this process, or fails at once where another one has it.
func lockFile(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}
