package exchange

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf16"
)

// Property types, MS-OXCDATA §2.11.1.
const (
	typeBoolean  = 0x000B
	typeObject   = 0x000D
	typeString8  = 0x001E
	typeString   = 0x001F
	typeServerID = 0x00FB
	typeBinary   = 0x0102
	typeMultiple = 0x1000
	typeCodePage = 0x8000 // of a string in a stream, MS-OXCFXICS §2.2.4.1.3
)

// fixedSizes are how many octets values of a fixed size have in a row.
var fixedSizes = map[uint32]int{0x0002: 2, 0x0003: 4, 0x0004: 4, 0x0005: 8, 0x0006: 8, 0x0007: 8, 0x000A: 4, typeBoolean: 1, 0x0014: 8, 0x0040: 8, 0x0048: 16}

// name is that of a named property: the GUID of its set, and its number or its text. The zero name is none.
type name struct {
	set  [16]byte
	lid  uint32
	text string
}

// property is one, with its value as in a row, but for variable values, which have neither a size nor, if they are texts, a NUL.
type property struct {
	tag  uint32 // without the id of a named one
	name name
	data []byte
}

// key is what a property is found by.
func (p property) key() any {
	if p.name != (name{}) {
		return p.name
	}
	return p.tag >> 16
}

// item is a message, a recipient or an attachment.
type item struct {
	properties  []property
	recipients  []*item
	attachments []*item
	embedded    *item // of an attachment
}

// clone returns a copy that shares values alone.
func (i *item) clone() *item {
	if i == nil {
		return nil
	}
	c := &item{properties: slices.Clone(i.properties), embedded: i.embedded.clone()}
	for _, r := range i.recipients {
		c.recipients = append(c.recipients, r.clone())
	}
	for _, a := range i.attachments {
		c.attachments = append(c.attachments, a.clone())
	}
	return c
}

func (i *item) find(key any) *property {
	for n := range i.properties {
		if i.properties[n].key() == key {
			return &i.properties[n]
		}
	}
	return nil
}

func (i *item) set(p property) {
	if there := i.find(p.key()); there != nil {
		*there = p
		return
	}
	i.properties = append(i.properties, p)
}

func (i *item) remove(key any) {
	i.properties = slices.DeleteFunc(i.properties, func(p property) bool { return p.key() == key })
}

// get returns the value of a tag, and nil if there is none of its type.
func (i *item) get(tag uint32) []byte {
	p := i.find(tag >> 16)
	switch {
	case p == nil || p.tag&0x0FFF != tag&0x0FFF && !(tag&0xFFFF == typeString && p.tag&0xFFFF == typeString8):
		return nil
	case p.tag&0xFFFF == typeString8 && tag&0xFFFF == typeString:
		return wideOf(string(p.data))
	}
	return p.data
}

// text returns a text, and "" if there is none.
func (i *item) text(tag uint32) string { return narrow(i.get(tag)) }

// number returns an integer of 32 bits, and 0 if there is none.
func (i *item) number(tag uint32) uint32 {
	if data := i.get(tag); len(data) == 4 {
		return binary.LittleEndian.Uint32(data)
	}
	return 0
}

func (i *item) setNumber(tag, n uint32) { i.set(property{tag: tag, data: words(n)}) }

func (i *item) setText(tag uint32, text string) { i.set(property{tag: tag, data: wideOf(text)}) }

// isText says whether values of a type have a NUL at their end.
func isText(kind uint32) bool {
	return kind == typeString || kind == typeString8 || kind&typeCodePage != 0
}

// rowValue is a value as a row has it, MS-OXCDATA §2.11.1.
func rowValue(kind uint32, data []byte) []byte {
	switch {
	case kind == typeString:
		return append(slices.Clone(data), 0, 0)
	case isText(kind):
		return append(slices.Clone(data), 0)
	case kind == typeBinary || kind == typeObject || kind == typeServerID:
		return append(binary.LittleEndian.AppendUint16(nil, uint16(len(data))), data...)
	}
	return data
}

// wideOf is a text in UTF-16LE without a NUL.
func wideOf(text string) []byte {
	var octets []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		octets = binary.LittleEndian.AppendUint16(octets, unit)
	}
	return octets
}

// narrow is the way back.
func narrow(octets []byte) string {
	var units []uint16
	for len(octets) > 1 {
		units = append(units, binary.LittleEndian.Uint16(octets))
		octets = octets[2:]
	}
	return string(utf16.Decode(units))
}

// Markers, MS-OXCFXICS §2.2.4.1.4.
const (
	newAttachment = 0x40000003
	startEmbedded = 0x40010003
	endEmbedded   = 0x40020003
	startRecip    = 0x40030003
	endRecip      = 0x40040003
	endAttachment = 0x400E0003
)

// stream writes an item as the content of a message, MS-OXCFXICS §2.2.4.3.12. Named properties get ids as they come.
func (i *item) stream() []byte {
	w := &streamWriter{ids: map[name]uint32{}}
	w.item(i)
	return w.out.Bytes()
}

type streamWriter struct {
	out bytes.Buffer
	ids map[name]uint32
}

func (w *streamWriter) item(i *item) {
	w.properties(i)
	for n, r := range i.recipients {
		w.out.Write(words(startRecip))
		w.property(property{tag: 0x30000003, data: words(uint32(n))}) // PidTagRowid
		r.remove(uint32(0x3000))
		w.properties(r)
		w.out.Write(words(endRecip))
	}
	for n, a := range i.attachments {
		w.out.Write(words(newAttachment))
		w.property(property{tag: tagAttachNumber, data: words(uint32(n))})
		a.remove(uint32(tagAttachNumber >> 16))
		w.properties(a)
		if a.embedded != nil {
			w.out.Write(words(startEmbedded))
			w.item(a.embedded)
			w.out.Write(words(endEmbedded))
		}
		w.out.Write(words(endAttachment))
	}
}

func (w *streamWriter) properties(i *item) {
	for _, p := range i.properties {
		w.property(p)
	}
}

func (w *streamWriter) property(p property) {
	kind := p.tag & 0xFFFF
	if p.name == (name{}) {
		w.out.Write(words(p.tag))
	} else {
		w.named(p.name, kind)
	}
	switch {
	case kind == typeBoolean:
		w.out.Write([]byte{p.data[0], 0})
		return
	case kind&typeMultiple != 0 || fixedSizes[kind] != 0:
		w.out.Write(p.data)
		return
	}
	data := p.data
	if isText(kind) {
		data = rowValue(kind, data)
	}
	w.out.Write(words(uint32(len(data))))
	w.out.Write(data)
}

func (w *streamWriter) named(n name, kind uint32) {
	id, known := w.ids[n]
	if !known {
		id = 0x8000 + uint32(len(w.ids))
		w.ids[n] = id
	}
	w.out.Write(words(id<<16 | kind))
	w.out.Write(n.set[:])
	if n.text == "" {
		w.out.WriteByte(0)
		w.out.Write(words(n.lid))
		return
	}
	w.out.WriteByte(1)
	w.out.Write(append(wideOf(n.text), 0, 0))
}
