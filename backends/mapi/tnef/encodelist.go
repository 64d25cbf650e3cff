package tnef

import (
	"fmt"
	"io"
	"slices"

	"golang.org/x/text/transform"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mapi"
)

// writeList writes a MsgPropertyList, MS-OXTNEF §2.1.3.4, with the data of an attachment as a property if there are any, and
// without a property of which an attribute has all.
func writeList(s *sink, properties *mapi.Properties, at place, data *dataObject, without mapi.Tag) {
	// QUIRK: ytnef cannot read a list whose last property has many values.
	var many, others []mapi.Property
	for p := range properties.All() {
		switch _, isMany := p.Value.(mapi.Many); {
		case !writable(p) || p.Tag == without:
		case isMany:
			many = append(many, p)
		default:
			others = append(others, p)
		}
	}
	count := int64(len(many) + len(others))
	if data != nil {
		count++
	}
	s.size(count)
	for _, p := range slices.Concat(many, others) {
		writeProperty(s, p, at.codePage)
	}
	if data != nil {
		s.uint32(uint32(mapi.PidTagAttachDataObject))
		s.uint32(1)
		size := int64(len(data.iid)) + data.size
		s.size(size)
		s.octets(data.iid[:])
		data.write(s)
		s.padding(size)
	}
}

// writable says whether TNEF has a form for a property.
func writable(p mapi.Property) bool {
	switch v := p.Value.(type) {
	case mapi.ErrorCode, mapi.Null: // there is no value
		return false
	case mapi.Many:
		return len(v.Values()) > 0 // QUIRK: readers take it that there is one (tnef ends with a failed assertion)
	}
	t := p.Value.Type()
	return hasSize(t) || mapi.FixedSize(t) > 0
}

// firstName is the id that a named property is given which has none. TNEF's readers go by the name.
const firstName = mapi.FirstNamedID

// writeProperty writes a MsgPropertyValue, MS-OXTNEF §2.1.3.4.
func writeProperty(s *sink, p mapi.Property, page codepage.Page) {
	v, err := inCodePage(p.Value, page)
	if err != nil {
		s.fail(fmt.Errorf("property %s: %w", p, err))
		return
	}
	tag := p.Tag.WithType(v.Type())
	if !p.Named.IsZero() && !tag.IsNamed() {
		tag = mapi.NewTag(firstName, v.Type())
	}
	s.uint32(uint32(tag))
	if tag.IsNamed() {
		writeName(s, p.Named)
	}
	if many, ok := v.(mapi.Many); ok {
		all := many.Values()
		s.size(int64(len(all)))
		for _, one := range all {
			writeValue(s, one)
		}
		return
	}
	if hasSize(v.Type()) {
		s.uint32(1)
	}
	writeValue(s, v)
}

// writeName writes a NamedPropSpec.
func writeName(s *sink, n mapi.Named) {
	s.octets(n.Set[:])
	if n.Name == "" {
		s.uint32(nameNumber)
		s.uint32(n.LID)
		return
	}
	s.uint32(nameString)
	writeSized(s, terminated(mapi.String(n.Name)))
}

// writeValue writes one value: fixed ones padded to 4 octets, and others with their size in front.
func writeValue(s *sink, v mapi.Value) {
	if octets, ok := mapi.AppendFixed(nil, v); ok {
		s.octets(octets)
		if len(octets) < 4 {
			s.padding(int64(len(octets)))
		}
		return
	}
	switch v := v.(type) {
	case mapi.String, mapi.String8:
		writeSized(s, terminated(v))
	case mapi.Binary:
		writeSized(s, v)
	case mapi.Object:
		writeSized(s, v)
	case mapi.Streamed:
		writeStreamed(s, v)
	default:
		s.fail(fmt.Errorf("a value of %T has no form in TNEF", v))
	}
}

// terminated returns the octets of a string with a NUL behind them.
func terminated(v mapi.Value) []byte {
	switch v := v.(type) {
	case mapi.String:
		octets, _ := unicode.Encode(string(v)) // UTF-16 has all there is
		return append(octets, 0, 0)
	case mapi.String8:
		return append([]byte(v.Octets), 0)
	}
	return nil
}

func writeSized(s *sink, octets []byte) {
	s.size(int64(len(octets)))
	s.octets(octets)
	s.padding(int64(len(octets)))
}

func writeStreamed(s *sink, v mapi.Streamed) {
	end := terminated(map[mapi.Type]mapi.Value{mapi.PtypString: mapi.String(""), mapi.PtypString8: mapi.String8{}}[v.Of])
	size := v.Content.Size + int64(len(end))
	s.size(size)
	s.content(v.Content)
	s.octets(end)
	s.padding(size)
}

// inCodePage returns a value as it is written where strings are in that code page: those of another become Unicode.
func inCodePage(v mapi.Value, page codepage.Page) (mapi.Value, error) {
	number, ok := codePageOf(v)
	if !ok || number == page.Number {
		return v, nil
	}
	switch v := v.(type) {
	case mapi.String8:
		return mapi.String(v.Text()), nil
	case mapi.Multiple[mapi.String8]:
		texts := make(mapi.Multiple[mapi.String], len(v))
		for i, one := range v {
			texts[i] = mapi.String(one.Text())
		}
		return texts, nil
	case mapi.Streamed:
		return inUnicode(v)
	}
	return v, nil
}

// inUnicode returns a streamed string as Unicode. It is read once to see how long that is.
func inUnicode(v mapi.Streamed) (mapi.Value, error) {
	open := func() (io.ReadCloser, error) {
		r, err := v.OpenText()
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{transform.NewReader(r, unicode.Encoding.NewEncoder()), r}, nil
	}
	r, err := open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	return mapi.Streamed{Of: mapi.PtypString, Content: mapi.Content{Size: n, Open: open}}, err
}
