package exchange

import (
	"bytes"
	"encoding/binary"
	"slices"
)

const ropRestrict = 0x14

// restrict leaves those rows of a table that a restriction holds for, MS-OXCROPS §2.2.5.3.
func (x *call) restrict(place uint8, o object) []byte {
	x.in.u8() // RestrictFlags
	in := cursor{octets: x.in.take(int(x.in.u16()))}
	t, ok := o.(*table)
	if !ok {
		return reply(ropRestrict, place, nullObject)
	}
	holds := in.restriction()
	if holds == nil || in.short || len(in.octets) > 0 {
		return reply(ropRestrict, place, notSupported)
	}
	t.rows, t.at = slices.DeleteFunc(slices.Clone(t.rows), func(r record) bool { return !holds(r) }), 0
	return reply(ropRestrict, place, 0, 0)
}

// restriction reads a restriction, MS-OXCDATA §2.12: of all, of some, of none, a property that is equal to, greater or less than a value, one that
// has a bit, and one that is there. nil: another.
func (c *cursor) restriction() func(record) bool {
	switch kind := c.u8(); kind {
	case 0, 1:
		var all []func(record) bool
		for range c.u16() {
			one := c.restriction()
			if one == nil {
				return nil
			}
			all = append(all, one)
		}
		return func(r record) bool {
			for _, one := range all {
				if one(r) != (kind == 0) {
					return kind != 0
				}
			}
			return kind == 0
		}
	case 2:
		one := c.restriction()
		if one == nil {
			return nil
		}
		return func(r record) bool { return !one(r) }
	case 4:
		relation, tag, tagged := c.u8(), c.u32(), c.u32()
		value := rowValue(tagged&0xFFFF, c.rowValue(tagged&0xFFFF))
		if relation != 4 || tag != tagged {
			return nil
		}
		return func(r record) bool { return bytes.Equal(r.value(tag), value) }
	case 6:
		relation, tag, mask := c.u8(), c.u32(), c.u32()
		return func(r record) bool {
			value := r.value(tag)
			return len(value) == 4 && (binary.LittleEndian.Uint32(value)&mask != 0) == (relation == 1)
		}
	case 8:
		tag := c.u32()
		return func(r record) bool { return r.value(tag) != nil }
	}
	return nil
}
