//go:build unix

package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dipylon/dipylon/backends/durable"
)

// MakeFolder makes a folder, and those above it, for its owner alone. The names of those that it makes are on the disk
// when it returns nil. What root makes belongs to whoever owns the folder around it: an administrator's command must
// not lock the gateway, which is no root, out of its own state.
func MakeFolder(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		if err := MakeFolder(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err == nil {
		return finish(dir)
	}
	if info, e := os.Stat(dir); e == nil && info.IsDir() {
		return nil
	}
	return err
}

// finish does the rest for a folder that was just made. One whose name may not be on the disk is removed again: the
// next try would find it.
func finish(dir string) error {
	err := errors.Join(Inherit(dir), durable.SyncFolder(filepath.Dir(dir)))
	if err != nil {
		err = errors.Join(err, os.Remove(dir))
	}
	return err
}

// Inherit gives what root has made to the owner of the folder that it is in. What is not there is
// passed over.
func Inherit(paths ...string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, path := range paths {
		around, err := os.Stat(filepath.Dir(path))
		if err != nil {
			return err
		}
		owner, ok := around.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s tells no owner", filepath.Dir(path))
		}
		if err := os.Lchown(path, int(owner.Uid), int(owner.Gid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
