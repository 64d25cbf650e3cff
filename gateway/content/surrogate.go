package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends/mail/header"
)

// Surrogate gives a message, or the top of one, in the form for a client that has not asked for
// UTF-8 (RFC 6856 §2): where the header has UTF-8 in it, another header takes its place that is
// ASCII, after RFC 6857 and RFC 6858. Everything else passes as it is, to the octet.
//
// # Why it has as many octets as the message
//
// LIST tells sizes before anything is read, and RETR has to keep to them (I6). Which messages
// have UTF-8 in their headers is known nowhere: a store's list does not say, the gateway has not
// seen the mail that others put there, and reading each header to find out is a read of each
// message, which is what the store's sizes are there to spare. So the surrogate is made as long
// as what it stands for, and no size depends on who asks. What encoding takes, signatures and
// trace fields give (they say nothing any more, about a header that is another, or to anybody
// who only reads), and what is over is filled up.
//
// A header of more than [header.Most] octets, or whose octets are no UTF-8, is left as it is:
// what those mean is guessed by clients as it always was. The headers of parts within the body
// are left, too.
//
// A header of more than [header.FieldsMost] fields has question marks in the place of what is not ASCII.
//
// The context is that of the reading: when it ends, so does the work on a header.
//
// It is an [io.WriterTo], which does not copy what passes as it is where the message is one.
func Surrogate(ctx context.Context, message io.ReadCloser) io.ReadCloser {
	return &surrogate{ctx: ctx, message: message}
}

type surrogate struct {
	ctx     context.Context //nolint:containedctx // of the reading, which is the surrogate's life
	message io.ReadCloser
	head    []byte // what has been read of the header
	out     []byte // what is to be given before the rest of the message
	past    bool   // the header has been dealt with
}

// take looks at the next octets of a header that does not end before them. It says how many of
// them belong to it, and whether that is its end.
func (s *surrogate) take(p []byte) (octets int, ends bool) {
	before := len(s.head)
	from := max(0, before-3)
	s.head = append(s.head, p...)
	end := headerEnd(s.head[from:], from == 0)
	if end < 0 {
		return len(p), false
	}
	s.head = s.head[:from+end]
	return from + end - before, true
}

// headerEnd finds the end of the empty line behind a header, or -1.
func headerEnd(p []byte, start bool) int {
	if start && bytes.HasPrefix(p, []byte("\r\n")) {
		return 2 // there is no field at all
	}
	if at := bytes.Index(p, []byte("\r\n\r\n")); at >= 0 {
		return at + 4
	}
	return -1
}

// Read implements [io.Reader].
func (s *surrogate) Read(p []byte) (int, error) {
	for !s.past {
		if err := s.readHeader(); err != nil {
			return 0, err
		}
	}
	if len(s.out) > 0 {
		n := copy(p, s.out)
		s.out = s.out[n:]
		return n, nil
	}
	return s.message.Read(p)
}

// readHeader reads some of the header, and deals with it at its end.
func (s *surrogate) readHeader() error {
	var piece [4 << 10]byte
	n, err := s.message.Read(piece[:])
	octets, ends := s.take(piece[:n])
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err // nothing of it has been given
	case ends, err != nil: // without an end there is no body
		front, failed := downgrade(s.ctx, s.head)
		if failed != nil {
			return failed
		}
		s.out, s.past = append(front, piece[octets:n]...), true
	case len(s.head) > header.Most:
		s.out, s.past = s.head, true
	}
	if s.past {
		s.head = nil
	}
	return nil
}

// WriteTo implements [io.WriterTo].
func (s *surrogate) WriteTo(w io.Writer) (int64, error) {
	direct, ok := s.message.(io.WriterTo)
	if !ok || s.past || len(s.head) > 0 { // it cannot, or somebody has read some of it
		return io.Copy(w, struct{ io.Reader }{s})
	}
	to := &surrogateWriter{surrogate: s, to: w}
	_, err := direct.WriteTo(to)
	if err == nil && !s.past {
		s.past = true
		err = to.passHeader()
	}
	return to.written, err
}

// Close implements [io.Closer].
func (s *surrogate) Close() error { return s.message.Close() }

// surrogateWriter is where a message writes itself to.
type surrogateWriter struct {
	*surrogate
	to      io.Writer
	written int64
}

func (w *surrogateWriter) pass(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.written += int64(n)
	return n, err
}

// passHeader passes what stands for the header on.
func (w *surrogateWriter) passHeader() error {
	front, err := downgrade(w.ctx, w.head)
	if err == nil {
		_, err = w.pass(front)
	}
	return err
}

// Write implements [io.Writer].
func (w *surrogateWriter) Write(p []byte) (int, error) {
	if w.past {
		return w.pass(p)
	}
	if end := headerEnd(p, true); len(w.head) == 0 && end >= 0 && isASCII(p[:end]) {
		w.past = true // as nearly always
		return w.pass(p)
	}
	octets, ends := w.take(p)
	switch {
	case ends:
		if err := w.passHeader(); err != nil {
			return 0, err
		}
	case len(w.head) > header.Most:
		if _, err := w.pass(w.head); err != nil {
			return 0, err
		}
	default:
		return len(p), nil
	}
	w.past, w.head = true, nil
	if _, err := w.pass(p[octets:]); err != nil {
		return 0, err
	}
	return len(p), nil
}

func isASCII(p []byte) bool {
	for _, c := range p {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
