package routing

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"io"
)

// buffer is a whole message between the client and the stores: its beginning in memory, the rest
// in a file (I11). It is written once and then read by any number of readers at once.
type buffer struct {
	memory []byte
	most   int
	file   tempFile
	create func() (tempFile, error)
	size   int64
	// digest is the SHA-256 of what the client sent.
	digest [sha256.Size]byte
}

// storageError says that a message could not be kept.
type storageError struct{ err error }

func (e *storageError) Error() string { return "cannot keep the message: " + e.err.Error() }
func (e *storageError) Unwrap() error { return e.err }

// buffer takes a message in. The error is the body's own, or a *storageError.
func (o *Options) buffer(body io.Reader) (*buffer, error) {
	h := &buffer{most: o.MemoryMost, create: func() (tempFile, error) { return o.createTemp(o.TempDir) }}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(h, sum), bufio.NewReaderSize(body, 32<<10)); err != nil {
		h.close()
		return nil, err
	}
	sum.Sum(h.digest[:0])
	return h, nil
}

// Write keeps more of the message.
func (b *buffer) Write(p []byte) (int, error) {
	n := min(len(p), b.most-len(b.memory))
	b.memory = append(b.memory, p[:n]...)
	b.size += int64(n)
	if n == len(p) {
		return n, nil
	}
	if b.file == nil {
		file, err := b.create()
		if err != nil {
			return n, &storageError{err}
		}
		b.file = file
	}
	m, err := b.file.Write(p[n:])
	b.size += int64(m)
	if err != nil {
		return n + m, &storageError{err}
	}
	return n + m, nil
}

// reader reads the message from an offset to its end.
func (b *buffer) reader(from int64) io.Reader {
	inMemory := min(from, int64(len(b.memory)))
	memory := bytes.NewReader(b.memory[inMemory:])
	if b.file == nil {
		return memory
	}
	start := from - inMemory
	return io.MultiReader(memory, io.NewSectionReader(b.file, start, b.size-int64(len(b.memory))-start))
}

func (b *buffer) close() {
	if b.file != nil {
		_ = b.file.Close() // nothing is wanted from it any more
	}
}
