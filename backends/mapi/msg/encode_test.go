package msg

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/dipylon/dipylon/backends/mapi"
)

// encoder writes messages as .msg files have them: what Outlook would.
type encoder struct {
	t     testing.TB
	root  *dir
	ids   map[mapi.Named]mapi.ID
	guids map[mapi.GUID]int
}

// encode returns a message as a compound file's root.
func encode(t testing.TB, m *mapi.Message) *dir {
	e := &encoder{t: t, root: newDir(), ids: map[mapi.Named]mapi.ID{}, guids: map[mapi.GUID]int{mapi.PSMapi: setMAPI, mapi.PSPublicStrings: setPublicStrings}}
	s := e.root.storage(nameStorage)
	s.streams[guidStream], s.streams[entryStream], s.streams[stringStream] = []byte{}, []byte{}, []byte{}
	e.message(e.root, m, topHeader)
	return e.root
}

func (e *encoder) message(to *dir, m *mapi.Message, header int) {
	e.properties(to, &m.Properties, header)
	for i, r := range m.Recipients {
		e.properties(to.storage(fmt.Sprintf("__recip_version1.0_#%08X", i)), &r.Properties, objectHeader)
	}
	for i, a := range m.Attachments {
		s := to.storage(fmt.Sprintf("__attach_version1.0_#%08X", i))
		e.properties(s, &a.Properties, objectHeader)
		if !a.Data.IsZero() {
			r, err := a.Data.Open()
			if err != nil {
				e.t.Fatal(err)
			}
			if s.streams["__substg1.0_37010102"], err = io.ReadAll(r); err != nil {
				e.t.Fatal(err)
			}
			e.entry(s, mapi.PidTagAttachDataBinary, uint64(a.Data.Size))
		}
		if a.Embedded != nil {
			e.entry(s, mapi.PidTagAttachDataObject, 0xFFFF_FFFF)
			e.message(s.storage("__substg1.0_3701000D"), a.Embedded, embeddedHeader)
		}
	}
}

func (e *encoder) entry(to *dir, tag mapi.Tag, value uint64) {
	octets := binary.LittleEndian.AppendUint32(to.streams[propertyStream], uint32(tag))
	octets = binary.LittleEndian.AppendUint32(octets, 6) // readable and writable
	to.streams[propertyStream] = binary.LittleEndian.AppendUint64(octets, value)
}

func (e *encoder) properties(to *dir, p *mapi.Properties, header int) {
	to.streams[propertyStream] = make([]byte, header)
	for property := range p.All() {
		tag := property.Tag
		if !property.Named.IsZero() {
			tag = mapi.NewTag(e.name(property.Named), property.Value.Type())
		}
		fixed, ok := mapi.AppendFixed(nil, property.Value)
		if ok && len(fixed) <= 8 {
			e.entry(to, tag, binary.LittleEndian.Uint64(append(fixed, make([]byte, 8)...)))
			continue
		}
		stream := fmt.Sprintf("__substg1.0_%08X", uint32(tag))
		if many, ok := property.Value.(mapi.Many); ok {
			to.streams[stream] = e.many(to, stream, many)
		} else {
			to.streams[stream] = octets(property.Value)
		}
		size := len(to.streams[stream]) + map[mapi.Type]int{mapi.PtypString: 2, mapi.PtypString8: 1}[tag.Type()]
		e.entry(to, tag, uint64(size))
	}
}

// many returns the stream of a property that has many values, and writes those that have streams of their own.
func (e *encoder) many(to *dir, stream string, many mapi.Many) []byte {
	var all []byte
	for i, v := range many.Values() {
		if fixed, ok := mapi.AppendFixed(nil, v); ok {
			all = append(all, fixed...)
			continue
		}
		value := octets(v)
		switch v.Type() {
		case mapi.PtypString:
			value = append(value, 0, 0)
		case mapi.PtypString8:
			value = append(value, 0)
		}
		to.streams[fmt.Sprintf("%s-%08X", stream, i)] = value
		all = binary.LittleEndian.AppendUint32(all, uint32(len(value)))
		if v.Type() == mapi.PtypBinary {
			all = append(all, 0, 0, 0, 0)
		}
	}
	return all
}

// octets are those of a value's stream.
func octets(v mapi.Value) []byte {
	switch v := v.(type) {
	case mapi.String:
		var all []byte
		for _, unit := range utf16.Encode([]rune(string(v))) {
			all = binary.LittleEndian.AppendUint16(all, unit)
		}
		return all
	case mapi.String8:
		return []byte(v.Octets)
	case mapi.Binary:
		return v
	case mapi.Object:
		return v
	case mapi.ServerID:
		return v
	}
	fixed, _ := mapi.AppendFixed(nil, v)
	return fixed
}

// name gives a named property its id.
func (e *encoder) name(n mapi.Named) mapi.ID {
	if id, ok := e.ids[n]; ok {
		return id
	}
	id := mapi.FirstNamedID + mapi.ID(len(e.ids))
	e.ids[n] = id
	s := e.root.storage(nameStorage)
	set, ok := e.guids[n.Set]
	if !ok {
		set = setFirst + len(s.streams[guidStream])/16
		e.guids[n.Set] = set
		s.streams[guidStream] = append(s.streams[guidStream], n.Set[:]...)
	}
	identifier, kind := n.LID, uint16(set)<<1
	if n.Name != "" {
		kind |= 1
		texts := s.streams[stringStream]
		identifier = uint32(len(texts))
		name := octets(mapi.String(n.Name))
		texts = append(binary.LittleEndian.AppendUint32(texts, uint32(len(name))), name...)
		s.streams[stringStream] = append(texts, strings.Repeat("\x00", (4-len(texts)%4)%4)...)
	}
	entry := binary.LittleEndian.AppendUint32(nil, identifier)
	entry = binary.LittleEndian.AppendUint16(entry, kind)
	s.streams[entryStream] = append(s.streams[entryStream], binary.LittleEndian.AppendUint16(entry, uint16(id-mapi.FirstNamedID))...)
	return id
}
