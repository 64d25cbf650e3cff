package exchange

import (
	"encoding/binary"
	"net"
	"strings"
)

// align skips padding of NDR: what was read so far, of all, ends at a multiple of n.
func (c *cursor) align(all, n int) { c.take(-(all - len(c.octets)) & (n - 1)) }

// stub is NDR that is written, C706 §14.
type stub []byte

func (s *stub) align(n int) {
	for len(*s)%n != 0 {
		*s = append(*s, 0)
	}
}

func (s *stub) u32(all ...uint32) {
	s.align(4)
	*s = append(*s, words(all...)...)
}

// text is a conformant varying string behind its counts.
func (s *stub) text(octets []byte, size int) {
	n := uint32(len(octets) / size)
	s.u32(n, 0, n)
	*s = append(*s, octets...)
}

// call calls a procedure. The status is that of a fault, or 0.
func (a *association) call(opnum uint16, in []byte) ([]byte, uint32) {
	s := a.r.s
	if a.which == endpointMapper {
		if opnum != 3 {
			return nil, faultOpnum
		}
		return a.r.endpoint(in)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if s.busy > 0 {
		s.busy--
		return nil, faultTooBusy
	}
	x := &rpcCall{a: a, s: s, in: cursor{octets: in}, size: len(in)}
	calls := map[uint16]func() ([]byte, uint32){1: x.disconnect, 10: x.connect, 11: x.execute}
	if a.which == nspi {
		calls = map[uint16]func() ([]byte, uint32){0: x.bind, 1: x.unbind, 3: x.queryRows, 7: x.ids, 9: x.properties, 20: x.resolve}
	}
	do, known := calls[opnum]
	if !known {
		return nil, faultOpnum
	}
	reply, status := do()
	if s.cut {
		s.cut = false
		return nil, dropped
	}
	if status == 0 && x.in.short {
		s.wrong("call %d with a stub that is too short: %x", opnum, in)
		return nil, faultStub
	}
	if left := len(x.in.octets); status == 0 && left > 0 {
		s.wrong("call %d with %d octets too many", opnum, left)
		return nil, faultStub
	}
	return reply, status
}

// endpoint is ept_map, C706 appendix O.
func (r *RPC) endpoint(in []byte) ([]byte, uint32) {
	out := stub(make([]byte, 20))
	tower := in[min(len(in), 4+4+4+4):]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mapped++
	for i, syntax := range interfaces[:endpointMapper] {
		if r.unregistered || len(tower) < 75 || string(tower[5:5+18]) != syntax[:18] {
			continue
		}
		port := r.ports[i].Addr().(*net.TCPAddr).Port
		answer := append([]byte(nil), tower[:75]...)
		binary.BigEndian.PutUint16(answer[64:], uint16(port))
		copy(answer[71:], "\x0a\x01\x02\x03") // where nobody is to go
		out.u32(1, 4, 0, 1, 3, 75, 75)
		out = append(out, answer...)
		out.u32(0)
		return out, 0
	}
	out.u32(0, 4, 0, 0, 0x16C9A0D6) // not registered
	return out, 0
}

// rpcCall is a call that is executed.
type rpcCall struct {
	a    *association
	s    *Server
	in   cursor
	size int
}

func (x *rpcCall) u32() uint32 {
	x.in.align(x.size, 4)
	return x.in.u32()
}

func (x *rpcCall) u16() uint16 {
	x.in.align(x.size, 2)
	return x.in.u16()
}

// text reads a conformant varying string of characters of a size, with the NUL at its end.
func (x *rpcCall) text(size int) string {
	room, offset, n := x.u32(), x.u32(), x.u32()
	if offset != 0 || n > room || n == 0 || int(n)*size > len(x.in.octets) {
		x.s.wrong("send a string with the counts %d, %d, %d", room, offset, n)
		x.in.short = true
		return ""
	}
	octets := x.in.take(int(n) * size)
	if size == 2 {
		return strings.TrimSuffix(narrow(octets), "\x00")
	}
	return strings.TrimSuffix(string(octets), "\x00")
}

// buffer reads a conformant array behind which its size stands again.
func (x *rpcCall) buffer() []byte {
	n := x.u32()
	octets := x.in.take(int(min(n, bodyMost)))
	if again := x.u32(); again != n {
		x.s.wrong("send a buffer with the sizes %d and %d", n, again)
		x.in.short = true
	}
	return octets
}

// give makes a session context, and returns its handle.
func (x *rpcCall) give(c *context) []byte {
	x.a.r.next++
	handle := append(words(0), append(binary.BigEndian.AppendUint64(nil, x.a.r.next), "rpccontx"...)...)
	key := string(handle)
	x.a.keys = append(x.a.keys, key)
	x.s.contexts[key] = c
	return handle
}

// context reads a handle, and returns its session context: nil if there is none.
func (x *rpcCall) context() (*context, string) {
	key := string(x.in.take(20))
	return x.s.contexts[key], key
}

// connect is EcDoConnectEx, MS-OXCRPC §3.1.4.1.
func (x *rpcCall) connect() ([]byte, uint32) {
	dn := x.text(1)
	flags := x.u32()
	x.u32() // ulConMod
	limit, _, _, _, link := x.u32(), x.u32(), x.u32(), x.u32(), x.u32()
	x.u16() // usFCanConvertCodePages
	for range 3 {
		x.u16()
	}
	x.u32() // pulTimeStamp
	x.buffer()
	most := x.u32()
	if flags != 0 || limit != 0 || link != 0xFFFFFFFF || most > 0x1008 {
		x.s.wrong("connect with flags %x, the limit %d, linked to %x, and room for %d octets", flags, limit, link, most)
	}
	handle, code := make([]byte, 20), uint32(accessDenied)
	if dn == x.a.ntlm.user.DN && !x.in.short {
		x.s.connects++
		handle, code = x.give(&context{mailbox: x.a.ntlm.user, objects: map[uint32]object{}}), 0
	}
	out := stub(handle)
	out.u32(60_000, 6, 10_000, 0, 0x20000) // and picxr, and a pointer
	out.text([]byte("/o=Sakes\x00"), 1)
	out.u32(0x20004)
	out.text(append([]byte(x.a.ntlm.user.User), 0), 1)
	out.align(2)
	for _, part := range []uint16{14 << 8, 0x8000 | 123, 4, 14 << 8, 0x8000 | 123, 4} {
		out = binary.LittleEndian.AppendUint16(out, part)
	}
	out.u32(0x5eed)
	auxiliary := []byte("\x00\x00\x04\x00\x08\x00\x08\x00\x08\x00\x01\x46\x01\x00\x00\x00")
	if x.s.single {
		auxiliary = nil
	}
	out.text(auxiliary, 1)
	out.u32(uint32(len(auxiliary)), code)
	return out, 0
}

// execute is EcDoRpcExt2, MS-OXCRPC §3.1.4.2.
func (x *rpcCall) execute() ([]byte, uint32) {
	c, key := x.context()
	flags := x.u32()
	requests := x.buffer()
	most := x.u32()
	x.buffer()
	if auxiliary := x.u32(); auxiliary > 0x1008 || most > 0x40000 {
		x.s.wrong("ask for %d octets, and %d", most, auxiliary)
		return nil, faultStub
	}
	switch {
	case x.in.short:
		return nil, 0 // told by who called
	case c == nil:
		return nil, faultContext
	case c.mailbox != x.a.ntlm.user || c.book:
		x.s.wrong("use somebody else's session context")
		return nil, faultContext
	}
	body := append(append(words(flags, uint32(len(requests))), requests...), words(most, 0)...)
	outcome, reply := x.s.execute(c, body) // as over HTTP: StatusCode, ErrorCode, Flags, replies
	if outcome != succeeded {
		return nil, faultStub
	}
	in := cursor{octets: reply}
	in.u32()
	code := in.u32()
	in.u32()
	replies := in.take(int(in.u32()))
	out := stub(key)
	out.u32(0)
	out.text(replies, 1)
	out.u32(uint32(len(replies)))
	out.text(nil, 1)
	out.u32(0, 0, code)
	return out, 0
}

// disconnect is EcDoDisconnect, MS-OXCRPC §3.1.4.3.
func (x *rpcCall) disconnect() ([]byte, uint32) {
	c, key := x.context()
	if c == nil {
		return nil, faultContext
	}
	delete(x.s.contexts, key)
	return make([]byte, 20+4), 0
}
