package dcerpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Config says what is called, and how.
type Config struct {
	Interface Interface
	// Security signs and seals. nil: calls are made in the clear, as the endpoint mapper's are.
	Security Security
	// Timeout is how long a server may send nothing, and how long connecting may take [1 minute].
	Timeout time.Duration
	// Most is how many octets the stub of a reply may have [1 MiB].
	Most int
}

// Conn is a connection that is bound to an interface. Calls are made one at a time.
type Conn struct {
	config   Config
	net      net.Conn
	number   uint32 // of the last call
	fragment int    // octets of the largest fragment that the server takes
	answered bool   // a call, so that the sign-in was taken
	broken   error  // nothing more can be called
}

// Dial connects and binds. What it returns is a [RefusedError], a [FaultError], an error of the Security, one that is
// [ErrProtocol], or of the network.
func Dial(ctx context.Context, address string, config Config) (*Conn, error) {
	if config.Timeout == 0 {
		config.Timeout = time.Minute
	}
	if config.Most == 0 {
		config.Most = 1 << 20
	}
	dialer := net.Dialer{Timeout: config.Timeout}
	socket, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &Conn{config: config, net: socket, fragment: fragmentLeast}
	if err := c.bind(ctx); err != nil {
		_ = socket.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the connection, and what is under way on it.
func (c *Conn) Close() error { return c.net.Close() }

// UnsentError says that a call was not sent at all.
type UnsentError struct{ Err error }

func (e *UnsentError) Error() string { return "dcerpc: the call was not sent: " + e.Err.Error() }

// Unwrap returns why.
func (e *UnsentError) Unwrap() error { return e.Err }

// FaultError is a call that the server has failed, C706 §12.6.4.7.
type FaultError struct {
	Status uint32
	// NotExecuted says that the server has not begun to execute the call.
	NotExecuted bool
	// First says that it answers the first call after a sign-in, of which a server has said nothing before.
	First bool

	signed bool
}

// SignIn says that the sign-in was refused. QUIRK: Samba, and what is built on it, tells that as a protocol error.
func (e *FaultError) SignIn() bool {
	return e.First && (e.Status == StatusAccessDenied || e.Status == StatusSecurity || e.Status == StatusProtocol)
}

// Busy says that the server is too busy.
func (e *FaultError) Busy() bool { return e.Status == StatusServerTooBusy || e.Status == StatusTooBusy }

// Statuses of faults, MS-RPCE §2.2.1.1 and C706 appendix E.
const (
	StatusAccessDenied    uint32 = 0x00000005
	StatusServerTooBusy   uint32 = 0x000006BB
	StatusSecurity        uint32 = 0x00000721 // RPC_S_SEC_PKG_ERROR
	StatusOutOfRange      uint32 = 0x1C010002 // nca_s_op_rng_error: there is no such procedure
	StatusUnknownIf       uint32 = 0x1C010003 // nca_s_unk_if
	StatusTooBusy         uint32 = 0x1C010014 // nca_s_server_too_busy
	StatusProtocol        uint32 = 0x1C01000B // nca_s_proto_error
	StatusContextMismatch uint32 = 0x1C00001A // nca_s_fault_context_mismatch: the context handle is not known
)

var statusTexts = map[uint32]string{
	StatusAccessDenied: "access is denied", StatusServerTooBusy: "the server is too busy", StatusSecurity: "the security package has failed",
	StatusOutOfRange: "there is no such procedure", StatusUnknownIf: "there is no such interface", StatusTooBusy: "the server is too busy",
	StatusProtocol: "a protocol error", StatusContextMismatch: "the context handle is not known",
}

func (e *FaultError) Error() string {
	if text, ok := statusTexts[e.Status]; ok {
		return fmt.Sprintf("dcerpc: fault: %s (0x%08x)", text, e.Status)
	}
	return fmt.Sprintf("dcerpc: fault 0x%08x", e.Status)
}

// Call calls a procedure with the stub of its parameters, and returns that of its results. A [FaultError] leaves the connection as it is, unless
// the server has signed it; any other error ends it.
func (c *Conn) Call(ctx context.Context, opnum uint16, stub []byte) ([]byte, error) {
	return c.CallFor(ctx, opnum, stub, c.config.Most)
}

// CallFor is Call where the results may have no more than most octets, which are no more than [Config.Most].
func (c *Conn) CallFor(ctx context.Context, opnum uint16, stub []byte, most int) ([]byte, error) {
	if c.broken != nil {
		return nil, &UnsentError{c.broken}
	}
	reply, err := c.call(ctx, opnum, stub, min(most, c.config.Most))
	fault := &FaultError{}
	if err != nil && (!errors.As(err, &fault) || fault.signed) { // the next signature follows on one that was not looked at
		c.broken = err
		_ = c.net.Close()
	}
	return reply, err
}

func (c *Conn) call(ctx context.Context, opnum uint16, stub []byte, most int) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, &UnsentError{err}
	}
	c.number++
	for first := true; first || len(stub) > 0; first = false {
		part := stub[:min(len(stub), c.room())]
		stub = stub[len(part):]
		octets, err := c.requestFragment(opnum, part, len(stub)+len(part), first, len(stub) == 0)
		if err != nil {
			return nil, err
		}
		if err := c.send(ctx, octets); err != nil {
			return nil, err
		}
	}
	return c.response(ctx, most)
}

// room is how many octets of a stub a fragment has room for.
func (c *Conn) room() int {
	n := c.fragment - headerSize - callSize
	if c.config.Security != nil {
		n -= trailerSize + c.config.Security.SignatureSize()
	}
	return n &^ (sealBlock - 1)
}

// requestFragment writes a fragment of a request, C706 §12.6.4.9.
func (c *Conn) requestFragment(opnum uint16, part []byte, left int, first, last bool) ([]byte, error) {
	le := binary.LittleEndian
	p := &pdu{kind: kindRequest, call: c.number}
	if first {
		p.flags |= flagFirst
	}
	if last {
		p.flags |= flagLast
	}
	p.body = le.AppendUint32(make([]byte, 0, fragmentMost), uint32(left)) // alloc_hint
	p.body = le.AppendUint16(p.body, 0)                                   // p_cont_id
	p.body = append(le.AppendUint16(p.body, opnum), part...)
	if c.config.Security == nil {
		return p.encode(), nil
	}
	pad := -len(part) & (sealBlock - 1)
	p.body = append(p.body, make([]byte, pad)...)
	p.auth = c.verifier(make([]byte, c.config.Security.SignatureSize()), uint8(pad))
	octets := p.encode()
	signed := len(octets) - len(p.auth.value)
	signature, err := c.config.Security.Seal(octets[:signed], headerSize+callSize, signed-trailerSize)
	if err != nil {
		return nil, err
	}
	if len(signature) != len(p.auth.value) {
		return nil, fmt.Errorf("dcerpc: a signature of %d octets where it has %d", len(signature), len(p.auth.value))
	}
	copy(octets[signed:], signature)
	return octets, nil
}

// response reads the fragments of a response, C706 §12.6.4.10.
func (c *Conn) response(ctx context.Context, most int) ([]byte, error) {
	var stub []byte
	for first := true; ; first = false {
		p, err := c.receive(ctx)
		if err != nil {
			return nil, err
		}
		if p.kind == kindFault && p.call == c.number {
			return nil, c.fault(p)
		}
		if p.kind != kindResponse || p.call != c.number || first != (p.flags&flagFirst != 0) {
			return nil, violation("a PDU of kind %d with flags 0x%02x for call %d in answer to call %d", p.kind, p.flags, p.call, c.number)
		}
		part, err := c.open(p)
		if err != nil {
			return nil, err
		}
		if len(stub)+len(part) > most {
			return nil, violation("a reply of more than %d octets", most)
		}
		c.answered = true
		stub = append(stub, part...)
		if p.flags&flagLast != 0 {
			return stub, nil
		}
		if len(part) == 0 {
			return nil, violation("a fragment that has nothing and is not the last")
		}
	}
}

// open returns the part of a stub that is in a response.
func (c *Conn) open(p *pdu) ([]byte, error) {
	if len(p.body) < callSize {
		return nil, violation("a response of %d octets", len(p.body))
	}
	if c.config.Security == nil {
		return p.body[callSize:], nil
	}
	if err := c.checkVerifier(p); err != nil {
		return nil, err
	}
	if len(p.auth.value) != c.config.Security.SignatureSize() {
		return nil, violation("a signature of %d octets where it has %d", len(p.auth.value), c.config.Security.SignatureSize())
	}
	signed := p.whole[:len(p.whole)-len(p.auth.value)]
	if err := c.config.Security.Unseal(signed, headerSize+callSize, len(signed)-trailerSize, p.auth.value); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	n := len(p.body) - callSize - int(p.auth.pad)
	if n < 0 {
		return nil, violation("%d octets of padding in a response of %d", p.auth.pad, len(p.body))
	}
	return p.body[callSize:][:n], nil
}

// fault reads a fault. Servers sign some and others not: it says no more than that the call has failed.
func (c *Conn) fault(p *pdu) error {
	if len(p.body) < callSize+4 {
		return violation("a fault of %d octets", len(p.body))
	}
	return &FaultError{
		Status:      binary.LittleEndian.Uint32(p.body[callSize:]),
		signed:      p.auth != nil,
		NotExecuted: p.flags&flagNotExecuted != 0, First: c.config.Security != nil && !c.answered,
	}
}

// exchange sends a PDU and returns the next that comes, which must be the answer to it.
func (c *Conn) exchange(ctx context.Context, p *pdu) (*pdu, error) {
	if err := c.send(ctx, p.encode()); err != nil {
		return nil, err
	}
	answer, err := c.receive(ctx)
	if err == nil && answer.call != p.call {
		err = violation("an answer to call %d where %d was made", answer.call, p.call)
	}
	return answer, err
}

// send writes a PDU.
func (c *Conn) send(ctx context.Context, octets []byte) error {
	return c.waiting(ctx, func() error {
		_, err := c.net.Write(octets)
		return err
	})
}

// receive reads a PDU.
func (c *Conn) receive(ctx context.Context) (*pdu, error) {
	octets := make([]byte, headerSize, fragmentMost)
	err := c.waiting(ctx, func() error {
		if _, err := io.ReadFull(c.net, octets); err != nil {
			return err
		}
		n, err := fragmentLength(octets)
		if err != nil {
			return err
		}
		octets = octets[:n]
		_, err = io.ReadFull(c.net, octets[headerSize:])
		return err
	})
	if err != nil {
		return nil, err
	}
	return decode(octets)
}

// waiting does something with the socket that the server may keep waiting: for as long as it may send nothing, and no longer than
// the context lasts. When that ends the connection is closed: what is half read or written cannot go on.
func (c *Conn) waiting(ctx context.Context, something func() error) error {
	if err := c.net.SetDeadline(time.Now().Add(c.config.Timeout)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.net.Close() })
	defer stop()
	err := something()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}
