package exchange

import (
	"encoding/binary"
	"slices"
)

// Operations on streams, MS-OXCROPS §2.2.9.
const (
	ropOpenStream   = 0x2B
	ropReadStream   = 0x2C
	ropWriteStream  = 0x2D
	ropSeekStream   = 0x2E
	ropStreamSize   = 0x2F
	ropCommitStream = 0x5D
	ropGetSize      = 0x5E
)

const (
	streamAccess = 0x80030005
	streamSeek   = 0x80030019
)

// valueStream is an open value of a property.
type valueStream struct {
	of       *item
	tag      uint32
	data     []byte
	at       int
	writable bool
}

// openStream opens a value as a stream, MS-OXCPRPT §2.2.14.
func (x *call) openStream(from object) (object, []byte) {
	tag, mode := x.in.u32(), x.in.u8()
	of := workOf(from)
	if kind := tag & 0xFFFF; of == nil || !isText(kind) && kind != typeBinary && kind != typeObject {
		return nil, nil
	}
	data := of.get(tag)
	if data == nil && mode != 2 {
		return nil, nil
	}
	if mode == 2 {
		data = nil
	}
	return &valueStream{of, tag, slices.Clone(data), 0, mode != 0}, words(uint32(len(data)))
}

// onStream does something to a stream.
func (x *call) onStream(operation, place uint8, o object) []byte {
	st, ok := o.(*valueStream)
	if !ok {
		st = &valueStream{}
	}
	out := x.streamed(operation, place, st)
	if !ok {
		return reply(operation, place, nullObject, make([]byte, map[uint8]int{ropReadStream: 2, ropWriteStream: 2}[operation])...)
	}
	return out
}

func (x *call) streamed(operation, place uint8, st *valueStream) []byte {
	switch operation {
	case ropReadStream:
		size := int(x.in.u16())
		if size == bufferFollows {
			size = int(x.in.u32())
		}
		n := min(size, len(st.data)-st.at, x.room-20)
		st.at += n
		return reply(operation, place, 0, append([]byte{byte(n), byte(n >> 8)}, st.data[st.at-n:st.at]...)...)
	case ropWriteStream:
		octets := x.in.take(int(x.in.u16()))
		if !st.writable {
			return reply(operation, place, streamAccess, 0, 0)
		}
		st.data = append(st.data[:st.at:st.at], append(slices.Clone(octets), st.data[min(len(st.data), st.at+len(octets)):]...)...)
		st.at += len(octets)
		return reply(operation, place, 0, byte(len(octets)), byte(len(octets)>>8))
	case ropSeekStream:
		origin, offset := x.in.u8(), int(int64(binary.LittleEndian.Uint64(x.in.take(8))))
		to := offset + []int{0, st.at, len(st.data), 0}[min(origin, 3)]
		if origin > 2 || to < 0 || to > len(st.data) {
			return reply(operation, place, streamSeek)
		}
		st.at = to
		return reply(operation, place, 0, binary.LittleEndian.AppendUint64(nil, uint64(to))...)
	case ropStreamSize:
		size := int(binary.LittleEndian.Uint64(x.in.take(8)))
		if size < 0 || size > 100<<20 || !st.writable {
			return reply(operation, place, streamAccess)
		}
		st.data = append(st.data, make([]byte, max(0, size-len(st.data)))...)[:size]
		st.at = min(st.at, size)
	case ropGetSize:
		return reply(operation, place, 0, words(uint32(len(st.data)))...)
	case ropCommitStream:
		if st.writable {
			st.of.set(property{tag: st.tag, data: slices.Clone(st.data)})
		}
	}
	return reply(operation, place, 0)
}
