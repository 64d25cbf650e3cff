package pop3

import (
	"bytes"
	"errors"
	"io"
	"strconv"
)

// The bounds of what a client may send on one line, CRLF included.
const (
	maxCommandLine = 255       // RFC 2449 §4
	maxSASLLine    = 12288 + 2 // RFC 4954 §4 has the number; RFC 5034 §4 leaves it open
	maxMechanism   = 64        // of AUTH, a mechanism's name, and the blanks between them
	maxDiscarded   = 64 << 10  // of an overlong line, before the connection is given up
	inputSize      = 512       // what an idle session keeps
)

var (
	// errLongLine: the line was over its bound; it has been skipped to its end.
	errLongLine = errors.New("line too long")
	// errEndlessLine: more than maxDiscarded octets, and still no end of the line.
	errEndlessLine = errors.New("line without an end")
	// errBareLF: the line ended in LF alone; it has been skipped.
	errBareLF = errors.New("line ends in LF alone")
)

// input cuts what a client sends into lines, however it arrives. Its buffer is small, as
// most sessions are idle, and grows for the lines of a SASL exchange only.
type input struct {
	buf     []byte
	r, w    int // buf[r:w] is unread
	scanned int // buf[r:r+scanned] has no LF
	skipped int // octets of an overlong line that are gone
	auth    int // the bound of a line that begins with AUTH, where it has one of its own
	err     error
	total   int64
}

// filler reads more of what the client sends. It is an interface and no function so that an idle
// session, which waits below it, needs one stack frame less: 4 KiB of stack are just enough.
type filler interface {
	fill(p []byte) (int, error)
}

// line returns the next line without its CRLF, valid until the next call, reading more from the
// filler as needed. QUIRK: with bareLF, a line may end in LF alone, see QuirkBareLF.
func (in *input) line(limit int, bareLF bool, from filler) ([]byte, error) {
	for {
		if line, ok, err := in.take(limit, bareLF); ok || err != nil {
			return line, err
		}
		if in.err != nil {
			return nil, in.err
		}
		in.makeRoom(limit)
		n, err := from.fill(in.buf[in.w:])
		in.add(n, err)
	}
}

// take cuts a line from the buffer; ok is false when there is none yet.
func (in *input) take(limit int, bareLF bool) (line []byte, ok bool, err error) {
	unread := in.buf[in.r:in.w]
	limit = in.bound(limit)
	i := bytes.IndexByte(unread[in.scanned:], '\n')
	if i < 0 {
		return nil, false, in.keep(limit)
	}
	i += in.scanned
	in.r += i + 1
	in.scanned = 0
	if in.skipped > 0 || i+1 > limit {
		in.skipped = 0
		return nil, false, errLongLine
	}
	line = unread[:i]
	if i > 0 && line[i-1] == '\r' {
		return line[:i-1], true, nil
	}
	if !bareLF {
		return nil, false, errBareLF
	}
	return line, true, nil
}

// bound is the limit of the line that begins here.
func (in *input) bound(limit int) int {
	if in.auth <= limit {
		return limit
	}
	start := bytes.TrimLeft(in.buf[in.r:in.w], " ")
	if len(start) >= 5 && bytes.EqualFold(start[:5], []byte("AUTH ")) {
		return in.auth
	}
	return limit
}

// keep holds on to the start of a line, or lets it go when it is too long already.
func (in *input) keep(limit int) error {
	in.scanned = in.w - in.r
	if in.skipped == 0 && in.scanned < limit {
		return nil
	}
	in.skipped += in.scanned
	in.r, in.w, in.scanned = 0, 0, 0
	if in.skipped > maxDiscarded {
		return errEndlessLine
	}
	return nil
}

// makeRoom leaves free space behind buf[:w], enough for a line.
func (in *input) makeRoom(limit int) {
	if size := max(in.bound(limit), inputSize); len(in.buf) < size {
		grown := make([]byte, size)
		in.w = copy(grown, in.buf[in.r:in.w])
		in.buf, in.r = grown, 0
		return
	}
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
}

// add counts n octets that were read behind buf[:w].
func (in *input) add(n int, err error) {
	in.w += n
	in.total += int64(n)
	if err != nil {
		in.err = err
	}
}

// shrink gives back what the lines of a SASL exchange needed.
func (in *input) shrink() {
	if unread := in.w - in.r; len(in.buf) > inputSize && unread <= inputSize {
		small := make([]byte, inputSize)
		in.w = copy(small, in.buf[in.r:in.w])
		in.r = 0
		in.buf = small
	}
}

// forget throws away what has been read ahead, and any memory of it: for STLS (RFC 2595 §4).
func (in *input) forget() {
	clear(in.buf)
	in.r, in.w, in.scanned, in.skipped = 0, 0, 0, 0
}

// pending says whether something is there to be cut into lines.
func (in *input) pending() bool { return in.r < in.w }

// args are the arguments of a command.
type args struct {
	rest  []byte // all that comes after the verb and one space
	field [2]string
	n     int
}

// maxVerb is how long a verb may be to be looked up at all.
const maxVerb = 8

// splitVerb parts a line into its verb, upper case, and the rest. Blanks in front are skipped.
// What cannot be a verb gives an empty one.
func splitVerb(line []byte) (verb string, rest []byte) {
	line = bytes.TrimLeft(line, " ")
	word, rest, _ := bytes.Cut(line, []byte{' '})
	if len(word) > maxVerb {
		return "", rest
	}
	var upper [maxVerb]byte
	for i, c := range word {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	return string(upper[:len(word)]), rest
}

// splitArgs parts the rest of a line at blanks. more says that there are more than fit.
func splitArgs(rest []byte) (a args, more bool) {
	a.rest = rest
	for {
		rest = bytes.TrimLeft(rest, " ")
		if len(rest) == 0 {
			return a, false
		}
		if a.n == len(a.field) {
			return a, true
		}
		word, after, _ := bytes.Cut(rest, []byte{' '})
		a.field[a.n] = string(word)
		a.n++
		rest = after
	}
}

// hasControl says whether there are control characters, NUL and DEL among them.
func hasControl(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c == 0x7F {
			return true
		}
	}
	return false
}

// parseNumber reads a decimal number; ok is false for anything but digits, "+1" and "-1"
// included. What is over most is most.
func parseNumber(s string, most int) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	if s == "" {
		return 0, false
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v > int64(most) {
		return most, true
	}
	return int(v), true
}

// isGone says whether an error of reading means no more than that the client has left.
func isGone(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
