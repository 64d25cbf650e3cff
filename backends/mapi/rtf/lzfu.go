package rtf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// What a compressed stream can have against it. Whatever could be read comes before these errors, which stand in
// the place of io.EOF: the caller decides whether a damaged body is better than none.
var (
	ErrFormat    = errors.New("rtf: the stream is no compressed RTF")
	ErrTruncated = errors.New("rtf: the stream ends too early")
	ErrChecksum  = errors.New("rtf: the checksum is wrong")
	ErrSize      = errors.New("rtf: the stream is not as long as it says")
)

// MS-OXRTFCP §2.1.3.1.1: the header, and how the contents are kept.
const (
	headerSize     = 16
	typeCompressed = 0x75465a4c // LZFu
	typeRaw        = 0x414c454d // MELA
	// COMPSIZE counts what follows it in the header.
	headerCounted = headerSize - 4
)

// MS-OXRTFCP §2.1.3.1: the dictionary is a ring, and a reference has 12 bits for where and 4 for how much.
const (
	ringSize     = 4096
	shortestRun  = 2
	longestRun   = 17
	lengthBits   = 4
	lengthMask   = 1<<lengthBits - 1
	tokensInARun = 8
)

// preload is what the dictionary has at first, 207 octets. MS-OXRTFCP §2.1.2.
const preload = `{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor ` +
	`MS Sans SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0` + "\r\n" + `\par \pard\plain\f0\fs20\b\i\u\tab\tx`

// checksum is the CRC of MS-OXRTFCP §2.1.3: the usual polynomial, without the inversions at both ends.
type checksum uint32

func (c *checksum) add(p []byte) { *c = ^checksum(crc32.Update(^uint32(*c), crc32.IEEETable, p)) }

// Decompressor reads RTF from a compressed stream, the value of PidTagRtfCompressed (MS-OXRTFCP §2.1.3.1.1). It gives no
// more than RAWSIZE says, and less than nine times what it has read.
type Decompressor struct {
	r        *bufio.Reader
	contents *contents
	kind     uint32
	crc      uint32
	left     int64 // what may still come by RAWSIZE

	ring    [ringSize]byte
	at      int  // where the ring is written
	control byte // the bits of the run, from the lowest
	tokens  int  // how many of them are left
	from    int  // a reference that is under way
	copying int

	ended bool // the end marker has been read
	err   error
}

// contents are what follows the header: they end where COMPSIZE says, and are added up.
type contents struct {
	r    io.Reader
	left int64
	sum  checksum
}

func (c *contents) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	c.sum.add(p[:n])
	return n, err
}

// NewDecompressor reads the header of r. Neither of the announced sizes costs memory.
func NewDecompressor(r io.Reader) (*Decompressor, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: it has no header of %d octets", ErrTruncated, headerSize)
		}
		return nil, fmt.Errorf("rtf: reading the header: %w", err)
	}
	size := int64(binary.LittleEndian.Uint32(header[0:])) - headerCounted
	d := &Decompressor{
		kind: binary.LittleEndian.Uint32(header[8:]),
		crc:  binary.LittleEndian.Uint32(header[12:]),
		left: int64(binary.LittleEndian.Uint32(header[4:])),
	}
	if d.kind != typeCompressed && d.kind != typeRaw {
		return nil, fmt.Errorf("%w: %q is neither LZFu nor MELA", ErrFormat, header[8:12])
	}
	if size < 0 {
		return nil, fmt.Errorf("%w: its size leaves no room for the header", ErrFormat)
	}
	d.contents = &contents{r: r, left: size}
	d.r = bufio.NewReader(d.contents)
	d.at = copy(d.ring[:], preload)
	return d, nil
}

// Read gives RTF. At the end of a damaged stream it returns ErrTruncated, ErrSize or ErrChecksum, and not io.EOF.
func (d *Decompressor) Read(p []byte) (n int, err error) {
	for n < len(p) && d.err == nil {
		if d.left == 0 {
			d.err = d.last()
			break
		}
		var got int
		if d.kind == typeRaw {
			got, d.err = d.raw(p[n:])
		} else {
			got, d.err = d.expand(p[n:])
		}
		n += got
		d.left -= int64(got)
	}
	if n > 0 {
		return n, nil
	}
	return 0, d.err
}

func (d *Decompressor) raw(p []byte) (int, error) {
	if int64(len(p)) > d.left {
		p = p[:d.left]
	}
	n, err := d.r.Read(p)
	return n, d.early(err)
}

// early is the error for contents that end before what they announced has come.
func (d *Decompressor) early(err error) error {
	if errors.Is(err, io.EOF) {
		return ErrTruncated
	}
	return err
}

// expand gives the next octet, or the next octets of a reference. MS-OXRTFCP §2.2.
func (d *Decompressor) expand(p []byte) (n int, err error) {
	if int64(len(p)) > d.left {
		p = p[:d.left]
	}
	if d.copying == 0 {
		literal, is, err := d.token()
		if err != nil || d.ended {
			return 0, err
		}
		if is {
			p[0] = d.put(literal)
			return 1, nil
		}
	}
	for ; n < len(p) && d.copying > 0; n++ {
		p[n] = d.put(d.ring[d.from])
		d.from = (d.from + 1) % ringSize
		d.copying--
	}
	return n, nil
}

func (d *Decompressor) put(c byte) byte {
	d.ring[d.at] = c
	d.at = (d.at + 1) % ringSize
	return c
}

// token reads the next token: a literal, or a reference, which is then under way. A reference to where the
// dictionary is written is the end.
func (d *Decompressor) token() (literal byte, is bool, err error) {
	if d.tokens == 0 {
		if d.control, err = d.r.ReadByte(); err != nil {
			return 0, false, d.early(err)
		}
		d.tokens = tokensInARun
	}
	reference := d.control&1 != 0
	d.control >>= 1
	d.tokens--
	high, err := d.r.ReadByte()
	if err != nil || !reference {
		return high, true, d.early(err)
	}
	low, err := d.r.ReadByte()
	if err != nil {
		return 0, false, d.early(err)
	}
	word := int(high)<<8 | int(low)
	d.from, d.copying = word>>lengthBits, word&lengthMask+shortestRun
	if d.from == d.at {
		d.copying, d.ended = 0, true
		return 0, false, d.finish(false)
	}
	return 0, false, nil
}

// last is called when RAWSIZE octets have been given: nothing but the end marker may follow. Some writers leave it out.
func (d *Decompressor) last() error {
	if d.kind == typeRaw {
		_, err := d.r.Peek(1)
		return d.finish(err == nil)
	}
	if d.copying > 0 {
		return d.finish(true)
	}
	_, _, err := d.token()
	switch {
	case d.ended:
		return err
	case errors.Is(err, ErrTruncated):
		return d.finish(false)
	case err != nil:
		return err
	}
	return d.finish(true)
}

// finish reads what is left of the contents, which the checksum covers too, and compares what was announced.
func (d *Decompressor) finish(more bool) error {
	if _, err := io.Copy(io.Discard, d.r); err != nil {
		return err
	}
	switch {
	case d.contents.left > 0:
		return ErrTruncated
	case d.kind == typeCompressed && uint32(d.contents.sum) != d.crc:
		return ErrChecksum
	case more || d.left > 0:
		return ErrSize
	}
	return io.EOF
}
