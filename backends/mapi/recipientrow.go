package mapi

import (
	"cmp"
	"errors"

	"github.com/dipylon/dipylon/backends/mail/codepage"
)

// RecipientRow is a recipient as ROPs carry one, MS-OXCDATA §2.8.3.2: the properties that each recipient has
// are fields, and others stand in columns.
type RecipientRow struct {
	// Kind is what kind of address it is: [RecipientSMTP] and so on.
	Kind uint16
	// AddressType is that of a recipient of RecipientOther, such as "MSPEER"; the others have theirs by kind.
	AddressType string
	// X500 is the distinguished name of a RecipientX500, behind AddressPrefixUsed octets of one that both sides know.
	X500              string
	AddressPrefixUsed uint8
	DisplayType       uint8
	// EntryID and SearchKey are those of a personal distribution list.
	EntryID, SearchKey []byte
	// The names are nil where the row has none.
	EmailAddress, DisplayName, SimpleDisplayName, TransmittableDisplayName *string
	// SameTransmittable says that the transmittable display name is the display name.
	SameTransmittable bool
	// NoRichInfo says that the recipient must not be sent TNEF.
	NoRichInfo bool
	// Responsible says that another message system is responsible for the delivery, PidTagResponsibility.
	Responsible bool
	// Unicode says that the names are in Unicode, and not in the code page.
	Unicode bool
	// Values are those of the first columns of the table of recipients: there can be fewer.
	Values []Value
}

// The kinds of address, MS-OXCDATA §2.8.3.1.
const (
	RecipientOther  uint16 = 0x0 // its type is in AddressType
	RecipientX500   uint16 = 0x1 // of the address book
	RecipientMSMail uint16 = 0x2
	RecipientSMTP   uint16 = 0x3
	RecipientFax    uint16 = 0x4
	RecipientOffice uint16 = 0x5
	RecipientPDL1   uint16 = 0x6 // a personal distribution list
	RecipientPDL2   uint16 = 0x7
)

// The bits of RecipientFlags, MS-OXCDATA §2.8.3.1.
const (
	rowKind              uint16 = 0x0007
	rowEmailAddress      uint16 = 0x0008
	rowDisplayName       uint16 = 0x0010
	rowTransmittable     uint16 = 0x0020
	rowSameTransmittable uint16 = 0x0040
	rowResponsible       uint16 = 0x0080
	rowNoRichInfo        uint16 = 0x0100
	rowUnicode           uint16 = 0x0200
	rowSimpleDisplayName uint16 = 0x0400
	rowAddressType       uint16 = 0x8000
)

// RecipientRow takes a RecipientRow, MS-OXCDATA §2.8.3.2. columns are those of the table of recipients.
func (d *Decoder) RecipientRow(columns []Tag) RecipientRow {
	flags := d.Uint16()
	r := RecipientRow{
		Kind:              flags & rowKind,
		SameTransmittable: flags&rowSameTransmittable != 0,
		NoRichInfo:        flags&rowNoRichInfo != 0,
		Responsible:       flags&rowResponsible != 0,
		Unicode:           flags&rowUnicode != 0,
	}
	switch r.Kind {
	case RecipientX500:
		r.AddressPrefixUsed, r.DisplayType, r.X500 = d.Uint8(), d.Uint8(), d.String8().Text()
	case RecipientPDL1, RecipientPDL2:
		r.EntryID, r.SearchKey = d.Bytes(int(d.Uint16())), d.Bytes(int(d.Uint16()))
	case RecipientOther:
		if flags&rowAddressType != 0 {
			r.AddressType = d.String8().Text()
		}
	}
	for _, name := range r.names() {
		if flags&name.bit != 0 {
			text := d.name(r.Unicode)
			*name.field = &text
		}
	}
	n := int(d.Uint16())
	if n > len(columns) {
		d.fail(errors.New("a recipient has more columns than there are"))
	}
	if d.err != nil {
		return RecipientRow{}
	}
	r.Values = d.Row(columns[:n])
	return r
}

// name is a field of a row, and the bit that says whether it is there.
type name struct {
	bit   uint16
	field **string
}

// names are those of a row in their order.
func (r *RecipientRow) names() []name {
	return []name{
		{rowEmailAddress, &r.EmailAddress},
		{rowDisplayName, &r.DisplayName},
		{rowSimpleDisplayName, &r.SimpleDisplayName},
		{rowTransmittable, &r.TransmittableDisplayName},
	}
}

// name takes a text with a NUL at its end.
func (d *Decoder) name(inUnicode bool) string {
	if inUnicode {
		return d.Unicode()
	}
	return d.String8().Text()
}

// RecipientRow writes a RecipientRow, MS-OXCDATA §2.8.3.2.
func (e *Encoder) RecipientRow(columns []Tag, r RecipientRow) {
	e.Uint16(r.flags())
	switch r.Kind {
	case RecipientX500:
		e.Bytes([]byte{r.AddressPrefixUsed, r.DisplayType})
		e.name(r.X500, false)
	case RecipientPDL1, RecipientPDL2:
		e.length16(len(r.EntryID))
		e.Bytes(r.EntryID)
		e.length16(len(r.SearchKey))
		e.Bytes(r.SearchKey)
	case RecipientOther:
		if r.AddressType != "" {
			e.name(r.AddressType, false)
		}
	}
	for _, name := range r.names() {
		if *name.field != nil {
			e.name(**name.field, r.Unicode)
		}
	}
	if len(r.Values) > len(columns) {
		e.fail("a recipient has %d values for %d columns", len(r.Values), len(columns))
		return
	}
	e.length16(len(r.Values))
	e.Row(columns[:len(r.Values)], r.Values)
}

func (r *RecipientRow) flags() uint16 {
	flags := r.Kind & rowKind
	for _, name := range r.names() {
		if *name.field != nil {
			flags |= name.bit
		}
	}
	for _, bit := range []struct {
		set bool
		bit uint16
	}{
		{r.SameTransmittable, rowSameTransmittable},
		{r.Responsible, rowResponsible},
		{r.NoRichInfo, rowNoRichInfo},
		{r.Unicode, rowUnicode},
		{r.Kind == RecipientOther && r.AddressType != "", rowAddressType},
	} {
		if bit.set {
			flags |= bit.bit
		}
	}
	return flags
}

// name writes a text with a NUL at its end. Out of Unicode it must fit in the code page.
func (e *Encoder) name(text string, inUnicode bool) {
	if inUnicode {
		e.Unicode(text)
		return
	}
	octets, err := NewString8(text, cmp.Or(e.format.CodePage, codepage.ASCII))
	if err != nil {
		e.fail("%w", err)
	}
	e.String8(octets.Octets)
}
