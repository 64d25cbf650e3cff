package exchange

import "slices"

// Bits of RecipientFlags, MS-OXCDATA §2.8.3.1.
const (
	rowHasAddress     = 0x0008
	rowHasName        = 0x0010
	rowHasTransmitted = 0x0020
	rowUnicode        = 0x0200
	rowHasSimple      = 0x0400
	rowHasType        = 0x8000
)

// inRow are the properties that a RecipientRow has by itself, and which are no columns (MS-OXCMSG §2.2.3.5.1).
var inRow = []uint32{0x3001, 0x3002, 0x3003, 0x0C15, 0x0FFF, 0x300B, 0x3A40, 0x3A20, 0x0FF6}

// modifyRecipients adds, changes and deletes recipients, MS-OXCROPS §2.2.6.5.
func (x *call) modifyRecipients(place uint8, o object) []byte {
	columns := x.tags()
	type change struct {
		row uint32
		one *item
	}
	var changes []change
	for range x.in.u16() {
		row, kind := x.in.u32(), x.in.u8()
		size := int(x.in.u16())
		if size == 0 {
			changes = append(changes, change{row, nil})
			continue
		}
		in := cursor{octets: x.in.take(size)}
		one := x.recipientRow(&in, columns, mailboxOf(o))
		if in.short || len(in.octets) > 0 {
			x.s.wrong("send a RecipientRow whose size lies")
		}
		one.setNumber(tagRecipientType, uint32(kind))
		changes = append(changes, change{row, one})
	}
	m, ok := o.(*message)
	switch {
	case !ok:
		return reply(ropModifyRecipients, place, nullObject)
	case slices.ContainsFunc(columns, func(tag uint32) bool { return slices.Contains(inRow, tag>>16) }):
		x.s.wrong("name columns that each RecipientRow has")
		return reply(ropModifyRecipients, place, invalidParameter)
	}
	into := m.work()
	for _, c := range changes {
		for c.one != nil && len(into.recipients) <= int(c.row) && c.row < 1000 {
			into.recipients = append(into.recipients, &item{})
		}
		if int(c.row) < len(into.recipients) {
			into.recipients[c.row] = c.one
		}
	}
	into.recipients = slices.DeleteFunc(into.recipients, func(i *item) bool { return i == nil })
	return reply(ropModifyRecipients, place, 0)
}

// recipientRow reads a RecipientRow, MS-OXCDATA §2.8.3.2.
func (x *call) recipientRow(in *cursor, columns []uint32, box *Mailbox) *item {
	flags, one := in.u16(), &item{}
	text := func() string {
		if flags&rowUnicode != 0 {
			return narrow(in.rowValue(typeString))
		}
		return string(in.rowValue(typeString8))
	}
	kind := "SMTP"
	switch flags & 7 {
	case 1:
		in.take(2) // AddressPrefixUsed, DisplayType
		kind = "EX"
		one.setText(tagAddress, string(in.rowValue(typeString8)))
	case 6, 7:
		in.take(int(in.u16()))
		in.take(int(in.u16()))
	case 0:
		if flags&rowHasType != 0 {
			kind = string(in.rowValue(typeString8))
		}
	}
	one.setText(tagAddressType, kind)
	if flags&rowHasAddress != 0 {
		one.setText(tagAddress, text())
	}
	if flags&rowHasName != 0 {
		one.setText(tagName, text())
	}
	if flags&rowHasSimple != 0 {
		text()
	}
	if flags&rowHasTransmitted != 0 {
		text()
	}
	n := int(in.u16())
	if n > len(columns) {
		in.short = true
		return one
	}
	flagged := in.u8() == 1
	for _, tag := range columns[:n] {
		if flagged {
			if flag := in.u8(); flag == 0x0A {
				in.u32()
				continue
			} else if flag == 1 {
				continue
			}
		}
		one.set(property{tag: tag, data: in.rowValue(tag & 0xFFFF)})
	}
	return one
}
