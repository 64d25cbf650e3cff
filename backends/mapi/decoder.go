package mapi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Format says how values are written where MS-OXCDATA leaves a choice.
type Format struct {
	// Wide counts have 32 bits each, as in extended rules and the MAPI extensions for HTTP. In ROP
	// buffers the counts of octets have 16. MS-OXCDATA §2.11.1.1.
	Wide bool
	// CodePage is that of PtypString8.
	CodePage int
}

// DecodeError says what is wrong with octets that were decoded, and where.
type DecodeError struct {
	Offset   int
	Property string // which property it was, if any
	Err      error
}

func (e *DecodeError) Error() string {
	if e.Property != "" {
		return fmt.Sprintf("octet %d, property %s: %v", e.Offset, e.Property, e.Err)
	}
	return fmt.Sprintf("octet %d: %v", e.Offset, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// Reasons of a [DecodeError]. One that lacks octets is [io.ErrUnexpectedEOF].
var (
	ErrDepth = fmt.Errorf("nested deeper than %d", DepthMost)
	ErrCount = errors.New("announces more than there is")
	ErrType  = errors.New("a type that has no value here")
)

// Decoder takes structures of MS-OXCDATA from octets, one after another. After an error each of its
// methods returns nothing, and Err says what was wrong. Nothing that it returns refers to the octets.
type Decoder struct {
	octets   []byte
	at       int
	format   Format
	depth    int
	property Tag // whose value is being taken, or 0
	err      error
}

// NewDecoder makes a decoder.
func NewDecoder(octets []byte, f Format) *Decoder { return &Decoder{octets: octets, format: f} }

// Err returns the first error.
func (d *Decoder) Err() error { return d.err }

// Offset returns how many octets were taken.
func (d *Decoder) Offset() int { return d.at }

// Left returns how many octets are left.
func (d *Decoder) Left() int { return len(d.octets) - d.at }

func (d *Decoder) fail(err error) {
	if d.err != nil {
		return
	}
	failed := &DecodeError{Offset: d.at, Err: err}
	if d.property != 0 {
		failed.Property = d.property.String()
	}
	d.err = failed
}

// take returns the next n octets, and nil if there are not that many.
func (d *Decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n < 0 || n > d.Left() {
		d.fail(fmt.Errorf("%d octets announced, %d left: %w", n, d.Left(), io.ErrUnexpectedEOF))
		return nil
	}
	d.at += n
	return d.octets[d.at-n : d.at]
}

// fixed returns the next n octets, and zeros if there are not that many. n is at most 16.
func (d *Decoder) fixed(n int) []byte {
	if octets := d.take(n); octets != nil {
		return octets
	}
	return make([]byte, n)
}

// Uint8 takes an integer of one octet.
func (d *Decoder) Uint8() uint8 { return d.fixed(1)[0] }

// Uint16 takes an integer of two octets.
func (d *Decoder) Uint16() uint16 { return binary.LittleEndian.Uint16(d.fixed(2)) }

// Uint32 takes an integer of four octets.
func (d *Decoder) Uint32() uint32 { return binary.LittleEndian.Uint32(d.fixed(4)) }

// Uint64 takes an integer of eight octets.
func (d *Decoder) Uint64() uint64 { return binary.LittleEndian.Uint64(d.fixed(8)) }

// GUID takes a GUID.
func (d *Decoder) GUID() GUID { return GUID(d.fixed(16)) }

// Tag takes a PropertyTag, MS-OXCDATA §2.9.
func (d *Decoder) Tag() Tag { return Tag(d.Uint32()) }

// Tags takes the tags of the columns of a table, or of what is asked for: a count of 16 bits, then the tags.
func (d *Decoder) Tags() []Tag {
	n := d.counted(int(d.Uint16()), 4)
	tags := make([]Tag, n)
	for i := range tags {
		tags[i] = d.Tag()
	}
	return tags
}

// Bytes takes n octets.
func (d *Decoder) Bytes(n int) []byte { return bytes.Clone(d.take(n)) }

// counted returns a count of things if each can have that many octets at least, and fails if not.
func (d *Decoder) counted(n, least int) int {
	if d.err != nil || n == 0 {
		return 0
	}
	if n < 0 || n > d.Left()/least {
		d.fail(fmt.Errorf("%d values, %d octets left: %w", n, d.Left(), ErrCount))
		return 0
	}
	return n
}

// count takes the COUNT of octets, MS-OXCDATA §2.11.1.1.
func (d *Decoder) count() int {
	if d.format.Wide {
		return int(d.Uint32())
	}
	return int(d.Uint16())
}

// sized takes octets behind their COUNT.
func (d *Decoder) sized() []byte {
	if octets := d.Bytes(d.count()); octets != nil {
		return octets
	}
	return []byte{}
}

// Unicode takes a text of UTF-16LE with a NUL at its end.
func (d *Decoder) Unicode() string {
	if d.err != nil {
		return ""
	}
	rest := d.octets[d.at:]
	for end := 0; end+1 < len(rest); end += 2 {
		if rest[end] == 0 && rest[end+1] == 0 {
			d.at += end + 2
			return textOfUTF16(rest[:end])
		}
	}
	d.fail(fmt.Errorf("a string without a NUL at its end: %w", io.ErrUnexpectedEOF))
	return ""
}

// String8 takes a text of octets with a NUL at its end.
func (d *Decoder) String8() String8 {
	if d.err != nil {
		return String8{}
	}
	text, _, found := bytes.Cut(d.octets[d.at:], []byte{0})
	if !found {
		d.fail(fmt.Errorf("a string without a NUL at its end: %w", io.ErrUnexpectedEOF))
		return String8{}
	}
	d.at += len(text) + 1
	return String8{string(text), d.format.CodePage}
}

// FixedSize returns how many octets a single value of a type has, and 0 if that differs from value to
// value. A PtypBoolean has 1, or 2 in streams of FastTransfer and in TNEF. MS-OXCDATA §2.11.1.
func FixedSize(t Type) int {
	switch t {
	case PtypBoolean:
		return 1
	case PtypInteger16:
		return 2
	case PtypInteger32, PtypFloating32, PtypErrorCode:
		return 4
	case PtypInteger64, PtypFloating64, PtypCurrency, PtypFloatingTime, PtypTime:
		return 8
	case PtypGuid:
		return 16
	}
	return 0
}

// FixedValue makes the value of octets of [FixedSize], or of more: what is behind is not looked at. It
// returns nil if they are too few or the type has no fixed size.
func FixedValue(t Type, octets []byte) Value {
	if size := FixedSize(t); size == 0 || len(octets) < size {
		return nil
	}
	le := binary.LittleEndian
	switch t {
	case PtypBoolean:
		return Boolean(octets[0] != 0)
	case PtypInteger16:
		return Integer16(le.Uint16(octets))
	case PtypInteger32:
		return Integer32(le.Uint32(octets))
	case PtypErrorCode:
		return ErrorCode(le.Uint32(octets))
	case PtypFloating32:
		return Floating32(math.Float32frombits(le.Uint32(octets)))
	case PtypFloating64:
		return Floating64(math.Float64frombits(le.Uint64(octets)))
	case PtypInteger64:
		return Integer64(le.Uint64(octets))
	case PtypCurrency:
		return Currency(le.Uint64(octets))
	case PtypFloatingTime:
		return FloatingTime(math.Float64frombits(le.Uint64(octets)))
	case PtypTime:
		return Time(le.Uint64(octets))
	}
	return GUID(octets[:16])
}

// Value takes the value of a property, a PropertyValue of MS-OXCDATA §2.11.2.1. It returns nil after an error.
func (d *Decoder) Value(t Type) Value {
	v := d.value(t)
	if d.err != nil {
		return nil
	}
	return v
}

func (d *Decoder) value(t Type) Value {
	if t.IsMulti() {
		return d.multiple(t)
	}
	if size := FixedSize(t); size > 0 {
		return FixedValue(t, d.fixed(size))
	}
	switch t {
	case PtypNull:
		return Null{}
	case PtypString:
		return String(d.Unicode())
	case PtypString8:
		return d.String8()
	case PtypBinary:
		return Binary(d.sized())
	case PtypServerId:
		return ServerID(d.sized())
	case PtypRestriction:
		return d.Restriction()
	case PtypRuleAction:
		return d.ruleActions()
	}
	d.fail(fmt.Errorf("%s: %w", t, ErrType))
	return nil
}

// multiple takes the values of a property that has many: a count of 32 bits, then the values.
func (d *Decoder) multiple(t Type) Value {
	n := d.counted(int(d.Uint32()), leastSize(t.Single()))
	values := make([]Value, 0, n)
	for range n {
		v := d.value(t.Single())
		if d.err != nil {
			return nil
		}
		values = append(values, v)
	}
	v, err := NewMultiple(t.Single(), values)
	if err != nil {
		d.fail(err)
	}
	return v
}

// leastSize returns how many octets a value of a type has at least.
func leastSize(t Type) int {
	if size := FixedSize(t); size > 0 {
		return size
	}
	if t == PtypString8 {
		return 1
	}
	return 2
}

// TypedValue takes a TypedPropertyValue, MS-OXCDATA §2.11.3: the type, then the value.
func (d *Decoder) TypedValue() Value { return d.Value(Type(d.Uint16())) }

// TaggedValue takes a TaggedPropertyValue, MS-OXCDATA §2.11.4: the tag, then the value.
func (d *Decoder) TaggedValue() Property {
	tag := d.Tag()
	return Property{Tag: tag, Value: d.valueOf(tag)}
}

// valueOf takes the value of a property: an error names it.
func (d *Decoder) valueOf(tag Tag) Value {
	if d.err != nil {
		return nil
	}
	outer := d.property
	d.property = tag
	defer func() { d.property = outer }()
	return d.Value(tag.Type())
}

// TaggedValues takes the properties that a ROP returns or is given: a count of 16 bits, then each.
func (d *Decoder) TaggedValues() []Property {
	n := d.counted(int(d.Uint16()), 4)
	properties := make([]Property, 0, n)
	for range n {
		p := d.TaggedValue()
		if d.err != nil {
			return nil
		}
		properties = append(properties, p)
	}
	return properties
}
