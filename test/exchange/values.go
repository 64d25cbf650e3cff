package exchange

import "encoding/binary"

// Properties that a message has, MS-OXPROPS.
const (
	tagSubject  = 0x0037001F
	tagReceived = 0x0E060040
	tagFlags    = 0x0E070003
	tagSize     = 0x0E080003
	tagMID      = 0x674A0014
)

// value returns the value of a property of a message, and nil if it has none.
func (m *Message) value(tag uint32) []byte {
	switch tag {
	case tagSubject:
		return wide(m.Subject)
	case tagReceived:
		const since1601 = 11_644_473_600
		return binary.LittleEndian.AppendUint64(nil, uint64(m.Received.Unix()+since1601)*10_000_000)
	case tagFlags:
		if m.Read {
			return words(1)
		}
		return words(0)
	case tagSize:
		return words(uint32(len(m.Stream)))
	case tagMID:
		mid := number(m.ID)
		return mid[:]
	}
	return nil
}

// row is a PropertyRow, MS-OXCDATA §2.8.1: with a flag before each value if one of them is missing.
func (m *Message) row(tags []uint32) []byte {
	whole, flagged := []byte{0}, []byte{1}
	missing := false
	for _, tag := range tags {
		v := m.value(tag)
		if v == nil {
			missing = true
			flagged = append(append(flagged, 0x0A), words(notFound)...)
			continue
		}
		whole = append(whole, v...)
		flagged = append(append(flagged, 0), v...)
	}
	if missing {
		return flagged
	}
	return whole
}

func (x *call) tags() []uint32 {
	var all []uint32
	for range x.in.u16() {
		all = append(all, x.in.u32())
	}
	return all
}

// setColumns says which columns rows have, MS-OXCROPS §2.2.5.1.
func (x *call) setColumns(place uint8, o object) []byte {
	x.in.u8() // SetColumnsFlags
	columns := x.tags()
	t, ok := o.(*table)
	if !ok {
		return reply(ropSetColumns, place, nullObject)
	}
	t.columns = columns
	return reply(ropSetColumns, place, 0, 0)
}

// queryRows sends as many of the next rows as there is room for, MS-OXCTABL §3.2.5.5.
func (x *call) queryRows(place uint8, o object) []byte {
	flags, forward, most := x.in.u8(), x.in.u8(), int(x.in.u16())
	t, ok := o.(*table)
	if !ok || t.columns == nil {
		return reply(ropQueryRows, place, nullObject)
	}
	if flags&^2 != 0 || forward != 1 {
		return reply(ropQueryRows, place, notSupported)
	}
	var rows []byte
	n := 0
	for n < most && t.at < len(t.rows) {
		row := t.rows[t.at].row(t.columns)
		if len(rows)+len(row) > x.room-20 {
			break
		}
		rows = append(rows, row...)
		t.at++
		n++
	}
	origin := byte(1)
	if t.at == len(t.rows) {
		origin = 2
	}
	return reply(ropQueryRows, place, 0, append([]byte{origin, byte(n), byte(n >> 8)}, rows...)...)
}

// getProperties sends properties of a message, MS-OXCROPS §2.2.8.3.
func (x *call) getProperties(place uint8, o object) []byte {
	x.in.take(4) // PropertySizeLimit, WantUnicode
	tags := x.tags()
	m, ok := o.(*message)
	if !ok {
		return reply(ropGetProperties, place, nullObject)
	}
	one := m.mailbox.find(m.id)
	if one == nil {
		return reply(ropGetProperties, place, notFound)
	}
	return reply(ropGetProperties, place, 0, one.row(tags)...)
}
