package content

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// SevenBit is a message whose 8-bit body is converted for a server that has no 8BITMIME (RFC 6152 §3): parts that need
// it are in quoted-printable or base64 (RFC 2045 §6), text in what is shorter. It is read like a file, from the beginning
// to the end, and again after a Seek to the beginning.
//
// It goes through the message line by line, whatever its size: of its structure it keeps an octet for each part (package
// entity keeps all headers, which is more than is needed here).
type SevenBit struct {
	from io.ReadSeeker
	plan []encoding
	size int64

	walk *walker
	out  bytes.Buffer
	read int64
}

// SevenBitError says why a message cannot be converted: it is to be returned with 5.6.3 (RFC 3463 §3.7).
type SevenBitError struct{ Why string }

// Error implements error.
func (e *SevenBitError) Error() string { return "it cannot be converted to 7 bits: " + e.Why }

func cannot(format string, args ...any) error { return &SevenBitError{fmt.Sprintf(format, args...)} }

// encoding is what is done to a part.
type encoding uint8

const (
	asItIs encoding = iota
	inQuotedPrintable
	inBase64
)

// name is the encoding's in a header.
func (e encoding) name() string {
	if e == inBase64 {
		return "base64"
	}
	return "quoted-printable"
}

// Bounds of what is converted. The plan has an octet for each part.
const (
	partsMost      = 100_000
	partHeaderMost = 1 << 20
	nestingMost    = 100
	boundaryMost   = 200 // RFC 2046 §5.1.1 has 70, and some have more
)

// NewSevenBit reads a message through, twice, to find what has to be converted, and how long it is then. A
// [*SevenBitError] says that it cannot be.
func NewSevenBit(message io.ReadSeeker) (*SevenBit, error) {
	look := newWalker(message, io.Discard)
	look.learning = true
	if err := look.all(); err != nil {
		return nil, err
	}
	s := &SevenBit{from: message, plan: look.plan}
	if err := s.rewind(); err != nil {
		return nil, err
	}
	var err error
	if s.size, err = io.Copy(io.Discard, s); err != nil {
		return nil, err
	}
	return s, s.rewind()
}

// Size is the length in octets.
func (s *SevenBit) Size() int64 { return s.size }

// Read implements [io.Reader].
func (s *SevenBit) Read(p []byte) (int, error) {
	for s.out.Len() == 0 {
		if err := s.walk.step(); err != nil {
			return 0, err
		}
	}
	n, err := s.out.Read(p)
	s.read += int64(n)
	return n, err
}

// Seek implements [io.Seeker], for the beginning and the place where it is.
func (s *SevenBit) Seek(offset int64, whence int) (int64, error) {
	switch {
	case whence == io.SeekCurrent && offset == 0:
		return s.read, nil
	case whence == io.SeekStart && offset == 0:
		return 0, s.rewind()
	}
	return 0, errors.New("a message that is converted has one place to seek: its beginning")
}

func (s *SevenBit) rewind() error {
	_, err := s.from.Seek(0, io.SeekStart)
	s.out.Reset()
	s.read, s.walk = 0, newWalker(s.from, &s.out)
	s.walk.plan = s.plan
	return err
}
