package smtp

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

const (
	smallBuffer = 2 << 10  // while a connection waits for commands
	largeBuffer = 64 << 10 // while a message comes in, and for long lines
)

// input holds the octets that the client has sent and nobody has read yet. It is small
// while the connection is idle, and borrows a large buffer from a pool otherwise.
type input struct {
	buf   []byte
	r, w  int // buf[r:w] is not read yet
	pool  *sync.Pool
	small []byte
	large *[]byte // what is borrowed
	total int64   // octets that have come, TLS taken off
}

func newInput(pool *sync.Pool) *input {
	small := make([]byte, smallBuffer)
	return &input{buf: small, small: small, pool: pool}
}

func newBufferPool() *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}
}

// unread is valid until the next fill.
func (in *input) unread() []byte { return in.buf[in.r:in.w] }

func (in *input) consume(n int) { in.r += n }

func (in *input) discard() { in.r, in.w = 0, 0 }

// full says that the buffer has no room for another octet.
func (in *input) full() bool { return in.r == 0 && in.w == len(in.buf) }

// fill reads once. There is room for it: the caller has consumed, or has grown the buffer.
func (in *input) fill(conn io.Reader) error {
	switch {
	case in.r == in.w:
		in.r, in.w = 0, 0
	case in.r > 0:
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	n, err := conn.Read(in.buf[in.w:])
	in.w += n
	in.total += int64(n)
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// grow changes to a large buffer.
func (in *input) grow() {
	if in.large != nil {
		return
	}
	in.large = in.pool.Get().(*[]byte)
	in.w = copy(*in.large, in.unread())
	in.r = 0
	in.buf = *in.large
}

// shrink gives the large buffer back, as soon as what is left fits in a small one.
func (in *input) shrink() {
	if in.large == nil || in.w-in.r > smallBuffer {
		return
	}
	n := copy(in.small, in.unread())
	in.release()
	in.buf, in.w = in.small, n
}

// release gives the buffer back when the connection is over. What passwords it saw are gone
// with it.
func (in *input) release() {
	if in.large != nil {
		clear((*in.large)[:in.w])
		in.pool.Put(in.large)
		in.large = nil
	}
	in.buf, in.r, in.w = nil, 0, 0
}

var (
	errLineTooLong = errors.New("smtp: the line is too long")
	errLineEndless = errors.New("smtp: the line has no end")
	errBareLF      = errors.New("smtp: the line ends in a bare LF")
)

// line takes a line, given without its end and valid until the next fill. The bound, CRLF
// included, depends on how the line begins. A line beyond it is skipped and told as
// errLineTooLong.
//
// Lines are parted at LF, and one without CR before it is errBareLF: what is behind it must
// not be taken for a command (the smuggling of CVE-2023-51764 has a command side too).
func (in *input) line(bound func(start []byte) int, bareLF bool, fill func() error) ([]byte, error) {
	seen := 0
	for {
		b := in.unread()
		i := bytes.IndexByte(b[seen:], '\n')
		if i < 0 {
			seen = len(b)
			if seen > bound(b) {
				return nil, in.skipLine(fill)
			}
			if in.full() {
				in.grow()
			}
			if err := fill(); err != nil {
				return nil, err
			}
			continue
		}
		line := b[:seen+i]
		in.consume(len(line) + 1)
		switch {
		case len(line)+1 > bound(b):
			return nil, errLineTooLong
		case bytes.HasSuffix(line, []byte("\r")):
			return line[:len(line)-1], nil
		case bareLF:
			return line, nil
		}
		return nil, errBareLF
	}
}

// skipLine reads to the line's end, with a bound of its own.
func (in *input) skipLine(fill func() error) error {
	for skipped := 0; skipped < mostSkipped; {
		if i := bytes.IndexByte(in.unread(), '\n'); i >= 0 {
			in.consume(i + 1)
			return errLineTooLong
		}
		skipped += len(in.unread())
		in.discard()
		if err := fill(); err != nil {
			return err
		}
	}
	return errLineEndless
}
