// Package filelock locks files between processes: who holds a lock has it until the file is closed, or the
// process has ended, however it does.
package filelock

import "os"

// Try locks an open file, or fails at once where somebody else has it, in this process or another. Only
// who asks for the lock is kept out: it says nothing about reading and writing, but on Windows, where the
// first octet belongs to the holder alone.
func Try(f *os.File) error { return try(f) }
