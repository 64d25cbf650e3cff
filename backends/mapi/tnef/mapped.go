package tnef

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mapi"
)

// reader returns what takes the data of an attribute, or nil if none does. An error of it means that something was
// lost.
func reader(a Attribute) func(*object, section) error {
	switch a {
	case attTnefVersion:
		return nothing
	case attOemCodepage:
		return (*object).oemCodePage
	case attMsgProps:
		return func(o *object, s section) error { return o.list(s, &o.message.Properties, nil) }
	case attRecipTable:
		return (*object).recipients
	case attAttachment:
		return func(o *object, s section) error { return o.list(s, &o.attachment.Properties, o.attachmentData) }
	case attAttachData:
		return (*object).attachData
	case attAttachRendData:
		return (*object).rendData
	case attMessageClass:
		return messageClass(mapi.PidTagMessageClass)
	case attOriginalMessageClass:
		return messageClass(mapi.PidTagOriginalMessageClass)
	case attSubject:
		return textOf(mapi.PidTagSubject)
	case attBody:
		return textOf(mapi.PidTagBody)
	case attAttachTitle:
		return attachmentText(mapi.PidTagAttachFilename)
	case attAttachTransportFilename:
		return attachmentText(mapi.PidTagAttachTransportName)
	case attAttachMetaFile:
		return (*object).metaFile
	case attDelegate:
		return binaryOf(mapi.PidTagReceivedRepresentingEntryId)
	case attMessageID:
		return keyOf(mapi.PidTagSearchKey)
	case attParentID:
		return keyOf(mapi.PidTagParentKey)
	case attConversationID:
		return keyOf(pidTagConversationKey)
	case attDateStart:
		return dateOf(mapi.PidTagStartDate)
	case attDateEnd:
		return dateOf(mapi.PidTagEndDate)
	case attDateSent:
		return dateOf(mapi.PidTagClientSubmitTime)
	case attDateRecd:
		return dateOf(mapi.PidTagMessageDeliveryTime)
	case attDateModified:
		return dateOf(mapi.PidTagLastModificationTime)
	case attAttachCreateDate:
		return attachmentDate(mapi.PidTagCreationTime)
	case attAttachModifyDate:
		return attachmentDate(mapi.PidTagLastModificationTime)
	case attFrom:
		return (*object).from
	case attOwner:
		return (*object).owner
	case attSentFor:
		return func(o *object, s section) error { return o.person(s, mapi.SentRepresentingAddress) }
	case attPriority:
		return (*object).priority
	case attMessageStatus:
		return (*object).status
	case attRequestRes:
		return (*object).requestRes
	case attAidOwner:
		return (*object).aidOwner
	}
	return nil
}

func nothing(*object, section) error { return nil }

// oemCodePage takes the code page of strings that are not Unicode: the first of two numbers.
func (o *object) oemCodePage(s section) error {
	number, err := s.uint32()
	if err == nil {
		o.codePage = int(number)
	}
	if _, ok := codepage.Find(o.codePage); !ok && err == nil {
		o.report(s.at, fmt.Errorf("code page %d is not known: %w", number, ErrUnknown), true)
	}
	return err
}

// recipients takes the rows of attRecipTable, MS-OXTNEF §2.1.3.3.22.
func (o *object) recipients(s section) error {
	rows, err := s.uint32()
	if err != nil {
		return err
	}
	for range rows {
		if !o.keep(recipientCost) {
			return ErrTooMuch
		}
		r := &mapi.Recipient{}
		err := o.list(s, &r.Properties, nil)
		if r.Len() > 0 || err == nil {
			o.message.Recipients = append(o.message.Recipients, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// attachData takes an attachment's data in an attribute of their own. Those in a property count more.
func (o *object) attachData(s section) error {
	switch a := o.attachment; {
	case a.encapsulated:
	case !a.Data.IsZero():
		return fmt.Errorf("data a second time: %w", ErrOrder)
	default:
		a.Data = mapi.Section(s.r, s.at, s.left())
	}
	return nil
}

// attachmentData takes an attachment's data from the property that has them: PidTagAttachDataBinary, or
// PidTagAttachDataObject with the interface in front, MS-OXTNEF §2.1.3.4.
func (o *object) attachmentData(p mapi.Property, i item) bool {
	a := o.attachment
	switch p.Tag {
	case mapi.PidTagAttachDataBinary:
		a.encapsulated, a.Data = true, mapi.Section(i.r, i.begin, i.left())
		return true
	case mapi.PidTagAttachDataObject:
	default:
		return false
	}
	iid, err := i.take(len(mapi.GUID{}))
	if err != nil {
		o.report(i.begin, fmt.Errorf("an object without an interface: %w", ErrMalformed), true)
		return true
	}
	is := mapi.GUID(iid)
	data := mapi.Section(i.r, i.at, i.left())
	if is == iidMessage {
		a.Embedded, err = o.embedded(i.section)
		if err == nil {
			return true
		}
		o.report(i.begin, err, true)
	} else {
		a.mapped.Set(mapi.PidTagAttachMethod, mapi.AttachOLE)
	}
	a.encapsulated, a.Data = true, data
	return true
}

// Types of an attachment, and the flag of its data, MS-OXTNEF §2.1.3.3.15.
const (
	attachTypeFile uint16 = 1
	attachTypeOLE  uint16 = 2
	fileMacBinary  uint32 = 1
)

// notRendered is the position of an attachment that has none in the body.
const notRendered = 0xFFFF_FFFF

// rendDataSize is that of attAttachRendData.
const rendDataSize = 2 + 4 + 2 + 2 + 4

// rendData takes what says how an attachment is shown, MS-OXTNEF §2.1.3.3.15.
func (o *object) rendData(s section) error {
	octets, err := s.take(rendDataSize)
	if err != nil {
		return err
	}
	method := mapi.AttachByValue
	if binary.LittleEndian.Uint16(octets) == attachTypeOLE {
		method = mapi.AttachOLE
	}
	o.attachment.mapped.Set(mapi.PidTagAttachMethod, method)
	if position := binary.LittleEndian.Uint32(octets[2:]); position != notRendered {
		o.attachment.mapped.Set(mapi.PidTagRenderingPosition, mapi.Integer32(position))
	}
	if binary.LittleEndian.Uint32(octets[10:]) == fileMacBinary {
		o.attachment.mapped.Set(mapi.PidTagAttachEncoding, mapi.Binary(macBinary))
	}
	return nil
}

// whole is a section as a value.
func whole(s section) item { return item{s, s.at, uint32(s.left())} }

// set sets a property that an attribute stands for.
func (o *object) set(to *mapi.Properties, k mapi.Tag, v mapi.Value) {
	if !o.keep(propertyCost) {
		o.report(o.c.at, ErrTooMuch, true)
		return
	}
	to.Set(k, v)
}

// textOf makes the reader of a string.
func textOf(k mapi.Tag) func(*object, section) error {
	return func(o *object, s section) error {
		o.set(&o.mapped, k, o.one(whole(s), mapi.PtypString8))
		return nil
	}
}

func attachmentText(k mapi.Tag) func(*object, section) error {
	return func(o *object, s section) error {
		o.set(&o.attachment.mapped, k, o.one(whole(s), mapi.PtypString8))
		return nil
	}
}

// binaryOf makes the reader of octets.
func binaryOf(k mapi.Tag) func(*object, section) error {
	return func(o *object, s section) error {
		o.set(&o.mapped, k, o.one(whole(s), mapi.PtypBinary))
		return nil
	}
}

func (o *object) metaFile(s section) error {
	o.set(&o.attachment.mapped, mapi.PidTagAttachRendering, o.one(whole(s), mapi.PtypBinary))
	return nil
}

// small takes all of an attribute that is short.
func (o *object) small(s section) ([]byte, error) {
	if s.left() > inMemory || !o.keep(s.left()) {
		return nil, fmt.Errorf("%d octets are too many: %w", s.left(), ErrMalformed)
	}
	return s.rest()
}

// keyOf makes the reader of a key that is written in hex with a NUL at the end.
func keyOf(k mapi.Tag) func(*object, section) error {
	return func(o *object, s section) error {
		digits, err := o.small(s)
		if err != nil {
			return err
		}
		key, err := hex.DecodeString(strings.TrimRight(string(digits), "\x00"))
		if err != nil {
			return fmt.Errorf("no hex: %w", ErrMalformed)
		}
		o.set(&o.mapped, k, mapi.Binary(key))
		return nil
	}
}

// dateOf makes the reader of a date.
func dateOf(k mapi.Tag) func(*object, section) error {
	return func(o *object, s section) error { return o.date(s, &o.mapped, k) }
}

func attachmentDate(k mapi.Tag) func(*object, section) error {
	return func(o *object, s section) error { return o.date(s, &o.attachment.mapped, k) }
}

// dtrSize is that of a DTR: seven integers of 16 bits.
const dtrSize = 14

// date takes a DTR, MS-OXTNEF §2.1.3.3.4. It has no time zone: it is taken for UTC, and a property with the moment counts
// more. QUIRK: zeros are no date, and not wrong.
func (o *object) date(s section, to *mapi.Properties, k mapi.Tag) error {
	octets, err := s.take(dtrSize)
	if err != nil {
		return err
	}
	var f [6]int
	for i := range f {
		f[i] = int(binary.LittleEndian.Uint16(octets[2*i:]))
	}
	if f == [6]int{} {
		return nil
	}
	at := time.Date(f[0], time.Month(f[1]), f[2], f[3], f[4], f[5], 0, time.UTC)
	if at.Month() != time.Month(f[1]) || at.Day() != f[2] || f[3] > 23 || f[4] > 59 || f[5] > 59 {
		return fmt.Errorf("no date: %w", ErrMalformed)
	}
	o.set(to, k, mapi.NewTime(at))
	return nil
}

// priority takes attPriority, and sets PidTagImportance.
func (o *object) priority(s section) error {
	n, err := s.uint16()
	if err != nil {
		return err
	}
	importance, ok := map[uint16]mapi.Integer32{1: 2, 2: 1, 3: 0}[n]
	if !ok {
		return fmt.Errorf("priority %d: %w", n, ErrMalformed)
	}
	o.set(&o.mapped, mapi.PidTagImportance, importance)
	return nil
}

// status takes attMessageStatus, and sets PidTagMessageFlags.
func (o *object) status(s section) error {
	octet, err := s.uint8()
	if err != nil {
		return err
	}
	o.set(&o.mapped, mapi.PidTagMessageFlags, flagsOfStatus(octet))
	return nil
}

func (o *object) requestRes(s section) error {
	n, err := s.uint16()
	if err == nil {
		o.set(&o.mapped, mapi.PidTagResponseRequested, mapi.Boolean(n != 0))
	}
	return err
}

func (o *object) aidOwner(s section) error {
	n, err := s.uint32()
	if err == nil {
		o.set(&o.mapped, mapi.PidTagOwnerAppointmentId, mapi.Integer32(n))
	}
	return err
}
