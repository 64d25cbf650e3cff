//go:build unix

package maildir

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// infoSeparator stands between a message's base name and its flags.
const infoSeparator = ':'

// isNoFile says that what was opened for reading is a link, or a socket or a device.
func isNoFile(err error) bool {
	return errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV)
}

func isDiskQuota(err error) bool { return errors.Is(err, unix.EDQUOT) }

// canHold says whether messages can be put into a folder.
func canHold(dir string) error { return unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK) }

// isFolderThatHolds is canHold for a path that may be no folder: then it has no "." in it.
func isFolderThatHolds(dir string) error { return canHold(dir + "/.") }

// rename asks the kernel alone: [os.Rename] looks first whether the new name is a folder's.
func rename(from, to string) error {
	for {
		err := unix.Rename(from, to)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
	}
}

// cannotLink says that two names for one file cannot be had here, whatever the disk's health.
func cannotLink(err error) bool {
	for _, e := range []error{unix.EXDEV, unix.EPERM, unix.EMLINK, unix.ENOTSUP, unix.EOPNOTSUPP, unix.ENOSYS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// adopt gives what root has made to the owner of the folder or file that it belongs to: a
// service that runs as somebody else could not use it otherwise.
func adopt(like string, paths ...string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var owner unix.Stat_t
	if err := unix.Stat(like, &owner); err != nil {
		return err
	}
	for _, path := range paths {
		var now unix.Stat_t
		if err := unix.Lstat(path, &now); err != nil {
			return err
		}
		if now.Uid != 0 || owner.Uid == 0 {
			continue
		}
		if err := os.Lchown(path, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	return nil
}

// lockPoll is how often a lock that another process holds is asked for: the lock has no event.
const lockPoll = 20 * time.Millisecond

// lockFile takes an exclusive lock between processes. The file stays; the lock ends with
// the process at the latest.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
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

// share lets the owner of a folder read a file that another user has made there: who has its group reads it, where it
// has the folder's.
func share(f *os.File, folder string) error {
	var of, in unix.Stat_t
	if err := errors.Join(unix.Fstat(int(f.Fd()), &of), unix.Stat(folder, &in)); err != nil {
		return err
	}
	if os.Geteuid() == 0 && in.Uid != 0 { // as adopt does; by its name it might be another file meanwhile
		return f.Chown(int(in.Uid), int(in.Gid))
	}
	if of.Gid == in.Gid && of.Uid != in.Uid {
		return f.Chmod(0o640)
	}
	return nil
}
