package rtf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MostCompressed is how much a Compressor keeps: sizes and checksum stand before the contents, so that all of
// them have to be there before the first octet is written.
const MostCompressed = 64 << 20

// tries is how many places are compared for the longest match. MS-OXRTFCP §2.3 compares all: that makes little of it
// smaller, and with a bound the work stays in proportion to the text.
const tries = 64

// Compressor writes compressed RTF, as PidTagRtfCompressed has it. MS-OXRTFCP §2.3.
type Compressor struct {
	w   io.Writer
	out []byte // the contents
	raw int64

	text []byte // the dictionary's last ringSize octets, and what is not yet written
	base int    // where in the whole text, the preload included, text[0] is
	next int    // the first octet of text that is not yet written

	newest  [ringSize]int // by a hash of two octets: one more than where such were last
	earlier [ringSize]int // by place: the one before

	control, tokens int // where in out the run's control octet is, and how many tokens it has
	err             error
}

// NewCompressor returns a Compressor whose Close writes to w.
func NewCompressor(w io.Writer) *Compressor {
	c := &Compressor{w: w, text: []byte(preload), next: 1, tokens: tokensInARun}
	for ; c.next < len(preload); c.next++ {
		c.index()
	}
	return c
}

// Write compresses p, up to what may be the beginning of a longer match.
func (c *Compressor) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	for rest := p; len(rest) > 0; {
		n := min(len(rest), ringSize)
		c.text = append(c.text, rest[:n]...)
		rest = rest[n:]
		c.encode(longestRun)
		if len(c.out) > MostCompressed {
			c.err = fmt.Errorf("rtf: a body of more than %d octets when compressed is not written", MostCompressed)
			return 0, c.err
		}
	}
	c.raw += int64(len(p))
	return len(p), nil
}

// Close writes the header and the contents. It does not close the writer below.
func (c *Compressor) Close() error {
	if c.err != nil {
		return c.err
	}
	c.err = errors.New("rtf: the compressor is closed")
	c.encode(1)
	c.reference(c.base+c.next, shortestRun) // the end: nothing can be copied from where the dictionary is written
	var sum checksum
	sum.add(c.out)
	return c.flush(header(len(c.out), c.raw, typeCompressed, uint32(sum)))
}

func (c *Compressor) flush(header []byte) error {
	if _, err := c.w.Write(header); err != nil {
		return err
	}
	_, err := c.w.Write(c.out)
	return err
}

// WriteUncompressed writes RTF with the header of PidTagRtfCompressed, as it is. MS-OXRTFCP §2.1.3.1.1.
func WriteUncompressed(w io.Writer, rtf []byte) error {
	if _, err := w.Write(header(len(rtf), int64(len(rtf)), typeRaw, 0)); err != nil {
		return err
	}
	_, err := w.Write(rtf)
	return err
}

func header(contents int, raw int64, kind, sum uint32) []byte {
	h := make([]byte, 0, headerSize)
	h = binary.LittleEndian.AppendUint32(h, uint32(contents+headerCounted))
	h = binary.LittleEndian.AppendUint32(h, uint32(raw))
	h = binary.LittleEndian.AppendUint32(h, kind)
	return binary.LittleEndian.AppendUint32(h, sum)
}

// encode writes tokens while at least so many octets are ahead.
func (c *Compressor) encode(ahead int) {
	for len(c.text)-c.next >= ahead {
		c.index()
		at, length := c.match()
		if length < shortestRun {
			length = 1
			c.token(false)
			c.out = append(c.out, c.text[c.next])
		} else {
			c.reference(at, length)
		}
		for c.next++; length > 1; length-- {
			c.index()
			c.next++
		}
	}
	if drop := c.next - ringSize; drop > ringSize {
		c.text = append(c.text[:0], c.text[drop:]...)
		c.base += drop
		c.next -= drop
	}
}

// match finds the longest text in the dictionary that is what comes next, the oldest of them. It may reach into what is to be written:
// a reader copies octet by octet.
func (c *Compressor) match() (at, longest int) {
	ahead := c.text[c.next:]
	if len(ahead) < shortestRun {
		return 0, 0
	}
	ahead = ahead[:min(len(ahead), longestRun)]
	oldest := max(c.base+c.next-ringSize+1, 0)
	place := c.newest[pair(ahead)] - 1
	for n := 0; n < tries && place >= oldest; n++ {
		length := common(c.text[place-c.base:], ahead)
		if length >= longest {
			at, longest = place, length
		}
		place = c.earlier[place%ringSize] - 1
	}
	return at, longest
}

func common(a, b []byte) (n int) {
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func pair(p []byte) int { return (int(p[0])<<4 ^ int(p[1])) % ringSize }

// index notes where the last octet of the dictionary and the one that comes next are found.
func (c *Compressor) index() {
	newest := &c.newest[pair(c.text[c.next-1:])]
	place := c.base + c.next - 1
	c.earlier[place%ringSize] = *newest
	*newest = place + 1
}

func (c *Compressor) reference(at, length int) {
	c.token(true)
	word := at%ringSize<<lengthBits | (length - shortestRun)
	c.out = append(c.out, byte(word>>8), byte(word))
}

// token makes room for a token: each run of eight begins with an octet that says which are references.
func (c *Compressor) token(reference bool) {
	if c.tokens == tokensInARun {
		c.control, c.tokens = len(c.out), 0
		c.out = append(c.out, 0)
	}
	if reference {
		c.out[c.control] |= 1 << c.tokens
	}
	c.tokens++
}
