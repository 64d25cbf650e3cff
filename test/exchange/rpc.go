package exchange

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// RPC is the server over RPC and TCP, as Exchange had it up to 2010: an endpoint mapper, EMSMDB (MS-OXCRPC) and NSPI (MS-OXNSPI), each at
// a port of its own, on the same mailboxes. Who signs in does so by NTLM, and what is not sealed is refused.
type RPC struct {
	// Host is where it is, and Mapper the port of its endpoint mapper.
	Host, Mapper string

	s         *Server
	mapper    net.Listener
	all       sync.WaitGroup
	mu        sync.Mutex
	ports     [2]net.Listener // by the interface
	conns     map[net.Conn]bool
	closed    bool
	next      uint64 // session context
	twists    []twist
	targets   []string
	mapped    int // questions to the endpoint mapper
	sealedOff bool
	// unregistered: the endpoint mapper knows nothing.
	unregistered bool
}

// twist is what becomes of a PDU that the server sends.
type twist struct {
	after int // so many others
	to    func([]byte) []byte
}

// The interfaces, by their places in RPC.ports.
const (
	emsmdb = iota
	nspi
	endpointMapper
)

// Interfaces as p_syntax_id_t, C706 §12.6.3.1.
var interfaces = []string{
	emsmdb:         "\x00\xdb\xf1\xa4\x47\xca\x67\x10\xb3\x1f\x00\xdd\x01\x06\x62\xda\x00\x00\x51\x00",
	nspi:           "\x18\x5a\xcc\xf5\x64\x42\x1a\x10\x8c\x59\x08\x00\x2b\x2f\x84\x26\x38\x00\x00\x00",
	endpointMapper: "\x08\x83\xaf\xe1\x1f\x5d\xc9\x11\x91\xa4\x08\x00\x2b\x14\xa0\xfa\x03\x00\x00\x00",
}

const transferNDR = "\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60\x02\x00\x00\x00"

// StartRPC has the server be there over RPC, too.
func (s *Server) StartRPC() *RPC {
	r := &RPC{Host: "127.0.0.1", s: s, conns: make(map[net.Conn]bool)}
	r.mapper = r.listen(endpointMapper)
	_, r.Mapper, _ = net.SplitHostPort(r.mapper.Addr().String())
	r.open()
	s.t.Cleanup(func() {
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		r.end()
		_ = r.mapper.Close()
		r.all.Wait()
	})
	return r
}

func (r *RPC) open() {
	for i := range r.ports {
		l := r.listen(i)
		r.mu.Lock()
		r.ports[i] = l
		r.mu.Unlock()
	}
}

// end ends all connections, and closes the ports.
func (r *RPC) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.ports {
		_ = l.Close()
	}
	for c := range r.conns {
		_ = c.Close()
	}
}

// Restart ends the services, which come back at other ports.
func (r *RPC) Restart() {
	r.end()
	r.s.Forget()
	r.open()
}

// Port is where an interface is: that of mailboxes, or else of the address book.
func (r *RPC) Port(mailboxes bool) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := nspi
	if mailboxes {
		i = emsmdb
	}
	_, port, _ := net.SplitHostPort(r.ports[i].Addr().String())
	return port
}

// Twist changes a PDU that is sent once so many others were, from now on. An empty one cuts the connection.
func (r *RPC) Twist(after int, to func([]byte) []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.twists = append(r.twists, twist{after, to})
}

// Mapped is how often the endpoint mapper was asked.
func (r *RPC) Mapped() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mapped
}

// Unregister has the endpoint mapper know nothing.
func (r *RPC) Unregister() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unregistered = true
}

// InTheClear has the server seal nothing of what it sends.
func (r *RPC) InTheClear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealedOff = true
}

// Targets are the service principal names that logins were for.
func (r *RPC) Targets() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.targets...)
}

func (r *RPC) listen(which int) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.s.t.Fatal(err)
	}
	r.all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns[conn] = true
			closed := r.closed
			r.mu.Unlock()
			if closed {
				_ = conn.Close()
				return
			}
			r.all.Go(func() {
				defer func() {
					r.mu.Lock()
					delete(r.conns, conn)
					r.mu.Unlock()
					_ = conn.Close()
				}()
				(&association{r: r, conn: conn, which: which}).serve()
			})
		}
	})
	return l
}

// association is a connection with a client.
type association struct {
	r     *RPC
	conn  net.Conn
	which int // interface
	bound bool
	ntlm  *acceptor // nil: nobody signs in
	stub  []byte    // of the request so far
	keys  []string  // of the session contexts
}

// Kinds and flags of PDUs, C706 §12.6.
const (
	pduRequest  = 0
	pduResponse = 2
	pduFault    = 3
	pduBind     = 11
	pduBindAck  = 12
	pduBindNak  = 13
	pduAuth3    = 16

	pduFirst = 1
	pduLast  = 2
	pduMost  = 5840
)

// Statuses of faults, MS-RPCE §2.2.1.1.
const (
	faultDenied   = 0x00000005
	faultTooBusy  = 0x000006BB
	faultSecurity = 0x00000721
	faultOpnum    = 0x1C010002
	faultContext  = 0x1C00001A
	faultStub     = 0x000006F7 // RPC_X_BAD_STUB_DATA
)

var errEnd = errors.New("the connection ends")

// serve serves a connection until it ends, and forgets the session contexts that were made on it (their rundown, C706 §5.1.6).
func (a *association) serve() {
	defer func() {
		a.r.s.mu.Lock()
		defer a.r.s.mu.Unlock()
		for _, key := range a.keys {
			delete(a.r.s.contexts, key)
		}
	}()
	for {
		header := make([]byte, 16)
		if _, err := io.ReadFull(a.conn, header); err != nil {
			return
		}
		size, auth := int(binary.LittleEndian.Uint16(header[8:])), int(binary.LittleEndian.Uint16(header[10:]))
		if header[0] != 5 || header[4] != 0x10 || size > pduMost || size < 16+auth {
			a.wrong("send the PDU header %x", header)
			return
		}
		pdu := append(header, make([]byte, size-16)...)
		if _, err := io.ReadFull(a.conn, pdu[16:]); err != nil {
			return
		}
		if err := a.dispatch(pdu, auth); err != nil {
			return
		}
	}
}

func (a *association) wrong(format string, args ...any) {
	a.r.s.mu.Lock()
	defer a.r.s.mu.Unlock()
	a.r.s.wrong(format, args...)
}

func (a *association) dispatch(pdu []byte, auth int) error {
	switch kind := pdu[2]; {
	case kind == pduBind && !a.bound:
		return a.bind(pdu, auth)
	case kind == pduAuth3 && a.ntlm != nil && auth > 0:
		a.r.s.mu.Lock()
		defer a.r.s.mu.Unlock()
		a.ntlm.authenticate(a.r.s, pdu[len(pdu)-auth:])
		a.r.mu.Lock()
		defer a.r.mu.Unlock()
		a.r.targets = append(a.r.targets, a.ntlm.target)
		return nil
	case kind == pduRequest && a.bound:
		return a.request(pdu, auth)
	default:
		a.wrong("send a PDU of kind %d", kind)
		return errEnd
	}
}

// bind answers a bind, C706 §12.6.4.3 and MS-RPCE §3.3.1.5.2.
func (a *association) bind(pdu []byte, auth int) error {
	in := cursor{octets: pdu[16:]}
	in.take(4 + 4) // fragments, group
	contexts := in.u32()
	in.take(4) // number, transfer syntaxes
	abstract, transfer := string(in.take(20)), string(in.take(20))
	if in.short || contexts != 1 || transfer != transferNDR {
		a.wrong("send a bind of %x", pdu)
		return errEnd
	}
	a.bound = true
	var trailer []byte
	if auth > 0 {
		trailer = pdu[len(pdu)-auth-8:]
		if trailer[0] != 10 || trailer[1] != 6 {
			return a.send(a.pdu(pduBindNak, 3, pdu[12:16], []byte{8, 0, 0, 0}, nil, nil))
		}
		a.ntlm = newAcceptor(trailer[8:])
		trailer = append(append([]byte(nil), trailer[:8]...), a.ntlm.challenge...)
		trailer[2] = 0
	} else if a.which != endpointMapper {
		a.wrong("bind to a mailbox without signing in")
		return errEnd
	}
	body := []byte{0xd0, 0x16, 0xd0, 0x16, 0x34, 0x12, 0, 0, 4, 0, '1', '3', '5', 0, 0, 0, 1, 0, 0, 0}
	if abstract == interfaces[a.which] {
		body = append(append(body, 0, 0, 0, 0), transferNDR...)
	} else {
		body = append(append(body, 2, 0, 1, 0), make([]byte, 20)...)
	}
	return a.send(a.pdu(pduBindAck, 3|pdu[3]&4, pdu[12:16], body, trailer, nil))
}

// pdu makes a PDU. Behind the body are the trailer and the signature, if there are any.
func (a *association) pdu(kind, flags byte, call, body, trailer, signature []byte) []byte {
	auth := 0
	if len(trailer) > 0 {
		auth = len(trailer) - 8 + len(signature)
	}
	size := 16 + len(body) + len(trailer) + len(signature)
	out := []byte{5, 0, kind, flags, 0x10, 0, 0, 0, byte(size), byte(size >> 8), byte(auth), byte(auth >> 8)}
	out = append(append(out, call...), body...)
	return append(append(out, trailer...), signature...)
}

// send sends a PDU, or what a twist makes of it.
func (a *association) send(pdu []byte) error {
	a.r.mu.Lock()
	for i := range a.r.twists {
		if a.r.twists[i].after--; a.r.twists[i].after < 0 {
			pdu = a.r.twists[i].to(pdu)
			a.r.twists = append(a.r.twists[:i], a.r.twists[i+1:]...)
			break
		}
	}
	a.r.mu.Unlock()
	if len(pdu) == 0 {
		return errEnd
	}
	_, err := a.conn.Write(pdu)
	return err
}

// request takes a fragment of a request, and answers it when it is whole. C706 §12.6.4.9.
func (a *association) request(pdu []byte, auth int) error {
	end := len(pdu)
	if a.ntlm != nil {
		if a.ntlm.user == nil { // it was refused
			return a.fault(pdu, faultDenied)
		}
		trailer := len(pdu) - auth - 8
		if auth != 16 || trailer < 24 || pdu[trailer] != 10 || pdu[trailer+1] != 6 {
			a.wrong("send a request that is not sealed")
			return errEnd
		}
		if !a.ntlm.unseal(pdu[:len(pdu)-auth], 24, trailer, pdu[len(pdu)-auth:]) {
			a.wrong("send a request whose signature is wrong")
			return a.fault(pdu, faultSecurity)
		}
		if end = trailer - int(pdu[trailer+2]); end < 24 {
			a.wrong("send more padding than there is")
			return errEnd
		}
	}
	if pdu[3]&pduFirst != 0 {
		a.stub = nil
	}
	if a.stub = append(a.stub, pdu[24:end]...); pdu[3]&pduLast == 0 {
		return nil
	}
	opnum := binary.LittleEndian.Uint16(pdu[22:])
	reply, status := a.call(opnum, a.stub)
	switch {
	case status == dropped:
		return errEnd
	case status != 0:
		return a.fault(pdu, status)
	}
	return a.respond(pdu[12:16], reply)
}

// dropped is the status of a call whose reply is lost with the connection.
const dropped = 0xFFFFFFFF

// fault answers a request with a fault, which is not sealed. C706 §12.6.4.7.
func (a *association) fault(pdu []byte, status uint32) error {
	body := append(words(24, 0, status), 0, 0, 0, 0)
	return a.send(a.pdu(pduFault, pduFirst|pduLast|0x20, pdu[12:16], body, nil, nil))
}

// respond sends the fragments of a response, C706 §12.6.4.10.
func (a *association) respond(call, stub []byte) error {
	const room = 5744 // a multiple of 16, that leaves room for all else
	for first := true; first || len(stub) > 0; first = false {
		part := stub[:min(len(stub), room)]
		stub = stub[len(part):]
		flags := byte(0)
		if first {
			flags |= pduFirst
		}
		if len(stub) == 0 {
			flags |= pduLast
		}
		if err := a.send(a.fragment(call, flags, part)); err != nil {
			return err
		}
	}
	return nil
}

func (a *association) fragment(call []byte, flags byte, part []byte) []byte {
	body := append(words(uint32(len(part)), 0), part...)
	a.r.mu.Lock()
	sealed := a.ntlm != nil && !a.r.sealedOff
	a.r.mu.Unlock()
	if !sealed {
		return a.pdu(pduResponse, flags, call, body, nil, nil)
	}
	pad := -len(part) & 15
	body = append(body, make([]byte, pad)...)
	out := a.pdu(pduResponse, flags, call, body, []byte{10, 6, byte(pad), 0, 1, 0, 0, 0}, make([]byte, 16))
	signed := out[:len(out)-16]
	copy(out[len(signed):], a.ntlm.seal(signed, 24, len(signed)-8))
	return out
}
