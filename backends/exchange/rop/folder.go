package rop

import "github.com/dipylon/dipylon/backends/mapi"

// OpenSoftDeleted opens what was deleted and may still be recovered, [OpenFolder.OpenModeFlags].
const OpenSoftDeleted uint8 = 0x04

// OpenFolder opens a folder. MS-OXCROPS §2.2.4.1.
type OpenFolder struct {
	Opens
	FolderID      mapi.ObjectID
	OpenModeFlags uint8
}

// ID says which operation it is.
func (*OpenFolder) ID() ID                  { return idOpenFolder }
func (*OpenFolder) reply() *OpenFolderReply { return &OpenFolderReply{} }
func (r *OpenFolder) write(e *mapi.Encoder) {
	writeID(e, r.FolderID)
	e.Uint8(r.OpenModeFlags)
}

// OpenFolderReply is the reply to [OpenFolder].
type OpenFolderReply struct {
	Result
	HasRules, IsGhosted bool
	// Servers have the contents of a public folder that this one has not (IsGhosted).
	Servers []string
}

func (r *OpenFolderReply) read(d *decoder) {
	r.HasRules, r.IsGhosted = d.bool(), d.bool()
	if r.IsGhosted {
		r.Servers = ghosts(d)
	}
}

// ghosts reads the servers that have a folder's contents, MS-OXCROPS §2.2.4.1.2.
func ghosts(d *decoder) []string {
	n := int(d.Uint16())
	d.Uint16() // CheapServerCount
	return list(d, n, func() string { return d.String8().Text() })
}

// Kinds of [CreateFolder.FolderType].
const (
	FolderGeneric  uint8 = 1
	FolderSearches uint8 = 2
)

// CreateFolder makes a folder below another. MS-OXCROPS §2.2.4.2.
type CreateFolder struct {
	Opens
	FolderType           uint8
	OpenExisting         bool
	DisplayName, Comment string
}

// ID says which operation it is.
func (*CreateFolder) ID() ID                    { return idCreateFolder }
func (*CreateFolder) reply() *CreateFolderReply { return &CreateFolderReply{} }
func (r *CreateFolder) write(e *mapi.Encoder) {
	e.Uint8(r.FolderType)
	writeBool(e, true) // UseUnicodeStrings
	writeBool(e, r.OpenExisting)
	e.Uint8(0) // Reserved
	e.Unicode(r.DisplayName)
	e.Unicode(r.Comment)
}

// CreateFolderReply is the reply to [CreateFolder].
type CreateFolderReply struct {
	Result
	FolderID         mapi.ObjectID
	IsExistingFolder bool
	HasRules         bool     // of an existing folder
	Servers          []string // that have the contents of an existing public folder
}

func (r *CreateFolderReply) read(d *decoder) {
	r.FolderID, r.IsExistingFolder = d.objectID(), d.bool()
	if !r.IsExistingFolder {
		return
	}
	r.HasRules = d.bool()
	if d.bool() {
		r.Servers = ghosts(d)
	}
}

// Flags of [DeleteFolder.DeleteFolderFlags]. MS-OXCFOLD §2.2.1.3.1.
const (
	DeleteMessagesToo uint8 = 0x01
	DeleteFoldersToo  uint8 = 0x04
	DeleteHard        uint8 = 0x10
)

// DeleteFolder deletes a folder below another. MS-OXCROPS §2.2.4.3.
type DeleteFolder struct {
	Input
	DeleteFolderFlags uint8
	FolderID          mapi.ObjectID
}

// ID says which operation it is.
func (*DeleteFolder) ID() ID               { return idDeleteFolder }
func (*DeleteFolder) reply() *PartialReply { return &PartialReply{} }
func (r *DeleteFolder) write(e *mapi.Encoder) {
	e.Uint8(r.DeleteFolderFlags)
	writeID(e, r.FolderID)
}

// EmptyFolder deletes what is in a folder, so that it may be recovered. MS-OXCROPS §2.2.4.9.
type EmptyFolder struct {
	Input
	WantAsynchronous, WantDeleteAssociated bool
}

// ID says which operation it is.
func (*EmptyFolder) ID() ID               { return idEmptyFolder }
func (*EmptyFolder) reply() *PartialReply { return &PartialReply{} }
func (r *EmptyFolder) write(e *mapi.Encoder) {
	writeBool(e, r.WantAsynchronous)
	writeBool(e, r.WantDeleteAssociated)
}

// PartialReply is a reply that says whether all of it was done.
type PartialReply struct {
	Result
	// PartialCompletion says that some of the messages or folders were left as they are.
	PartialCompletion bool
}

func (r *PartialReply) read(d *decoder) { r.PartialCompletion = d.bool() }

// readFailure reads the octet that a failure has too (MS-OXCROPS §2.2.4.11.2).
//
// QUIRK: some servers leave it out. What would come next is a reply, and none begins with 0 or 1.
func (r *PartialReply) readFailure(d *decoder) {
	if r.ReturnValue == DestinationNull {
		d.Uint32() // DestHandleIndex, MS-OXCROPS §2.2.4.6.3
	}
	if next := d.peek(); next == 0 || next == 1 {
		r.read(d)
	}
}

// whole says that the message store's warning has all that success has.
func (r *PartialReply) whole(code Code) bool { return code == PartialCompletion }

// DeleteMessages deletes messages of a folder so that they may be recovered. MS-OXCROPS §2.2.4.11.
type DeleteMessages struct {
	Input
	WantAsynchronous bool
	// NotifyNonRead lets senders who asked for it know that a message was deleted unread.
	NotifyNonRead bool
	MessageIDs    []mapi.ObjectID
}

// ID says which operation it is.
func (*DeleteMessages) ID() ID               { return idDeleteMessages }
func (*DeleteMessages) reply() *PartialReply { return &PartialReply{} }
func (r *DeleteMessages) write(e *mapi.Encoder) {
	writeBool(e, r.WantAsynchronous)
	writeBool(e, r.NotifyNonRead)
	writeIDs(e, r.MessageIDs)
}

// HardDeleteMessages deletes messages for good. MS-OXCROPS §2.2.4.12.
type HardDeleteMessages struct{ DeleteMessages }

// ID says which operation it is.
func (*HardDeleteMessages) ID() ID { return idHardDeleteMessages }

// MoveCopyMessages moves or copies messages to another folder, where they have other ids. MS-OXCROPS §2.2.4.6.
type MoveCopyMessages struct {
	Between
	MessageIDs                 []mapi.ObjectID
	WantAsynchronous, WantCopy bool
}

// ID says which operation it is.
func (*MoveCopyMessages) ID() ID               { return idMoveCopyMessages }
func (*MoveCopyMessages) reply() *PartialReply { return &PartialReply{} }
func (r *MoveCopyMessages) write(e *mapi.Encoder) {
	writeIDs(e, r.MessageIDs)
	writeBool(e, r.WantAsynchronous)
	writeBool(e, r.WantCopy)
}

// Flags of [SetReadFlags.ReadFlags] and [SetMessageReadFlag.ReadFlags], MS-OXCMSG §2.2.3.11.1. Without
// ReadSuppressReceipt the server sends the receipt that the sender asked for.
const (
	ReadDefault         uint8 = 0x00
	ReadSuppressReceipt uint8 = 0x01
	ReadClearFlag       uint8 = 0x04
)

// SetReadFlags marks messages of a folder as read or unread; all if none are named. MS-OXCROPS §2.2.6.10.
type SetReadFlags struct {
	Input
	WantAsynchronous bool
	ReadFlags        uint8
	MessageIDs       []mapi.ObjectID
}

// ID says which operation it is.
func (*SetReadFlags) ID() ID               { return idSetReadFlags }
func (*SetReadFlags) reply() *PartialReply { return &PartialReply{} }
func (r *SetReadFlags) write(e *mapi.Encoder) {
	writeBool(e, r.WantAsynchronous)
	e.Uint8(r.ReadFlags)
	writeIDs(e, r.MessageIDs)
}
