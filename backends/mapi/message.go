package mapi

// DepthMost is how deep messages may lie in messages, and restrictions in restrictions, when they are decoded.
const DepthMost = 100

// Message is a message, or any other item of a mailbox, MS-OXCMSG §1.3.
type Message struct {
	Properties
	Recipients  []*Recipient
	Attachments []*Attachment
}

// Recipient is one of the recipients of a message. PidTagRecipientType says which kind.
type Recipient struct{ Properties }

// Attachment is one of the attachments of a message.
type Attachment struct {
	Properties
	// Data are the octets of an attachment by value (PidTagAttachDataBinary), or those of an OLE object
	// (PidTagAttachDataObject). Neither property is in Properties.
	Data Content
	// Embedded is the message that is attached (PidTagAttachDataObject with the method [AttachEmbedded]).
	Embedded *Message
}

// Values of PidTagAttachMethod for attachments whose octets are in the message, MS-OXCMSG §2.2.2.9.
const (
	AttachByValue  Integer32 = 1
	AttachEmbedded Integer32 = 5 // a message
	AttachOLE      Integer32 = 6
)
