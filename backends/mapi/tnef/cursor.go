package tnef

import (
	"encoding/binary"
	"fmt"
	"io"
)

// windowSize is how many octets are read at once.
const windowSize = 32 << 10

// cursor reads a file once, from its beginning to its end. It adds up all that it passes, so that the checksum of
// an attribute in an attribute (an embedded message's) costs nothing more: it is the difference of two sums.
type cursor struct {
	r      io.ReaderAt
	at     int64
	sum    uint16 // of all octets before at, MS-OXTNEF §2.1.3
	window []byte // the octets from base
	base   int64
	buffer [windowSize]byte
	err    error // of reading the file
}

// peek returns up to n octets, at most windowSize of them. There are fewer only where the file ends early or fails.
func (c *cursor) peek(n int) []byte {
	from := c.at - c.base
	if from < 0 || from+int64(n) > int64(len(c.window)) {
		c.fill()
		from = 0
	}
	return c.window[from:min(from+int64(n), int64(len(c.window)))]
}

func (c *cursor) fill() {
	c.base, c.window = c.at, nil
	if c.err != nil {
		return
	}
	n, err := c.r.ReadAt(c.buffer[:], c.at)
	if err != nil && err != io.EOF {
		c.err = fmt.Errorf("reading TNEF at octet %d: %w", c.at, err)
	}
	c.window = c.buffer[:n]
}

// pass goes behind octets that peek returned.
func (c *cursor) pass(octets []byte) {
	for _, octet := range octets {
		c.sum += uint16(octet)
	}
	c.at += int64(len(octets))
}

// section is the part of the file from where the cursor is to an end, which may have been announced too far: what is
// read is compared with the end first. Its cursor is shared with all other sections.
type section struct {
	*cursor
	end int64
}

func (s section) left() int64 { return s.end - s.at }

// sub returns the section of the next n octets, and how many it lacks.
func (s section) sub(n uint32) (section, int64) {
	whole := min(int64(n), s.left())
	return section{s.cursor, s.at + whole}, int64(n) - whole
}

// take returns the next n octets until the next call of a method. n is at most windowSize.
func (s section) take(n int) ([]byte, error) {
	if int64(n) > s.left() {
		return nil, io.ErrUnexpectedEOF
	}
	octets := s.peek(n)
	if len(octets) < n {
		return nil, s.failure()
	}
	s.pass(octets)
	return octets, nil
}

// failure is the error of a file that has fewer octets than its size said.
func (s section) failure() error {
	if s.err == nil {
		s.cursor.err = fmt.Errorf("reading TNEF at octet %d: %w", s.at, io.ErrUnexpectedEOF)
	}
	return s.err
}

// skip goes to the end of the section.
func (s section) skip() error {
	for s.left() > 0 {
		octets := s.peek(int(min(s.left(), windowSize)))
		if len(octets) == 0 {
			return s.failure()
		}
		s.pass(octets)
	}
	return nil
}

// rest returns what is left of the section as octets of the caller's own, who has made sure that it may be kept.
func (s section) rest() ([]byte, error) {
	all := make([]byte, 0, s.left())
	for s.left() > 0 {
		octets, err := s.take(int(min(s.left(), windowSize)))
		if err != nil {
			return nil, err
		}
		all = append(all, octets...)
	}
	return all, nil
}

// blank goes to the end of the section, and says whether nothing is in it: NUL, white space, or DOS's end of a file.
func (s section) blank() (bool, error) {
	for s.left() > 0 {
		octets, err := s.take(int(min(s.left(), windowSize)))
		if err != nil {
			return false, err
		}
		for _, octet := range octets {
			switch octet {
			case 0, '\t', '\r', '\n', ' ', 0x1A:
			default:
				return false, s.skip()
			}
		}
	}
	return true, nil
}

func (s section) uint8() (uint8, error) {
	octets, err := s.take(1)
	if err != nil {
		return 0, err
	}
	return octets[0], nil
}

func (s section) uint16() (uint16, error) {
	octets, err := s.take(2)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint16(octets), nil
}

func (s section) uint32() (uint32, error) {
	octets, err := s.take(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(octets), nil
}
