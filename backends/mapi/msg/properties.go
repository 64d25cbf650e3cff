package msg

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/mapi"
)

// propertyStream says which properties there are, and has the values of fixed size, MS-OXMSG §2.4.
const propertyStream = "__properties_version1.0"

// Octets in front of the entries of a property stream: of the message in the file, of one in another message, and of
// recipients and attachments. MS-OXMSG §2.4.1.
const (
	topHeader      = 32
	embeddedHeader = 24
	objectHeader   = 8
)

// bag is a storage with the entries of its property stream.
type bag struct {
	*storage
	entries []entry
}

// entry is one of a property stream: tag, flags, and a value of up to 8 octets, or the size of one. MS-OXMSG §2.4.2.
type entry struct {
	tag   mapi.Tag
	value [8]byte
}

const propertyEntrySize = 16

// bag reads the property stream of a storage.
func (f *reader) bag(s *storage, header int) bag {
	where := s.where(propertyStream)
	content := s.content(propertyStream)
	if content.IsZero() {
		f.report(where, ErrMissing, true)
		return bag{storage: s}
	}
	octets, err := f.octets(content)
	if err != nil {
		f.report(where, err, true)
		return bag{storage: s}
	}
	if rest := len(octets) - header; rest < 0 || rest%propertyEntrySize != 0 {
		f.report(where, fmt.Errorf("%d octets are no header of %d and whole entries: %w", len(octets), header, ErrMalformed), rest < 0)
	}
	b := bag{storage: s}
	for octets = octets[min(header, len(octets)):]; len(octets) >= propertyEntrySize; octets = octets[propertyEntrySize:] {
		b.entries = append(b.entries, entry{mapi.Tag(binary.LittleEndian.Uint32(octets)), [8]byte(octets[8:])})
	}
	return b
}

// codePage returns the code page of the strings that are not Unicode, and the one given if the message does not say.
func (b bag) codePage(otherwise int) int {
	for _, tag := range []mapi.Tag{mapi.PidTagMessageCodepage, mapi.PidTagInternetCodepage} {
		for _, e := range b.entries {
			if e.tag == tag {
				return int(binary.LittleEndian.Uint32(e.value[:]))
			}
		}
	}
	return otherwise
}

// without returns the bag without the entries of an id.
func (b bag) without(id mapi.ID) bag {
	b.entries = slices.DeleteFunc(slices.Clone(b.entries), func(e entry) bool { return e.tag.ID() == id })
	return b
}

// properties sets the properties of a bag.
func (f *reader) properties(b bag, to *mapi.Properties, codePage int) {
	for _, e := range b.entries {
		if !f.keep(propertyCost) {
			f.report(b.where(propertyStream), ErrTooMuch, true)
			return
		}
		p := mapi.Property{Tag: e.tag}
		if e.tag.IsNamed() {
			p.Named = f.named[e.tag.ID()]
			if p.Named.IsZero() {
				f.report(b.where(propertyStream), fmt.Errorf("property 0x%08x: %w", uint32(e.tag), ErrNoName), true)
				continue
			}
		}
		value, err := f.value(b.storage, e, codePage)
		if err != nil {
			f.report(b.where(streamOf(e.tag)), err, true)
			continue
		}
		p.Value = value
		to.Put(p)
	}
}

// streamOf returns the name of a property's stream, MS-OXMSG §2.1.2.
func streamOf(tag mapi.Tag) string { return fmt.Sprintf("__substg1.0_%08X", uint32(tag)) }

// value reads the value of a property, MS-OXMSG §2.1.
func (f *reader) value(s *storage, e entry, codePage int) (mapi.Value, error) {
	t := e.tag.Type()
	switch size := mapi.FixedSize(t); {
	case t.IsMulti():
		return f.multiple(s, e.tag, codePage)
	case t == mapi.PtypNull:
		return mapi.Null{}, nil
	case size > 0 && size <= len(e.value):
		return mapi.FixedValue(t, e.value[:]), nil
	}
	content := s.content(streamOf(e.tag))
	if content.IsZero() {
		return nil, ErrMissing
	}
	switch t {
	case mapi.PtypString, mapi.PtypString8, mapi.PtypBinary, mapi.PtypObject:
		if content.Size > inMemory {
			return mapi.Streamed{Of: t, Content: content, CodePage: codePage}, nil
		}
	case mapi.PtypGuid, mapi.PtypServerId:
	default:
		return nil, fmt.Errorf("%s: %w", t, mapi.ErrType)
	}
	octets, err := f.octets(content)
	if err != nil {
		return nil, err
	}
	return single(t, octets, codePage)
}

// single makes the value of the octets of a stream.
func single(t mapi.Type, octets []byte, codePage int) (mapi.Value, error) {
	switch t {
	case mapi.PtypGuid:
		if v := mapi.FixedValue(t, octets); v != nil {
			return v, nil
		}
		return nil, fmt.Errorf("%d octets are no GUID: %w", len(octets), ErrMalformed)
	case mapi.PtypServerId:
		return mapi.ServerID(octets), nil
	case mapi.PtypString:
		return mapi.String(text(t, octets, codePage)), nil
	case mapi.PtypString8:
		return mapi.String8{Octets: strings.TrimRight(string(octets), "\x00"), CodePage: codePage}, nil
	}
	return mapi.ValueOf(t, octets, codePage), nil
}

// text returns a string without the NULs at its end. MS-OXMSG §2.1.2 wants none, and some write one.
func text(t mapi.Type, octets []byte, codePage int) string {
	s, _ := mapi.ValueOf(t, octets, codePage).(mapi.String)
	return strings.TrimRight(string(s), "\x00")
}

// multiple reads the values of a property that has many. Those of fixed size are in one stream (MS-OXMSG §2.1.4.1), and
// each of the others has one of its own, and its size in the one of the property (§2.1.4.2).
func (f *reader) multiple(s *storage, tag mapi.Tag, codePage int) (mapi.Value, error) {
	content := s.content(streamOf(tag))
	if content.IsZero() {
		return nil, ErrMissing
	}
	octets, err := f.octets(content)
	if err != nil {
		return nil, err
	}
	t := tag.Type().Single()
	size := mapi.FixedSize(t)
	apart := size == 0
	if apart {
		size = 4 // strings have their size there alone
	}
	if t == mapi.PtypBinary {
		size = 8
	}
	if len(octets)%size != 0 {
		return nil, fmt.Errorf("%d octets for values of %d each: %w", len(octets), size, ErrMalformed)
	}
	if !f.keep(int64(len(octets)/size) * valueCost) {
		return nil, ErrTooMuch
	}
	values := make([]mapi.Value, len(octets)/size)
	for i := range values {
		values[i] = mapi.FixedValue(t, octets[size*i:])
		if apart {
			if values[i], err = f.one(s, tag, i, codePage); err != nil {
				return nil, err
			}
		}
	}
	return mapi.NewMultiple(t, values)
}

// one reads one of the values that have a stream each.
func (f *reader) one(s *storage, tag mapi.Tag, i, codePage int) (mapi.Value, error) {
	name := fmt.Sprintf("%s-%08X", streamOf(tag), i)
	content := s.content(name)
	if content.IsZero() {
		return nil, fmt.Errorf("value %d: %w", i, ErrMissing)
	}
	octets, err := f.octets(content)
	if err != nil {
		return nil, fmt.Errorf("value %d: %w", i, err)
	}
	return single(tag.Type().Single(), octets, codePage)
}
