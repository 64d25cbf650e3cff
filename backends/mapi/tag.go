package mapi

import (
	"fmt"
	"strings"
)

// ID is the number of a property. Those from [FirstNamedID] on are given by a store to its named
// properties, and mean nothing without the name.
type ID uint16

// FirstNamedID is the first id of named properties, MS-OXCPRPT §3.1.5.1.
const FirstNamedID ID = 0x8000

// Tag is the id of a property and the type of its value, MS-OXCDATA §2.9.
type Tag uint32

// NewTag makes a tag.
func NewTag(id ID, t Type) Tag { return Tag(id)<<16 | Tag(t) }

// ID returns the property's number.
func (t Tag) ID() ID { return ID(t >> 16) }

// Type returns the type of the value.
func (t Tag) Type() Type { return Type(t) } // the lower half

// WithType returns the tag of the same property with another type.
func (t Tag) WithType(to Type) Tag { return NewTag(t.ID(), to) }

// IsNamed says whether the id is one of a named property.
func (t Tag) IsNamed() bool { return t.ID() >= FirstNamedID && t.ID() < 0xFFFE }

// String returns the number and, if there is one, the canonical name.
func (t Tag) String() string {
	if name := t.Name(); name != "" {
		return fmt.Sprintf("0x%08x %s", uint32(t), name)
	}
	return fmt.Sprintf("0x%08x", uint32(t))
}

// Key is what a property is found by: a [Tag], whose type does not count, or a [Named].
type Key interface{ key() key }

type key struct {
	id    ID
	named Named
}

func (t Tag) key() key { return key{id: t.ID()} }

// Named is a property that has a name in the place of a fixed id: a property set, and in it a number
// or a string. MS-OXCDATA §2.6.1.
type Named struct {
	Set  GUID
	LID  uint32 // the long id; 0 where Name is not empty
	Name string
}

func (n Named) key() key {
	if n.Set == PSInternetHeaders {
		// Names of header fields are compared without regard to case, MS-OXPROPS §1.3.2.
		n.Name = strings.ToLower(n.Name)
	}
	return key{named: n}
}

// IsZero says whether there is no name.
func (n Named) IsZero() bool { return n == Named{} }

// String returns the canonical name if there is one, and otherwise the property set and what is named in it.
func (n Named) String() string {
	if p, ok := LookupNamed(n); ok {
		return p.Name
	}
	if n.Name != "" {
		return fmt.Sprintf("%s %q", n.Set, n.Name)
	}
	return fmt.Sprintf("%s 0x%08x", n.Set, n.LID)
}
