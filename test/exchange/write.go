package exchange

import (
	"slices"
)

// Operations that write, MS-OXCROPS §2.2.2.
const (
	ropCreateMessage    = 0x06
	ropSetProperties    = 0x0A
	ropDeleteProperties = 0x0B
	ropSaveMessage      = 0x0C
	ropRemoveRecipients = 0x0D
	ropModifyRecipients = 0x0E
	ropCreateAttachment = 0x23
	ropSaveAttachment   = 0x25
	ropOpenEmbedded     = 0x46
	ropConfigure        = 0x53
	ropPutBuffer        = 0x54
)

// Codes of writing, MS-OXCDATA §2.4.
const (
	invalidParameter = 0x80070057
	quotaExceeded    = 0x000004D9
	formatError      = 0x000004ED // the stream is none
)

// Properties that writing needs.
const (
	tagRecipientType = 0x0C150003
	tagAddressType   = 0x3002001F
	tagAddress       = 0x3003001F
	tagClass         = 0x001A001F
	tagAttachMethod  = 0x37050003
	tagAttachNumber  = 0x0E210003
	tagAttachSize    = 0x0E200003
	tagObjectType    = 0x0FFE0003
)

// computed are the properties that the server makes, and nobody sets.
var computed = []uint32{tagObjectType, tagSize, tagMID, tagFID, tagParent, tagAttachSize, tagAttachNumber, 0x0E1B000B, 0x0FFF0102}

// message is an open message. draft is what it will be once it is saved: nil for one that was not changed.
type message struct {
	mailbox  *Mailbox
	id       uint64 // 0: it was never saved
	folder   uint64
	draft    *item
	writable bool
	in       *attachment // that it is embedded in
	version  int         // of the message that was opened
}

// attachment is an open attachment of a message.
type attachment struct {
	of    *message
	index int
	draft *item
}

// destination takes the stream of an object in.
type destination struct {
	into   *item
	upload *upload
}

// work returns what a message will be.
func (m *message) work() *item {
	if m.draft != nil {
		return m.draft
	}
	m.draft = &item{}
	if one := m.mailbox.find(m.id); one != nil && one.item != nil {
		m.draft = one.item.clone()
	}
	return m.draft
}

// workOf returns what an object that has properties will be, and nil for another.
func workOf(o object) *item {
	switch o := o.(type) {
	case *message:
		return o.work()
	case *attachment:
		return o.draft
	}
	return nil
}

// createMessage makes a message in a folder, MS-OXCROPS §2.2.6.2. There is no id before it is saved.
func (x *call) createMessage(from object) (object, []byte) {
	x.in.u16() // CodePageId
	which, associated := x.in.id(), x.in.u8()
	box := mailboxOf(from)
	if box == nil || box.folder(which) == nil || associated != 0 {
		return nil, nil
	}
	draft := &item{}
	draft.setText(tagClass, "IPM.Note")
	draft.setNumber(tagFlags, flagUnsent|flagUnmodified) // MS-OXCMSG §3.2.5.2
	return &message{mailbox: box, folder: which.counter(), draft: draft, writable: true}, []byte{0}
}

// createAttachment makes an attachment, MS-OXCROPS §2.2.6.13.
func (x *call) createAttachment(from object) (object, []byte) {
	m, ok := from.(*message)
	if !ok {
		return nil, nil
	}
	number := len(m.work().attachments)
	return &attachment{of: m, index: number, draft: &item{}}, words(uint32(number))
}

// openEmbedded makes the message that an attachment is, MS-OXCROPS §2.2.6.16.
func (x *call) openEmbedded(from object) (object, []byte) {
	x.in.u16() // CodePageId
	mode := x.in.u8()
	a, ok := from.(*attachment)
	if !ok || a.draft.number(tagAttachMethod) != 5 {
		return nil, nil
	}
	made := a.draft.embedded
	if mode == 2 && made == nil {
		made = &item{}
	}
	if made == nil {
		return nil, nil
	}
	// Reserved, MessageId, and what RopOpenMessage is answered with: no names, no subject and no recipients.
	rest := append([]byte{0}, make([]byte, 8)...)
	return &message{mailbox: a.of.mailbox, draft: made, in: a, writable: mode != 0}, append(rest, 0, 1, 1, 0, 0, 0, 0, 0)
}

// configure opens what takes a stream in for a message, MS-OXCFXICS §2.2.3.1.2.1.
func (x *call) configure(from object) (object, []byte) {
	operation, flags := x.in.u8(), x.in.u8()
	m, ok := from.(*message)
	if !ok {
		return nil, nil
	}
	if operation != 1 || flags&^1 != 0 || !m.writable {
		x.s.wrong("configure an upload with %d, %d", operation, flags)
		return nil, nil
	}
	into := m.work()
	return &destination{into, newUpload(into)}, nil
}

// putBuffer takes the next piece of a stream, MS-OXCFXICS §2.2.3.1.2.2.
func (x *call) putBuffer(place uint8, o object) []byte {
	size := x.in.u16()
	piece := x.in.take(int(size))
	d, ok := o.(*destination)
	progress := make([]byte, 2+2+2+1)
	switch {
	case !ok:
		return reply(ropPutBuffer, place, nullObject, append(progress, 0, 0)...)
	case len(piece) == 0:
		x.s.wrong("put no octets")
	}
	if d.upload.put(piece); d.upload.wrong != "" {
		x.s.wrong("%s", d.upload.wrong)
		return reply(ropPutBuffer, place, formatError, append(progress, 0, 0)...)
	}
	return reply(ropPutBuffer, place, 0, append(progress, byte(size), byte(size>>8))...)
}

// setProperties sets properties, MS-OXCROPS §2.2.8.6: those that the server makes are problems.
func (x *call) setProperties(place uint8, o object) []byte {
	size := int(x.in.u16())
	values := cursor{octets: x.in.take(size)}
	into := workOf(o)
	if into == nil {
		return reply(ropSetProperties, place, nullObject)
	}
	n := values.u16()
	problems, count := []byte{}, uint16(0)
	for i := range n {
		p := x.tagged(&values, mailboxOf(o))
		if slices.ContainsFunc(computed, func(tag uint32) bool { return tag>>16 == p.tag>>16 && p.name == (name{}) }) {
			problems = append(append(append(problems, byte(i), byte(i>>8)), words(p.tag)...), words(accessDenied)...)
			count++
			continue
		}
		into.set(p)
	}
	if values.short || len(values.octets) > 0 {
		x.s.wrong("set properties whose sizes lie")
		return reply(ropSetProperties, place, invalidParameter)
	}
	return reply(ropSetProperties, place, 0, append([]byte{byte(count), byte(count >> 8)}, problems...)...)
}

// tagged reads a TaggedPropertyValue, MS-OXCDATA §2.11.4.
func (x *call) tagged(in *cursor, box *Mailbox) property {
	p := property{tag: in.u32()}
	if p.tag>>16 >= 0x8000 && box != nil {
		p.name = box.nameOf(p.tag >> 16)
		p.tag &= 0xFFFF
	}
	p.data = in.rowValue(p.tag & 0xFFFF)
	return p
}

// rowValue reads a value as a row has it.
func (c *cursor) rowValue(kind uint32) []byte {
	if n := fixedSizes[kind]; n > 0 {
		return slices.Clone(c.take(n))
	}
	switch kind {
	case typeString:
		var text []byte
		for unit := c.take(2); !c.short && (unit[0] != 0 || unit[1] != 0); unit = c.take(2) {
			text = append(text, unit...)
		}
		return text
	case typeString8:
		var text []byte
		for octet := c.u8(); !c.short && octet != 0; octet = c.u8() {
			text = append(text, octet)
		}
		return text
	case typeBinary, typeServerID, typeObject:
		return slices.Clone(c.take(int(c.u16())))
	}
	if kind&typeMultiple != 0 {
		data := words(c.u32())
		for n := (&cursor{octets: data}).u32(); n > 0 && !c.short; n-- {
			one := c.rowValue(kind &^ typeMultiple)
			if fixedSizes[kind&^typeMultiple] == 0 { // as streams have them
				one = rowText(kind&^typeMultiple, one)
				data = append(data, words(uint32(len(one)))...)
			}
			data = append(data, one...)
		}
		return data
	}
	c.short = true
	return nil
}

// rowText is a text with its NUL, and anything else as it is.
func rowText(kind uint32, data []byte) []byte {
	if isText(kind) {
		return rowValue(kind, data)
	}
	return data
}

// deleteProperties deletes properties, MS-OXCROPS §2.2.8.8.
func (x *call) deleteProperties(place uint8, o object) []byte {
	tags := x.tags()
	from := workOf(o)
	if from == nil {
		return reply(ropDeleteProperties, place, nullObject)
	}
	for _, tag := range tags {
		if tag>>16 >= 0x8000 {
			from.remove(mailboxOf(o).nameOf(tag >> 16))
			continue
		}
		from.remove(tag >> 16)
	}
	return reply(ropDeleteProperties, place, 0, 0, 0)
}

// save saves a message or an attachment, MS-OXCROPS §2.2.6.3 and §2.2.6.15. place is that of the object that the reply names.
func (x *call) save(operation, place uint8) []byte {
	input := x.in.u8()
	x.in.u8() // SaveFlags
	switch o := x.object(input).(type) {
	case *message:
		if operation == ropSaveMessage {
			return x.saveMessage(place, input, o)
		}
	case *attachment:
		if operation == ropSaveAttachment {
			return x.saveAttachment(place, o)
		}
	}
	return reply(operation, place, nullObject)
}

func (x *call) saveAttachment(place uint8, a *attachment) []byte {
	into := a.of.work()
	for len(into.attachments) <= a.index {
		into.attachments = append(into.attachments, &item{})
	}
	if a.draft.find(uint32(tagAttachMethod>>16)) == nil {
		x.s.wrong("save an attachment without a method")
		return reply(ropSaveAttachment, place, invalidParameter)
	}
	into.attachments[a.index] = a.draft
	return reply(ropSaveAttachment, place, 0)
}

func (x *call) saveMessage(place, input uint8, m *message) []byte {
	code := m.save()
	if code != 0 {
		return reply(ropSaveMessage, place, code)
	}
	id := number(m.id)
	return reply(ropSaveMessage, place, 0, append([]byte{input}, id[:]...)...)
}

// save saves what a message has become.
func (m *message) save() uint32 {
	draft := m.work()
	switch {
	case !m.writable:
		return accessDenied
	case m.in != nil:
		m.in.draft.embedded = draft
		return 0
	}
	stream := draft.stream()
	if box := m.mailbox; box.Quota > 0 && box.size()+int64(len(stream)) > box.Quota {
		return quotaExceeded
	}
	one := m.mailbox.find(m.id)
	if one == nil {
		if m.id != 0 {
			return 0x8004010A // it was deleted meanwhile
		}
		one = m.mailbox.add(m.folder)
		m.id = one.ID
	}
	if one.version != m.version {
		return 0x80040109 // somebody else has saved it meanwhile, MS-OXCMSG §3.2.5.3
	}
	one.version++
	m.version = one.version
	one.take(draft.clone(), stream)
	return 0
}

// Put puts a message into a folder, with its PidTagMessageFlags.
func (m *Mailbox) Put(folder string, flags uint32, stream []byte) {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	for _, f := range m.folders {
		if f.Name == folder {
			one, content := m.add(f.id), parse(stream)
			content.setNumber(tagFlags, flags)
			one.take(content, content.stream())
		}
	}
}

// size is how many octets the mailbox has.
func (m *Mailbox) size() int64 {
	var n int64
	for _, one := range m.messages {
		n += int64(max(len(one.Stream), len(one.Mail)))
	}
	return n
}

// add adds a message to a folder.
func (m *Mailbox) add(folder uint64) *Message {
	m.counter++
	one := &Message{ID: m.counter, Received: now(), mailbox: m}
	one.move(folder)
	m.messages = append(m.messages, one)
	return one
}

// move puts a message into another folder of its mailbox.
func (m *Message) move(folder uint64) {
	m.folder = folder
	if f := m.mailbox.folder(number(folder)); f != nil {
		m.Folder = f.Name
	}
}

// take takes what a message has become.
func (m *Message) take(i *item, stream []byte) {
	m.item, m.Stream, m.Subject = i, stream, i.text(tagSubject)
	if data := i.get(tagReceived); len(data) == 8 {
		m.Received = timeOf(data)
	}
	if flags := i.number(tagFlags); i.find(uint32(tagFlags>>16)) != nil {
		m.Read = flags&flagRead != 0
		m.Flags = flags
	}
	m.changed()
}
