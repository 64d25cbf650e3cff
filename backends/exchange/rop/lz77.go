package rop

import (
	"encoding/binary"
	"errors"
)

// LZ77 with the DIRECT2 encoding, MS-OXCRPC §3.1.4.1.1.2: a word of 32 flags stands before the items it is about,
// its most significant bit first. An item is a literal (0) or a match (1): 13 bits of distance less one, and
// 3 bits of length less [matchLeast].
const (
	window     = 1 << 13
	matchLeast = 3
	flagBits   = 32
	inlineMost = 7   // the length goes on in a nibble
	nibbleMost = 15  // and in an octet
	octetMost  = 255 // and in 16 bits, which hold all of it
	// candidates is how many earlier places are compared: the work stays in proportion to the payload.
	candidates = 16
)

var errCompressed = errors.New("compressed octets are damaged")

// decompress makes size octets of compressed ones.
func decompress(in []byte, size int) ([]byte, error) {
	d := decompressor{in: in, out: make([]byte, 0, size), nibble: -1}
	for flags, left := uint32(0), 0; len(d.out) < size; left-- {
		if left == 0 {
			flags, left = binary.LittleEndian.Uint32(d.take(4)), flagBits
		}
		if flags>>(left-1)&1 == 0 {
			d.out = append(d.out, d.take(1)[0])
		} else {
			d.match(size)
		}
		if d.damaged {
			return nil, errCompressed
		}
	}
	return d.out, nil
}

type decompressor struct {
	in, out []byte
	at      int
	nibble  int // where the octet is whose upper half is the next nibble, or -1
	damaged bool
}

// take returns the next n octets, or zeros if there are not that many. n is 4 at most.
func (d *decompressor) take(n int) []byte {
	if n > len(d.in)-d.at {
		d.damaged = true
		return make([]byte, 4)
	}
	d.at += n
	return d.in[d.at-n : d.at]
}

// match copies what was there before. It may reach into what it writes.
func (d *decompressor) match(size int) {
	word := binary.LittleEndian.Uint16(d.take(2))
	distance, length := int(word>>3)+1, d.length(int(word&7))+matchLeast
	if d.damaged || distance > len(d.out) || length > size-len(d.out) {
		d.damaged = true
		return
	}
	for range length {
		d.out = append(d.out, d.out[len(d.out)-distance])
	}
}

// length reads what is behind the bits of a length that they cannot hold, MS-OXCRPC §3.1.4.1.1.2.2.4.
func (d *decompressor) length(n int) int {
	if n < inlineMost {
		return n
	}
	half := d.half()
	if half < nibbleMost {
		return inlineMost + half
	}
	if octet := int(d.take(1)[0]); octet < octetMost {
		return inlineMost + nibbleMost + octet
	}
	return int(binary.LittleEndian.Uint16(d.take(2)))
}

// half reads a nibble: two lengths share an octet, and the first of them has the lower half.
func (d *decompressor) half() int {
	if d.nibble >= 0 {
		upper := int(d.in[d.nibble] >> 4)
		d.nibble = -1
		return upper
	}
	d.nibble = d.at
	octet := int(d.take(1)[0])
	return octet & nibbleMost
}

// compress writes a payload of no more than 64 KiB.
func compress(in []byte) []byte {
	c := compressor{in: in, earlier: make([]int, len(in)), nibble: -1}
	for at := 0; at < len(in); {
		distance, length := c.longest(at)
		if length < matchLeast {
			length = 1
			c.flag(0)
			c.out = append(c.out, in[at])
		} else {
			c.flag(1)
			c.match(distance, length)
		}
		for range length {
			c.index(at)
			at++
		}
	}
	if c.left > 0 { // flags that no item belongs to are set, as MS-XCA §3.1 has it
		c.word |= 1<<c.left - 1
		binary.LittleEndian.PutUint32(c.out[c.flags:], c.word)
	}
	return c.out
}

type compressor struct {
	in, out []byte
	newest  [window]int // by a hash of three octets: one more than where such were last
	earlier []int       // and where they were before, by place
	flags   int         // where the word of flags is
	word    uint32
	left    int // flags that are not used yet
	nibble  int // where the octet is whose upper half is free, or -1
}

func (c *compressor) flag(bit uint32) {
	if c.left == 0 {
		c.flags, c.word, c.left = len(c.out), 0, flagBits
		c.out = append(c.out, 0, 0, 0, 0)
	}
	c.left--
	c.word |= bit << c.left
	binary.LittleEndian.PutUint32(c.out[c.flags:], c.word)
}

func (c *compressor) index(at int) {
	if at+matchLeast > len(c.in) {
		return
	}
	newest := &c.newest[hash(c.in[at:])]
	c.earlier[at] = *newest
	*newest = at + 1
}

// hash is one of the first three octets.
func hash(octets []byte) int {
	return (int(octets[0])<<10 ^ int(octets[1])<<5 ^ int(octets[2])) % window
}

// longest finds the longest match of what comes next, and how far back it is.
func (c *compressor) longest(at int) (distance, length int) {
	if at+matchLeast > len(c.in) {
		return 0, 0
	}
	place := c.newest[hash(c.in[at:])] - 1
	for tries := 0; tries < candidates && place >= 0 && at-place <= window; tries++ {
		n := 0
		for at+n < len(c.in) && c.in[place+n] == c.in[at+n] {
			n++
		}
		if n > length {
			distance, length = at-place, n
		}
		place = c.earlier[place] - 1
	}
	return distance, length
}

func (c *compressor) match(distance, length int) {
	length -= matchLeast
	c.out = binary.LittleEndian.AppendUint16(c.out, uint16((distance-1)<<3|min(length, inlineMost)))
	if length < inlineMost {
		return
	}
	c.half(byte(min(length-inlineMost, nibbleMost)))
	if length < inlineMost+nibbleMost {
		return
	}
	if rest := length - inlineMost - nibbleMost; rest < octetMost {
		c.out = append(c.out, byte(rest))
		return
	}
	c.out = append(c.out, octetMost)
	c.out = binary.LittleEndian.AppendUint16(c.out, uint16(length))
}

func (c *compressor) half(n byte) {
	if c.nibble >= 0 {
		c.out[c.nibble] |= n << 4
		c.nibble = -1
		return
	}
	c.nibble = len(c.out)
	c.out = append(c.out, n)
}
