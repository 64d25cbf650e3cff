package tnef

import (
	"encoding/binary"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mapi"
)

// mapped writes the attributes of a message that stand beside properties, for readers that know no properties
// (MS-OXTNEF §2.1.3.3). The properties themselves have all of it, too.
func (e *encoder) mapped(s *sink, m *mapi.Message, at place) {
	if class := m.Text(mapi.PidTagMessageClass); class != "" {
		e.text(s, attMessageClass, legacyClass(class), at.codePage)
	}
	if class := m.Text(mapi.PidTagOriginalMessageClass); class != "" {
		e.text(s, attOriginalMessageClass, legacyClass(class), at.codePage)
	}
	if at.depth == 0 { // MS-OXTNEF §2.2.3.3: of an embedded message the properties alone tell
		e.from(s, m, at.codePage)
	}
	e.optionalText(s, attSubject, &m.Properties, mapi.PidTagSubject, at.codePage)
	e.date(s, attDateSent, &m.Properties, mapi.PidTagClientSubmitTime)
	e.date(s, attDateRecd, &m.Properties, mapi.PidTagMessageDeliveryTime)
	e.date(s, attDateModified, &m.Properties, mapi.PidTagLastModificationTime)
	if flags, ok := mapi.As[mapi.Integer32](&m.Properties, mapi.PidTagMessageFlags); ok {
		e.attribute(s, attMessageStatus, func(s *sink) { s.uint8(statusOfFlags(flags)) })
	}
	e.key(s, attMessageID, m, mapi.PidTagSearchKey)
	e.key(s, attParentID, m, mapi.PidTagParentKey)
	e.key(s, attConversationID, m, pidTagConversationKey)
	if n, ok := mapi.As[mapi.Integer32](&m.Properties, mapi.PidTagImportance); ok && n >= 0 && n <= 2 {
		e.attribute(s, attPriority, func(s *sink) { s.uint16(uint16(3 - n)) })
	}
	e.optionalText(s, attBody, &m.Properties, mapi.PidTagBody, at.codePage)
	if under(m.Text(mapi.PidTagMessageClass), meeting) {
		e.meeting(s, m, at.codePage)
	}
}

// meeting writes the attributes of meetings, MS-OXTNEF §2.1.3.3.16 to §2.1.3.3.20.
func (e *encoder) meeting(s *sink, m *mapi.Message, page codepage.Page) {
	owner := mapi.SentRepresentingAddress
	if under(m.Text(mapi.PidTagMessageClass), meetingResponse) {
		owner = mapi.ReceivedRepresentingAddress
	}
	e.person(s, attOwner, m, owner, page)
	e.person(s, attSentFor, m, mapi.SentRepresentingAddress, page)
	if id := m.Bytes(mapi.PidTagReceivedRepresentingEntryId); len(id) > 0 {
		e.attribute(s, attDelegate, func(s *sink) { s.octets(id) })
	}
	e.date(s, attDateStart, &m.Properties, mapi.PidTagStartDate)
	e.date(s, attDateEnd, &m.Properties, mapi.PidTagEndDate)
	if id, ok := mapi.As[mapi.Integer32](&m.Properties, mapi.PidTagOwnerAppointmentId); ok {
		e.attribute(s, attAidOwner, func(s *sink) { s.uint32(uint32(id)) })
	}
	if asked, ok := mapi.As[mapi.Boolean](&m.Properties, mapi.PidTagResponseRequested); ok {
		n := map[mapi.Boolean]uint16{true: 1}[asked]
		e.attribute(s, attRequestRes, func(s *sink) { s.uint16(n) })
	}
}

// mappedOfAttachment writes those of an attachment.
func (e *encoder) mappedOfAttachment(s *sink, a *mapi.Attachment, object bool, at place) {
	e.attribute(s, attAttachRendData, func(s *sink) { rendData(s, a, object) })
	if name := title(a); name != "" {
		e.text(s, attAttachTitle, name, at.codePage)
	}
	e.optionalText(s, attAttachTransportFilename, &a.Properties, mapi.PidTagAttachTransportName, at.codePage)
	e.date(s, attAttachCreateDate, &a.Properties, mapi.PidTagCreationTime)
	e.date(s, attAttachModifyDate, &a.Properties, mapi.PidTagLastModificationTime)
	switch v := a.Get(mapi.PidTagAttachRendering).(type) {
	case mapi.Binary:
		e.attribute(s, attAttachMetaFile, func(s *sink) { s.octets(v) })
	case mapi.Streamed:
		e.attribute(s, attAttachMetaFile, func(s *sink) { s.content(v.Content) })
	}
}

// titleMost is how many octets a title has that was made of another name. QUIRK: ytnef stops at one of more than 100.
const titleMost = 90

// title returns the name for readers that know no properties: short, as they are, with the extension.
func title(a *mapi.Attachment) string {
	if name := a.Text(mapi.PidTagAttachFilename); name != "" {
		return name
	}
	name := a.Text(mapi.PidTagAttachLongFilename)
	if name == "" {
		name = a.Text(mapi.PidTagDisplayName)
	}
	if len(name) <= titleMost {
		return name
	}
	extension := path.Ext(name)
	if len(extension) > titleMost/2 {
		extension = ""
	}
	return strings.ToValidUTF8(name[:titleMost-len(extension)], "") + extension
}

// rendData writes attAttachRendData, MS-OXTNEF §2.1.3.3.15.
func rendData(s *sink, a *mapi.Attachment, object bool) {
	kind, position, flags := attachTypeFile, int64(-1), uint32(0)
	if object && a.Embedded == nil {
		kind = attachTypeOLE
	}
	if n, ok := a.Integer(mapi.PidTagRenderingPosition); ok {
		position = n
	}
	if string(a.Bytes(mapi.PidTagAttachEncoding)) == macBinary {
		flags = fileMacBinary
	}
	s.uint16(kind)
	s.uint32(uint32(position))
	s.uint32(0) // width and height: none
	s.uint32(flags)
}

// inPage returns a text in a code page. What that lacks becomes a question mark: the property has it.
func inPage(text string, page codepage.Page) []byte {
	if octets, err := page.Encode(text); err == nil {
		return octets
	}
	var octets []byte
	for _, r := range text {
		one, err := page.Encode(string(r))
		if err != nil {
			one = []byte{'?'}
		}
		octets = append(octets, one...)
	}
	return octets
}

// text writes a string with a NUL at its end.
func (e *encoder) text(s *sink, a Attribute, text string, page codepage.Page) {
	octets := append(inPage(text, page), 0)
	e.attribute(s, a, func(s *sink) { s.octets(octets) })
}

// optionalText writes a string that is in memory. One that is streamed is in the properties alone.
func (e *encoder) optionalText(s *sink, a Attribute, p *mapi.Properties, k mapi.Tag, page codepage.Page) {
	switch v := p.Get(k).(type) {
	case mapi.String:
		e.text(s, a, p.Text(k), page)
	case mapi.String8:
		if v.CodePage != page.Number {
			e.text(s, a, p.Text(k), page)
			return
		}
		e.attribute(s, a, func(s *sink) { s.octets(append([]byte(v.Octets), 0)) })
	}
}

// key writes a key in hex, with a NUL at its end.
func (e *encoder) key(s *sink, a Attribute, m *mapi.Message, k mapi.Tag) {
	if key := m.Bytes(k); len(key) > 0 {
		e.attribute(s, a, func(s *sink) { s.octets(fmt.Appendf(nil, "%X\x00", key)) })
	}
}

// date writes a DTR, MS-OXTNEF §2.1.3.3.4, in UTC.
func (e *encoder) date(s *sink, a Attribute, p *mapi.Properties, k mapi.Tag) {
	at, ok := p.Time(k)
	if !ok || at.Year() > 9999 {
		return
	}
	e.attribute(s, a, func(s *sink) { writeDate(s, at) })
}

func writeDate(s *sink, at time.Time) {
	for _, n := range []int{at.Year(), int(at.Month()), at.Day(), at.Hour(), at.Minute(), at.Second(), int(at.Weekday())} {
		s.uint16(uint16(n))
	}
}

// personOctets returns a name and an address as attributes have them. It says whether there is all of it, and it fits.
func personOctets(m *mapi.Message, tags mapi.AddressTags, page codepage.Page) (name, address []byte, ok bool) {
	a, _ := m.Address(tags)
	name = append(inPage(a.Name, page), 0)
	address = append(inPage(a.Type+":"+a.Address, page), 0)
	ok = a.Type != "" && a.Address != "" && !strings.Contains(a.Type, ":") && len(name)+len(address)+2*trpSize <= 0xFFFF
	return name, address, ok
}

// from writes attFrom, MS-OXTNEF §2.1.3.3.3.
func (e *encoder) from(s *sink, m *mapi.Message, page codepage.Page) {
	name, address, ok := personOctets(m, mapi.SenderAddress, page)
	if !ok {
		return
	}
	e.attribute(s, attFrom, func(s *sink) {
		s.uint16(trpOneOff)
		s.uint16(uint16(trpSize + len(name) + len(address) + trpSize))
		s.uint16(uint16(len(name)))
		s.uint16(uint16(len(address)))
		s.octets(name)
		s.octets(address)
		s.octets(make([]byte, trpSize))
	})
}

// person writes two strings behind their lengths, MS-OXTNEF §2.1.3.3.16.
func (e *encoder) person(s *sink, a Attribute, m *mapi.Message, tags mapi.AddressTags, page codepage.Page) {
	name, address, ok := personOctets(m, tags, page)
	if !ok {
		return
	}
	e.attribute(s, a, func(s *sink) {
		for _, text := range [][]byte{name, address} {
			s.octets(binary.LittleEndian.AppendUint16(nil, uint16(len(text))))
			s.octets(text)
		}
	})
}
