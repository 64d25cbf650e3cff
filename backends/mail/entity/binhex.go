package entity

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// BinHex is a file of a Macintosh in BinHex 4.0, RFC 1741 appendix A: its data are read first, and then its resources.
type BinHex struct {
	Name          string // as it is written, in a code page of the Macintosh's
	Type, Creator string // four characters each
	Flags         uint16
	DataSize      int64 // octets
	ResourceSize  int64

	decoder *binHexDecoder
	left    int64 // of the data
	sum     uint16
	checked bool // what is behind the data was read
	damaged error
}

// ErrBinHex says that something is no BinHex, or is damaged.
var ErrBinHex = errors.New("this is not BinHex, or it is damaged")

// Bounds of what stands in front of BinHex, of a name in it, and of what its repetitions make of it: so many times as many octets
// as were read, and some more. Two of them can stand for 255.
const (
	binHexBeforeMost = 64 << 10
	binHexNameMost   = 63
	binHexGrowth     = 16
	binHexSpare      = 256 << 10
)

// OpenBinHex reads the beginning of a file in BinHex. Text may stand in front of it. The errors are [ErrBinHex], and the reader's.
func OpenBinHex(r io.Reader) (*BinHex, error) {
	source := bufio.NewReader(r)
	if err := skipToBinHex(source); err != nil {
		return nil, err
	}
	b := &BinHex{decoder: &binHexDecoder{r: source}}
	length, err := b.octets(1)
	if err != nil {
		return nil, err
	}
	if length[0] == 0 || length[0] > binHexNameMost {
		return nil, ErrBinHex
	}
	n := int(length[0])
	head, err := b.octets(n + 1 + 4 + 4 + 2 + 4 + 4) // the name, a version, type, creator, flags, sizes
	if err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	b.Name, b.Type, b.Creator, b.Flags = string(head[:n]), string(head[n+1:n+5]), string(head[n+5:n+9]), be.Uint16(head[n+9:])
	b.DataSize, b.ResourceSize = int64(be.Uint32(head[n+11:])), int64(be.Uint32(head[n+15:]))
	b.left = b.DataSize
	return b, nil
}

// skipToBinHex reads up to the colon that the file begins with: it is the first on its line, behind one that says BinHex.
func skipToBinHex(r *bufio.Reader) error {
	named, atStart := false, true
	var line []byte
	for range binHexBeforeMost {
		c, err := r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return ErrBinHex
		case err != nil:
			return err
		case c == ':' && atStart && named:
			return nil
		case c == '\r' || c == '\n':
			named = named || strings.Contains(string(line), "with BinHex 4")
			line, atStart = line[:0], true
			continue
		}
		atStart = false
		if len(line) < 200 {
			line = append(line, c)
		}
	}
	return ErrBinHex
}

// Read reads the data. What is damaged is told by [ErrBinHex], at the end at the latest.
func (b *BinHex) Read(p []byte) (n int, err error) {
	if b.left == 0 {
		if err := b.endData(); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	for n < len(p) && b.left > 0 {
		c, err := b.octet()
		if err != nil {
			return n, err
		}
		p[n] = c
		n++
		b.left--
	}
	return n, nil
}

// Resources returns the resource fork, when the data are read. It holds it in memory.
func (b *BinHex) Resources(most int64) ([]byte, error) {
	if b.left > 0 || b.ResourceSize > most {
		return nil, ErrBinHex
	}
	if err := b.endData(); err != nil {
		return nil, err
	}
	octets, err := b.octets(int(b.ResourceSize))
	if err != nil {
		return nil, err
	}
	return octets, b.check()
}

// octets reads some octets. A size that is announced takes no memory before its octets are there.
func (b *BinHex) octets(n int) (octets []byte, err error) {
	for len(octets) < n {
		c, err := b.octet()
		if err != nil {
			return nil, err
		}
		octets = append(octets, c)
	}
	return octets, nil
}

func (b *BinHex) octet() (byte, error) {
	c, err := b.decoder.octet()
	b.sum = binHexSum(b.sum, c)
	return c, err
}

// check reads the checksum of what was read since the last one.
func (b *BinHex) check() error {
	want := binHexSum(binHexSum(b.sum, 0), 0)
	b.sum = 0
	high, err := b.decoder.octet()
	if err != nil {
		return err
	}
	low, err := b.decoder.octet()
	if err == nil && uint16(high)<<8|uint16(low) != want {
		err = ErrBinHex
	}
	return err
}

// endData reads the checksum behind the data, once.
func (b *BinHex) endData() error {
	if !b.checked {
		b.checked, b.damaged = true, b.check()
	}
	return b.damaged
}

// binHexSum goes on with a checksum of the polynomial 0x1021, RFC 1741 appendix A.
func binHexSum(sum uint16, c byte) uint16 {
	for bit := 7; bit >= 0; bit-- {
		carry := sum&0x8000 != 0
		sum = sum<<1 | uint16(c>>bit&1)
		if carry {
			sum ^= 0x1021
		}
	}
	return sum
}

// binHexCharacters stand for six bits each.
const binHexCharacters = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"

// binHexRepeats is in front of how often the octet before it stands; of none it is itself.
const binHexRepeats = 0x90

// binHexDecoder reads the octets of BinHex.
type binHexDecoder struct {
	r     *bufio.Reader
	bits  uint
	have  int  // bits
	last  byte // octet
	again int  // so many times more

	read, made int64 // octets
}

// octet returns the next octet. More of them than there may be are [ErrBinHex].
func (d *binHexDecoder) octet() (byte, error) {
	if d.made++; d.made > binHexSpare+binHexGrowth*d.read {
		return 0, ErrBinHex
	}
	return d.unpacked()
}

// unpacked returns the next octet, which may be one that is repeated.
func (d *binHexDecoder) unpacked() (byte, error) {
	for d.again == 0 {
		c, err := d.packed()
		if err != nil {
			return 0, err
		}
		if c != binHexRepeats {
			d.last = c
			return c, nil
		}
		n, err := d.packed()
		switch {
		case err != nil:
			return 0, err
		case n == 0:
			d.last = binHexRepeats
			return binHexRepeats, nil
		}
		d.again = int(n) - 1 // it was read once
	}
	d.again--
	return d.last, nil
}

// packed returns the next octet, as it is packed.
func (d *binHexDecoder) packed() (byte, error) {
	for d.have < 8 {
		c, err := d.r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return 0, ErrBinHex
		case err != nil:
			return 0, err
		case c == '\r' || c == '\n' || c == ' ' || c == '\t':
			continue
		}
		six := strings.IndexByte(binHexCharacters, c)
		if six < 0 {
			return 0, ErrBinHex // the colon at the end, too
		}
		d.bits, d.have = d.bits<<6|uint(six), d.have+6
	}
	d.have -= 8
	d.read++
	return byte(d.bits >> d.have & 0xFF), nil
}
