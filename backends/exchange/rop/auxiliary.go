package rop

import "encoding/binary"

// An AUX_HEADER has Size, Version and Type, MS-OXCRPC §2.2.2.2.
const (
	auxHeaderSize         = 4
	auxVersion            = 1
	auxServerCapabilities = 0x46
)

// PackedUploads is PACKED_FAST_TRANSFER_UPLOAD_BUFFERS of ServerCapabilityFlags, MS-OXCRPC §2.2.2.2.19.
const PackedUploads = 0x00000001

// Capabilities returns the ServerCapabilityFlags that an auxiliary buffer of a reply to Connect or EcDoConnectEx tells of. It is there to inform: what cannot be read tells
// of none.
func Capabilities(auxiliary []byte) (flags uint32) {
	if len(auxiliary) == 0 {
		return 0
	}
	payloads, err := Payloads(auxiliary)
	if err != nil {
		return 0
	}
	for _, blocks := range payloads {
		for len(blocks) >= auxHeaderSize {
			size := int(binary.LittleEndian.Uint16(blocks))
			if size < auxHeaderSize || size > len(blocks) {
				break
			}
			if blocks[2] == auxVersion && blocks[3] == auxServerCapabilities && size >= auxHeaderSize+4 {
				flags |= binary.LittleEndian.Uint32(blocks[auxHeaderSize:])
			}
			blocks = blocks[size:]
		}
	}
	return flags
}
