//go:build unix

package maildir

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dipylon/dipylon/backends"
)

func TestBareFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "message")
	writeFile(t, path, "one\ntwo\n")
	f, err := openForReading(path)
	if err != nil {
		t.Fatal(err)
	}
	if now, regular, err := f.stat(); now.Size != 8 || time.Since(now.Changed) > time.Hour || !regular || err != nil {
		t.Errorf("stat: %+v, regular %v, %v", now, regular, err)
	}
	if all, err := io.ReadAll(f); string(all) != "one\ntwo\n" || err != nil {
		t.Errorf("read %q, %v", all, err)
	}
	p := make([]byte, 6)
	if n, err := f.ReadAt(p, 4); string(p[:n]) != "two\n" || err != io.EOF {
		t.Errorf("read at an offset: %q, %v", p[:n], err)
	}
	conn, err := f.(backends.OpenFile).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 || err != nil {
			t.Errorf("a program that is started has it, too: flags %x, %v", flags, err)
		}
	}); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	_, reading := f.Read(p)
	_, at := f.ReadAt(p, 0)
	_, _, stat := f.stat()
	control := conn.Control(func(uintptr) { t.Error("a descriptor that is closed was given out") })
	for _, err := range []error{reading, at, stat, control, f.Close()} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// TestBareFileReadsInPieces has more in the file than one buffer takes.
func TestBareFileReadsInPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "message")
	want := bytes.Repeat([]byte("0123456789\n"), 1000)
	writeFile(t, path, string(want))
	f, err := openForReading(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, len(want))
	if n, err := f.ReadAt(got, 0); !bytes.Equal(got[:n], want) || err != nil {
		t.Errorf("%d octets at once, %v", n, err)
	}
	if got, err = io.ReadAll(struct{ io.Reader }{f}); !bytes.Equal(got, want) || err != nil {
		t.Errorf("%d octets in pieces, %v", len(got), err)
	}
}

func TestNoFileIsOpened(t *testing.T) {
	dir := t.TempDir()
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := errors.Join(unix.Mkfifo(pipe, 0o600), os.Symlink("nothing", link)); err != nil {
		t.Fatal(err)
	}
	if _, err := openForReading(link); !isNoFile(err) {
		t.Errorf("a link: %v", err)
	}
	if _, err := openForReading(filepath.Join(dir, "none")); !isGone(err) {
		t.Errorf("nothing: %v", err)
	}
	for _, path := range []string{pipe, dir} {
		f, err := openForReading(path) // does not wait for a writer
		if err != nil {
			t.Fatal(err)
		}
		if _, regular, err := f.stat(); regular || err != nil {
			t.Errorf("%s is a regular file: %v, %v", path, regular, err)
		}
		_ = f.Close()
	}
}

// TestFilesAreClosedTogether has files of several messages closed: with the last that is waited for,
// with the end, and after it.
func TestFilesAreClosedTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "message")
	writeFile(t, path, "one\n")
	var file unix.Stat_t
	if err := unix.Stat(path, &file); err != nil {
		t.Fatal(err)
	}
	var together closing
	var fds []int
	add := func() {
		f, err := openForReading(path)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, f.(*bareFile).fd)
		if !together.add(f) || together.add(f) {
			t.Error("a file is taken over once")
		}
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("a file that was taken over: %v", err)
		}
	}
	open := func() (n int) {
		for _, fd := range fds {
			var is unix.Stat_t
			if unix.Fstat(fd, &is) == nil && is.Dev == file.Dev && is.Ino == file.Ino {
				n++
			}
		}
		return n
	}
	for i := range closedTogether {
		if n := open(); n != i {
			t.Errorf("%d of %d files are open", n, i)
		}
		add()
	}
	if n := open(); n != 0 {
		t.Errorf("%d files are open, of as many as are closed together", n)
	}
	fds = nil
	add()
	together.end()
	add()
	if n := open(); n != 0 {
		t.Errorf("%d files are open after the end", n)
	}
}

// A new file is written to its end and nobody else's, and no further once it is closed.
func TestBareFileForWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "message")
	f, err := createForWriting(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"one\n", "", "two\n"} {
		if n, err := io.WriteString(f, part); n != len(part) || err != nil {
			t.Errorf("%q: %d octets, %v", part, n, err)
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Error(err)
	}
	if all, err := os.ReadFile(path); string(all) != "one\ntwo\n" || err != nil {
		t.Errorf("read %q, %v", all, err)
	}
	if n, err := io.WriteString(f, "three"); n != 0 || !errors.Is(err, fs.ErrClosed) || !errors.Is(f.Sync(), fs.ErrClosed) {
		t.Errorf("once closed: %d octets, %v", n, err)
	}
	if f, err := createForWriting(path); f != nil || !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another file: %v, %v", f, err)
	}
}
