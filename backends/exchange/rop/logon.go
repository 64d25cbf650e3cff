package rop

import "github.com/dipylon/dipylon/backends/mapi"

// Flags of [Logon.LogonFlags] and [Logon.OpenFlags], MS-OXCSTOR §2.2.1.1.1.
const (
	LogonPrivate       uint8  = 0x01
	OpenUseAdmin       uint32 = 0x00000001
	OpenHomeLogon      uint32 = 0x00000004
	OpenTakeOwnership  uint32 = 0x00000008
	OpenNoMail         uint32 = 0x00010000
	OpenPerMDBReplicas uint32 = 0x01000000
)

// Rights of [LogonReply.ResponseFlags], MS-OXCSTOR §2.2.1.1.3.
const (
	OwnerRight  uint8 = 0x02
	SendAsRight uint8 = 0x04
	OutOfOffice uint8 = 0x10
)

// Logon opens a mailbox. MS-OXCROPS §2.2.3.1.
type Logon struct {
	OutputHandleIndex uint8
	LogonFlags        uint8
	OpenFlags         uint32
	StoreState        uint32
	// Essdn is the distinguished name of the mailbox, and empty for public folders.
	Essdn string
}

// ID says which operation it is.
func (*Logon) ID() ID                    { return idLogon }
func (r *Logon) indexes(e *mapi.Encoder) { e.Uint8(r.OutputHandleIndex) }
func (r *Logon) replied() uint8          { return r.OutputHandleIndex }
func (*Logon) reply() *LogonReply        { return &LogonReply{} }
func (r *Logon) write(e *mapi.Encoder) {
	e.Uint8(r.LogonFlags)
	e.Uint32(r.OpenFlags)
	e.Uint32(r.StoreState)
	writeSized(e, func() {
		if r.Essdn != "" {
			e.String8(r.Essdn)
		}
	})
}

// Places of folders in [LogonReply.FolderIDs] of a mailbox, MS-OXCSTOR §2.2.1.1.3.
const (
	FolderRoot = iota
	FolderDeferredAction
	FolderSpoolerQueue
	FolderIPMSubtree
	FolderInbox
	FolderOutbox
	FolderSentItems
	FolderDeletedItems
	FolderCommonViews
	FolderSchedule
	FolderSearch
	FolderViews
	FolderShortcuts
	foldersAtLogon
)

// LogonReply is the reply to [Logon]. MS-OXCROPS §2.2.3.1.2.
type LogonReply struct {
	Result
	LogonFlags    uint8
	FolderIDs     []mapi.ObjectID
	ResponseFlags uint8     // of a mailbox
	MailboxGUID   mapi.GUID // of a mailbox
	ReplID        uint16
	ReplGUID      mapi.GUID
	PerUserGUID   mapi.GUID // of public folders
	LogonTime     [8]byte   // of a mailbox
	GwartTime     uint64    // of a mailbox
	StoreState    uint32    // of a mailbox
	// ServerName is where the mailbox is, if ReturnValue is [WrongServer].
	ServerName string
}

func (r *LogonReply) read(d *decoder) {
	r.LogonFlags = d.Uint8()
	r.FolderIDs = list(d, foldersAtLogon, d.objectID)
	if r.LogonFlags&LogonPrivate == 0 {
		r.ReplID, r.ReplGUID, r.PerUserGUID = d.Uint16(), d.GUID(), d.GUID()
		return
	}
	r.ResponseFlags, r.MailboxGUID = d.Uint8(), d.GUID()
	r.ReplID, r.ReplGUID = d.Uint16(), d.GUID()
	copy(r.LogonTime[:], d.Bytes(len(r.LogonTime)))
	r.GwartTime, r.StoreState = d.Uint64(), d.Uint32()
}

// readFailure reads the redirection, MS-OXCROPS §2.2.3.1.4.
func (r *LogonReply) readFailure(d *decoder) {
	if r.ReturnValue == WrongServer {
		r.LogonFlags = d.Uint8()
		size := int(d.Uint8())
		r.ServerName = trimNUL(d.Bytes(size))
	}
}

func trimNUL(octets []byte) string {
	for len(octets) > 0 && octets[len(octets)-1] == 0 {
		octets = octets[:len(octets)-1]
	}
	return string(octets)
}

// GetReceiveFolder asks which folder messages of a class are delivered to. MS-OXCROPS §2.2.3.2.
type GetReceiveFolder struct {
	Input
	MessageClass string
}

// ID says which operation it is.
func (*GetReceiveFolder) ID() ID                        { return idGetReceiveFolder }
func (r *GetReceiveFolder) write(e *mapi.Encoder)       { e.String8(r.MessageClass) }
func (*GetReceiveFolder) reply() *GetReceiveFolderReply { return &GetReceiveFolderReply{} }

// GetReceiveFolderReply is the reply to [GetReceiveFolder].
type GetReceiveFolderReply struct {
	Result
	FolderID             mapi.ObjectID
	ExplicitMessageClass string
}

func (r *GetReceiveFolderReply) read(d *decoder) {
	r.FolderID, r.ExplicitMessageClass = d.objectID(), d.String8().Text()
}

// receiveColumns are those of each row of a [GetReceiveFolderTableReply]. MS-OXCSTOR §2.2.1.4.2.
var receiveColumns = []mapi.Tag{mapi.PidTagFolderId, mapi.PidTagMessageClass.WithType(mapi.PtypString8), mapi.PidTagLastModificationTime}

// GetReceiveFolderTable asks for all receive folders. MS-OXCROPS §2.2.3.4.
type GetReceiveFolderTable struct{ Input }

// ID says which operation it is.
func (*GetReceiveFolderTable) ID() ID              { return idGetReceiveFolderTable }
func (*GetReceiveFolderTable) write(*mapi.Encoder) {}
func (*GetReceiveFolderTable) reply() *GetReceiveFolderTableReply {
	return &GetReceiveFolderTableReply{}
}

// GetReceiveFolderTableReply is the reply to [GetReceiveFolderTable]: of each row PidTagFolderId, PidTagMessageClass
// and PidTagLastModificationTime.
type GetReceiveFolderTableReply struct {
	Result
	Rows [][]mapi.Value
}

func (r *GetReceiveFolderTableReply) read(d *decoder) {
	r.Rows = list(d, int(min(d.Uint32(), PayloadMost)), func() []mapi.Value { return d.Row(receiveColumns) })
}

// GetTransportFolder asks for the folder that messages are put into for [TransportSend]. MS-OXCROPS §2.2.7.8.
type GetTransportFolder struct{ Input }

// ID says which operation it is.
func (*GetTransportFolder) ID() ID                { return idGetTransportFolder }
func (*GetTransportFolder) write(*mapi.Encoder)   {}
func (*GetTransportFolder) reply() *FolderIDReply { return &FolderIDReply{} }

// FolderIDReply is a reply that names a folder.
type FolderIDReply struct {
	Result
	FolderID mapi.ObjectID
}

func (r *FolderIDReply) read(d *decoder) { r.FolderID = d.objectID() }

// GetAddressTypes asks which types of addresses the server delivers to. MS-OXCROPS §2.2.7.7.
type GetAddressTypes struct{ Input }

// ID says which operation it is.
func (*GetAddressTypes) ID() ID                       { return idGetAddressTypes }
func (*GetAddressTypes) write(*mapi.Encoder)          {}
func (*GetAddressTypes) reply() *GetAddressTypesReply { return &GetAddressTypesReply{} }

// GetAddressTypesReply is the reply to [GetAddressTypes].
type GetAddressTypesReply struct {
	Result
	AddressTypes []string
}

func (r *GetAddressTypesReply) read(d *decoder) {
	n := int(d.Uint16())
	d.Uint16() // AddressTypeSize
	r.AddressTypes = list(d, n, func() string { return d.String8().Text() })
}

// LongTermIDFromID asks what the id of a folder or message is called outside of the session. MS-OXCROPS §2.2.3.8.
type LongTermIDFromID struct {
	Input
	ObjectID mapi.ObjectID
}

// ID says which operation it is.
func (*LongTermIDFromID) ID() ID                  { return idLongTermIDFromID }
func (r *LongTermIDFromID) write(e *mapi.Encoder) { writeID(e, r.ObjectID) }
func (*LongTermIDFromID) reply() *LongTermIDReply { return &LongTermIDReply{} }

// LongTermIDReply is the reply to [LongTermIDFromID].
type LongTermIDReply struct {
	Result
	LongTermID mapi.LongTermID
}

func (r *LongTermIDReply) read(d *decoder) { r.LongTermID = d.LongTermID() }

// IDFromLongTermID asks for the id in this session. MS-OXCROPS §2.2.3.9.
type IDFromLongTermID struct {
	Input
	LongTermID mapi.LongTermID
}

// ID says which operation it is.
func (*IDFromLongTermID) ID() ID                  { return idIDFromLongTermID }
func (r *IDFromLongTermID) write(e *mapi.Encoder) { e.Bytes(r.LongTermID.AppendTo(nil)) }
func (*IDFromLongTermID) reply() *ObjectIDReply   { return &ObjectIDReply{} }

// ObjectIDReply is the reply to [IDFromLongTermID].
type ObjectIDReply struct {
	Result
	ObjectID mapi.ObjectID
}

func (r *ObjectIDReply) read(d *decoder) { r.ObjectID = d.objectID() }
