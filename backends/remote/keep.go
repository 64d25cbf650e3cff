package remote

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// keepInMemory is how much of a message is kept in memory before a file is made for it.
const keepInMemory = 256 << 10

// Kept is a message that can be read again and again.
type Kept struct {
	io.ReaderAt
	Size int64 // in octets
	file *os.File
}

// Reader reads it from its start.
func (k *Kept) Reader() *io.SectionReader { return io.NewSectionReader(k, 0, k.Size) }

// Close forgets it.
func (k *Kept) Close() error {
	if k.file == nil {
		return nil
	}
	err := k.file.Close()
	_ = os.Remove(k.file.Name()) // where a file that is open keeps its name
	return err
}

// Keep reads a message to its end, into memory or into a file in dir that has no name any more.
// A content that fails is not kept; its failure is returned, as a temporary one where it has no
// kind.
func Keep(dir string, content io.Reader) (*Kept, error) {
	head := make([]byte, keepInMemory)
	n, err := ReadFull(content, head)
	switch {
	case err == io.EOF:
		return &Kept{ReaderAt: bytes.NewReader(head[:n]), Size: int64(n)}, nil
	case err != nil:
		return nil, notKept(err)
	}
	sweep(dir)
	file, err := os.CreateTemp(dir, "message-*")
	if err != nil {
		return nil, notKept(err)
	}
	_ = os.Remove(file.Name())
	if _, err = file.Write(head); err == nil {
		var more int64
		if more, err = io.Copy(file, content); err == nil {
			return &Kept{ReaderAt: file, Size: int64(n) + more, file: file}, nil
		}
	}
	_ = (&Kept{file: file}).Close()
	return nil, notKept(err)
}

// left is the name of a file of Keep: what is kept has lost it where open files can lose theirs, so
// that a process killed in between leaves one.
var left = regexp.MustCompile(`^message-[0-9]+$`)

// leftAfter is longer than any message is kept under its name by a process that lives.
const leftAfter = 24 * time.Hour

// sweep removes from the store's own folder what killed processes have left. The system's folder
// for temporary files has others' files, too, and is left to the system.
func sweep(dir string) {
	if dir == "" {
		return
	}
	entries, _ := os.ReadDir(dir) // whose failure the file's own will tell
	for _, e := range entries {
		if !e.Type().IsRegular() || !left.MatchString(e.Name()) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > leftAfter {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func notKept(err error) error {
	var known *backends.Failure
	if errors.As(err, &known) {
		return err
	}
	return backends.Fail(backends.Temporary, "keep a message: %w", err)
}

// ReadFull reads until p is full, and returns io.EOF when r ended in between: unlike
// [io.ReadFull] it does not mistake a reader that failed with io.ErrUnexpectedEOF for one that
// ended well.
func ReadFull(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = r.Read(p[n:])
		n += more
	}
	if n == len(p) && err == io.EOF {
		err = nil // the next call tells
	}
	return n, err
}
