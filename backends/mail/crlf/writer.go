package crlf

import (
	"bytes"
	"io"
)

// Writer writes content in canonical form with LF line ends: what a [Reader] turns back into
// the same octets. Content that is not canonical is to be made so first. Flush ends it.
type Writer struct {
	dst io.Writer
	buf *[bufferSize]byte
	n   int  // buf[:n] is converted and not yet written
	cr  bool // a CR has come whose successor is not known yet
	err error
}

// NewWriter returns a Writer to dst.
func NewWriter(dst io.Writer) *Writer {
	return &Writer{dst: dst, buf: buffers.Get().(*[bufferSize]byte)}
}

// Write converts p. An error of the destination stays.
func (w *Writer) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 && w.err == nil {
		if w.cr {
			w.cr = false
			if p[0] != '\n' {
				w.put([]byte{'\r'})
			}
		}
		cr := bytes.IndexByte(p, '\r')
		if cr < 0 {
			w.put(p)
			break
		}
		w.put(p[:cr])
		w.cr, p = true, p[cr+1:]
	}
	if w.err != nil {
		return 0, w.err
	}
	return written, nil
}

// Flush writes what is left and gives the buffer back; the Writer is not used again.
func (w *Writer) Flush() error {
	if w.cr && w.err == nil {
		w.put([]byte{'\r'})
	}
	w.cr = false
	w.empty()
	if w.buf != nil {
		buffers.Put(w.buf)
		w.buf = nil
	}
	if w.err == nil {
		w.err = io.ErrClosedPipe
		return nil
	}
	return w.err
}

func (w *Writer) put(p []byte) {
	for len(p) > 0 && w.err == nil {
		n := copy(w.buf[w.n:], p)
		w.n += n
		p = p[n:]
		if w.n == len(w.buf) {
			w.empty()
		}
	}
}

func (w *Writer) empty() {
	if w.n == 0 || w.err != nil {
		return
	}
	n, err := w.dst.Write(w.buf[:w.n])
	if err == nil && n < w.n {
		err = io.ErrShortWrite
	}
	w.n, w.err = 0, err
}
