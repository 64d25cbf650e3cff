package entity

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"io"
	"slices"
	"strings"
)

// transferEncoding returns the encoding that a field names, and "" for one that changes nothing.
func transferEncoding(value string) string {
	switch name := strings.ToLower(ParseParameters(value).Value); name {
	case "base64", "quoted-printable":
		return name
	case "x-uuencode", "x-uue", "uuencode":
		return "uuencode"
	}
	return "" // RFC 2045 §6.2, and those that nobody knows
}

// decode takes a transfer encoding off. What is wrong in it is skipped, or kept as it is: there is no error
// but the reader's.
func decode(r io.Reader, encoding string) io.Reader {
	source := bufio.NewReaderSize(r, 4<<10)
	switch encoding {
	case "base64":
		return &stepReader{step: (&base64Decoder{r: source}).step}
	case "quoted-printable":
		return &stepReader{step: (&quotedDecoder{r: source}).step}
	case "uuencode":
		return &stepReader{step: (&uuDecoder{r: source}).step}
	}
	return r
}

// DecodeUU is what stands in UUENCODE between the lines "begin" and "end".
func DecodeUU(r io.Reader) io.Reader { return decode(r, "uuencode") }

// stepReader is a reader made of a function that appends some octets to those given.
type stepReader struct {
	step func([]byte) ([]byte, error)
	have []byte
	left []byte // of have
	err  error
}

// Read gives what the steps make.
func (s *stepReader) Read(p []byte) (n int, err error) {
	for len(s.left) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.have, s.err = s.step(s.have[:0])
		s.left = s.have
	}
	n = copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}

// base64Decoder reads base64, RFC 2045 §6.8. Characters of no meaning are skipped, and padding ends a
// group wherever it stands: lists append text, and some programs encode piece by piece.
type base64Decoder struct {
	r    *bufio.Reader
	bits uint32
	n    int // characters of the group
}

var base64Values = func() (values [256]int8) {
	for i := range values {
		values[i] = -1
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		values[c] = int8(i) // < 64
	}
	values['='] = -2
	return values
}()

func (d *base64Decoder) step(out []byte) ([]byte, error) {
	_, err := d.r.Peek(1)
	if err != nil {
		return d.flush(out), err
	}
	piece, err := d.r.Peek(d.r.Buffered())
	out = slices.Grow(out, base64.RawStdEncoding.DecodedLen(len(piece))+3) // and what is left of the last piece
	for _, c := range piece {
		switch v := base64Values[c]; {
		case v >= 0:
			d.bits = d.bits<<6 | uint32(v)
			if d.n++; d.n == 4 {
				out = append(out, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
				d.n = 0
			}
		case v == -2:
			out = d.flush(out)
		}
	}
	if err == nil {
		_, err = d.r.Discard(len(piece))
	}
	return out, err
}

// flush writes what a group that is not full has.
func (d *base64Decoder) flush(out []byte) []byte {
	switch d.n {
	case 2:
		out = append(out, byte(d.bits>>4))
	case 3:
		out = append(out, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.n = 0
	return out
}

// quotedDecoder reads quoted-printable, RFC 2045 §6.7.
type quotedDecoder struct{ r *bufio.Reader }

// blanksMost is how many blanks at a line's end are taken for those that transport has added.
const blanksMost = 1000

func (d *quotedDecoder) step(out []byte) ([]byte, error) {
	for len(out) < 4<<10 {
		c, err := d.r.ReadByte()
		switch {
		case err != nil:
			return out, err
		case c == '=':
			out = d.escape(out)
		case c == ' ' || c == '\t':
			out = d.blanks(append(out, c))
		default:
			out = append(out, c)
		}
	}
	return out, nil
}

// escape reads what is behind an equals sign. RFC 2045 §6.7 (note 1): one that means nothing is kept.
func (d *quotedDecoder) escape(out []byte) []byte {
	next, _ := d.r.Peek(2) // an error comes again
	if len(next) == 2 {
		if c, is := hexOctet(next[0], next[1]); is {
			return d.discard(append(out, c), 2)
		}
	}
	blanks, lineEnd := d.lineEnd()
	if lineEnd < 0 {
		return append(out, '=')
	}
	return d.discard(out, blanks+lineEnd)
}

// blanks leaves out the blank that was read last, and those behind it, if a line ends with them.
func (d *quotedDecoder) blanks(out []byte) []byte {
	blanks, lineEnd := d.lineEnd()
	if lineEnd >= 0 {
		return d.discard(out[:len(out)-1], blanks)
	}
	next, _ := d.r.Peek(blanks) // is buffered
	return d.discard(append(out, next...), blanks)
}

// lineEnd says how many blanks follow, and how many octets of a line end behind them: -1 if there is none.
func (d *quotedDecoder) lineEnd() (blanks, lineEnd int) {
	for _, room := range []int{4, blanksMost} { // most often it is near
		next, err := d.r.Peek(room)
		blanks = len(next) - len(strings.TrimLeft(string(next), " \t"))
		switch rest := next[blanks:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return blanks, 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return blanks, 2
		case len(rest) > 1 || len(rest) == 1 && rest[0] != '\r':
			return blanks, -1
		case err != nil:
			return blanks, len(rest) // the end of the body ends the line
		}
	}
	return blanks, -1
}

func (d *quotedDecoder) discard(out []byte, n int) []byte {
	_, _ = d.r.Discard(n) // is buffered
	return out
}

func hexOctet(high, low byte) (byte, bool) {
	var octet [1]byte
	_, err := hex.Decode(octet[:], []byte{high, low})
	return octet[0], err == nil
}

// uuDecoder reads what uuencode(1) writes, the lines between "begin" and "end".
type uuDecoder struct {
	r     *bufio.Reader
	begun bool
}

func (d *uuDecoder) step(out []byte) ([]byte, error) {
	line, err := d.r.ReadSlice('\n')
	text := strings.TrimRight(string(line), "\r\n")
	switch {
	case !d.begun:
		d.begun = strings.HasPrefix(text, "begin ")
	case text == "end":
		return out, io.EOF
	default:
		out = append(out, uuLine(text)...)
	}
	if err == bufio.ErrBufferFull { // no line of uuencode is so long
		err = nil
	}
	return out, err
}

func uuLine(text string) (octets []byte) {
	if text == "" {
		return nil
	}
	length := int(text[0]-' ') & 63
	text = text[1:]
	for i := 0; i < len(text); i += 4 {
		var four [4]byte
		copy(four[:], text[i:])
		for j := range four {
			four[j] = (four[j] - ' ') & 63
		}
		octets = append(octets, four[0]<<2|four[1]>>4, four[1]<<4|four[2]>>2, four[2]<<6|four[3])
	}
	return octets[:min(length, len(octets))]
}
