package maildir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/windows"

	"github.com/dipylon/dipylon/backends/pickup"
)

// infoSeparator stands between a message's base name and its flags. A colon cannot stand
// in a file name here.
const infoSeparator = ';'

type openFile struct{ *os.File }

func openForReading(path string) (readable, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return openFile{f}, nil
}

// createForWriting makes a new file.
func createForWriting(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err // and not a file that is a nil *os.File
	}
	return f, nil
}

func (f openFile) stat() (now pickup.Sight, regular bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return now, false, err
	}
	return pickup.Sight{Size: info.Size(), Changed: info.ModTime()}, info.Mode().IsRegular(), nil
}

// closing takes no files over here: each is closed by itself.
type closing struct{}

func (*closing) add(readable) bool { return false }
func (*closing) end()              {}

func isNoFile(error) bool { return false }

func isDiskQuota(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }

func canHold(string) error { return nil }

func isFolderThatHolds(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", dir)
	}
	return err
}

func rename(from, to string) error { return os.Rename(from, to) }

func cannotLink(err error) bool {
	return errors.Is(err, windows.ERROR_NOT_SAME_DEVICE) || errors.Is(err, windows.ERROR_TOO_MANY_LINKS) ||
		errors.Is(err, windows.ERROR_NOT_SUPPORTED) || errors.Is(err, windows.ERROR_INVALID_FUNCTION)
}

func adopt(string, ...string) error { return nil }

const lockPoll = 20 * time.Millisecond

// lockFile takes an exclusive lock between processes.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	for {
		err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
			_ = f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

func share(*os.File, string) error { return nil }
