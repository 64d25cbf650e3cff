package mapirpc

import (
	"bytes"
	"fmt"

	"github.com/dipylon/dipylon/backends/exchange/dcerpc"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/mapi"
)

// readIDs reads the MinimalEntryIDs of a PropertyTagArray_r behind its pointer, MS-OXNSPI §2.2.1.
func readIDs(d *dcerpc.Reader) []mapihttp.EntryID {
	if d.Uint32() == 0 {
		return nil
	}
	d.Uint32() // room
	d.Uint32() // cValues
	d.Uint32() // offset
	var all []mapihttp.EntryID
	for range d.Count(4) {
		all = append(all, mapihttp.EntryID(d.Uint32()))
	}
	return all
}

// codePage is that of texts that are not in Unicode, which nobody asks for.
const codePage = 1252

// property is a PropertyValue_r before what it points to, MS-OXNSPI §2.2.2.
type property struct {
	tag   mapi.Tag
	value mapi.Value // of a type that points to nothing
	count int        // of octets or values, where there is one
	there bool       // the pointer is not null
}

// row is a PropertyRow_r before what it points to, MS-OXNSPI §2.2.3.
type row struct {
	count int
	there bool // the pointer is not null
}

func readHead(d *dcerpc.Reader) row {
	d.Uint32() // Reserved
	r := row{count: int(d.Uint32())}
	r.there = d.Uint32() != 0
	return r
}

// readRows reads a PropertyRowSet_r behind its pointer: the values of each row by column. MS-OXNSPI §2.2.4.
func readRows(d *dcerpc.Reader, columns []mapi.Tag) [][]mapi.Value {
	if d.Uint32() == 0 {
		return nil
	}
	d.Uint32() // room
	const headSize = 3 * 4
	var heads []row
	for range d.Count(headSize) {
		heads = append(heads, readHead(d))
	}
	var rows [][]mapi.Value
	for _, h := range heads {
		rows = append(rows, h.values(d, columns))
		if d.Err() != nil {
			return nil
		}
	}
	return rows
}

// readRow reads a PropertyRow_r with all of it.
func readRow(d *dcerpc.Reader, columns []mapi.Tag) []mapi.Value {
	return readHead(d).values(d, columns)
}

// values reads what a row points to: the values of the columns.
func (h row) values(d *dcerpc.Reader, columns []mapi.Tag) []mapi.Value {
	var all []property
	if h.there {
		const leastSize = 3*4 + 2
		if n := d.Count(leastSize); n != h.count || n != len(columns) {
			d.Fail(fmt.Errorf("a row of %d values has %d, and %d were asked for", h.count, n, len(columns)))
			return nil
		}
		for range h.count {
			all = append(all, readProperty(d))
		}
	}
	values := make([]mapi.Value, 0, len(all))
	for i, p := range all {
		if d.Err() != nil {
			return nil
		}
		if p.tag.ID() != columns[i].ID() {
			d.Fail(fmt.Errorf("a value of %v where %v was asked for", p.tag, columns[i]))
			return nil
		}
		values = append(values, p.pointee(d))
	}
	if len(values) != len(columns) {
		d.Fail(fmt.Errorf("a row of %d values where %d were asked for", len(values), len(columns)))
		return nil
	}
	return values
}

// readProperty reads a PropertyValue_r before what it points to. A union has its discriminant before it, C706 §14.3.8.
func readProperty(d *dcerpc.Reader) property {
	tag := mapi.Tag(d.Uint32())
	d.Uint32() // ulReserved
	if kind := mapi.Type(d.Uint32()); kind != tag.Type() {
		d.Fail(fmt.Errorf("a value of type %v of the property %v", kind, tag))
	}
	if tag.Type().IsMulti() {
		p := property{tag: tag, count: int(d.Uint32())}
		p.there = d.Uint32() != 0
		return p
	}
	return readInline(d, tag)
}

// readInline reads a value of one of the types that have one value, before what it points to.
func readInline(d *dcerpc.Reader, tag mapi.Tag) property {
	p := property{tag: tag}
	switch tag.Type() {
	case mapi.PtypBinary:
		p.count = int(d.Uint32())
		p.there = d.Uint32() != 0
	case mapi.PtypString8, mapi.PtypString, mapi.PtypGuid:
		p.there = d.Uint32() != 0
	case mapi.PtypInteger16:
		p.value = mapi.Integer16(d.Uint16())
	case mapi.PtypBoolean:
		p.value = mapi.Boolean(d.Uint16() != 0)
	case mapi.PtypTime:
		low := d.Uint32()
		p.value = mapi.Time(uint64(d.Uint32())<<32 | uint64(low))
	case mapi.PtypInteger32:
		p.value = mapi.Integer32(d.Uint32())
	case mapi.PtypErrorCode:
		p.value = mapi.ErrorCode(d.Uint32())
	case mapi.PtypNull, mapi.PtypObject:
		d.Uint32() // Reserved
	default:
		d.Fail(fmt.Errorf("a value of type %v, which the address book does not have", tag.Type()))
	}
	return p
}

// pointee reads what a PropertyValue_r points to, and returns the value: nil if there is none.
func (p property) pointee(d *dcerpc.Reader) mapi.Value {
	kind := p.tag.Type()
	switch {
	case kind == mapi.PtypNull || kind == mapi.PtypObject:
		return nil
	case p.value != nil || !p.there:
		return p.value
	case kind.IsMulti():
		return readMany(d, kind.Single(), p.count)
	}
	return readPointee(d, kind, p.count)
}

func readPointee(d *dcerpc.Reader, kind mapi.Type, count int) mapi.Value {
	switch kind {
	case mapi.PtypString8:
		return mapi.String8{Octets: d.String(), CodePage: codePage}
	case mapi.PtypString:
		return mapi.String(d.Wide())
	case mapi.PtypGuid:
		return mapi.FixedValue(mapi.PtypGuid, d.Bytes(len(mapi.GUID{})))
	}
	octets := d.Bytes(d.Count(1))
	if len(octets) != count {
		d.Fail(fmt.Errorf("a value of %d octets has %d", count, len(octets)))
	}
	return mapi.Binary(bytes.Clone(octets))
}

// readMany reads an array of values, and what those point to behind it.
func readMany(d *dcerpc.Reader, kind mapi.Type, count int) mapi.Value {
	const leastSize = 2 // of an Integer16
	n := d.Count(leastSize)
	if n != count {
		d.Fail(fmt.Errorf("%d values where %d are announced", n, count))
		return nil
	}
	var elements []property
	for range n {
		elements = append(elements, readInline(d, mapi.NewTag(0, kind)))
		if d.Err() != nil {
			return nil
		}
	}
	var all []mapi.Value
	for _, e := range elements {
		v := e.pointee(d)
		if d.Err() != nil {
			return nil
		}
		if v != nil {
			all = append(all, v)
		}
	}
	many, err := mapi.NewMultiple(kind, all)
	if err != nil {
		d.Fail(err)
	}
	return many
}
