package dcerpc

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kinds of PDUs, C706 §12.6.4 and MS-RPCE §2.2.2.
const (
	kindRequest  uint8 = 0
	kindResponse uint8 = 2
	kindFault    uint8 = 3
	kindBind     uint8 = 11
	kindBindAck  uint8 = 12
	kindBindNak  uint8 = 13
	kindAuth3    uint8 = 16
)

// Flags of PDUs, C706 §12.6.3.1 and MS-RPCE §2.2.2.3.
const (
	flagFirst       uint8 = 0x01
	flagLast        uint8 = 0x02
	flagSignHeaders uint8 = 0x04 // of a bind and its answer
	flagNotExecuted uint8 = 0x20 // of a fault
)

const (
	headerSize    = 16
	callSize      = 8 // of what stands before the stub of a request or a response
	trailerSize   = 8 // of an auth_verifier without its value
	fragmentMost  = 5840
	fragmentLeast = 1432 // MustRecvFragSize, C706 §12.6.3.5
	sealBlock     = 16   // what is sealed is padded to a multiple of it
)

// littleEndian says that integers are little-endian, characters are ASCII and floats are IEEE's, C706 §14.1.
var littleEndian = [4]byte{0x10}

// ErrProtocol says that what a server sent is not what it may send.
var ErrProtocol = errors.New("dcerpc: the server does not keep to the protocol")

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// pdu is a PDU. C706 §12.6.
type pdu struct {
	kind, flags uint8
	call        uint32
	body        []byte // between the header and the auth_verifier
	auth        *trailer
	whole       []byte
}

// trailer is an auth_verifier, MS-RPCE §2.2.2.11.
type trailer struct {
	method, level, pad uint8
	context            uint32
	value              []byte
}

// encode writes a PDU. Its body has the length that the auth_verifier wants.
func (p *pdu) encode() []byte {
	le := binary.LittleEndian
	octets := append(make([]byte, 0, fragmentMost), 5, 0, p.kind, p.flags)
	octets = append(octets, littleEndian[:]...)
	octets = le.AppendUint16(octets, 0) // the length, which comes below
	if p.auth != nil {
		octets = le.AppendUint16(octets, uint16(len(p.auth.value)))
	} else {
		octets = le.AppendUint16(octets, 0)
	}
	octets = append(le.AppendUint32(octets, p.call), p.body...)
	if p.auth != nil {
		octets = append(octets, p.auth.method, p.auth.level, p.auth.pad, 0)
		octets = append(le.AppendUint32(octets, p.auth.context), p.auth.value...)
	}
	le.PutUint16(octets[8:], uint16(len(octets)))
	return octets
}

// fragmentLength reads the length of a PDU from its header, and refuses what is none that we can read.
func fragmentLength(header []byte) (int, error) {
	n := int(binary.LittleEndian.Uint16(header[8:]))
	switch {
	case header[0] != 5 || header[1] > 1:
		return 0, violation("a PDU of version %d.%d, or this is no RPC server", header[0], header[1])
	case [4]byte(header[4:8]) != littleEndian:
		return 0, violation("integers or characters in another form than little-endian and ASCII (%x)", header[4:8])
	case n < headerSize || n > fragmentMost:
		return 0, violation("a PDU of %d octets, and %d to %d are allowed", n, headerSize, fragmentMost)
	}
	return n, nil
}

// decode takes a whole PDU apart. Its parts are octets of it.
func decode(octets []byte) (*pdu, error) {
	if len(octets) < headerSize {
		return nil, violation("a PDU of %d octets", len(octets))
	}
	if n, err := fragmentLength(octets); err != nil || n != len(octets) {
		return nil, errors.Join(err, violation("a PDU of %d octets", len(octets)))
	}
	le := binary.LittleEndian
	p := &pdu{kind: octets[2], flags: octets[3], call: le.Uint32(octets[12:]), whole: octets, body: octets[headerSize:]}
	size := int(le.Uint16(octets[10:]))
	if size == 0 {
		return p, nil
	}
	at := len(p.body) - size - trailerSize
	if at < 0 {
		return nil, violation("an auth_verifier of %d octets in a PDU of %d", size, len(octets))
	}
	t := p.body[at:]
	p.auth = &trailer{method: t[0], level: t[1], pad: t[2], context: le.Uint32(t[4:]), value: t[trailerSize:]}
	p.body = p.body[:at]
	return p, nil
}

// UUID is a UUID as it is sent, its first three fields little-endian.
type UUID [16]byte

// NewUUID makes one of its fields, as they are written: 12345678-1234-abcd-ef00-0123456789ab.
func NewUUID(a uint32, b, c uint16, rest [8]byte) UUID {
	le := binary.LittleEndian
	octets := le.AppendUint16(le.AppendUint16(le.AppendUint32(nil, a), b), c)
	return UUID(append(octets, rest[:]...))
}

// Interface is a set of procedures.
type Interface struct {
	Name         string
	UUID         UUID
	Major, Minor uint16
}

// ndr is the transfer syntax NDR 2.0, C706 §14.
var ndr = Interface{UUID: NewUUID(0x8a885d04, 0x1ceb, 0x11c9, [8]byte{0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60}), Major: 2}

// append writes a p_syntax_id_t, C706 §12.6.3.1.
func (i Interface) append(octets []byte) []byte {
	octets = append(octets, i.UUID[:]...)
	return binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(octets, i.Major), i.Minor)
}
