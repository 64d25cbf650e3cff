package smtp

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

const (
	smallBuffer  = 2 << 10  // while a connection waits for commands
	middleBuffer = 8 << 10  // while a message begins to come in, and for long lines: most messages are short
	largeBuffer  = 64 << 10 // once so much has come at once
)

// input holds the octets that the client has sent and nobody has read yet. It is small
// while the connection is idle, and borrows a larger buffer from a pool otherwise.
type input struct {
	buf   []byte
	r, w  int // buf[r:w] is not read yet
	pools *pools
	small []byte
	lent  *[]byte // what is borrowed
	most  int     // how far that was written since it was
	total int64   // octets that have come, TLS taken off
}

func newInput(lend *pools) *input {
	small := make([]byte, smallBuffer)
	return &input{buf: small, small: small, pools: lend}
}

// pools lend buffers of the two larger sizes.
type pools struct{ middle, large sync.Pool }

func newPools() *pools {
	of := func(size int) func() any {
		return func() any { b := make([]byte, size); return &b }
	}
	p := &pools{}
	p.middle.New, p.large.New = of(middleBuffer), of(largeBuffer)
	return p
}

// of is the pool of a buffer's size.
func (p *pools) of(buffer []byte) *sync.Pool {
	if len(buffer) == middleBuffer {
		return &p.middle
	}
	return &p.large
}

// unread is valid until the next fill.
func (in *input) unread() []byte { return in.buf[in.r:in.w] }

func (in *input) consume(n int) { in.r += n }

func (in *input) discard() { in.r, in.w = 0, 0 }

// full says that the buffer has no room for another octet.
func (in *input) full() bool { return in.r == 0 && in.w == len(in.buf) }

// filled says that more may have come than there was room for.
func (in *input) filled() bool { return in.w == len(in.buf) }

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
	in.most = max(in.most, in.w)
	in.total += int64(n)
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// grow changes to the next larger buffer, if there is one.
func (in *input) grow() {
	pool := &in.pools.middle
	if in.lent != nil {
		if len(in.buf) == largeBuffer {
			return
		}
		pool = &in.pools.large
	}
	next := pool.Get().(*[]byte)
	n := copy(*next, in.unread())
	in.giveBack()
	in.lent, in.buf, in.r, in.w, in.most = next, *next, 0, n, n
}

// shrink gives what is borrowed back, as soon as what is left fits in the small buffer.
func (in *input) shrink() {
	if in.lent == nil || in.w-in.r > smallBuffer {
		return
	}
	n := copy(in.small, in.unread())
	in.giveBack()
	in.buf, in.r, in.w = in.small, 0, n
}

// release gives the buffer back when the connection is over.
func (in *input) release() {
	in.giveBack()
	in.buf, in.r, in.w = nil, 0, 0
}

// giveBack gives back what is borrowed, if anything is. What passwords and mail it saw are gone with it, also behind what came last.
func (in *input) giveBack() {
	if in.lent == nil {
		return
	}
	clear((*in.lent)[:in.most])
	in.pools.of(*in.lent).Put(in.lent)
	in.lent = nil
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
