package content

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/dipylon/dipylon/backends/mail/header"
)

// EmptyHeader is the joint to a message whose first line is no field.
const EmptyHeader = "\r\n"

// Joint is what has to stand between fields that are put in front of a message and the message.
// Its first line would be a part of the last of them where it begins with white space (RFC 5322
// §2.2.3), and anybody could go on with our trace. So the first line is a field, or the header is
// empty, which the empty line says that is given here.
//
// QUIRK: a line that begins with "From " or ">From " is what mbox files have in front of a
// message, and some programs send it: it gets a field's name, so that the header behind it is
// one still.
func Joint(message io.Reader) (string, error) {
	lines := readers.Get().(*bufio.Reader)
	defer giveBack(lines)
	lines.Reset(message)
	start, err := lines.Peek(nameMost)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line, _, ended := bytes.Cut(start, []byte("\n"))
	switch {
	case len(start) == 0, ended && len(bytes.TrimRight(line, "\r")) == 0:
		return "", nil // an empty header
	case bytes.HasPrefix(line, []byte("From ")), bytes.HasPrefix(line, []byte(">From ")):
		return "X-Mailbox-Line: ", nil
	}
	if _, ok := header.FieldName(line); ok {
		return "", nil
	}
	return EmptyHeader, nil
}

// nameMost bounds a field's name: one that does not end within it is none.
const nameMost = 1000

// Without gives a message without the fields of a name in its header. It holds no more of it than
// a line's beginning.
func Without(message io.Reader, name string) io.Reader { return newWithout(message, name) }

// OctetsOf counts the octets that [Without] leaves out.
func OctetsOf(message io.Reader, name string) (octets int64, err error) {
	w := &without{lines: readers.Get().(*bufio.Reader), name: name}
	defer giveBack(w.lines)
	w.lines.Reset(message)
	for !w.body {
		piece, err := w.lines.ReadSlice('\n')
		if len(piece) == 0 && errors.Is(err, io.EOF) {
			break
		}
		if len(piece) == 0 && err != nil {
			return 0, err
		}
		if w.look(piece); w.drops {
			octets += int64(len(piece))
		}
	}
	return octets, nil
}

// readers are for looks at a message's beginning, which each message gets several of.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, linesMost) }}

const linesMost = 4 << 10

// giveBack keeps a reader for the next look, and nothing of the message.
func giveBack(r *bufio.Reader) {
	r.Reset(nil)
	readers.Put(r)
}

func newWithout(message io.Reader, name string) *without {
	return &without{lines: bufio.NewReaderSize(message, linesMost), name: name}
}

type without struct {
	lines  *bufio.Reader
	name   string
	piece  []byte // of the header, to be given
	inLine bool   // the next piece goes on with a line
	drops  bool   // the field that is being read is left out
	body   bool
}

// Read implements [io.Reader].
func (w *without) Read(p []byte) (int, error) {
	for len(w.piece) == 0 {
		if w.body {
			return w.lines.Read(p)
		}
		piece, err := w.lines.ReadSlice('\n')
		if len(piece) == 0 && err != nil {
			return 0, err
		}
		w.look(piece)
	}
	n := copy(p, w.piece)
	w.piece = w.piece[n:]
	return n, nil
}

// look decides on a line, or on a piece of a long one.
func (w *without) look(piece []byte) {
	starts := !w.inLine
	w.inLine = piece[len(piece)-1] != '\n'
	switch {
	case !starts:
	case len(bytes.TrimRight(piece, "\r\n")) == 0:
		w.body, w.drops = true, false
	case piece[0] != ' ' && piece[0] != '\t':
		name, ok := header.FieldName(piece)
		w.drops = ok && header.Field{Name: name}.Is(w.name)
	}
	if !w.drops {
		w.piece = piece
	}
}
