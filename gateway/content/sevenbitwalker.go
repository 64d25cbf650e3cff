package content

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/entity"
)

// place is where in a message a line is.
type place uint8

const (
	inHeader  place = iota
	inLeaf          // the content of a part that has no parts
	inKept          // of one that must stay as it is
	inBetween       // what nobody reads, in front of the first part or behind the last one
)

// walker goes through a message, line by line, and writes what becomes of it.
type walker struct {
	in       *bufio.Reader
	out      io.Writer
	learning bool
	plan     []encoding // of each part, in their order
	part     int
	around   []multipart // the ones that the line is in, the outermost first
	ended    error

	place     place
	header    []byte
	lineBegun bool // the next octets are not the first of their line
	eol       bool // a line end that is the boundary's, if one follows
	why       string
	text      bool

	encoder io.WriteCloser
	body    part
}

// multipart is one that was begun.
type multipart struct {
	boundary string // with "--" in front
	digest   bool   // its parts are messages, unless they say otherwise (RFC 2046 §5.1.5)
}

func newWalker(in io.Reader, out io.Writer) *walker {
	return &walker{in: bufio.NewReaderSize(in, 4<<10), out: out}
}

// all goes to the end.
func (w *walker) all() error {
	for {
		switch err := w.step(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// step takes one line, or a piece of a long one.
func (w *walker) step() error {
	if w.ended != nil {
		return w.ended
	}
	line, err := w.in.ReadSlice('\n')
	if text, cut := bytes.CutSuffix(line, []byte("\r")); cut && errors.Is(err, bufio.ErrBufferFull) {
		line = text // its LF may be in the next piece
		if err := w.in.UnreadByte(); err != nil {
			return err
		}
	}
	if len(line) > 0 {
		if failed := w.line(line); failed != nil {
			w.ended = failed
			return failed
		}
	}
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil
	case errors.Is(err, io.EOF):
		if w.ended = w.finish(); w.ended == nil {
			w.ended = io.EOF
			return nil // what is written last is there to be read
		}
		return w.ended
	}
	w.ended = err
	return err
}

// finish ends the last part.
func (w *walker) finish() error {
	if w.place == inHeader {
		return w.endHeader(nil)
	}
	if w.eol && w.encoder != nil {
		if err := w.content([]byte("\r\n")); err != nil {
			return err
		}
		w.eol = false
	}
	encoded := w.encoder != nil && w.plan[w.part] == inBase64
	if err := w.endPart(); err != nil {
		return err
	}
	if w.eol || encoded {
		return w.write([]byte("\r\n"))
	}
	return nil
}

func (w *walker) line(line []byte) error {
	first := !w.lineBegun
	w.lineBegun = line[len(line)-1] != '\n'
	if first {
		if depth, last := w.boundary(line); depth >= 0 {
			return w.atBoundary(line, depth, last)
		}
	}
	if w.place == inHeader {
		return w.headerLine(line, first)
	}
	if w.eol {
		w.eol = false
		if err := w.content([]byte("\r\n")); err != nil {
			return err
		}
	}
	if text, ended := bytes.CutSuffix(line, []byte("\n")); ended {
		line, w.eol = bytes.TrimSuffix(text, []byte("\r")), true
	}
	return w.content(line)
}

// boundary says which multipart's boundary a line is; -1: none's. The last one ends its multipart.
func (w *walker) boundary(line []byte) (depth int, last bool) {
	if len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return -1, false
	}
	text := string(bytes.TrimRight(line, " \t\r\n"))
	for depth := len(w.around) - 1; depth >= 0; depth-- {
		switch text {
		case w.around[depth].boundary:
			return depth, false
		case w.around[depth].boundary + "--":
			return depth, true
		}
	}
	return -1, false
}

// atBoundary ends a part, and begins the next one.
func (w *walker) atBoundary(line []byte, depth int, last bool) error {
	if w.place == inHeader {
		if err := w.endHeader(nil); err != nil {
			return err
		}
	}
	if err := w.endPart(); err != nil {
		return err
	}
	if w.eol {
		if err := w.write([]byte("\r\n")); err != nil {
			return err
		}
	}
	w.eol = false
	if err := w.write(line); err != nil {
		return err
	}
	if last {
		w.around, w.place = w.around[:depth], inBetween
		return nil
	}
	if w.part++; w.part >= partsMost {
		return cannot("it has more than %d parts", partsMost)
	}
	w.around, w.place = w.around[:depth+1], inHeader
	return nil
}

func (w *walker) headerLine(line []byte, first bool) error {
	if first && len(bytes.TrimRight(line, "\r\n")) == 0 {
		return w.endHeader(line)
	}
	if len(w.header)+len(line) > partHeaderMost {
		return cannot("the header of a part is longer than %d octets", partHeaderMost)
	}
	if !isASCII(line) {
		return cannot("the header of a part has octets outside ASCII")
	}
	w.header = append(w.header, line...)
	return nil
}

// endHeader is called at the blank line behind a header, or where it ends without one.
func (w *walker) endHeader(blank []byte) error {
	usual := "text/plain"
	if n := len(w.around); n > 0 && w.around[n-1].digest {
		usual = "message/rfc822"
	}
	f := fieldsOf(w.header, usual)
	if len(w.plan) <= w.part {
		w.plan = append(w.plan, asItIs)
	}
	w.body, w.why = part{}, ""
	w.text = strings.HasPrefix(f.kind, "text/")
	opaque := f.encoding != "" && f.encoding != "7bit" && f.encoding != "8bit" && f.encoding != "binary"
	text := w.header
	switch {
	case f.kind == "multipart/signed" || f.kind == "multipart/encrypted":
		w.keep("a part is signed or encrypted")
	case strings.HasPrefix(f.kind, "message/"):
		w.keep("a message is in it as " + f.kind)
	case opaque:
		w.keep("a part has octets outside ASCII in spite of its Content-Transfer-Encoding")
	case !strings.HasPrefix(f.kind, "multipart/"):
		w.place = inLeaf
		if !w.learning && w.plan[w.part] != asItIs {
			text = w.encoded(f)
		}
	case f.boundary == "" || len(f.boundary) > boundaryMost || len(w.around) >= nestingMost:
		w.keep("a multipart has no boundary, or too many others around it")
	default:
		w.place = inBetween
		w.around = append(w.around, multipart{"--" + f.boundary, f.kind == "multipart/digest"})
		if f.encoding != "" {
			text = replaced(w.header, "7bit")
		}
	}
	err := w.write(text)
	if err == nil {
		err = w.write(blank)
	}
	w.header = w.header[:0]
	return err
}

func (w *walker) keep(why string) { w.place, w.why = inKept, why }

// encoded is the header of a part that is encoded. The first one is the message's.
func (w *walker) encoded(f fields) []byte {
	how := w.plan[w.part].name()
	w.encoder = entity.NewEncoder(w.out, how)
	text := replaced(w.header, how)
	if !f.typed { // RFC 1428 §3
		text = append(text, "Content-Type: text/plain; charset=unknown-8bit\r\n"...)
	}
	if w.part == 0 && !f.version {
		text = append(text, "MIME-Version: 1.0\r\n"...)
	}
	return text
}

// content takes octets of a body.
func (w *walker) content(p []byte) error {
	switch w.place {
	case inLeaf:
		if w.learning {
			w.body.look(p)
			return nil
		}
		if w.encoder != nil {
			_, err := w.encoder.Write(p)
			return err
		}
	case inKept:
		if w.learning && !isASCII(p) {
			return cannot("%s", w.why)
		}
	case inBetween:
		return w.write(masked(p))
	case inHeader:
	}
	return w.write(p)
}

// endPart ends the content of a part.
func (w *walker) endPart() error {
	if w.place == inLeaf && w.learning {
		w.plan[w.part] = w.body.encoding(w.text)
	}
	if w.encoder == nil {
		return nil
	}
	err := w.encoder.Close()
	w.encoder = nil
	return err
}

func (w *walker) write(p []byte) error {
	_, err := w.out.Write(p)
	return err
}
