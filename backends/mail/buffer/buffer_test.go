package buffer_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dipylon/dipylon/backends/mail/buffer"
)

// TestFill: every message comes back as it was, from any offset and to several readers at once,
// and nothing is left of it.
func TestFill(t *testing.T) {
	for name, size := range map[string]int{
		"nothing": 0, "small": 100, "just in memory": buffer.MemoryMost, "in a file": buffer.MemoryMost + 1, "large": 3 << 20,
	} {
		t.Run(name, func(t *testing.T) {
			dir, want := t.TempDir(), bytes.Repeat([]byte("0123456789abcdef!"), size/17+1)[:size]
			b, err := buffer.Fill(buffer.InFolder(dir), iotest.DataErrReader(bytes.NewReader(want)))
			if err != nil || b.Size() != int64(size) || (b.File() != nil) != (size > buffer.MemoryMost) {
				t.Fatalf("%+v, %v", b, err)
			}
			for _, most := range []int{0, 1, 100, size, size + 1} {
				if got := b.Start(most); !bytes.Equal(got, want[:min(size, most)]) {
					t.Errorf("its start of at most %d octets has %d others", most, len(got))
				}
			}
			var readers sync.WaitGroup
			for _, from := range []int{0, 0, 1, size / 2, size} {
				readers.Go(func() {
					from = min(from, size)
					if got, err := io.ReadAll(b.From(int64(from))); err != nil || !bytes.Equal(got, want[from:]) {
						t.Errorf("%d octets came back from %d on, %v", len(got), from, err)
					}
				})
			}
			readers.Wait()
			if err := b.Discard(); err != nil {
				t.Error(err)
			}
			empty(t, dir)
		})
	}
}

// TestFillFails: a message that does not come to its end is not kept, whatever it failed with.
func TestFillFails(t *testing.T) {
	for _, reason := range []error{io.ErrUnexpectedEOF, errors.New("gone")} {
		for _, size := range []int64{0, 100, buffer.MemoryMost, buffer.MemoryMost + 1, 1 << 20} {
			dir := t.TempDir()
			b, err := buffer.Fill(buffer.InFolder(dir), io.MultiReader(io.LimitReader(endless{}, size), iotest.ErrReader(reason)))
			var storage *buffer.StorageError
			if b != nil || !errors.Is(err, reason) || errors.As(err, &storage) {
				t.Errorf("%v after %d octets: %v, %v", reason, size, b, err)
			}
			empty(t, dir)
		}
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// FuzzBuffer: whatever pieces a message comes in, and however much is kept in memory, it comes
// back.
func FuzzBuffer(f *testing.F) {
	f.Add([]byte("Received: x\r\n\ty\r\nSubject: z\r\n\r\nBody\r\n"), 5)
	f.Add([]byte("\r\n"), 1)
	f.Fuzz(func(t *testing.T, message []byte, most int) {
		o := buffer.Options{MemoryMost: most&0xff + 1, Storage: buffer.Temporary{Folder: t.TempDir()}}
		b, err := buffer.Fill(o, iotest.OneByteReader(bytes.NewReader(message)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(b.Reader())
		if err = errors.Join(err, b.Discard()); err != nil || !bytes.Equal(got, message) {
			t.Fatalf("%q came back as %q, %v", message, got, err)
		}
	})
}

// TestSweep: a file that a killed process has left goes, and nothing else does.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-48 * time.Hour)
	stays := map[string]bool{"message-12.tmp": false, "message-13.tmp": true, "message-of-mine.tmp": true, "accounts": true}
	for name := range stays {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "message-13.tmp" {
			continue // somebody's who is writing it
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		for name, want := range stays {
			if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
				t.Errorf("%s: %v, want it to stay: %v", name, err, want)
			}
		}
	}
	storage := buffer.Temporary{Folder: dir}
	f, err := storage.Create()
	if err != nil {
		t.Fatal(err)
	}
	check()
	if err := errors.Join(f.Discard(), storage.Sweep(0)); err != nil {
		t.Fatal(err)
	}
	stays["message-13.tmp"] = false
	check()
}

// spool is storage whose files last: a file gets its name when it is committed.
type spool struct {
	dir                 string
	create, write, sync error // what fails
}

type spooled struct {
	*os.File
	spool *spool
}

func (s *spool) Create() (buffer.File, error) {
	if s.create != nil {
		return nil, s.create
	}
	f, err := os.Create(filepath.Join(s.dir, "part"))
	return &spooled{f, s}, err
}

// Write leaves what had room.
func (s *spooled) Write(p []byte) (int, error) {
	if s.spool.write != nil {
		n, _ := s.File.Write(p[:len(p)/2])
		return n, s.spool.write
	}
	return s.File.Write(p)
}

func (s *spooled) Commit() error {
	if s.spool.sync != nil {
		return s.spool.sync
	}
	return errors.Join(s.Sync(), os.Rename(s.Name(), filepath.Join(s.spool.dir, "message")))
}

func (s *spooled) Discard() error {
	_ = os.Remove(s.Name())
	return s.Close()
}

// TestAdopted: a storage of another kind takes over the file that was written, without copying it.
func TestAdopted(t *testing.T) {
	s := &spool{dir: t.TempDir()}
	b, err := buffer.Fill(buffer.Options{Storage: s, MemoryMost: 4}, strings.NewReader("a message"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ours := b.File().(*spooled); !ours {
		t.Errorf("the file is a %T", b.File())
	}
	if got, err := os.ReadFile(filepath.Join(s.dir, "message")); err != nil || string(got) != "a message" {
		t.Errorf("the spool has %q, %v", got, err)
	}
	if got, err := io.ReadAll(b.Reader()); err != nil || string(got) != "a message" {
		t.Errorf("it is read as %q, %v", got, err)
	}
	if err := b.Discard(); err != nil {
		t.Error(err)
	}
}

// TestStorageFails: a storage that fails once is not tried again, and of such a message nothing is
// read (I1, I3).
func TestStorageFails(t *testing.T) {
	for name, s := range map[string]*spool{
		"no file": {create: syscall.ENOSPC}, "no folder": {}, "no sync": {dir: t.TempDir(), sync: syscall.EIO},
		"no space": {dir: t.TempDir(), write: syscall.ENOSPC},
	} {
		if name == "no folder" {
			s.dir = filepath.Join(t.TempDir(), "missing")
		}
		b := buffer.Create(buffer.Options{Storage: s, MemoryMost: 4})
		_, err := b.Write([]byte("a message"))
		err = errors.Join(err, b.Commit())
		var storage *buffer.StorageError
		if !errors.As(err, &storage) {
			t.Errorf("%s: %v", name, err)
		}
		s.create, s.write, s.sync = nil, nil, nil
		if _, err := b.Write([]byte("more")); err == nil || b.Commit() == nil {
			t.Errorf("%s: it is tried again", name)
		}
		if got, err := io.ReadAll(b.Reader()); err == nil {
			t.Errorf("%s: %q is read", name, got)
		}
		if name == "no sync" || name == "no space" {
			if err := b.Discard(); err != nil {
				t.Error(err)
			}
			empty(t, s.dir)
		}
	}
}

// TestReadFrom: what is read where it is kept is what is written, whatever pieces it comes in, and where it
// ends on the bound.
func TestReadFrom(t *testing.T) {
	for _, size := range []int{0, 1, 99, 100, 101, 8192, 20_000, 300_000} {
		for _, most := range []int{100, 8192, 20_000} {
			message := bytes.Repeat([]byte("0123456789\r\n"), size/12+1)[:size]
			for name, reader := range map[string]io.Reader{
				"at once": bytes.NewReader(message), "in halves": iotest.HalfReader(bytes.NewReader(message)),
				"with its end": iotest.DataErrReader(bytes.NewReader(message)),
			} {
				b := buffer.Create(buffer.Options{Storage: buffer.Temporary{Folder: t.TempDir()}, MemoryMost: most})
				n, err := b.ReadFrom(reader)
				if err == nil {
					err = b.Commit()
				}
				got, readErr := io.ReadAll(b.Reader())
				if err != nil || readErr != nil || n != int64(size) || b.Size() != n || !bytes.Equal(got, message) {
					t.Errorf("%d octets %s, %d in memory: %d, %d, %v, %v", size, name, most, n, b.Size(), err, readErr)
				}
				if inMemory := b.File() == nil; inMemory != (size <= most) || inMemory && !bytes.Equal(b.Memory(), message) || !inMemory && b.Memory() != nil {
					t.Errorf("%d octets %s, %d in memory: they are in memory: %v", size, name, most, inMemory)
				}
				if err := b.Discard(); err != nil {
					t.Error(err)
				}
			}
		}
	}
	b := buffer.Create(buffer.InFolder(t.TempDir()))
	if _, err := b.ReadFrom(iotest.ErrReader(io.ErrUnexpectedEOF)); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
	broken := buffer.Create(buffer.Options{Storage: buffer.Temporary{Folder: "/absent"}, MemoryMost: 1})
	if _, err := broken.ReadFrom(strings.NewReader("123")); err == nil || broken.Commit() == nil {
		t.Error("what cannot be kept is kept")
	}
}
