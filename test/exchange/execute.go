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

// chain has a server go on with the last operation, MS-OXCRPC §3.1.4.2.
const chain = 4

// execute executes operations, MS-OXCMAPIHTTP §2.2.4.2.
func (s *Server) execute(c *context, body []byte) (int, []byte) {
	in := cursor{octets: body}
	flags := in.u32()
	buffer := in.take(int(min(in.u32(), bodyMost)))
	most := int(min(in.u32(), bodyMost))
	auxiliary := in.u32()
	if in.short || auxiliary != 0 || len(in.octets) > 0 {
		s.wrong("send an Execute whose sizes lie")
		return invalidBody, nil
	}
	requests, ok := payloads(buffer)
	if !ok || most < 8 || !s.packed(requests) {
		s.wrong("send a buffer without a right header, or ask for %d octets", most)
		return succeeded, words(0, rpcFormat, 0, 0, 0)
	}
	x, replies := s.run(c, requests[0], min(s.room, most-8))
	for _, more := range requests[1:] {
		if x != nil && !s.cut {
			x = s.aggregate(x, more)
		}
	}
	if x == nil {
		s.wrong("send operations that cannot be read: %.200x", requests[0])
		return succeeded, words(0, rpcFormat, 0, 0, 0)
	}
	all := append([][]byte{replies}, x.further(flags, most-8-len(replies))...)
	var out []byte
	for i, one := range all {
		last := byte(0)
		if i == len(all)-1 {
			last = 4
		}
		out = append(out, 0, 0, last, 0, byte(len(one)), byte(len(one)>>8), byte(len(one)), byte(len(one)>>8))
		out = append(out, one...)
	}
	return succeeded, append(append(words(0, 0, 0, uint32(len(out))), out...), words(0)...)
}

// payloads takes a buffer apart, each behind its RPC_HEADER_EXT, MS-OXCRPC §2.2.2.1. They may be obfuscated.
func payloads(buffer []byte) (all [][]byte, ok bool) {
	for {
		in := cursor{octets: buffer}
		version, flags, size, actual := in.u16(), in.u16(), in.u16(), in.u16()
		octets := slices.Clone(in.take(int(size)))
		if in.short || version != 0 || flags&^6 != 0 || size != actual || size > roomMost {
			return nil, false
		}
		if flags&2 != 0 {
			for i := range octets {
				octets[i] ^= 0xA5
			}
		}
		all = append(all, octets)
		if buffer = in.octets; flags&4 != 0 {
			return all, len(buffer) == 0
		}
	}
}

// packed says whether several payloads may be sent: each has one piece of an upload and nothing else, and the first ends with one.
// MS-OXCRPC §3.1.4.2.1.2.1.
func (s *Server) packed(requests [][]byte) bool {
	for _, one := range requests[1:] {
		if s.single || len(one) < 7 || one[2] != ropPutBuffer || len(one) != 7+int(one[5])+int(one[6])<<8+4 {
			return false
		}
	}
	return true
}

// aggregate executes a piece of an upload that was sent in a payload of its own: the first payload's reply stands for all.
func (s *Server) aggregate(x *call, payload []byte) *call {
	if x.last != ropPutBuffer {
		return nil
	}
	next, _ := s.run(x.c, payload, roomMost)
	if next == nil || !slices.Equal(next.handles, x.handles[:min(1, len(x.handles))]) {
		return nil
	}
	return x
}

// further executes the last operation again and again, if it reads, while there is room and something to read. MS-OXCRPC §3.1.4.2.1.2.2.
func (x *call) further(flags uint32, most int) (all [][]byte) {
	t, ok := x.object(x.place).(*transfer)
	if !ok || flags&chain == 0 || x.last != ropGetBuffer || x.at == nil {
		return nil
	}
	for len(t.left) > 0 && most > 8+roomMost {
		x.in, x.room = &cursor{octets: x.at}, x.s.room-2-4*len(x.handles)
		x.s.executed = append(x.s.executed, x.at[0])
		reply, _ := x.one()
		out := append([]byte{byte(len(reply) + 2), byte((len(reply) + 2) >> 8)}, reply...)
		out = append(out, words(x.handles...)...)
		all = append(all, out)
		most -= 8 + len(out)
	}
	return all
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

	last, place uint8  // the operation that was executed last, and the place of its object
	at          []byte // its request; nil: what comes behind it was not executed
}

// run executes the operations of a ROP input buffer, MS-OXCROPS §3.2.5.1, and returns the ROP output buffer. What there is no room for
// is returned as it was sent (§2.2.15.1). There is no call if the operations cannot be read.
func (s *Server) run(c *context, requests []byte, room int) (*call, []byte) {
	size := int((&cursor{octets: requests}).u16())
	if size < 2 || size > len(requests) || (len(requests)-size)%4 != 0 {
		return nil, nil
	}
	x := &call{s: s, c: c, in: &cursor{octets: requests[2:size]}}
	for table := (cursor{octets: requests[size:]}); len(table.octets) > 0; {
		x.handles = append(x.handles, table.u32())
	}
	out := []byte{0, 0}
	for len(x.in.octets) > 0 && !s.cut {
		x.room = room - len(out) - 4*len(x.handles)
		if x.room < least+len(x.in.octets) && len(out) > 2 {
			out = append(append(out, 0xFF, 0xFF, 0x7F), x.in.octets...)
			x.at = nil
			break
		}
		x.at = x.in.octets
		s.executed = append(s.executed, x.at[0])
		before, after := s.befalls(x.at[0])
		if before {
			break
		}
		reply, ok := x.one()
		if !ok || x.in.short {
			return nil, nil
		}
		if out = append(out, reply...); after {
			break
		}
	}
	if x.at != nil || len(out) == 2 {
		out = append(out, c.told(room-len(out)-4*len(x.handles))...)
	}
	binary.LittleEndian.PutUint16(out, uint16(len(out)))
	return x, append(out, words(x.handles...)...)
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
