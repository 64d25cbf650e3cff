package content

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"

	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi"
)

// watched is a file that is read until a context ends, and that notes whether reading it failed.
type watched struct {
	ctx    context.Context //nolint:containedctx // of the reading
	r      io.ReaderAt
	failed error
}

// ReadAt implements [io.ReaderAt].
func (w *watched) ReadAt(p []byte, offset int64) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.r.ReadAt(p, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		w.failed = err
	}
	return n, err
}

// fence passes lines on, and fails before one that begins with a delimiter (RFC 2046 §5.1.1), and before octets of 8 bits,
// which a message may have been declared not to have (RFC 6152 §3).
type fence struct {
	to         io.Writer
	delimiters []string // with their two hyphens
	line       []byte   // the beginning of the line, as long as it may be a delimiter's
	inLine     bool     // it is none
	eightBit   bool     // the message has octets of 8 bits already
}

// delimiterMost is how much of a line is compared. A longer delimiter is taken for the beginning of itself.
const delimiterMost = 1000

// Write implements [io.Writer].
func (f *fence) Write(octets []byte) (int, error) {
	for _, c := range octets {
		if c >= utf8.RuneSelf && !f.eightBit {
			return 0, errEightBit
		}
		if f.inLine && c != '\n' {
			continue
		}
		if c == '\n' {
			f.line, f.inLine = f.line[:0], false
			continue
		}
		if f.line = append(f.line, c); f.closes() {
			return 0, errBoundary
		}
		f.inLine = len(f.line) >= 2 && string(f.line[:2]) != "--" || f.line[0] != '-' || len(f.line) > delimiterMost
	}
	return f.to.Write(octets)
}

// hasEightBit says whether there are octets of 8 bits.
func hasEightBit(r io.Reader) (bool, error) {
	buffered := bufio.NewReader(r)
	for {
		switch c, err := buffered.ReadByte(); {
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, err
		case c >= utf8.RuneSelf:
			return true, nil
		}
	}
}

// closes says whether the line begins with a delimiter.
func (f *fence) closes() bool {
	for _, d := range f.delimiters {
		if len(f.line) == min(len(d), delimiterMost) && string(f.line) == d[:len(f.line)] {
			return true
		}
	}
	return false
}

// sameText says whether the plain text of an object is that of a part, but for white space.
func sameText(e *entity.Entity, m *mapi.Message) (bool, error) {
	page, err := e.TextPage()
	if err != nil {
		return false, err
	}
	theirs, err := m.OpenText(mapi.PidTagBody)
	if err != nil {
		return false, err
	}
	defer theirs.Close()
	a, err := sumOfText(e.DecodedText(page))
	if err != nil {
		return false, err
	}
	b, err := sumOfText(theirs)
	return a == b, err
}

// blanks are left out where texts are compared.
var blanks = runes.In(unicode.White_Space)

// sumOfText is the hash of a text in UTF-8 without its white space.
func sumOfText(text io.Reader) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	_, err = io.Copy(h, transform.NewReader(text, runes.Remove(blanks)))
	h.Sum(sum[:0])
	return sum, err
}
