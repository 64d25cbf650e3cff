package mapi

import (
	"fmt"
	"strings"
)

// Kinds of a PropertyName, MS-OXCDATA §2.6.1.
const (
	kindLID  uint8 = 0x00
	kindName uint8 = 0x01
	kindNone uint8 = 0xFF
)

// Named takes a PropertyName, MS-OXCDATA §2.6.1. An id to which no name belongs gives the zero Named.
func (d *Decoder) Named() Named {
	kind := d.Uint8()
	n := Named{Set: d.GUID()}
	switch kind {
	case kindLID:
		n.LID = d.Uint32()
	case kindName:
		n.Name = strings.TrimRight(textOfUTF16(d.take(int(d.Uint8()))), "\x00")
		if n.Name == "" {
			d.fail(fmt.Errorf("a property in %s has an empty name", n.Set))
		}
	case kindNone:
		return Named{}
	default:
		d.fail(fmt.Errorf("0x%02x is no kind of property name", kind))
	}
	if d.err != nil {
		return Named{}
	}
	return n
}

// Named writes a PropertyName, MS-OXCDATA §2.6.1.
func (e *Encoder) Named(n Named) {
	switch {
	case n.IsZero():
		e.Uint8(kindNone)
		e.Bytes(n.Set[:])
	case n.Name == "":
		e.Uint8(kindLID)
		e.Bytes(n.Set[:])
		e.Uint32(n.LID)
	default:
		e.Uint8(kindName)
		e.Bytes(n.Set[:])
		name := append(utf16Octets(n.Name), 0, 0)
		e.length8(len(name))
		e.Bytes(name)
	}
}
