package exchange

import "slices"

// Operations on named properties, MS-OXCROPS §2.2.8.
const (
	ropGetNames = 0x55
	ropGetIDs   = 0x56
)

// idOf returns the id of a name in the mailbox, and 0 if it has none and is not to get one.
func (m *Mailbox) idOf(n name, create bool) uint32 {
	at := slices.Index(m.names, n)
	if at < 0 {
		if !create {
			return 0
		}
		m.names, at = append(m.names, n), len(m.names)
	}
	return 0x8000 + uint32(at)
}

// nameOf is the way back: the zero name for an id that has none.
func (m *Mailbox) nameOf(id uint32) name {
	if at := int(id) - 0x8000; at >= 0 && at < len(m.names) {
		return m.names[at]
	}
	return name{}
}

// Unset takes a property that is named by a text from all messages of the mailbox, as an administrator's tool does.
func (m *Mailbox) Unset(text string) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	for _, one := range m.messages {
		if one.item == nil {
			continue
		}
		one.item.properties = slices.DeleteFunc(one.item.properties, func(p property) bool { return p.name.text == text })
		one.Stream = one.item.stream()
		one.version++
	}
}

// getIDs tells the ids of names, MS-OXCROPS §2.2.8.1.
func (x *call) getIDs(place uint8, o object) []byte {
	create := x.in.u8()&2 != 0
	var wanted []name
	for range x.in.u16() {
		wanted = append(wanted, x.in.name())
	}
	box := mailboxOf(o)
	if box == nil {
		return reply(ropGetIDs, place, nullObject)
	}
	out, code := []byte{byte(len(wanted)), byte(len(wanted) >> 8)}, uint32(0)
	for _, n := range wanted {
		id := box.idOf(n, create)
		if id == 0 {
			code = 0x00040380 // ecWarnWithErrors
		}
		out = append(out, byte(id), byte(id>>8))
	}
	return reply(ropGetIDs, place, code, out...)
}

// name reads a PropertyName, MS-OXCDATA §2.6.1.
func (c *cursor) name() (n name) {
	kind := c.u8()
	copy(n.set[:], c.take(16))
	switch kind {
	case 0:
		n.lid = c.u32()
	case 1:
		text := cursor{octets: c.take(int(c.u8()))}
		n.text = narrow(text.rowValue(typeString))
	}
	return n
}

// getNames tells the names of ids, MS-OXCROPS §2.2.8.2.
func (x *call) getNames(place uint8, o object) []byte {
	var ids []uint32
	for range x.in.u16() {
		ids = append(ids, uint32(x.in.u16()))
	}
	box := mailboxOf(o)
	if box == nil {
		return reply(ropGetNames, place, nullObject)
	}
	out := []byte{byte(len(ids)), byte(len(ids) >> 8)}
	for _, id := range ids {
		switch n := box.nameOf(id); {
		case n == name{}:
			out = append(out, 0xFF)
			out = append(out, make([]byte, 16)...)
		case n.text == "":
			out = append(append(append(out, 0), n.set[:]...), words(n.lid)...)
		default:
			text := append(wideOf(n.text), 0, 0)
			out = append(append(append(append(out, 1), n.set[:]...), byte(len(text))), text...)
		}
	}
	return reply(ropGetNames, place, 0, out...)
}
