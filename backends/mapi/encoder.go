package mapi

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// EncodeError says why a value cannot be written.
type EncodeError struct {
	Property string // which property it is, if any
	Err      error
}

func (e *EncodeError) Error() string {
	if e.Property != "" {
		return fmt.Sprintf("property %s: %v", e.Property, e.Err)
	}
	return e.Err.Error()
}

func (e *EncodeError) Unwrap() error { return e.Err }

// Encoder writes structures of MS-OXCDATA, one after another. Err says which one could not be written:
// what was written is of no use then.
type Encoder struct {
	octets   []byte
	format   Format
	property *Property // that is being written, or nil
	err      error
}

// NewEncoder makes an encoder that appends to octets.
func NewEncoder(octets []byte, f Format) *Encoder { return &Encoder{octets: octets, format: f} }

// Octets returns what was written.
func (e *Encoder) Octets() []byte { return e.octets }

// Err returns the first error.
func (e *Encoder) Err() error { return e.err }

func (e *Encoder) fail(format string, args ...any) {
	if e.err != nil {
		return
	}
	failed := &EncodeError{Err: fmt.Errorf(format, args...)}
	if e.property != nil {
		failed.Property = e.property.String()
	}
	e.err = failed
}

// Uint8 writes an integer of one octet.
func (e *Encoder) Uint8(n uint8) { e.octets = append(e.octets, n) }

// Uint16 writes an integer of two octets.
func (e *Encoder) Uint16(n uint16) { e.octets = binary.LittleEndian.AppendUint16(e.octets, n) }

// Uint32 writes an integer of four octets.
func (e *Encoder) Uint32(n uint32) { e.octets = binary.LittleEndian.AppendUint32(e.octets, n) }

// Uint64 writes an integer of eight octets.
func (e *Encoder) Uint64(n uint64) { e.octets = binary.LittleEndian.AppendUint64(e.octets, n) }

// Bytes writes octets.
func (e *Encoder) Bytes(octets []byte) { e.octets = append(e.octets, octets...) }

// Tag writes a PropertyTag, MS-OXCDATA §2.9.
func (e *Encoder) Tag(t Tag) { e.Uint32(uint32(t)) }

// Tags writes the tags of the columns of a table behind their count.
func (e *Encoder) Tags(tags []Tag) {
	e.length16(len(tags))
	for _, t := range tags {
		e.Tag(t)
	}
}

// length16 writes a count that always has 16 bits.
func (e *Encoder) length16(n int) {
	if n > math.MaxUint16 {
		e.fail("%d do not fit in a count of 16 bits", n)
	}
	e.Uint16(uint16(n))
}

// length8 writes a count that always has 8 bits.
func (e *Encoder) length8(n int) {
	if n > math.MaxUint8 {
		e.fail("%d do not fit in a count of 8 bits", n)
	}
	e.Uint8(uint8(n))
}

// count writes the COUNT of octets, MS-OXCDATA §2.11.1.1.
func (e *Encoder) count(n int) {
	switch {
	case !e.format.Wide:
		e.length16(n)
	case uint64(n) > math.MaxUint32:
		e.fail("%d octets do not fit in a count of 32 bits", n)
	default:
		e.Uint32(uint32(n))
	}
}

func (e *Encoder) sized(octets []byte) {
	e.count(len(octets))
	e.Bytes(octets)
}

// Unicode writes a text as UTF-16LE with a NUL at its end. What is behind a NUL of its own cannot be written, and is not.
func (e *Encoder) Unicode(text string) {
	text, _, _ = strings.Cut(text, "\x00")
	e.octets = append(append(e.octets, utf16Octets(text)...), 0, 0)
}

// String8 writes octets with a NUL at their end, up to a NUL of their own.
func (e *Encoder) String8(octets string) {
	octets, _, _ = strings.Cut(octets, "\x00")
	e.octets = append(append(e.octets, octets...), 0)
}

// AppendFixed appends the octets of a value of [FixedSize]. It says whether the value has one.
func AppendFixed(octets []byte, v Value) ([]byte, bool) {
	le := binary.LittleEndian
	switch v := v.(type) {
	case Boolean:
		if v {
			return append(octets, 1), true
		}
		return append(octets, 0), true
	case Integer16:
		return le.AppendUint16(octets, uint16(v)), true
	case Integer32:
		return le.AppendUint32(octets, uint32(v)), true
	case ErrorCode:
		return le.AppendUint32(octets, uint32(v)), true
	case Floating32:
		return le.AppendUint32(octets, math.Float32bits(float32(v))), true
	case Floating64:
		return le.AppendUint64(octets, math.Float64bits(float64(v))), true
	case FloatingTime:
		return le.AppendUint64(octets, math.Float64bits(float64(v))), true
	case Integer64:
		return le.AppendUint64(octets, uint64(v)), true
	case Currency:
		return le.AppendUint64(octets, uint64(v)), true
	case Time:
		return le.AppendUint64(octets, uint64(v)), true
	case GUID:
		return append(octets, v[:]...), true
	}
	return octets, false
}

// Value writes the value of a property, a PropertyValue of MS-OXCDATA §2.11.2.1. Values that are streamed
// have another way to a store, and fail.
func (e *Encoder) Value(v Value) {
	if octets, ok := AppendFixed(e.octets, v); ok {
		e.octets = octets
		return
	}
	switch v := v.(type) {
	case Null:
	case String:
		e.Unicode(string(v))
	case String8:
		e.String8(v.Octets)
	case Binary:
		e.sized(v)
	case ServerID:
		e.sized(v)
	case Restriction:
		e.Restriction(v)
	case RuleActions:
		e.ruleActions(v)
	case Many:
		e.values(v.Values())
	default:
		e.fail("a value of %T cannot be written", v)
	}
}

// values writes those of a property that has many, behind a count of 32 bits.
func (e *Encoder) values(values []Value) {
	if uint64(len(values)) > math.MaxUint32 {
		e.fail("%d values do not fit in a count of 32 bits", len(values))
	}
	e.Uint32(uint32(len(values)))
	for _, v := range values {
		e.Value(v)
	}
}

// TypedValue writes a TypedPropertyValue, MS-OXCDATA §2.11.3.
func (e *Encoder) TypedValue(v Value) {
	e.Uint16(uint16(v.Type()))
	e.Value(v)
}

// TaggedValue writes a TaggedPropertyValue, MS-OXCDATA §2.11.4. A named property must have the id that the
// store gave it.
func (e *Encoder) TaggedValue(p Property) {
	outer := e.property
	e.property = &p
	defer func() { e.property = outer }()
	if p.Tag.ID() == 0 && !p.Named.IsZero() {
		e.fail("has a name and no id")
	}
	e.Tag(p.Tag.WithType(p.Value.Type()))
	e.Value(p.Value)
}

// TaggedValues writes properties behind a count of 16 bits.
func (e *Encoder) TaggedValues(properties []Property) {
	e.length16(len(properties))
	for _, p := range properties {
		e.TaggedValue(p)
	}
}
