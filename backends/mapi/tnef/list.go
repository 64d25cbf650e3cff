package tnef

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mapi"
)

// inMemory is how long a value is that is kept in memory. Others stay in the file.
const inMemory = 32 << 10

// special takes a property that is none of the bag: the data of an attachment. It says whether it did.
type special func(mapi.Property, item) bool

// list takes a MsgPropertyList, MS-OXTNEF §2.1.3.4: a count, then the properties.
func (o *object) list(s section, to *mapi.Properties, take special) error {
	count, err := s.uint32()
	if err != nil {
		return err
	}
	for i := range count {
		if s.left() == 0 {
			return fmt.Errorf("%d of %d properties are missing: %w", count-i, count, io.ErrUnexpectedEOF)
		}
		if err := o.property(s, to, take); err != nil {
			return err
		}
	}
	return nil
}

// property takes a MsgPropertyValue. An error means that where the next one begins is not known, or that there is no
// memory left.
func (o *object) property(s section, to *mapi.Properties, take special) error {
	tag, err := s.uint32()
	if err != nil {
		return err
	}
	p := mapi.Property{Tag: mapi.Tag(tag)}
	if p.Tag.IsNamed() {
		if p.Named, err = o.name(s); err != nil {
			return fmt.Errorf("the name of property 0x%08x: %w", tag, err)
		}
	}
	if !o.keep(propertyCost) {
		return ErrTooMuch
	}
	p.Value, err = o.value(s, p, take)
	if p.Value != nil {
		to.Put(p)
	}
	if err != nil {
		return fmt.Errorf("property %s: %w", p, err)
	}
	return nil
}

// Kinds of names, MS-OXTNEF §2.1.3.4.
const (
	nameNumber uint32 = 0
	nameString uint32 = 1
)

// name takes a NamedPropSpec.
func (o *object) name(s section) (n mapi.Named, err error) {
	set, err := s.take(16)
	if err != nil {
		return n, err
	}
	n.Set = mapi.GUID(set)
	kind, err := s.uint32()
	if err != nil {
		return n, err
	}
	switch kind {
	case nameNumber:
		n.LID, err = s.uint32()
		if err == nil && n.IsZero() {
			err = fmt.Errorf("none: %w", ErrMalformed)
		}
		return n, err
	case nameString:
		octets, err := o.octets(s)
		n.Name = strings.TrimRight(text(octets), "\x00")
		if err == nil && !isName(n.Name) {
			err = fmt.Errorf("one that is empty or too long, or has a NUL in it: %w", ErrMalformed)
		}
		return n, err
	}
	return n, fmt.Errorf("a name of kind %d: %w", kind, ErrMalformed)
}

// nameMost is how many UTF-16 units a name has, MS-OXCDATA §2.6.1: its size with the NUL is an octet.
const nameMost = 126

// isName says whether a text is the name of a property. One that a store cannot take would keep the message from it.
func isName(text string) bool {
	return text != "" && len(utf16.Encode([]rune(text))) <= nameMost && !strings.Contains(text, "\x00")
}

// value takes the value or the values of a property. It returns nil if there is none.
func (o *object) value(s section, p mapi.Property, take special) (mapi.Value, error) {
	t := p.Tag.Type()
	one := t.Single()
	switch {
	case hasSize(one) && t.IsMulti() && one != mapi.PtypObject, mapi.FixedSize(one) > 0 && t.IsMulti():
		return o.values(s, one)
	case hasSize(t):
		return o.single(s, p, take)
	case mapi.FixedSize(t) > 0:
		return fixed(s, t)
	}
	return nil, fmt.Errorf("of type %s: %w", t, ErrMalformed)
}

// hasSize says whether a value has its size in front.
func hasSize(t mapi.Type) bool {
	return t.IsText() || t == mapi.PtypBinary || t == mapi.PtypObject
}

// fixed takes a value whose size its type tells. Those of fewer than 4 octets are padded to 4.
func fixed(s section, t mapi.Type) (mapi.Value, error) {
	octets, err := s.take(max(4, mapi.FixedSize(t)))
	if err != nil {
		return nil, err
	}
	return mapi.FixedValue(t, octets), nil
}

// single takes a value that has its size in front, and in front of that a count, which is 1.
func (o *object) single(s section, p mapi.Property, take special) (v mapi.Value, err error) {
	count, err := s.uint32()
	if err != nil {
		return nil, err
	}
	for i := range count {
		one, err := sized(s)
		if err != nil {
			return v, err
		}
		switch {
		case i > 0: // what it should mean is not known, but it can be passed over
			o.report(one.begin, fmt.Errorf("property %s has %d values: %w", p, count, ErrMalformed), true)
		case take == nil || !take(p, one):
			v = o.one(one, p.Tag.Type())
		}
		if err := one.finish(s); err != nil {
			return v, err
		}
	}
	return v, nil
}

// item is a value that has its size in front.
type item struct {
	section
	begin int64
	size  uint32
}

// sized takes the size of a value, and returns the section of its octets: of those that there are.
func sized(s section) (item, error) {
	size, err := s.uint32()
	if err != nil {
		return item{}, err
	}
	octets, _ := s.sub(size)
	return item{octets, s.at, size}, nil
}

// finish goes behind a value and what pads it to 4 octets. QUIRK: some do not pad the last one of a list.
func (i item) finish(s section) error {
	if err := i.skip(); err != nil {
		return err
	}
	if lacks := i.begin + int64(i.size) - i.end; lacks > 0 {
		return fmt.Errorf("%d of %d octets are missing: %w", lacks, i.size, io.ErrUnexpectedEOF)
	}
	_, err := s.take(int(min(int64(-i.size%4), s.left())))
	return err
}

// octets takes octets behind their size, for memory.
func (o *object) octets(s section) ([]byte, error) {
	part, err := sized(s)
	if err != nil {
		return nil, err
	}
	if !o.keep(part.left()) {
		return nil, ErrTooMuch
	}
	octets, err := part.rest()
	if err != nil {
		return nil, err
	}
	return octets, part.finish(s)
}

// values takes the values of a property that has many: a count, then each.
func (o *object) values(s section, t mapi.Type) (mapi.Value, error) {
	count, err := s.uint32()
	if err != nil {
		return nil, err
	}
	var values []mapi.Value
	for range count {
		if !o.keep(valueCost) {
			return nil, ErrTooMuch
		}
		v, err := o.oneOfMany(s, t)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return mapi.NewMultiple(t, values)
}

func (o *object) oneOfMany(s section, t mapi.Type) (mapi.Value, error) {
	if !hasSize(t) {
		return fixed(s, t)
	}
	octets, err := o.octets(s)
	if err != nil {
		return nil, err
	}
	return o.valueOf(octets, t), nil
}

// one takes a value that may be large: then it stays in the file.
func (o *object) one(i item, t mapi.Type) mapi.Value {
	if i.left() > inMemory || !o.keep(i.left()) {
		return o.streamed(i, t)
	}
	octets, err := i.rest()
	if err != nil {
		return nil
	}
	return o.valueOf(octets, t)
}

// valueOf makes a value of octets. The NUL at the end of a string is none of it.
func (o *object) valueOf(octets []byte, t mapi.Type) mapi.Value {
	size := int64(len(octets))
	octets = octets[:size-terminator(octets, size, t)]
	switch t {
	case mapi.PtypString:
		return mapi.String(text(octets))
	case mapi.PtypString8:
		return mapi.String8{Octets: string(octets), CodePage: o.codePage}
	case mapi.PtypObject:
		return mapi.Object(octets)
	}
	return mapi.Binary(octets)
}

// streamed makes a value of octets that stay in the file.
func (o *object) streamed(i item, t mapi.Type) mapi.Value {
	size := i.end - i.begin
	v := mapi.Streamed{Of: t}
	if t == mapi.PtypString8 {
		v.CodePage = o.codePage
	}
	var last [2]byte
	tail := last[:min(size, 2)]
	if n, err := i.r.ReadAt(tail, i.end-int64(len(tail))); n < len(tail) {
		i.cursor.err = fmt.Errorf("reading TNEF at octet %d: %w", i.end, err)
	}
	v.Content = mapi.Section(i.r, i.begin, size-terminator(tail, size, t))
	return v
}

// terminator returns how many octets the NUL at the end of a string has, of which the last octets are given. QUIRK: some
// leave it out.
func terminator(last []byte, size int64, t mapi.Type) int64 {
	width := int64(0)
	switch t {
	case mapi.PtypString:
		width = 2
	case mapi.PtypString8:
		width = 1
	}
	if width == 0 || size < width || size%width != 0 || !bytes.Equal(last[int64(len(last))-width:], make([]byte, width)) {
		return 0
	}
	return width
}

var unicode, _ = codepage.Find(codepage.UTF16LE)

// text returns UTF-16LE as text. Half a surrogate pair becomes U+FFFD.
func text(octets []byte) string {
	t, _ := unicode.Decode(octets) // it replaces, and does not fail
	return t
}
