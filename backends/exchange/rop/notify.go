package rop

import (
	"fmt"

	"github.com/dipylon/dipylon/backends/mapi"
)

// Kinds of notifications, MS-OXCNOTIF §2.2.1.1.
const (
	NotifyNewMail         uint16 = 0x0002
	NotifyObjectCreated   uint16 = 0x0004
	NotifyObjectDeleted   uint16 = 0x0008
	NotifyObjectModified  uint16 = 0x0010
	NotifyObjectMoved     uint16 = 0x0020
	NotifyObjectCopied    uint16 = 0x0040
	NotifySearchCompleted uint16 = 0x0080
	NotifyTableModified   uint16 = 0x0100
)

// RegisterNotification asks to be told of what happens to a folder, to a message, or in the whole mailbox. MS-OXCROPS §2.2.14.1.
type RegisterNotification struct {
	Opens
	NotificationTypes   uint16
	WantWholeStore      bool
	FolderID, MessageID mapi.ObjectID // if not the whole mailbox
}

// ID says which operation it is.
func (*RegisterNotification) ID() ID         { return idRegisterNotification }
func (*RegisterNotification) reply() *Result { return &Result{} }
func (r *RegisterNotification) write(e *mapi.Encoder) {
	e.Uint16(r.NotificationTypes)
	writeBool(e, r.WantWholeStore)
	if !r.WantWholeStore {
		writeID(e, r.FolderID)
		writeID(e, r.MessageID)
	}
}

// Notification is a RopNotify, MS-OXCROPS §2.2.14.2: what of it is there depends on the kind.
type Notification struct {
	// NotificationHandle is the object that the notification is of: a registration, or a table.
	NotificationHandle uint32
	LogonID            uint8
	// Type is one of the kinds, and Message says whether it is about a message.
	Type                uint16
	Message             bool
	TableEventType      uint16
	FolderID, MessageID mapi.ObjectID
	ParentFolderID      mapi.ObjectID
	OldFolderID         mapi.ObjectID
	OldMessageID        mapi.ObjectID
	OldParentFolderID   mapi.ObjectID
	Tags                []mapi.Tag
	MessageFlags        uint32
	MessageClass        string
	TableRowData        []byte
	Total, Unread       uint32
	HasTotal, HasUnread bool
}

// Bits of NotificationFlags, MS-OXCNOTIF §2.2.1.4.1.2.
const (
	notifyTypes    uint16 = 0x0FFF
	notifyTotal    uint16 = 0x1000
	notifyUnread   uint16 = 0x2000
	notifySearch   uint16 = 0x4000
	notifyMessage  uint16 = 0x8000
	notifyStatus   uint16 = 0x0400
	notifyICS      uint16 = 0x0200
	tableRowAdded  uint16 = 3
	tableDeleted   uint16 = 4
	tableModified  uint16 = 5
	noTags         uint16 = 0xFFFF
	moved          uint16 = NotifyObjectMoved | NotifyObjectCopied
	withoutFolder  uint16 = NotifyTableModified | notifyICS | notifyStatus
	withTags       uint16 = NotifyObjectCreated | NotifyObjectModified
	withParent     uint16 = NotifyObjectCreated | NotifyObjectDeleted | moved
	knownNotifying uint16 = NotifyNewMail | NotifyObjectCreated | NotifyObjectDeleted | NotifyObjectModified | moved |
		NotifySearchCompleted | NotifyTableModified | notifyStatus
)

// notification reads a RopNotify behind its RopId.
func (d *decoder) notification() Notification {
	n := Notification{NotificationHandle: d.Uint32(), LogonID: d.Uint8()}
	flags := d.Uint16()
	n.Type, n.Message = flags&notifyTypes, flags&notifyMessage != 0
	if n.Type&^knownNotifying != 0 {
		d.err = fmt.Errorf("0x%04x is no kind of notification that is known", flags)
		return n
	}
	if n.Type&NotifyTableModified != 0 {
		d.tableEvent(&n)
	}
	if n.Type&withoutFolder == 0 {
		d.objectEvent(&n, flags)
	}
	if flags&notifyTotal != 0 {
		n.Total, n.HasTotal = d.Uint32(), true
	}
	if flags&notifyUnread != 0 {
		n.Unread, n.HasUnread = d.Uint32(), true
	}
	if n.Type&NotifyNewMail != 0 {
		n.MessageFlags = d.Uint32()
		n.MessageClass = d.class(d.bool())
	}
	return n
}

func (d *decoder) class(inUnicode bool) string {
	if inUnicode {
		return d.Unicode()
	}
	return d.String8().Text()
}

// tableEvent reads what has happened to a row of a table.
func (d *decoder) tableEvent(n *Notification) {
	n.TableEventType = d.Uint16()
	if n.TableEventType < tableRowAdded || n.TableEventType > tableModified {
		return
	}
	n.FolderID = d.objectID()
	if n.Message {
		n.MessageID = d.objectID()
		d.Uint32() // TableRowInstance
	}
	if n.TableEventType == tableDeleted {
		return
	}
	d.objectID() // InsertAfterTableRowFolderID
	if n.Message {
		d.objectID() // InsertAfterTableRowID
		d.Uint32()   // InsertAfterTableRowInstance
	}
	n.TableRowData = d.Bytes(int(d.Uint16()))
}

// objectEvent reads what has happened to a folder or a message.
func (d *decoder) objectEvent(n *Notification, flags uint16) {
	n.FolderID = d.objectID()
	if n.Message {
		n.MessageID = d.objectID()
	}
	if n.Type&withParent != 0 && (flags&notifySearch != 0 || !n.Message) {
		n.ParentFolderID = d.objectID()
	}
	if n.Type&moved != 0 {
		n.OldFolderID = d.objectID()
		if n.Message {
			n.OldMessageID = d.objectID()
		} else {
			n.OldParentFolderID = d.objectID()
		}
	}
	if n.Type&withTags != 0 {
		if count := d.Uint16(); count != noTags {
			n.Tags = list(d, int(count), d.Tag)
		}
	}
}
