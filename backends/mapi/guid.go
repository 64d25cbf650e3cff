package mapi

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// GUID is a GUID in the order of its octets on the wire, MS-DTYP §2.3.4.2: the first three fields are little-endian.
type GUID [16]byte

// Type says that it is a PtypGuid.
func (GUID) Type() Type { return PtypGuid }

// String returns the GUID as {00020329-0000-0000-c000-000000000046}.
func (g GUID) String() string {
	return fmt.Sprintf("{%08x-%04x-%04x-%x-%x}", binary.LittleEndian.Uint32(g[:]), binary.LittleEndian.Uint16(g[4:]),
		binary.LittleEndian.Uint16(g[6:]), g[8:10], g[10:])
}

// ParseGUID reads what String writes, in either case, with or without the braces.
func ParseGUID(s string) (GUID, error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(s, "{"), "}")
	var g GUID
	digits := strings.ReplaceAll(bare, "-", "")
	if len(bare) != 36 || len(digits) != 32 || bare[8] != '-' || bare[13] != '-' || bare[18] != '-' || bare[23] != '-' {
		return g, fmt.Errorf("%q is no GUID, such as {00020329-0000-0000-c000-000000000046}", s)
	}
	octets, err := hex.DecodeString(digits)
	if err != nil {
		return g, fmt.Errorf("%q is no GUID: %w", s, err)
	}
	copy(g[:], octets)
	binary.LittleEndian.PutUint32(g[:], binary.BigEndian.Uint32(octets))
	binary.LittleEndian.PutUint16(g[4:], binary.BigEndian.Uint16(octets[4:]))
	binary.LittleEndian.PutUint16(g[6:], binary.BigEndian.Uint16(octets[6:]))
	return g, nil
}

// MustGUID is ParseGUID for GUIDs that the specifications name.
func MustGUID(s string) GUID {
	g, err := ParseGUID(s)
	if err != nil {
		panic(err)
	}
	return g
}
