package exchange

import (
	"slices"
	"strings"
)

// object is what a handle stands for: a *logon, *folder, *message, *attachment, *valueStream, *table, *transfer or *destination.
type object any

type (
	logon  struct{ mailbox *Mailbox }
	folder struct {
		mailbox *Mailbox
		id      uint64
	}
	table struct {
		rows    []record
		columns []uint32
		at      int
	}
	transfer struct{ left []byte }
)

// Operations, MS-OXCROPS §2.2.2.
const (
	ropRelease          = 0x01
	ropOpenFolder       = 0x02
	ropOpenMessage      = 0x03
	ropGetHierarchy     = 0x04
	ropGetContentsTable = 0x05
	ropGetProperties    = 0x07
	ropSetColumns       = 0x12
	ropSortTable        = 0x13
	ropQueryRows        = 0x15
	ropDelete           = 0x1E
	ropMove             = 0x33
	ropLongTermID       = 0x43
	ropFromLongTermID   = 0x44
	ropCopyMessages     = 0x4B
	ropCopyTo           = 0x4D
	ropGetBuffer        = 0x4E
	ropSetReadFlags     = 0x66
	ropHardDelete       = 0x91
	ropLogon            = 0xFE
)

// Counters of the FIDs of folders.
const (
	subtree      = 0x09
	sentItems    = 0x0A
	deletedItems = 0x0B
	outbox       = 0x0C
	drafts       = 0x10
	inbox        = 0x0D
)

// one executes the next operation, and returns its reply. It says whether the operation could be read.
func (x *call) one() ([]byte, bool) {
	operation := x.in.u8()
	x.in.u8() // LogonId
	place := x.in.u8()
	o := x.object(place)
	x.last, x.place = operation, place
	switch operation {
	case ropLogon:
		return x.logon(place)
	case ropOpenFolder, ropOpenMessage, ropGetHierarchy, ropGetContentsTable, ropCopyTo, ropCopyMessages,
		ropCreateMessage, ropCreateAttachment, ropOpenEmbedded, ropConfigure, ropOpenStream, ropRegister:
		return x.opening(operation, o), true
	case ropRelease:
		if int(place) < len(x.handles) {
			delete(x.c.objects, x.handles[place])
		}
		return nil, true
	case ropGetProperties:
		return x.getProperties(place, o), true
	case ropSetColumns:
		return x.setColumns(place, o), true
	case ropSortTable:
		return x.sortTable(place, o), true
	case ropQueryRows:
		return x.queryRows(place, o), true
	case ropMove:
		return x.move(place, o), true
	case ropLongTermID, ropFromLongTermID:
		return x.translate(operation, place, o), true
	case ropDelete, ropHardDelete, ropSetReadFlags:
		return x.change(operation, place, o), true
	case ropGetBuffer:
		return x.getBuffer(place, o), true
	}
	return x.written(operation, place, o)
}

// written executes an operation that writes.
func (x *call) written(operation, place uint8, o object) ([]byte, bool) {
	switch operation {
	case ropSetProperties:
		return x.setProperties(place, o), true
	case ropDeleteProperties:
		return x.deleteProperties(place, o), true
	case ropSaveMessage, ropSaveAttachment:
		return x.save(operation, place), true
	case ropModifyRecipients:
		return x.modifyRecipients(place, o), true
	case ropRemoveRecipients:
		x.in.u32() // Reserved
		if m, ok := o.(*message); ok {
			m.work().recipients = nil
			return reply(operation, place, 0), true
		}
		return reply(operation, place, nullObject), true
	case ropPutBuffer:
		return x.putBuffer(place, o), true
	case ropReadStream, ropWriteStream, ropSeekStream, ropStreamSize, ropCommitStream, ropGetSize:
		return x.onStream(operation, place, o), true
	case ropSubmit:
		return x.submit(place, o), true
	case ropTransportSend:
		return x.transportSend(place, o), true
	case ropAbortSubmit, ropSpoolerLock, ropSetSpooler, ropTransportFolder, ropReceiveFolder:
		return x.sending(operation, place, o), true
	case ropGetIDs:
		return x.getIDs(place, o), true
	case ropGetNames:
		return x.getNames(place, o), true
	case ropRestrict:
		return x.restrict(place, o), true
	}
	return nil, false
}

// logon opens a mailbox, MS-OXCROPS §2.2.3.1.
func (x *call) logon(place uint8) ([]byte, bool) {
	flags := x.in.u8()
	open := x.in.u32()
	x.in.u32() // StoreState
	dn := strings.TrimSuffix(string(x.in.take(int(x.in.u16()))), "\x00")
	at := slices.IndexFunc(x.s.mailboxes, func(m *Mailbox) bool { return m.DN == dn })
	switch {
	case flags&1 == 0:
		return nil, false
	case at < 0:
		return reply(ropLogon, place, unknownUser), true
	case x.s.mailboxes[at].refusal(x.c.mailbox, open) != 0:
		code, more := x.s.mailboxes[at].refusal(x.c.mailbox, open), []byte(nil)
		if code == wrongServer {
			more = append([]byte{flags, 5}, "else\x00"...) // LogonFlags, ServerNameSize, ServerName
		}
		return reply(ropLogon, place, code, more...), true
	case !x.open(place, &logon{x.s.mailboxes[at]}):
		return reply(ropLogon, place, nullObject), true
	}
	out := reply(ropLogon, place, 0, flags)
	for _, counter := range []uint64{1, 2, 3, subtree, inbox, 0xC, 0xA, deletedItems, 7, 8, 5, 6, 4} {
		folder := number(counter)
		out = append(out, folder[:]...)
	}
	out = append(out, x.s.mailboxes[at].responseFlags(x.c.mailbox))
	out = append(out, make([]byte, 16)...) // MailboxGuid
	replica, guid := byte(1), x.s.mailboxes[at].replica
	if x.s.mailboxes[at].OtherReplica {
		replica, guid = 5, [16]byte{}
	}
	out = append(append(out, replica, 0), guid[:]...) // ReplId, ReplGuid
	return append(out, make([]byte, 8+8+4)...), true  // LogonTime, GwartTime, StoreState
}

// opening executes an operation that opens something.
func (x *call) opening(operation uint8, from object) []byte {
	place := x.in.u8()
	made, rest := x.made(operation, from)
	switch {
	case from == nil || int(place) >= len(x.handles):
		return reply(operation, place, nullObject)
	case made == nil:
		return reply(operation, place, notFound)
	}
	if f, is := made.(*folder); is && !f.mailbox.reads(x.c.mailbox) {
		return reply(operation, place, accessDenied)
	}
	x.open(place, made)
	return reply(operation, place, 0, rest...)
}

// made reads what is behind the places of such an operation, and makes what is opened: nil if there is no such thing, or it
// is not to be had of that object. rest is what the reply has of it.
func (x *call) made(operation uint8, from object) (made object, rest []byte) {
	switch operation {
	case ropOpenFolder: // MS-OXCROPS §2.2.4.1
		which, _ := x.in.id(), x.in.u8()
		if box := mailboxOf(from); box != nil && box.folder(which) != nil {
			return &folder{box, which.counter()}, []byte{0, 0} // HasRules, IsGhosted
		}
	case ropGetHierarchy: // §2.2.4.13
		x.in.u8()
		if f, ok := from.(*folder); ok {
			t := &table{rows: f.mailbox.below(f.id)}
			return t, words(uint32(len(t.rows)))
		}
	case ropGetContentsTable: // §2.2.4.14
		deleted := x.in.u8()&0x20 != 0
		if f, ok := from.(*folder); ok {
			t := &table{rows: f.mailbox.rows(f.id, deleted)}
			return t, words(uint32(len(t.rows)))
		}
	case ropOpenMessage: // §2.2.6.1
		return x.openMessage(from)
	case ropRegister:
		if r := x.register(from); r != nil {
			return r, nil
		}
	case ropCreateMessage:
		return x.createMessage(from)
	case ropCreateAttachment:
		return x.createAttachment(from)
	case ropOpenEmbedded:
		return x.openEmbedded(from)
	case ropConfigure:
		return x.configure(from)
	case ropOpenStream:
		return x.openStream(from)
	case ropCopyTo: // §2.2.12.6
		x.in.take(1 + 4 + 1) // Level, CopyFlags, SendOptions
		x.in.take(4 * int(x.in.u16()))
		if m, ok := from.(*message); ok {
			if one := m.mailbox.find(m.id); one != nil {
				return &transfer{slices.Clone(one.Stream)}, nil
			}
		}
	case ropCopyMessages: // §2.2.12.5
		ids := x.ids()
		flags, _ := x.in.u8(), x.in.u8() // CopyFlags, SendOptions
		if f, ok := from.(*folder); ok {
			return &transfer{f.list(ids, flags&sendEntryID != 0)}, nil
		}
	}
	return nil, nil
}

// openMessage opens a message. The reply tells of no recipients: they are in the stream.
func (x *call) openMessage(from object) (object, []byte) {
	x.in.u16() // CodePageId
	which, mode, mid := x.in.id(), x.in.u8(), x.in.id()
	box := mailboxOf(from)
	if box == nil {
		return nil, nil
	}
	one := box.find(mid.counter())
	if one == nil || one.Deleted || number(one.folder) != which {
		return nil, nil
	}
	// HasNamedProperties, no SubjectPrefix, NormalizedSubject in Unicode, no recipients and no columns of theirs.
	rest := append([]byte{0, 1, 4}, wide(one.Subject)...)
	return &message{mailbox: box, id: one.ID, folder: one.folder, writable: mode&3 != 0, version: one.version}, append(rest, 0, 0, 0, 0, 0)
}

// Markers of a list of messages, MS-OXCFXICS §2.2.4.1.4.
const (
	startMessage = 0x400C0003
	endMessage   = 0x400D0003
)

// sendEntryID has each message come with its entry id, MS-OXCFXICS §2.2.3.1.1.3.1.
const sendEntryID = 0x20

// list returns the stream of messages, MS-OXCFXICS §2.2.4.3.16. Those that are not there are left out.
func (f *folder) list(ids []id, entries bool) []byte {
	var stream []byte
	for _, one := range ids {
		if found := f.find(one); found != nil && !found.Deleted {
			stream = append(stream, words(startMessage)...)
			if entries {
				entry := found.entryID()
				stream = append(append(stream, words(0x0FFF0102, uint32(len(entry)))...), entry...)
			}
			stream = append(stream, found.Stream...)
			stream = append(stream, words(endMessage)...)
		}
	}
	return stream
}

// entryID is a Message EntryID, MS-OXCDATA §2.2.4.2.
func (m *Message) entryID() []byte {
	entry := append(words(0), m.mailbox.replica[:]...) // Flags, ProviderUID
	entry = append(entry, 7, 0)                        // eitLTPrivateMessage
	for _, counter := range []uint64{m.folder, m.ID} {
		which := number(counter)
		entry = append(append(append(entry, m.mailbox.replica[:]...), which[2:]...), 0, 0)
	}
	return entry
}

func (m *Mailbox) find(counter uint64) *Message {
	for _, one := range m.messages {
		if one.ID == counter {
			return one
		}
	}
	return nil
}

// find returns a message of the folder.
func (f *folder) find(which id) *Message {
	one := f.mailbox.find(which.counter())
	if one == nil || one.folder != f.id || which != number(one.ID) {
		return nil
	}
	return one
}

// mailboxOf returns the mailbox of a logon, a folder, or what is in a message.
func mailboxOf(o object) *Mailbox {
	switch o := o.(type) {
	case *logon:
		return o.mailbox
	case *folder:
		return o.mailbox
	case *message:
		return o.mailbox
	case *attachment:
		return o.of.mailbox
	}
	return nil
}

func (m *Mailbox) folder(which id) *Folder {
	for _, f := range m.folders {
		if number(f.id) == which {
			return f
		}
	}
	return nil
}

// rows are the messages of a folder.
func (m *Mailbox) rows(folder uint64, deleted bool) []record {
	var all []record
	for _, one := range m.messages {
		if one.folder == folder && one.Deleted == deleted {
			all = append(all, one)
		}
	}
	return all
}

// below are the folders in a folder.
func (m *Mailbox) below(parent uint64) []record {
	var all []record
	for _, f := range m.folders {
		if f.parent == parent {
			all = append(all, f)
		}
	}
	return all
}

func (x *call) ids() []id {
	var all []id
	for range x.in.u16() {
		all = append(all, x.in.id())
	}
	return all
}

// change deletes messages, or marks them as read or unread. MS-OXCROPS §2.2.4.11, §2.2.4.12, §2.2.6.10.
func (x *call) change(operation, place uint8, o object) []byte {
	x.in.u8() // WantAsynchronous
	flags, ids := x.in.u8(), x.ids()
	f, ok := o.(*folder)
	if !ok {
		return reply(operation, place, nullObject, 0)
	}
	partial := byte(0)
	for _, one := range ids {
		found := f.find(one)
		switch {
		case found == nil:
			partial = 1
		case operation == ropSetReadFlags:
			found.mark(flags)
		default:
			found.Receipt = found.Receipt || flags != 0 && !found.Read // NotifyNonRead
			found.Deleted = true
			if operation == ropHardDelete {
				f.mailbox.messages = slices.DeleteFunc(f.mailbox.messages, func(m *Message) bool { return m == found })
			}
		}
	}
	return reply(operation, place, 0, partial)
}

// destinationNull says that there is no folder to move to, MS-OXCROPS §2.2.4.6.3.
const destinationNull = 0x00000503

// move moves messages to another folder, where they have other ids. MS-OXCROPS §2.2.4.6.
func (x *call) move(place uint8, o object) []byte {
	to := x.in.u8()
	ids, _, copying := x.ids(), x.in.u8(), x.in.u8()
	from, ok := o.(*folder)
	dest, also := x.object(to).(*folder)
	switch {
	case !ok:
		return reply(ropMove, place, nullObject, 0)
	case !also:
		return reply(ropMove, place, destinationNull, to, 0, 0, 0, 0)
	case copying != 0:
		return reply(ropMove, place, notSupported, 0)
	}
	partial := byte(0)
	for _, one := range ids {
		found := from.find(one)
		if found == nil {
			partial = 1
			continue
		}
		dest.mailbox.counter++
		found.ID = dest.mailbox.counter
		found.move(dest.id)
	}
	return reply(ropMove, place, 0, partial)
}

// translate tells the LongTermID of an id, or the id of a LongTermID. MS-OXCROPS §2.2.3.8, §2.2.3.9.
func (x *call) translate(operation, place uint8, o object) []byte {
	var guid [16]byte
	var which id
	if operation == ropLongTermID {
		which = x.in.id()
	} else {
		copy(guid[:], x.in.take(16))
		copy(which[2:], x.in.take(6))
		x.in.u16() // Pad
	}
	box := mailboxOf(o)
	switch {
	case box == nil:
		return reply(operation, place, nullObject)
	case operation == ropLongTermID:
		return reply(operation, place, 0, append(append(box.replica[:], which[2:]...), 0, 0)...)
	case guid != box.replica:
		return reply(operation, place, notFound)
	}
	which[0] = 1
	return reply(operation, place, 0, which[:]...)
}

// Read flags, MS-OXCMSG §2.2.3.11.1.
const (
	suppressReceipt = 0x01
	clearReadFlag   = 0x04
)

// mark marks a message as read, and sends the receipt unless it is to be suppressed; or as unread.
func (m *Message) mark(flags uint8) {
	if flags&clearReadFlag != 0 {
		m.Read = false
		return
	}
	m.Receipt = m.Receipt || !m.Read && flags&suppressReceipt == 0
	m.Read = true
}

// bufferFollows says that the size is in the next field, MS-OXCROPS §2.2.12.4.1.
const bufferFollows = 0xBABE

// getBuffer sends the next octets of a stream, MS-OXCROPS §2.2.12.4.
func (x *call) getBuffer(place uint8, o object) []byte {
	size := int(x.in.u16())
	if size == bufferFollows {
		size = int(x.in.u16())
	}
	t, ok := o.(*transfer)
	if !ok {
		return reply(ropGetBuffer, place, nullObject, make([]byte, 2+2+2+1+2)...)
	}
	n := min(size, len(t.left), x.room-100)
	status := byte(1)
	if n == len(t.left) {
		status = 3
	}
	out := append(reply(ropGetBuffer, place, 0, status, 0, 0, 0, 0, 0, 0, byte(n), byte(n>>8)), t.left[:n]...)
	t.left = t.left[n:]
	return out
}
