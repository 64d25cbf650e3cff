package tnef

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/dipylon/dipylon/backends/mapi"
)

// sink takes a stream as it is written. It adds up all octets, so that a checksum is the difference of two sums, as in
// cursor. One without a writer only counts: contents are not opened then.
type sink struct {
	w   io.Writer
	n   int64
	sum uint16
	err error // the first
}

// Write writes octets.
func (s *sink) Write(octets []byte) (int, error) {
	s.n += int64(len(octets))
	if s.w == nil || s.err != nil {
		return len(octets), s.err
	}
	for _, octet := range octets {
		s.sum += uint16(octet)
	}
	_, s.err = s.w.Write(octets)
	return len(octets), s.err
}

func (s *sink) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *sink) octets(octets []byte) { _, _ = s.Write(octets) } // it keeps its errors
func (s *sink) uint8(n uint8)        { s.octets([]byte{n}) }
func (s *sink) uint16(n uint16)      { s.octets(binary.LittleEndian.AppendUint16(nil, n)) }
func (s *sink) uint32(n uint32)      { s.octets(binary.LittleEndian.AppendUint32(nil, n)) }

// size writes a length that was counted in 64 bits.
func (s *sink) size(n int64) {
	if n != int64(uint32(n)) {
		s.fail(fmt.Errorf("%d octets: %w", n, ErrTooLarge))
	}
	s.uint32(uint32(n))
}

// content writes all octets of a content. It fails if they are not as many as its size says.
func (s *sink) content(c mapi.Content) {
	if s.w == nil {
		s.n += c.Size
		return
	}
	if s.err != nil || c.IsZero() {
		return
	}
	r, err := c.Open()
	if err != nil {
		s.fail(err)
		return
	}
	n, err := io.Copy(struct{ io.Writer }{s}, io.LimitReader(r, c.Size+1))
	if n != c.Size && err == nil {
		err = fmt.Errorf("a content of %d octets has %d or more", c.Size, n)
	}
	if err := errors.Join(err, r.Close()); err != nil {
		s.fail(err)
	}
}

// padding writes what pads a value of that size to a multiple of 4 octets.
func (s *sink) padding(size int64) { s.octets(make([]byte, (4-size%4)%4)) }
