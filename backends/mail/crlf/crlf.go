// Package crlf turns what is found in files into the canonical form of a message, and back.
//
// In canonical form every line, the last one included, ends with CRLF, and neither CR nor LF
// stands alone (RFC 5322 §2.3). Unix tools keep mail with LF. A backend whose messages are
// files reads them through a [Reader]:
//
//	r := crlf.NewReader(file)
//	defer r.Release()
//	_, err := io.Copy(w, r)
//
// asks for the length of that form without making it with [Length] or a [Counter], gives only
// the top of a message with [Top], and writes canonical content as LF lines with a [Writer].
//
// The canonical form of any octets is
//
//   - CRLF for each LF that has no CR before it; CRLF stays as it is;
//   - one space for each CR that has no LF behind it. QUIRK: RFC 5322 has no rule for a lone
//     CR, and SMTP and POP3 may not carry one (RFC 5321 §2.3.8). Dropping it would change the
//     length, and programs that count only line ends (the W= of Maildir file names is such a
//     count) would disagree with us;
//   - CRLF at the end, where the last line has no end. Nothing stays nothing.
//
// So its length is: octets + LFs − CRLF pairs, and 2 more where the last octet is not LF.
package crlf

import (
	"bytes"
	"io"
	"sync"
)

// bufferSize is the unit of reading and writing, in octets.
const bufferSize = 128 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Reader gives the canonical form of what it reads. It is used by one goroutine. An error of
// the source, other than io.EOF, is returned when it comes and stays.
type Reader struct {
	src  io.Reader
	buf  *[bufferSize]byte // from the pool; nil: not taken yet, or given back
	r, w int               // buf[r:w] is read and not yet converted
	err  error             // what ended the source

	rest  []byte  // converted, and goes out before anything else
	small [4]byte // backs rest when the caller's buffer is too small to convert into
	open  bool    // the last line has no end yet
	ended bool    // the end of the last line has been seen to
}

// NewReader returns a Reader of src.
func NewReader(src io.Reader) *Reader { return &Reader{src: src} }

// Release gives up what has not been read and returns the reader's buffer; reading on gives
// io.ErrClosedPipe. It may be called more than once, and after the end.
func (r *Reader) Release() {
	if !r.ended || len(r.rest) > 0 {
		r.err, r.ended, r.rest = io.ErrClosedPipe, true, nil
	}
	r.giveBack()
}

func (r *Reader) giveBack() {
	if r.buf != nil {
		buffers.Put(r.buf)
		r.buf, r.r, r.w = nil, 0, 0
	}
}

// Read reads canonical octets.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if len(r.rest) > 0 {
			n := copy(p, r.rest)
			r.rest = r.rest[n:]
			return n, nil
		}
		if n := r.convertTo(p); n > 0 {
			return n, nil
		}
		if len(r.rest) > 0 {
			continue
		}
		if err := r.more(); err != nil {
			return 0, err
		}
	}
}

// WriteTo writes the canonical form of all that is left.
func (r *Reader) WriteTo(w io.Writer) (written int64, err error) {
	out := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(out)
	for {
		n, err := r.Read(out[:])
		if n > 0 {
			m, err := w.Write(out[:n])
			written += int64(m)
			if err != nil {
				return written, err
			}
			if m < n {
				return written, io.ErrShortWrite
			}
		}
		switch {
		case err == io.EOF:
			return written, nil
		case err != nil:
			return written, err
		}
	}
}

// convertTo converts what is buffered. Where p is too small for a line's end, the octets are
// left in r.rest.
func (r *Reader) convertTo(p []byte) int {
	if r.r == r.w {
		return 0
	}
	dst := p
	if len(p) < len(r.small) {
		dst = r.small[:]
	}
	src := r.buf[r.r:r.w]
	nd, ns := convert(dst, src, r.err != nil)
	r.r += ns
	if nd > 0 {
		r.open = dst[nd-1] != '\n'
	}
	if len(p) < len(r.small) {
		r.rest = r.small[:nd]
		return 0
	}
	return nd
}

// more fills the buffer, or sees to the end: it returns nil when there is something to give.
func (r *Reader) more() error {
	if r.err == nil {
		r.fill()
		return nil
	}
	r.giveBack()
	if r.err == io.EOF && !r.ended {
		r.ended = true
		if r.open {
			r.rest = append(r.small[:0], '\r', '\n')
			return nil
		}
	}
	return r.err
}

// emptyReads is how often a source may return nothing and no error in a row, as in bufio.
const emptyReads = 100

func (r *Reader) fill() {
	if r.buf == nil {
		r.buf = buffers.Get().(*[bufferSize]byte)
		r.r, r.w = 0, 0
	}
	r.w = copy(r.buf[:], r.buf[r.r:r.w]) // a CR whose successor is not known yet, or nothing
	r.r = 0
	for range emptyReads {
		n, err := r.src.Read(r.buf[r.w:])
		r.w += n
		r.err = err
		if n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}

// convert writes the canonical form of src to dst, as far as there is room, and says how much
// it wrote and used. A CR at the end of src is left there unless last says that nothing follows.
func convert(dst, src []byte, last bool) (nd, ns int) {
	for ns < len(src) {
		window := src[ns:min(len(src), ns+len(dst)-nd)]
		cr := bytes.IndexByte(window, '\r')
		if cr < 0 {
			cr = len(window)
		}
		d, s := expand(dst[nd:], window[:cr])
		nd, ns = nd+d, ns+s
		if s < cr || ns == len(src) || src[ns] != '\r' {
			return nd, ns // dst is full, or src is used up
		}
		switch {
		case ns+1 == len(src) && !last:
			return nd, ns
		case ns+1 < len(src) && src[ns+1] == '\n':
			if len(dst)-nd < 2 {
				return nd, ns
			}
			dst[nd], dst[nd+1] = '\r', '\n'
			nd, ns = nd+2, ns+2
		case nd == len(dst):
			return nd, ns
		default:
			dst[nd] = ' '
			nd, ns = nd+1, ns+1
		}
	}
	return nd, ns
}

// expand is convert for a src without CR.
func expand(dst, src []byte) (nd, ns int) {
	for {
		lf := bytes.IndexByte(src[ns:], '\n')
		if lf < 0 {
			n := copy(dst[nd:], src[ns:])
			return nd + n, ns + n
		}
		if len(dst)-nd < lf+2 {
			n := copy(dst[nd:], src[ns:ns+lf])
			return nd + n, ns + n
		}
		copy(dst[nd:], src[ns:ns+lf])
		dst[nd+lf], dst[nd+lf+1] = '\r', '\n'
		nd, ns = nd+lf+2, ns+lf+1
	}
}
