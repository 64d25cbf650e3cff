package rop

import "github.com/dipylon/dipylon/backends/mapi"

// SubmitMessage sends a message. MS-OXCROPS §2.2.7.1.
type SubmitMessage struct {
	Input
	SubmitFlags uint8 // MS-OXOMSG §2.2.3.1.1
}

// ID says which operation it is.
func (*SubmitMessage) ID() ID                  { return idSubmitMessage }
func (r *SubmitMessage) write(e *mapi.Encoder) { e.Uint8(r.SubmitFlags) }
func (*SubmitMessage) reply() *Result          { return &Result{} }

// AbortSubmit takes back a message that was not sent yet. MS-OXCROPS §2.2.7.2.
type AbortSubmit struct {
	Input
	FolderID, MessageID mapi.ObjectID
}

// ID says which operation it is.
func (*AbortSubmit) ID() ID         { return idAbortSubmit }
func (*AbortSubmit) reply() *Result { return &Result{} }
func (r *AbortSubmit) write(e *mapi.Encoder) {
	writeID(e, r.FolderID)
	writeID(e, r.MessageID)
}

// SetSpooler says that this client is the one that sends what is in the Outbox. MS-OXCROPS §2.2.7.4.
type SetSpooler struct{ Input }

// ID says which operation it is.
func (*SetSpooler) ID() ID              { return idSetSpooler }
func (*SetSpooler) write(*mapi.Encoder) {}
func (*SetSpooler) reply() *Result      { return &Result{} }

// States of [SpoolerLockMessage.LockState], MS-OXOMSG §2.2.3.4.1.
const (
	SpoolerLock     uint8 = 0x00
	SpoolerUnlock   uint8 = 0x01
	SpoolerFinished uint8 = 0x02
)

// SpoolerLockMessage keeps other clients from sending a message. MS-OXCROPS §2.2.7.5.
type SpoolerLockMessage struct {
	Input
	MessageID mapi.ObjectID
	LockState uint8
}

// ID says which operation it is.
func (*SpoolerLockMessage) ID() ID         { return idSpoolerLockMessage }
func (*SpoolerLockMessage) reply() *Result { return &Result{} }
func (r *SpoolerLockMessage) write(e *mapi.Encoder) {
	writeID(e, r.MessageID)
	e.Uint8(r.LockState)
}

// TransportSend sends a message, and says what the server has set in it. MS-OXCROPS §2.2.7.6.
type TransportSend struct{ Input }

// ID says which operation it is.
func (*TransportSend) ID() ID                     { return idTransportSend }
func (*TransportSend) write(*mapi.Encoder)        {}
func (*TransportSend) reply() *TransportSendReply { return &TransportSendReply{} }

// TransportSendReply is the reply to [TransportSend].
type TransportSendReply struct {
	Result
	Properties []mapi.Property
}

func (r *TransportSendReply) read(d *decoder) {
	if none := d.bool(); !none {
		r.Properties = d.TaggedValues()
	}
}

// OptionsData asks what can be chosen for recipients of a type of address. MS-OXCROPS §2.2.7.9.
type OptionsData struct {
	Input
	AddressType string
	WantWin32   bool
}

// ID says which operation it is.
func (*OptionsData) ID() ID                   { return idOptionsData }
func (*OptionsData) reply() *OptionsDataReply { return &OptionsDataReply{} }
func (r *OptionsData) write(e *mapi.Encoder) {
	e.String8(r.AddressType)
	writeBool(e, r.WantWin32)
}

// OptionsDataReply is the reply to [OptionsData].
type OptionsDataReply struct {
	Result
	OptionsInfo, HelpFile []byte
	HelpFileName          string // if there is a help file
}

func (r *OptionsDataReply) read(d *decoder) {
	d.Uint8() // Reserved
	r.OptionsInfo = d.Bytes(int(d.Uint16()))
	if r.HelpFile = d.Bytes(int(d.Uint16())); len(r.HelpFile) > 0 {
		r.HelpFileName = d.String8().Text()
	}
}
