package dcerpc

import (
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"
)

// Writer writes a stub in NDR 2.0 (C706 §14): integers stand at multiples of their size.
type Writer struct {
	octets   []byte
	pointers uint32
}

// Octets returns what was written.
func (w *Writer) Octets() []byte { return w.octets }

// Align writes padding up to a multiple of n octets.
func (w *Writer) Align(n int) {
	for len(w.octets)%n != 0 {
		w.octets = append(w.octets, 0)
	}
}

// Uint16 writes one.
func (w *Writer) Uint16(n uint16) {
	w.Align(2)
	w.octets = binary.LittleEndian.AppendUint16(w.octets, n)
}

// Uint32 writes some.
func (w *Writer) Uint32(all ...uint32) {
	w.Align(4)
	for _, n := range all {
		w.octets = binary.LittleEndian.AppendUint32(w.octets, n)
	}
}

// Bytes writes octets as they are.
func (w *Writer) Bytes(octets []byte) { w.octets = append(w.octets, octets...) }

// Pointer writes the referent of a pointer that is not null. What it points to is written where NDR has it. C706 §14.3.10.
func (w *Writer) Pointer() {
	w.pointers++
	w.Uint32(0x00020000 + 4*(w.pointers-1))
}

// Array writes a conformant array of octets, C706 §14.3.3.2.
func (w *Writer) Array(octets []byte) {
	w.Uint32(uint32(len(octets)))
	w.Bytes(octets)
}

// String writes a text of one octet a character as a conformant varying string, with a NUL at its end. C706 §14.3.4.2.
func (w *Writer) String(text string) {
	n := uint32(len(text) + 1)
	w.Uint32(n, 0, n)
	w.octets = append(append(w.octets, text...), 0)
}

// Wide is String in UTF-16.
func (w *Writer) Wide(text string) {
	units := append(utf16.Encode([]rune(text)), 0)
	n := uint32(len(units))
	w.Uint32(n, 0, n)
	for _, unit := range units {
		w.Uint16(unit)
	}
}

// errArray says that an array or string is not what it must be.
var errArray = errors.New("dcerpc: an array with counts that lie")

// Reader reads a stub in NDR 2.0. The first thing that cannot be read is an error, and all further is zero.
type Reader struct {
	octets []byte
	at     int
	err    error
}

// NewReader reads a stub.
func NewReader(octets []byte) *Reader { return &Reader{octets: octets} }

// Err returns what was wrong.
func (r *Reader) Err() error { return r.err }

// Left is how many octets are left.
func (r *Reader) Left() int { return len(r.octets) - r.at }

// Fail makes it an error that something cannot be read.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.at = len(r.octets)
}

// Align skips padding up to a multiple of n octets.
func (r *Reader) Align(n int) { r.Bytes(-r.at & (n - 1)) }

// Bytes returns the next n octets, which are the stub's, and nil if they are not there.
func (r *Reader) Bytes(n int) []byte {
	if r.err != nil || n < 0 || n > r.Left() {
		r.Fail(io.ErrUnexpectedEOF)
		return nil
	}
	r.at += n
	return r.octets[r.at-n : r.at : r.at]
}

func (r *Reader) fixed(n int) []byte {
	r.Align(n)
	if octets := r.Bytes(n); octets != nil {
		return octets
	}
	return make([]byte, n)
}

// Uint8 reads one.
func (r *Reader) Uint8() uint8 { return r.fixed(1)[0] }

// Uint16 reads one.
func (r *Reader) Uint16() uint16 { return binary.LittleEndian.Uint16(r.fixed(2)) }

// Uint32 reads one.
func (r *Reader) Uint32() uint32 { return binary.LittleEndian.Uint32(r.fixed(4)) }

// Count reads how many things of at least some octets each there are. More than there is room for is an error.
func (r *Reader) Count(least int) int {
	n := int64(r.Uint32())
	if n*int64(least) > int64(r.Left()) {
		r.Fail(errArray)
		return 0
	}
	return int(n)
}

// Varying reads the counts of a conformant varying array, whose elements have a size: how many are there. C706 §14.3.3.4.
func (r *Reader) Varying(size int) int {
	room := r.Uint32()
	offset := r.Uint32()
	n := r.Count(size)
	if offset != 0 || uint32(n) > room {
		r.Fail(errArray)
		return 0
	}
	return n
}

// String reads a conformant varying string of one octet a character, without the NUL at its end.
func (r *Reader) String() string {
	octets := r.Bytes(r.Varying(1))
	if n := len(octets); n > 0 && octets[n-1] == 0 {
		octets = octets[:n-1]
	}
	return string(octets)
}

// Wide is String in UTF-16.
func (r *Reader) Wide() string {
	octets := r.Bytes(2 * r.Varying(2))
	units := make([]uint16, 0, len(octets)/2)
	for ; len(octets) >= 2; octets = octets[2:] {
		units = append(units, binary.LittleEndian.Uint16(octets))
	}
	if n := len(units); n > 0 && units[n-1] == 0 {
		units = units[:n-1]
	}
	return string(utf16.Decode(units))
}
