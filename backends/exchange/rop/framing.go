package rop

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Flags of an RPC_HEADER_EXT, MS-OXCRPC §2.2.2.1.
const (
	headerCompressed uint16 = 0x0001
	headerXorMagic   uint16 = 0x0002
	headerLast       uint16 = 0x0004
)

const (
	headerSize = 8
	xorMagic   = 0xA5
	// PayloadMost is how many octets a payload may have, MS-OXCRPC §3.1.4.1.1.
	PayloadMost = 32 << 10
	// MemoryMost is how many octets the payloads of one reply may have together.
	MemoryMost = 4 << 20
	// compressLeast is the least payload that is worth to be compressed.
	compressLeast = 512
)

// Framing says how payloads are written into an extended buffer. Each is read whatever it is.
type Framing struct {
	// Compress makes large payloads smaller where that is possible.
	Compress bool
	// Obfuscate hides text from those who look at a connection without knowing the protocol. It keeps
	// nothing secret.
	Obfuscate bool
}

// Append appends payloads to an extended buffer, each behind its RPC_HEADER_EXT, MS-OXCRPC §2.2.2.1. Only a server that says so
// takes several (§3.1.4.2.1.2.1).
func (f Framing) Append(octets []byte, payloads ...[]byte) ([]byte, error) {
	for i, payload := range payloads {
		if len(payload) > PayloadMost {
			return nil, fmt.Errorf("rop: a payload of %d octets is larger than %d", len(payload), PayloadMost)
		}
		octets = f.append(octets, payload, i == len(payloads)-1)
	}
	return octets, nil
}

func (f Framing) append(octets, payload []byte, last bool) []byte {
	flags, body := uint16(0), payload
	if last {
		flags = headerLast
	}
	if f.Compress && len(payload) >= compressLeast {
		if small := compress(payload); len(small) < len(payload) {
			flags, body = flags|headerCompressed, small
		}
	}
	if f.Obfuscate {
		flags, body = flags|headerXorMagic, obfuscated(body)
	}
	le := binary.LittleEndian
	octets = le.AppendUint16(octets, 0) // Version
	octets = le.AppendUint16(octets, flags)
	octets = le.AppendUint16(octets, uint16(len(body)))
	octets = le.AppendUint16(octets, uint16(len(payload)))
	return append(octets, body...)
}

// obfuscated returns octets as XorMagic has them, or as they were before, MS-OXCRPC §3.1.4.1.1.3.
func obfuscated(octets []byte) []byte {
	hidden := make([]byte, len(octets))
	for i, octet := range octets {
		hidden[i] = octet ^ xorMagic
	}
	return hidden
}

// Payloads takes an extended buffer apart: there are several payloads if the server has chained replies
// (MS-OXCRPC §3.1.4.2.1.2). Those that were neither compressed nor obfuscated are parts of octets.
func Payloads(octets []byte) ([][]byte, error) {
	var payloads [][]byte
	for total := 0; ; {
		if len(octets) < headerSize {
			return nil, fmt.Errorf("rop: %d octets where an RPC_HEADER_EXT has %d: %w", len(octets), headerSize, io.ErrUnexpectedEOF)
		}
		h := readHeader(octets)
		octets = octets[headerSize:]
		if total += h.actual; total > MemoryMost {
			return nil, fmt.Errorf("rop: the payloads of a reply have more than %d octets", MemoryMost)
		}
		payload, err := h.payload(octets)
		if err != nil {
			return nil, err
		}
		payloads = append(payloads, payload)
		if octets = octets[h.size:]; h.flags&headerLast != 0 {
			return payloads, nil
		}
	}
}

type header struct {
	version, flags uint16
	size, actual   int
}

func readHeader(octets []byte) header {
	le := binary.LittleEndian
	return header{le.Uint16(octets), le.Uint16(octets[2:]), int(le.Uint16(octets[4:])), int(le.Uint16(octets[6:]))}
}

// payload returns what is behind a header, as it was before it was compressed and obfuscated.
func (h header) payload(octets []byte) ([]byte, error) {
	switch {
	case h.version != 0:
		return nil, fmt.Errorf("rop: RPC_HEADER_EXT has version %d, and 0 is the only one", h.version)
	case h.size > len(octets):
		return nil, fmt.Errorf("rop: a payload of %d octets is announced and %d are there: %w", h.size, len(octets), io.ErrUnexpectedEOF)
	case h.flags&headerCompressed == 0 && h.size != h.actual:
		return nil, fmt.Errorf("rop: a payload that is not compressed has the sizes %d and %d", h.size, h.actual)
	}
	body := octets[:h.size:h.size]
	if h.flags&headerXorMagic != 0 {
		body = obfuscated(body)
	}
	if h.flags&headerCompressed == 0 {
		return body, nil
	}
	payload, err := decompress(body, h.actual)
	if err != nil {
		return nil, fmt.Errorf("rop: a payload: %w", err)
	}
	return payload, nil
}
