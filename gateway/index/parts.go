package index

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
)

// version begins each batch.
const version = 1

// errBatch is a batch that was not written by this program, or not by this version.
var errBatch = errors.New("an entry of the index cannot be read")

// hashOf is 8 octets for an id. It is in batches: what it gives must not change.
func hashOf(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return h.Sum64()
}

// batch is entries, being written.
type batch []byte

func newBatch() batch { return batch{version} }

func (b *batch) text(s string) {
	*b = binary.AppendUvarint(*b, uint64(len(s)))
	*b = append(*b, s...)
}

func (b *batch) number(n uint64) { *b = binary.AppendUvarint(*b, n) }
func (b *batch) hash(h uint64)   { *b = binary.LittleEndian.AppendUint64(*b, h) }

// entries is a batch, being read. After an error everything is empty. Texts are parts of the one
// string, so that a hundred thousand of them cost no more than it.
type entries struct {
	left string
	err  error
}

func read(b []byte) *entries {
	if len(b) == 0 || b[0] != version {
		return &entries{err: errBatch}
	}
	return &entries{left: string(b[1:])}
}

func (e *entries) more() bool { return e.err == nil && len(e.left) > 0 }

func (e *entries) fail() {
	e.err, e.left = errBatch, ""
}

// number reads what binary.AppendUvarint has written.
func (e *entries) number() (n uint64) {
	for i, shift := 0, 0; i < min(len(e.left), binary.MaxVarintLen64); i, shift = i+1, shift+7 {
		n |= uint64(e.left[i]&0x7f) << shift
		if e.left[i] < 0x80 {
			e.left = e.left[i+1:]
			return n
		}
	}
	e.fail()
	return 0
}

func (e *entries) octets(n uint64) string {
	if n > uint64(len(e.left)) {
		e.fail()
		return ""
	}
	octets := e.left[:n]
	e.left = e.left[n:]
	return octets
}

func (e *entries) text() string { return e.octets(e.number()) }

func (e *entries) hash() uint64 {
	octets := e.octets(8)
	if e.err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64([]byte(octets))
}
