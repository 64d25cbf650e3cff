package maildir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/durable"
	"github.com/dipylon/dipylon/backends/pickup"
)

// fileSystem is what the store does to the disk, so that a test can make each step fail.
type fileSystem interface {
	// Create makes a new file of mode 0600 for writing; it fails if there is one.
	Create(path string) (file, error)
	// Open opens a file for reading. It follows no link at the end of the path and waits
	// for no other end of a pipe.
	Open(path string) (readable, error)
	Names(dir string) ([]string, error)
	Lstat(path string) (fs.FileInfo, error)
	Mkdir(path string) error
	Link(from, to string) error
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes the entries of a folder durable.
	SyncDir(path string) error
}

// file is open for writing.
type file interface {
	io.Writer
	io.Closer
	Sync() error
}

// readable is open for reading.
type readable interface {
	io.Reader
	io.ReaderAt
	io.Closer
	// stat is what it looks like now, and whether it is a regular file.
	stat() (now pickup.Sight, regular bool, err error)
}

// disk is the real one.
type disk struct{}

func (disk) Create(path string) (file, error)   { return createForWriting(path) }
func (disk) Open(path string) (readable, error) { return openForReading(path) }

func (disk) Names(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (disk) Lstat(path string) (fs.FileInfo, error) { return os.Lstat(path) }
func (disk) Link(from, to string) error             { return os.Link(from, to) }
func (disk) Rename(from, to string) error           { return rename(from, to) }
func (disk) Remove(path string) error               { return os.Remove(path) }
func (disk) SyncDir(path string) error              { return durable.SyncFolder(path) }

// Mkdir makes a folder. One that root makes belongs to whoever owns the folder around it.
func (disk) Mkdir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	return adopt(filepath.Dir(path), path)
}

// storageFailure is what a client is told when the disk fails: nothing of it, but that a
// full disk is a full system (RFC 3463, X.3.1) and not a full mailbox.
func storageFailure(doing string, err error) *backends.Failure {
	if f, ok := errors.AsType[*backends.Failure](err); ok {
		return f
	}
	failure := backends.Fail(backends.Temporary, doing+": %w", err)
	if errors.Is(err, syscall.ENOSPC) || isDiskQuota(err) {
		return failure.WithCode("4.3.1").Say("the mail store is full, try again later")
	}
	return failure
}

// isGone says that there is no such file, or no such folder above it.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// mkdirs makes the folders that are not there yet, in their order.
func mkdirs(fsys fileSystem, dirs ...string) error {
	for _, dir := range dirs {
		if err := fsys.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// syncDirs makes the entries of each folder durable.
func syncDirs(fsys fileSystem, dirs ...string) error {
	for _, dir := range dirs {
		if err := fsys.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}
