package exchange

import (
	"encoding/binary"
	"slices"
)

// upload reads the content of a message as it comes in pieces, MS-OXCFXICS §2.2.4.3.12. A stream is split between two atoms, or within a value
// of variable size (§2.2.4.1).
type upload struct {
	target  *item
	waiting []byte // of an atom that is not whole
	step    func(u *upload) bool
	stack   []*frame
	wrong   string

	property property
	left     int // octets of the variable value that are still to come
	many     int // values of a multiple one that are still to come
}

// frame is an object that is being read.
type frame struct {
	item *item
	end  uint32 // the marker that ends it; 0: it is the message
}

func newUpload(target *item) *upload {
	return &upload{target: target, step: (*upload).tag, stack: []*frame{{item: target}}}
}

// put takes the next piece.
func (u *upload) put(piece []byte) {
	u.waiting = append(u.waiting, piece...)
	for u.wrong == "" && len(u.waiting) > 0 && u.step(u) {
	}
	if u.wrong == "" && len(u.waiting) > 0 {
		u.wrong = "split a stream within an atom"
	}
}

// whole says whether the stream has come to an end of the message.
func (u *upload) whole() bool {
	return u.wrong == "" && len(u.stack) == 1 && u.left == 0 && u.many == 0 && len(u.waiting) == 0 && u.property.tag == 0
}

// take takes n octets of an atom, if they are there.
func (u *upload) take(n int) []byte {
	if n > len(u.waiting) {
		return nil
	}
	taken := u.waiting[:n]
	u.waiting = u.waiting[n:]
	return taken
}

func (u *upload) top() *frame { return u.stack[len(u.stack)-1] }

// tag reads a marker, or the definition of a property.
func (u *upload) tag() bool {
	if len(u.waiting) < 4 {
		return false
	}
	tag := binary.LittleEndian.Uint32(u.waiting)
	if u.isMarker(tag) {
		u.take(4)
		return u.wrong == ""
	}
	definition := slices.Clone(u.waiting)
	in := cursor{octets: definition[4:]}
	p := property{tag: tag}
	if tag>>16 >= 0x8000 {
		copy(p.name.set[:], in.take(16))
		if in.u8() == 0 {
			p.name.lid = in.u32()
		} else {
			var text []byte
			for unit := in.u16(); unit != 0 && !in.short; unit = in.u16() {
				text = binary.LittleEndian.AppendUint16(text, unit)
			}
			p.name.text = narrow(text)
		}
		p.tag &= 0xFFFF
	}
	if in.short {
		return false
	}
	u.take(len(definition) - len(in.octets))
	u.property = p
	u.step = (*upload).value
	return true
}

// isMarker does what a marker says, if it is one.
func (u *upload) isMarker(tag uint32) bool {
	open := func(i *item, end uint32) { u.stack = append(u.stack, &frame{i, end}) }
	message := u.top().end == 0 || u.top().end == endEmbedded
	at := u.top().item
	switch tag {
	case startRecip:
		at.recipients = append(at.recipients, &item{})
		open(at.recipients[len(at.recipients)-1], endRecip)
	case newAttachment:
		at.attachments = append(at.attachments, &item{})
		open(at.attachments[len(at.attachments)-1], endAttachment)
	case startEmbedded:
		at.embedded = &item{}
		open(at.embedded, endEmbedded)
		message = u.stack[len(u.stack)-2].end == endAttachment
	case endRecip, endAttachment, endEmbedded:
		if message = u.top().end == tag; message {
			u.stack = u.stack[:len(u.stack)-1]
		}
	default:
		return false
	}
	if !message {
		u.wrong = "put a marker where it must not stand"
	}
	return true
}

// value begins to read the value of a property.
func (u *upload) value() bool {
	kind := u.property.tag & 0xFFFF
	if kind&typeMultiple != 0 && kind&typeCodePage == 0 {
		octets := u.take(4)
		if octets == nil {
			return false
		}
		u.property.data = slices.Clone(octets)
		u.many = int(binary.LittleEndian.Uint32(octets))
		return u.next()
	}
	return u.one(kind)
}

// one begins to read one value.
func (u *upload) one(kind uint32) bool {
	n := fixedSizes[kind]
	switch {
	case kind == typeBoolean:
		n = 2
	case n == 0:
		octets := u.take(4)
		if octets == nil {
			return false
		}
		u.left = int(binary.LittleEndian.Uint32(octets))
		if u.property.tag&typeMultiple != 0 {
			u.property.data = append(u.property.data, octets...)
		}
		u.step = (*upload).variable
		return u.left > 0 || u.finished()
	}
	octets := u.take(n)
	if octets == nil {
		return false
	}
	if kind == typeBoolean && octets[1] != 0 {
		u.wrong = "write a Boolean that is none"
	}
	u.property.data = append(u.property.data, octets[:min(n, max(fixedSizes[kind], 1))]...)
	return u.finished()
}

// variable reads what is there of a value of variable size.
func (u *upload) variable() bool {
	n := min(u.left, len(u.waiting))
	u.property.data = append(u.property.data, u.take(n)...)
	if u.left -= n; u.left > 0 {
		return true
	}
	return u.finished()
}

// finished goes on behind a value.
func (u *upload) finished() bool {
	if u.many > 0 {
		u.many--
		return u.next()
	}
	return u.end()
}

// next goes on with the next value of several.
func (u *upload) next() bool {
	if u.many == 0 {
		return u.end()
	}
	u.step = func(u *upload) bool { return u.one(u.property.tag & 0xFFFF &^ typeMultiple) }
	return true
}

// end sets the property that was read.
func (u *upload) end() bool {
	p := u.property
	if kind := p.tag & 0xFFFF; isText(kind) && kind&typeMultiple == 0 {
		nul := 1
		if kind == typeString {
			nul = 2
		}
		if len(p.data) < nul || !slices.Equal(p.data[len(p.data)-nul:], make([]byte, nul)) {
			u.wrong = "write a text without a NUL at its end"
			return false
		}
		p.data = p.data[:len(p.data)-nul]
	}
	u.top().item.set(p)
	u.property, u.step = property{}, (*upload).tag
	return true
}

// parse reads a whole stream, and returns nil if it is none.
func parse(stream []byte) *item {
	i := &item{}
	u := newUpload(i)
	u.put(stream)
	if !u.whole() {
		return nil
	}
	return i
}
