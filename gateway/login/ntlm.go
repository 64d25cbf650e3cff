package login

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"

	"github.com/dipylon/dipylon/gateway/stores"
)

// ntlmUser is the user in an AUTHENTICATE_MESSAGE of NTLM (MS-NLMP §2.2.1.3), which a client
// sends last; empty: there is none. The rest of the exchange is the store's alone.
func ntlmUser(message []byte) string {
	const typeAt, userAt, flagsAt, headerLength = 8, 36, 60, 64
	const authenticate, unicodeFlag = 3, 0x1
	if len(message) < headerLength || !bytes.HasPrefix(message, []byte("NTLMSSP\x00")) || binary.LittleEndian.Uint32(message[typeAt:]) != authenticate {
		return ""
	}
	length, offset := uint64(binary.LittleEndian.Uint16(message[userAt:])), uint64(binary.LittleEndian.Uint32(message[userAt+4:]))
	if offset+length > uint64(len(message)) || length > 2*stores.NameMost {
		return ""
	}
	name := message[offset : offset+length]
	if binary.LittleEndian.Uint32(message[flagsAt:])&unicodeFlag == 0 {
		return string(name) // in the client's code page; what is not ASCII is counted as it is
	}
	units := make([]uint16, len(name)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(name[2*i:])
	}
	return string(utf16.Decode(units))
}
