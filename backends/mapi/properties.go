package mapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
)

// Property is one property of a message, recipient, attachment, or folder.
type Property struct {
	// Tag has the id and the type of the value. The id of a named property may be 0: it differs from store to store.
	Tag Tag
	// Named is the name of a named property.
	Named Named
	Value Value
}

// Key returns what the property is found by: its name, and without one its tag.
func (p Property) Key() Key {
	if p.Named.IsZero() {
		return p.Tag
	}
	return p.Named
}

// String says which property it is, for errors and logs: the value is not told.
func (p Property) String() string {
	if p.Named.IsZero() {
		return p.Tag.String()
	}
	return p.Named.String()
}

// Properties is a bag of properties in the order in which they were set. The zero value is empty. It
// must not be copied once something was set.
type Properties struct {
	list  []Property
	index map[key]int // into list; nil while there are few: there are many bags of few
}

// few is how many properties are found without an index.
const few = 16

// at returns where a property is in the list.
func (p *Properties) at(k key) (int, bool) {
	if p.index != nil {
		at, ok := p.index[k]
		return at, ok
	}
	isNamed := !k.named.IsZero()
	for i := range p.list {
		switch property := &p.list[i]; {
		case isNamed != !property.Named.IsZero():
		case !isNamed && property.Tag.ID() == k.id, isNamed && property.Named.Set == k.named.Set && property.Named.key() == k:
			return i, true
		}
	}
	return 0, false
}

// indexed sets the index, where there is a need for one.
func (p *Properties) indexed() {
	p.index = nil
	if len(p.list) <= few {
		return
	}
	p.index = make(map[key]int, 2*few)
	for i, property := range p.list {
		p.index[property.Key().key()] = i
	}
}

// Set sets a property. Its type is that of the value. A property that was there keeps its place.
func (p *Properties) Set(k Key, v Value) {
	property := Property{Value: v}
	switch k := k.(type) {
	case Tag:
		property.Tag = k.WithType(v.Type())
	case Named:
		property.Named, property.Tag = k, NewTag(0, v.Type())
	}
	p.Put(property)
}

// Put sets a property, with the id that the store gave to its name. Its type is that of the value.
func (p *Properties) Put(property Property) {
	property.Tag = property.Tag.WithType(property.Value.Type())
	k := property.Key().key()
	if at, ok := p.at(k); ok {
		p.list[at] = property
		return
	}
	p.list = append(p.list, property)
	if p.index != nil {
		p.index[k] = len(p.list) - 1
	} else if len(p.list) > few {
		p.indexed()
	}
}

// Find returns a property, whatever its type.
func (p *Properties) Find(k Key) (Property, bool) {
	at, ok := p.at(k.key())
	if !ok {
		return Property{}, false
	}
	return p.list[at], true
}

// Get returns the value of a property, and nil if it is not there.
func (p *Properties) Get(k Key) Value {
	property, _ := p.Find(k)
	return property.Value
}

// Has says whether a property is there with a value: one that the store told an error about is not.
func (p *Properties) Has(k Key) bool {
	v := p.Get(k)
	_, failed := v.(ErrorCode)
	return v != nil && !failed
}

// Delete removes properties.
func (p *Properties) Delete(keys ...Key) {
	unwanted := map[key]bool{}
	for _, k := range keys {
		unwanted[k.key()] = true
	}
	p.list = slices.DeleteFunc(p.list, func(property Property) bool { return unwanted[property.Key().key()] })
	p.indexed()
}

// Len returns how many properties there are.
func (p *Properties) Len() int { return len(p.list) }

// All are the properties in the order in which they were set.
func (p *Properties) All() iter.Seq[Property] { return slices.Values(p.list) }

// As returns the value of a property if it is of the Go type that is asked for.
func As[T Value](p *Properties, k Key) (T, bool) {
	v, ok := p.Get(k).(T)
	return v, ok
}

// Text returns a string in memory, whichever way it came encoded, up to its first NUL. It returns "" if the
// property is not there or is of another kind, as one that is streamed is.
func (p *Properties) Text(k Key) string {
	text := ""
	switch v := p.Get(k).(type) {
	case String:
		text = string(v)
	case String8:
		text = v.Text()
	}
	text, _, _ = strings.Cut(text, "\x00")
	return text
}

// Texts returns the strings of a property that has many, or the one of a property that has one.
func (p *Properties) Texts(k Key) []string {
	var texts []string
	switch v := p.Get(k).(type) {
	case Multiple[String]:
		for _, s := range v {
			texts = append(texts, string(s))
		}
	case Multiple[String8]:
		for _, s := range v {
			texts = append(texts, s.Text())
		}
	case String, String8:
		texts = append(texts, p.Text(k))
	}
	return texts
}

// Integer returns an integer of any size.
func (p *Properties) Integer(k Key) (int64, bool) {
	switch v := p.Get(k).(type) {
	case Integer16:
		return int64(v), true
	case Integer32:
		return int64(v), true
	case Integer64:
		return int64(v), true
	}
	return 0, false
}

// Bool returns a boolean: false if the property is not there.
func (p *Properties) Bool(k Key) bool {
	v, _ := As[Boolean](p, k)
	return bool(v)
}

// Time returns a moment.
func (p *Properties) Time(k Key) (time.Time, bool) {
	v, ok := As[Time](p, k)
	if !ok {
		return time.Time{}, false
	}
	return v.Time(), true
}

// Bytes returns the octets of a binary value in memory, and nil if the property is not there or is of another kind.
func (p *Properties) Bytes(k Key) []byte {
	switch v := p.Get(k).(type) {
	case Binary:
		return v
	case Object:
		return v
	case ServerID:
		return v
	}
	return nil
}

// ErrNoProperty says that a property is not there, or is of another kind.
var ErrNoProperty = errors.New("the property is not there")

// OpenText opens a string of any length for reading as UTF-8. It fails with [ErrNoProperty] if there is none.
func (p *Properties) OpenText(k Key) (io.ReadCloser, error) {
	switch v := p.Get(k).(type) {
	case Streamed:
		if v.Of.IsText() {
			return v.OpenText()
		}
	case String, String8:
		return io.NopCloser(strings.NewReader(p.Text(k))), nil
	}
	return nil, fmt.Errorf("%v as text: %w", k, ErrNoProperty)
}

// OpenBytes opens a binary value of any length for reading. It fails with [ErrNoProperty] if there is none.
func (p *Properties) OpenBytes(k Key) (io.ReadCloser, error) {
	switch v := p.Get(k).(type) {
	case Streamed:
		if !v.Of.IsText() {
			return v.Content.Open()
		}
	case Binary, Object, ServerID:
		return io.NopCloser(bytes.NewReader(p.Bytes(k))), nil
	}
	return nil, fmt.Errorf("%v as octets: %w", k, ErrNoProperty)
}
