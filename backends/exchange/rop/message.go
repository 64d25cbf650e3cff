package rop

import "github.com/dipylon/dipylon/backends/mapi"

// Modes of [OpenMessage.OpenModeFlags], [OpenEmbeddedMessage.OpenModeFlags] and [OpenAttachment.OpenAttachmentFlags]. MS-OXCMSG
// §2.2.3.1.1.
const (
	OpenReadOnly   uint8 = 0x00
	OpenReadWrite  uint8 = 0x01
	OpenCreate     uint8 = 0x02 // of embedded messages, and of streams
	OpenBestAccess uint8 = 0x03
)

// CodePageOfLogon leaves the code page of a message's 8-bit strings to the session.
const CodePageOfLogon uint16 = 0x0FFF

// OpenMessage opens a message. MS-OXCROPS §2.2.6.1.
type OpenMessage struct {
	Opens
	CodePageID    uint16
	FolderID      mapi.ObjectID
	OpenModeFlags uint8
	MessageID     mapi.ObjectID
}

// ID says which operation it is.
func (*OpenMessage) ID() ID                   { return idOpenMessage }
func (*OpenMessage) reply() *OpenMessageReply { return &OpenMessageReply{} }
func (r *OpenMessage) write(e *mapi.Encoder) {
	e.Uint16(r.CodePageID)
	writeID(e, r.FolderID)
	e.Uint8(r.OpenModeFlags)
	writeID(e, r.MessageID)
}

// OpenMessageReply is the reply to [OpenMessage] and to [ReloadCachedInformation]. MS-OXCROPS §2.2.6.1.2.
type OpenMessageReply struct {
	Result
	HasNamedProperties bool
	SubjectPrefix      string
	NormalizedSubject  string
	// RecipientCount is how many recipients there are. RecipientRows are the first of them: those that the reply had room for.
	RecipientCount   uint16
	RecipientColumns []mapi.Tag
	RecipientRows    []Recipient
}

// Recipient is one of the recipients of a message.
type Recipient struct {
	RowID         uint32 // of [ReadRecipients] and [ModifyRecipients]
	RecipientType uint8
	mapi.RecipientRow
}

func (r *OpenMessageReply) read(d *decoder) {
	r.HasNamedProperties = d.bool()
	r.SubjectPrefix, _ = d.TypedString()
	r.NormalizedSubject, _ = d.TypedString()
	r.RecipientCount = d.Uint16()
	r.RecipientColumns = d.Tags()
	n := int(d.Uint8())
	r.RecipientRows = list(d, n, func() Recipient { return d.recipient(r.RecipientColumns) })
}

// recipient reads an OpenRecipientRow, MS-OXCROPS §2.2.6.1.2.1.
func (d *decoder) recipient(columns []mapi.Tag) Recipient {
	r := Recipient{RecipientType: d.Uint8()}
	page := int(d.Uint16())
	d.Uint16() // Reserved
	row := mapi.NewDecoder(d.Bytes(int(d.Uint16())), mapi.Format{CodePage: page})
	r.RecipientRow = row.RecipientRow(columns)
	if d.err == nil {
		d.err = row.Err()
	}
	return r
}

// ReloadCachedInformation asks again for what [OpenMessage] was answered with. MS-OXCROPS §2.2.6.7.
type ReloadCachedInformation struct{ Input }

// ID says which operation it is.
func (*ReloadCachedInformation) ID() ID                   { return idReloadCachedInformation }
func (*ReloadCachedInformation) write(e *mapi.Encoder)    { e.Uint16(0) } // Reserved
func (*ReloadCachedInformation) reply() *OpenMessageReply { return &OpenMessageReply{} }

// ReadRecipients asks for recipients from one of them on. MS-OXCROPS §2.2.6.6.
type ReadRecipients struct {
	Input
	RowID uint32
	// Message is the reply that tells the columns, which may be one of the same batch.
	Message *OpenMessageReply
}

// ID says which operation it is.
func (*ReadRecipients) ID() ID { return idReadRecipients }

func (r *ReadRecipients) reply() *ReadRecipientsReply {
	return &ReadRecipientsReply{message: r.Message}
}

func (r *ReadRecipients) write(e *mapi.Encoder) {
	e.Uint32(r.RowID)
	e.Uint16(0) // Reserved
}

// ReadRecipientsReply is the reply to [ReadRecipients].
type ReadRecipientsReply struct {
	Result
	RecipientRows []Recipient
	message       *OpenMessageReply
}

func (r *ReadRecipientsReply) read(d *decoder) {
	var columns []mapi.Tag
	if r.message != nil {
		columns = r.message.RecipientColumns
	}
	n := int(d.Uint8())
	r.RecipientRows = list(d, n, func() Recipient {
		id := d.Uint32()
		one := d.recipient(columns)
		one.RowID = id
		return one
	})
}

// RecipientChange is what becomes of one recipient: Row is nil if it is deleted.
type RecipientChange struct {
	RowID         uint32
	RecipientType uint8
	Row           *mapi.RecipientRow
}

// ModifyRecipients adds, changes and deletes recipients of a message. MS-OXCROPS §2.2.6.5.
type ModifyRecipients struct {
	Input
	RecipientColumns []mapi.Tag
	RecipientRows    []RecipientChange
}

// ID says which operation it is.
func (*ModifyRecipients) ID() ID         { return idModifyRecipients }
func (*ModifyRecipients) reply() *Result { return &Result{} }
func (r *ModifyRecipients) write(e *mapi.Encoder) {
	e.Tags(r.RecipientColumns)
	writeCount(e, len(r.RecipientRows))
	for _, change := range r.RecipientRows {
		e.Uint32(change.RowID)
		e.Uint8(change.RecipientType)
		writeSized(e, func() {
			if change.Row != nil {
				e.RecipientRow(r.RecipientColumns, *change.Row)
			}
		})
	}
}

// RemoveAllRecipients deletes the recipients of a message. MS-OXCROPS §2.2.6.4.
type RemoveAllRecipients struct{ Input }

// ID says which operation it is.
func (*RemoveAllRecipients) ID() ID                { return idRemoveAllRecipients }
func (*RemoveAllRecipients) write(e *mapi.Encoder) { e.Uint32(0) } // Reserved
func (*RemoveAllRecipients) reply() *Result        { return &Result{} }

// CreateMessage makes a message in a folder, where it is once it is saved. MS-OXCROPS §2.2.6.2.
type CreateMessage struct {
	Opens
	CodePageID     uint16
	FolderID       mapi.ObjectID
	AssociatedFlag bool
}

// ID says which operation it is.
func (*CreateMessage) ID() ID                     { return idCreateMessage }
func (*CreateMessage) reply() *CreateMessageReply { return &CreateMessageReply{} }
func (r *CreateMessage) write(e *mapi.Encoder) {
	e.Uint16(r.CodePageID)
	writeID(e, r.FolderID)
	writeBool(e, r.AssociatedFlag)
}

// CreateMessageReply is the reply to [CreateMessage].
type CreateMessageReply struct {
	Result
	HasMessageID bool
	MessageID    mapi.ObjectID
}

func (r *CreateMessageReply) read(d *decoder) {
	if r.HasMessageID = d.bool(); r.HasMessageID {
		r.MessageID = d.objectID()
	}
}

// Flags of [SaveChangesMessage.SaveFlags] and [SaveChangesAttachment.SaveFlags], MS-OXCMSG §2.2.3.3.1.
const (
	SaveKeepOpenReadOnly  uint8 = 0x01
	SaveKeepOpenReadWrite uint8 = 0x02
	SaveForce             uint8 = 0x04
)

// SaveChangesMessage saves a message. MS-OXCROPS §2.2.6.3.
type SaveChangesMessage struct {
	Saves
	SaveFlags uint8
}

// ID says which operation it is.
func (*SaveChangesMessage) ID() ID                          { return idSaveChangesMessage }
func (r *SaveChangesMessage) write(e *mapi.Encoder)         { e.Uint8(r.SaveFlags) }
func (*SaveChangesMessage) reply() *SaveChangesMessageReply { return &SaveChangesMessageReply{} }

// SaveChangesMessageReply is the reply to [SaveChangesMessage].
type SaveChangesMessageReply struct {
	Result
	MessageID mapi.ObjectID
}

func (r *SaveChangesMessageReply) read(d *decoder) {
	d.Uint8() // InputHandleIndex
	r.MessageID = d.objectID()
}

// SetMessageReadFlag marks an open message as read or unread. MS-OXCROPS §2.2.6.11.
type SetMessageReadFlag struct {
	Saves
	ReadFlags uint8
}

// ID says which operation it is.
func (*SetMessageReadFlag) ID() ID                          { return idSetMessageReadFlag }
func (r *SetMessageReadFlag) write(e *mapi.Encoder)         { e.Uint8(r.ReadFlags) }
func (*SetMessageReadFlag) reply() *SetMessageReadFlagReply { return &SetMessageReadFlagReply{} }

// SetMessageReadFlagReply is the reply to [SetMessageReadFlag].
type SetMessageReadFlagReply struct {
	Result
	// ReadStatusChanged is of public folders alone.
	ReadStatusChanged bool
}

// clientData is what the reply to RopSetMessageReadFlag has of public folders, MS-OXCROPS §2.2.6.11.2: LogonId and ClientData.
const clientData = 1 + 24

func (r *SetMessageReadFlagReply) read(d *decoder) {
	if r.ReadStatusChanged = d.bool(); r.ReadStatusChanged {
		d.Bytes(clientData)
	}
}

// GetAttachmentTable opens the table of a message's attachments. MS-OXCROPS §2.2.6.17.
type GetAttachmentTable struct {
	Opens
	TableFlags uint8
}

// ID says which operation it is.
func (*GetAttachmentTable) ID() ID                  { return idGetAttachmentTable }
func (r *GetAttachmentTable) write(e *mapi.Encoder) { e.Uint8(r.TableFlags) }
func (*GetAttachmentTable) reply() *Result          { return &Result{} }

// OpenAttachment opens an attachment by its PidTagAttachNumber. MS-OXCROPS §2.2.6.12.
type OpenAttachment struct {
	Opens
	OpenAttachmentFlags uint8
	AttachmentID        uint32
}

// ID says which operation it is.
func (*OpenAttachment) ID() ID         { return idOpenAttachment }
func (*OpenAttachment) reply() *Result { return &Result{} }
func (r *OpenAttachment) write(e *mapi.Encoder) {
	e.Uint8(r.OpenAttachmentFlags)
	e.Uint32(r.AttachmentID)
}

// CreateAttachment makes an attachment. MS-OXCROPS §2.2.6.13.
type CreateAttachment struct{ Opens }

// ID says which operation it is.
func (*CreateAttachment) ID() ID                        { return idCreateAttachment }
func (*CreateAttachment) write(*mapi.Encoder)           {}
func (*CreateAttachment) reply() *CreateAttachmentReply { return &CreateAttachmentReply{} }

// CreateAttachmentReply is the reply to [CreateAttachment].
type CreateAttachmentReply struct {
	Result
	AttachmentID uint32
}

func (r *CreateAttachmentReply) read(d *decoder) { r.AttachmentID = d.Uint32() }

// SaveChangesAttachment saves an attachment in its message, which is to be saved then. MS-OXCROPS §2.2.6.15.
type SaveChangesAttachment struct {
	Saves
	SaveFlags uint8
}

// ID says which operation it is.
func (*SaveChangesAttachment) ID() ID                  { return idSaveChangesAttachment }
func (r *SaveChangesAttachment) write(e *mapi.Encoder) { e.Uint8(r.SaveFlags) }
func (*SaveChangesAttachment) reply() *Result          { return &Result{} }

// OpenEmbeddedMessage opens the message that an attachment is. MS-OXCROPS §2.2.6.16.
type OpenEmbeddedMessage struct {
	Opens
	CodePageID    uint16
	OpenModeFlags uint8
}

// ID says which operation it is.
func (*OpenEmbeddedMessage) ID() ID                           { return idOpenEmbeddedMessage }
func (*OpenEmbeddedMessage) reply() *OpenEmbeddedMessageReply { return &OpenEmbeddedMessageReply{} }
func (r *OpenEmbeddedMessage) write(e *mapi.Encoder) {
	e.Uint16(r.CodePageID)
	e.Uint8(r.OpenModeFlags)
}

// OpenEmbeddedMessageReply is the reply to [OpenEmbeddedMessage].
type OpenEmbeddedMessageReply struct {
	OpenMessageReply
	MessageID mapi.ObjectID
}

func (r *OpenEmbeddedMessageReply) read(d *decoder) {
	d.Uint8() // Reserved
	r.MessageID = d.objectID()
	r.OpenMessageReply.read(d)
}
