package exchange

import (
	"encoding/binary"
	"slices"
)

// Codes, MS-OXCDATA §2.4.
const (
	tooBusy      = 0x000006BB
	rpcFormat    = 0x000004B6
	nullObject   = 0x000004B9
	unknownUser  = 0x000003EB
	notSupported = 0x80040102
	notFound     = 0x8004010F
	accessDenied = 0x80070005
)

// cursor reads little-endian integers. What is not there is 0, and makes it short.
type cursor struct {
	octets []byte
	short  bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.octets) {
		c.octets, c.short = nil, true
		return make([]byte, n)
	}
	taken := c.octets[:n]
	c.octets = c.octets[n:]
	return taken
}

func (c *cursor) u8() uint8   { return c.take(1)[0] }
func (c *cursor) u16() uint16 { return binary.LittleEndian.Uint16(c.take(2)) }
func (c *cursor) u32() uint32 { return binary.LittleEndian.Uint32(c.take(4)) }
func (c *cursor) id() id      { return id(c.take(8)) }

// id is a FID or MID: two octets of a replica, and a counter of six with its most significant octet first.
type id [8]byte

// number makes an id of a counter.
func number(counter uint64) id {
	var one id
	binary.BigEndian.PutUint64(one[:], counter)
	one[0], one[1] = 1, 0
	return one
}

// counter is the way back.
func (i id) counter() uint64 { return binary.BigEndian.Uint64(i[:]) & (1<<48 - 1) }

// execute executes operations, MS-OXCMAPIHTTP §2.2.4.2.
func (s *Server) execute(c *context, body []byte) (int, []byte) {
	in := cursor{octets: body}
	in.u32() // Flags
	buffer := in.take(int(min(in.u32(), bodyMost)))
	most := in.u32()
	auxiliary := in.u32()
	if in.short || auxiliary != 0 || len(in.octets) > 0 {
		s.wrong("send an Execute whose sizes lie")
		return invalidBody, nil
	}
	requests, ok := payload(buffer)
	if !ok || most < 8 {
		s.wrong("send a buffer without a right header, or ask for %d octets", most)
		return succeeded, words(0, rpcFormat, 0, 0, 0)
	}
	replies, ok := s.run(c, requests, min(s.room, int(most)-8))
	if !ok {
		s.wrong("send operations that cannot be read: %x", requests)
		return succeeded, words(0, rpcFormat, 0, 0, 0)
	}
	header := binary.LittleEndian.AppendUint16([]byte{0, 0, 4, 0}, uint16(len(replies)))
	header = binary.LittleEndian.AppendUint16(header, uint16(len(replies)))
	out := words(0, 0, 0, uint32(len(header)+len(replies)))
	return succeeded, append(append(append(out, header...), replies...), words(0)...)
}

// payload takes the RPC_HEADER_EXT from a buffer, MS-OXCRPC §2.2.2.1: one payload, which may be obfuscated.
func payload(buffer []byte) ([]byte, bool) {
	in := cursor{octets: buffer}
	version, flags, size, actual := in.u16(), in.u16(), in.u16(), in.u16()
	if in.short || version != 0 || flags&^2 != 4 || size != actual || int(size) != len(in.octets) || size > roomMost {
		return nil, false
	}
	octets := slices.Clone(in.octets)
	if flags&2 != 0 {
		for i := range octets {
			octets[i] ^= 0xA5
		}
	}
	return octets, true
}

// least is the room that the reply to an operation is executed with.
const least = 400

// call is an operation that is executed.
type call struct {
	s       *Server
	c       *context
	in      *cursor
	handles []uint32
	room    int
}

// run executes the operations of a ROP input buffer, MS-OXCROPS §3.2.5.1, and returns the ROP output buffer. What there is no room for
// is returned as it was sent (§2.2.15.1).
func (s *Server) run(c *context, requests []byte, room int) ([]byte, bool) {
	size := int((&cursor{octets: requests}).u16())
	if size < 2 || size > len(requests) || (len(requests)-size)%4 != 0 {
		return nil, false
	}
	x := &call{s: s, c: c, in: &cursor{octets: requests[2:size]}}
	for table := (cursor{octets: requests[size:]}); len(table.octets) > 0; {
		x.handles = append(x.handles, table.u32())
	}
	out := []byte{0, 0}
	for len(x.in.octets) > 0 {
		x.room = room - len(out) - 4*len(x.handles)
		if x.room < least+len(x.in.octets) && len(out) > 2 {
			out = append(append(out, 0xFF, 0xFF, 0x7F), x.in.octets...)
			break
		}
		reply, ok := x.one()
		if !ok || x.in.short {
			return nil, false
		}
		out = append(out, reply...)
	}
	binary.LittleEndian.PutUint16(out, uint16(len(out)))
	return append(out, words(x.handles...)...), true
}

// object returns what a handle at a place stands for.
func (x *call) object(place uint8) object {
	if int(place) >= len(x.handles) {
		return nil
	}
	return x.c.objects[x.handles[place]]
}

// open gives an object a handle at a place. Handles begin with 0, which is one as good as others.
func (x *call) open(place uint8, o object) bool {
	if int(place) >= len(x.handles) {
		return false
	}
	x.handles[place] = x.c.handles
	x.c.objects[x.c.handles] = o
	x.c.handles++
	return true
}

// reply is the beginning of a reply.
func reply(operation, place uint8, code uint32, rest ...byte) []byte {
	return append(append([]byte{operation, place}, words(code)...), rest...)
}
