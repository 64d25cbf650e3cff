package exchange

import (
	"bytes"
	"cmp"
	"slices"
)

// Properties that a message has, MS-OXPROPS.
const (
	tagSubject  = 0x0037001F
	tagReceived = 0x0E060040
	tagFlags    = 0x0E070003
	tagSize     = 0x0E080003
	tagMID      = 0x674A0014
	tagParent   = 0x67490014
	tagFID      = 0x67480014
	tagName     = 0x3001001F
)

// record is what a row of a table is made of.
type record interface {
	// value returns the value of a property, and nil if there is none.
	value(tag uint32) []byte
}

func (f *Folder) value(tag uint32) []byte {
	switch tag {
	case tagFID:
		fid := number(f.id)
		return fid[:]
	case tagName:
		return wide(f.Name)
	}
	return nil
}

// value returns the value of a property of a message, and nil if it has none.
func (m *Message) value(tag uint32) []byte {
	switch tag {
	case tagSubject:
		return wide(m.Subject)
	case tagReceived:
		return fileTime(m.Received)
	case tagFlags:
		flags := m.Flags &^ flagRead
		if m.Read {
			flags |= flagRead
		}
		return words(flags)
	case tagSize:
		return words(uint32(len(m.Stream)))
	case tagMID:
		mid := number(m.ID)
		return mid[:]
	case tagParent:
		fid := number(m.folder)
		return fid[:]
	}
	if m.item == nil {
		return nil
	}
	return m.mailbox.rowOf(m.item, tag)
}

// rowOf returns the value of a property of an item as a row has it, and nil if there is none.
func (m *Mailbox) rowOf(i *item, tag uint32) []byte {
	if tag>>16 < 0x8000 {
		if data := i.get(tag); data != nil || i.find(tag>>16) != nil {
			return rowValue(tag&0xFFFF, data)
		}
		return nil
	}
	n := m.nameOf(tag >> 16)
	if p := i.find(n); n != (name{}) && p != nil && p.tag&0xFFFF == tag&0xFFFF {
		return rowValue(tag&0xFFFF, p.data)
	}
	return nil
}

// drafted are the properties of an object that was not saved yet.
type drafted struct {
	mailbox *Mailbox
	item    *item
}

func (d drafted) value(tag uint32) []byte { return d.mailbox.rowOf(d.item, tag) }

// row is a PropertyRow, MS-OXCDATA §2.8.1: with a flag before each value if one of them is missing.
func row(of record, tags []uint32) []byte {
	whole, flagged := []byte{0}, []byte{1}
	missing := false
	for _, tag := range tags {
		v := of.value(tag)
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

// sortTable sorts messages by when they were received, MS-OXCROPS §2.2.5.2.
func (x *call) sortTable(place uint8, o object) []byte {
	x.in.u8() // SortTableFlags
	n, categories := x.in.u16(), x.in.u16()
	x.in.u16() // ExpandedCount
	supported := categories == 0 && n > 0
	for i := range n {
		if tag, order := x.in.u32(), x.in.u8(); i == 0 {
			supported = supported && tag == tagReceived && order == 0
		}
	}
	t, ok := o.(*table)
	switch {
	case !ok:
		return reply(ropSortTable, place, nullObject)
	case !supported:
		return reply(ropSortTable, place, notSupported)
	}
	slices.SortStableFunc(t.rows, func(a, b record) int {
		return cmp.Or(timeOf(a.value(tagReceived)).Compare(timeOf(b.value(tagReceived))), bytes.Compare(a.value(tagMID), b.value(tagMID)))
	})
	return reply(ropSortTable, place, 0, 0)
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
		row := row(t.rows[t.at], t.columns)
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
	switch o := o.(type) {
	case *message:
		if one := o.mailbox.find(o.id); one != nil {
			return reply(ropGetProperties, place, 0, row(one, tags)...)
		}
		if o.id == 0 {
			return reply(ropGetProperties, place, 0, row(drafted{o.mailbox, o.draft}, tags)...)
		}
		return reply(ropGetProperties, place, notFound)
	case *attachment:
		return reply(ropGetProperties, place, 0, row(drafted{o.of.mailbox, o.draft}, tags)...)
	}
	return reply(ropGetProperties, place, nullObject)
}
