//go:build linux

package growth

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
)

// properties are values of Exchange, as a store sends them.
var properties = []pass{
	value("a long text", mapi.PtypString, func(n int) []byte { return append(bytes.Repeat([]byte("a\x00"), n), 0, 0) }),
	value("halves of surrogate pairs", mapi.PtypString, func(n int) []byte { return append(bytes.Repeat([]byte("\x3d\xd8"), n), 0, 0) }),
	value("a text without an end", mapi.PtypString, func(n int) []byte { return bytes.Repeat([]byte("a\x00"), n) }),
	value("many texts", mapi.PtypMultipleString, func(n int) []byte { return counted(n, "a\x00\x00\x00") }),
	value("many texts of octets", mapi.PtypMultipleString8, func(n int) []byte { return counted(n, "a\x00") }),
	value("many texts without an end", mapi.PtypMultipleString8, func(n int) []byte { return append(counted(n, "\x00"), strings.Repeat("a", n)...)[:n] }),
	value("4 G values announced", mapi.PtypMultipleBinary, func(n int) []byte { return append([]byte("\xff\xff\xff\xff"), make([]byte, n)...) }),
	value("restrictions", mapi.PtypRestriction, func(n int) []byte {
		return append(append([]byte{0}, counted(n, "")...), bytes.Repeat([]byte{8, 3, 0, 1, 0}, n)...)
	}),
	value("restrictions in restrictions", mapi.PtypRestriction, func(n int) []byte { return bytes.Repeat([]byte{2}, n) }),
	value("actions", mapi.PtypRuleAction, func(n int) []byte { return counted(n, "\x09\x00\x00\x00"+strings.Repeat("\x01", 9)) }),
	{"properties of a message", 1000, func(t *testing.T, n int) {
		d := mapi.NewDecoder(tagged(n), mapi.Format{})
		m := &mapi.Message{}
		for _, p := range d.TaggedValues() {
			m.Put(p)
		}
		if d.Err() != nil || m.Len() != n {
			t.Fatal(d.Err(), m.Len())
		}
	}},
	{"one property again and again", 1000, func(_ *testing.T, n int) {
		m := &mapi.Message{}
		for i := range n {
			m.Set(mapi.PidTagSubject, mapi.String(strings.Repeat("a", i%10)))
		}
		sink += m.Len()
	}},
	{"a dump of properties", 1000, func(t *testing.T, n int) {
		var b bytes.Buffer
		m := &mapi.Message{}
		for _, p := range mapi.NewDecoder(tagged(n), mapi.Format{}).TaggedValues() {
			m.Put(p)
		}
		if err := mapi.WriteDump(&b, m); err != nil {
			t.Fatal(err)
		}
		if back, err := mapi.ReadDump(&b); err != nil || back.Len() != n {
			t.Fatal(err)
		}
	}},
	{"a list of entry ids", 1000, func(t *testing.T, n int) {
		if _, err := mapi.ParseEntryList(append(counted(n, ""), counted(4*n, "\x00")...)); err != nil {
			t.Fatal(err)
		}
	}},
	{"a list of changes", 1000, func(t *testing.T, n int) {
		if _, err := mapi.ParseChangeList(bytes.Repeat([]byte("\x110123456789abcdef0"), n)); err != nil {
			t.Fatal(err)
		}
	}},
	{"levels of a conversation", 1000, func(t *testing.T, n int) {
		if _, err := mapi.ParseConversationIndex(append(append([]byte{1}, make([]byte, 21)...), make([]byte, 5*n)...)); err != nil {
			t.Fatal(err)
		}
	}},
}

// counted are n things behind their number.
func counted(n int, one string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(n)), strings.Repeat(one, n)...)
}

// tagged are n different properties behind their number.
func tagged(n int) []byte {
	octets := binary.LittleEndian.AppendUint16(nil, uint16(n))
	for i := range n {
		octets = binary.LittleEndian.AppendUint32(octets, uint32(mapi.NewTag(mapi.ID(i+1), mapi.PtypInteger32)))
		octets = append(octets, 1, 2, 3, 4)
	}
	return octets
}

func value(name string, ptyp mapi.Type, octets func(n int) []byte) pass {
	return pass{"a property: " + name, 2000, func(_ *testing.T, n int) {
		d := mapi.NewDecoder(octets(n), mapi.Format{Wide: true, CodePage: 1252})
		if v := d.Value(ptyp); v != nil {
			e := mapi.NewEncoder(nil, mapi.Format{Wide: true})
			e.Value(v)
			sink += len(e.Octets())
		}
	}}
}

// Markers of FastTransfer.
const (
	newAttach  = "\x03\x00\x00\x40"
	endAttach  = "\x03\x00\x0e\x40"
	startEmbed = "\x03\x00\x01\x40"
	startRecip = "\x03\x00\x03\x40"
	endRecip   = "\x03\x00\x04\x40"
)

// streams are messages as FastTransfer has them.
var streams = []pass{
	stream("recipients", func(n int) string { return strings.Repeat(startRecip+endRecip, n) }),
	stream("attachments", func(n int) string { return strings.Repeat(newAttach+endAttach, n) }),
	stream("messages in messages", func(n int) string { return strings.Repeat(newAttach+startEmbed, n) }),
	stream("a property again and again", func(n int) string { return strings.Repeat("\x03\x00\x17\x00\x01\x00\x00\x00", n) }),
	stream("named properties", func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString("\x03\x00\x00\x80" + strings.Repeat("s", 16) + "\x00" + string(binary.LittleEndian.AppendUint32(nil, uint32(i+1))) + "\x01\x00\x00\x00")
		}
		return b.String()
	}),
	stream("4 GiB announced of a text", func(n int) string { return "\x1f\x00\x37\x00\xff\xff\xff\xff" + strings.Repeat("a\x00", n) }),
	stream("4 G values announced", func(n int) string { return "\x02\x11\x00\x10\xff\xff\xff\xff" + strings.Repeat("\x00", n) }),
	stream("many values", func(n int) string { return "\x1e\x10\x01\x00" + string(counted(n, "\x02\x00\x00\x00a\x00")) }),
}

func stream(name string, octets func(n int) string) pass {
	return pass{"a FastTransfer stream: " + name, 1000, func(_ *testing.T, n int) {
		r := fasttransfer.NewReader(strings.NewReader(octets(n)), fasttransfer.Options{Keep: mapi.KeepInMemory})
		if m, err := r.Message(); err == nil {
			var b bytes.Buffer
			_ = fasttransfer.NewWriter(&b).Message(m)
			sink += b.Len()
		}
	}}
}
