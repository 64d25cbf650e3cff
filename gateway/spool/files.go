package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/dipylon/dipylon/backends/durable"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/state"
)

// suffix is the end of the names of messages' files; what is before it is the message's number.
const suffix = ".message"

// files are the folder in which a spool beside a SQLite database has large contents.
type files struct {
	folder string
	ids    *ids
	first  ID // a file with a smaller number was made by an earlier process
}

func openFiles(o Options, ids *ids) (*files, error) {
	if o.Folder == "" {
		return nil, errors.New("no folder is named")
	}
	if err := state.MakeFolder(o.Folder); err != nil {
		return nil, err
	}
	return &files{folder: o.Folder, ids: ids, first: ids.next()}, nil
}

// Storage makes files for messages on their way in. With SQLite, Accept makes such a file the message's
// own and copies nothing.
func (s *Spool) Storage() buffer.Storage {
	if s.db.Shared() {
		return buffer.Temporary{Folder: s.files.folder}
	}
	return s.files
}

// Create implements [buffer.Storage].
func (f *files) Create() (buffer.File, error) { return f.create() }

func (f *files) create() (*file, error) {
	id := f.ids.next()
	made, err := os.OpenFile(f.path(id), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &file{File: made, in: f, id: id}, nil
}

// own is the file that can become a message's as it is; nil: there is none.
func (f *files) own(of buffer.File) *file {
	own, is := of.(*file)
	if headed, has := of.(*headedFile); has {
		own, is = headed.file, true
	}
	if !is || own.in != f {
		return nil
	}
	return own
}

func (f *files) path(id ID) string { return filepath.Join(f.folder, id.String()+suffix) }

// idOf is the number in a file's name.
func idOf(name string) (id ID, is bool) {
	number, is := strings.CutSuffix(name, suffix)
	if !is {
		return 0, false
	}
	n, err := strconv.ParseInt(number, 16, 64)
	return ID(n), err == nil && ID(n).String() == number
}

// file is the content of one message that is being written, or was.
type file struct {
	*os.File
	in   *files
	id   ID
	kept atomic.Bool // it belongs to a message in the spool, or may
}

// Commit implements [buffer.File]: content and name are on the disk.
func (f *file) Commit() error {
	if err := f.Sync(); err != nil {
		return err
	}
	return durable.SyncFolder(f.in.folder)
}

// Discard implements [buffer.File].
func (f *file) Discard() error {
	err := f.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	if !f.kept.Load() {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// open opens a message's file where its content begins, and looks whether all of it is there.
func (f *files) open(id ID, size int64) (io.ReadSeekCloser, error) {
	opened, err := os.Open(f.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damagedf("its file %s is missing", f.path(id))
	}
	if err != nil {
		return nil, err
	}
	start, whole, err := startOf(opened, size)
	switch {
	case err == nil && !whole:
		err = damagedf("its file %s has not the %d octets that it should have", f.path(id), size)
	case err == nil && start == 0:
		return opened, nil
	case err == nil:
		return part{io.NewSectionReader(opened, start, size), opened}, nil
	}
	return nil, errors.Join(err, opened.Close())
}

// look says whether a message's file is there as a whole.
func (f *files) look(id ID, size int64) error {
	if info, err := os.Stat(f.path(id)); err == nil && info.Size() == size {
		return nil
	}
	opened, err := f.open(id, size)
	if err != nil {
		return err
	}
	return opened.Close()
}

// remove removes the file of a message that has left the spool. If it cannot be, the next start's sweep
// finds it.
func (f *files) remove(id ID) error {
	err := os.Remove(f.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// damage is what is wrong with a message, as opposed to the disk or the database.
type damage struct{ what string }

func (d *damage) Error() string        { return ErrDamaged.Error() + ": " + d.what }
func (d *damage) Is(target error) bool { return target == ErrDamaged }

func damagedf(format string, args ...any) error { return &damage{fmt.Sprintf(format, args...)} }

// isDamage says whether an error is about the message itself.
func isDamage(err error) (string, bool) {
	d, is := errors.AsType[*damage](err)
	if !is {
		return "", false
	}
	return d.what, true
}

// copyInto makes a file of a content.
func (f *files) copyInto(content io.Reader) (*file, error) {
	made, err := f.create()
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(made, content); err == nil {
		err = made.Commit()
	}
	if err != nil {
		return nil, errors.Join(err, made.Discard())
	}
	return made, nil
}
