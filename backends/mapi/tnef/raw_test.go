package tnef

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/dipylon/dipylon/backends/mapi"
)

// raw is a stream that is written octet by octet, by hand, and not by what is tested.
type raw []byte

var le = binary.LittleEndian

// newRaw begins a stream as MS-OXTNEF §3.1 does.
func newRaw() raw {
	return raw("\x78\x9F\x3E\x22\x01\x00").
		attribute(1, attTnefVersion, unhex("00000100")).
		attribute(1, attOemCodepage, unhex("e404000000000000"))
}

func unhex(text string) []byte {
	octets, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		panic(err)
	}
	return octets
}

func (r raw) attribute(level uint8, a Attribute, data []byte) raw {
	var sum uint16
	for _, octet := range data {
		sum += uint16(octet)
	}
	return r.attributeOf(level, a, uint32(len(data)), data, sum)
}

// attributeOf tells any length and checksum.
func (r raw) attributeOf(level uint8, a Attribute, length uint32, data []byte, sum uint16) raw {
	r = le.AppendUint32(append(r, level), uint32(a))
	r = append(le.AppendUint32(r, length), data...)
	return le.AppendUint16(r, sum)
}

// file adds an attachment as old mail programs wrote one: attributes alone.
func (r raw) file(name, data string) raw {
	return r.attribute(2, attAttachRendData, unhex("0100 ffffffff 0000 0000 00000000")).
		attribute(2, attAttachTitle, []byte(name+"\x00")).
		attribute(2, attAttachData, []byte(data))
}

// list is a MsgPropertyList of properties that are given as octets.
func list(properties ...[]byte) []byte {
	all := le.AppendUint32(nil, uint32(len(properties)))
	for _, p := range properties {
		all = append(all, p...)
	}
	return all
}

// property is one with a value that has its size in front.
func property(tag mapi.Tag, value string) []byte {
	octets := le.AppendUint32(le.AppendUint32(nil, uint32(tag)), 1)
	return append(octets, padded(value)...)
}

func padded(value string) []byte {
	octets := append(le.AppendUint32(nil, uint32(len(value))), value...)
	for len(octets)%4 != 0 {
		octets = append(octets, 0)
	}
	return octets
}

// objectOf is the PidTagAttachDataObject with an interface and what is behind it.
func objectOf(iid mapi.GUID, data string) []byte {
	return property(mapi.PidTagAttachDataObject, string(iid[:])+data)
}

// wide is a text as UTF-16LE.
func wide(text string) string {
	var octets []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		octets = le.AppendUint16(octets, unit)
	}
	return string(octets)
}

// nested is a message in a message, so deep.
func nested(depth int) raw {
	stream := newRaw().attribute(1, attSubject, []byte("innermost\x00"))
	for range depth {
		stream = newRaw().attribute(2, attAttachRendData, unhex("0100 ffffffff 0000 0000 00000000")).
			attribute(2, attAttachment, list(objectOf(iidMessage, string(stream))))
	}
	return stream
}

func decodeRaw(t testing.TB, r raw) (*Stream, error) {
	t.Helper()
	return Decode(strings.NewReader(string(r)), int64(len(r)))
}
