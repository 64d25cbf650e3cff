package rop

import (
	"time"

	"github.com/dipylon/dipylon/backends/mapi"
)

// Options of what a stream is made of, SendOptions of MS-OXCFXICS §2.2.3.1.1.1.2.
const (
	SendUnicode      uint8 = 0x01
	SendUseCPID      uint8 = 0x02
	SendRecoverMode  uint8 = 0x04
	SendForceUnicode uint8 = 0x08
)

// FastTransferSourceCopyTo opens a FastTransfer stream of an object, without some of its properties. MS-OXCROPS §2.2.12.6.
type FastTransferSourceCopyTo struct {
	Opens
	Level        uint8 // not 0: without recipients and attachments
	CopyFlags    uint32
	SendOptions  uint8
	PropertyTags []mapi.Tag
}

// ID says which operation it is.
func (*FastTransferSourceCopyTo) ID() ID         { return idFastTransferCopyTo }
func (*FastTransferSourceCopyTo) reply() *Result { return &Result{} }
func (r *FastTransferSourceCopyTo) write(e *mapi.Encoder) {
	e.Uint8(r.Level)
	e.Uint32(r.CopyFlags)
	e.Uint8(r.SendOptions)
	e.Tags(r.PropertyTags)
}

// FastTransferSourceCopyProperties opens a FastTransfer stream of some properties of an object. MS-OXCROPS §2.2.12.7.
type FastTransferSourceCopyProperties struct {
	Opens
	Level, CopyFlags, SendOptions uint8
	PropertyTags                  []mapi.Tag
}

// ID says which operation it is.
func (*FastTransferSourceCopyProperties) ID() ID         { return idFastTransferCopyProperties }
func (*FastTransferSourceCopyProperties) reply() *Result { return &Result{} }
func (r *FastTransferSourceCopyProperties) write(e *mapi.Encoder) {
	e.Bytes([]byte{r.Level, r.CopyFlags, r.SendOptions})
	e.Tags(r.PropertyTags)
}

// CopySendEntryID has each message come with what identifies it, [FastTransferSourceCopyMessages.CopyFlags]. MS-OXCFXICS §2.2.3.1.1.3.1.
const CopySendEntryID uint8 = 0x20

// FastTransferSourceCopyMessages opens a FastTransfer stream of messages of a folder. MS-OXCROPS §2.2.12.5.
type FastTransferSourceCopyMessages struct {
	Opens
	MessageIDs             []mapi.ObjectID
	CopyFlags, SendOptions uint8
}

// ID says which operation it is.
func (*FastTransferSourceCopyMessages) ID() ID         { return idFastTransferCopyMessages }
func (*FastTransferSourceCopyMessages) reply() *Result { return &Result{} }
func (r *FastTransferSourceCopyMessages) write(e *mapi.Encoder) {
	writeIDs(e, r.MessageIDs)
	e.Bytes([]byte{r.CopyFlags, r.SendOptions})
}

// FastTransferSourceGetBuffer asks for the next octets of a FastTransfer stream. MS-OXCROPS §2.2.12.4.
type FastTransferSourceGetBuffer struct {
	Input
	// BufferSize is how many octets are asked for. Where it is 0, MaximumBufferSize counts, and the server sends what fits.
	BufferSize, MaximumBufferSize uint16
}

// ID says which operation it is.
func (*FastTransferSourceGetBuffer) ID() ID                 { return idFastTransferGetBuffer }
func (*FastTransferSourceGetBuffer) reply() *GetBufferReply { return &GetBufferReply{} }
func (r *FastTransferSourceGetBuffer) write(e *mapi.Encoder) {
	if r.BufferSize != 0 {
		e.Uint16(r.BufferSize)
		return
	}
	e.Uint16(maximumFollows)
	e.Uint16(r.MaximumBufferSize)
}

// States of [GetBufferReply.TransferStatus], MS-OXCFXICS §2.2.3.1.1.5.2.
const (
	TransferError   uint16 = 0x0000
	TransferPartial uint16 = 0x0001
	TransferNoRoom  uint16 = 0x0002
	TransferDone    uint16 = 0x0003
)

// GetBufferReply is the reply to [FastTransferSourceGetBuffer].
type GetBufferReply struct {
	Result
	TransferStatus  uint16
	InProgressCount uint16
	TotalStepCount  uint16
	TransferBuffer  []byte
	// BackoffTime is how long to wait before asking again, if ReturnValue is [ServerBusy].
	BackoffTime time.Duration
}

func (r *GetBufferReply) read(d *decoder) {
	r.TransferStatus = d.Uint16()
	r.InProgressCount, r.TotalStepCount = d.Uint16(), d.Uint16()
	d.Uint8() // Reserved
	r.TransferBuffer = append(r.TransferBuffer, d.Bytes(int(d.Uint16()))...)
}

func (r *GetBufferReply) extend(d *decoder) { r.read(d) }

// readFailure reads what a failure has too: the time to wait if the server is busy.
//
// QUIRK: some servers leave it out. What would come next is a reply, and none begins with 0 or 1.
func (r *GetBufferReply) readFailure(d *decoder) {
	if next := d.peek(); next != int(TransferError) && next != int(TransferPartial) {
		return
	}
	r.read(d)
	if r.ReturnValue == ServerBusy {
		r.BackoffTime = milliseconds(d.Uint32())
	}
}

// Kinds of [FastTransferDestinationConfigure.SourceOperation]: what a stream would have been made by. MS-OXCFXICS §2.2.3.1.2.1.1.
const (
	DestinationCopyTo         uint8 = 0x01
	DestinationCopyProperties uint8 = 0x02
	DestinationCopyMessages   uint8 = 0x03
)

// FastTransferDestinationConfigure opens what takes a FastTransfer stream in for an object. MS-OXCROPS §2.2.12.1.
type FastTransferDestinationConfigure struct {
	Opens
	SourceOperation, CopyFlags uint8
}

// ID says which operation it is.
func (*FastTransferDestinationConfigure) ID() ID         { return idFastTransferConfigure }
func (*FastTransferDestinationConfigure) reply() *Result { return &Result{} }
func (r *FastTransferDestinationConfigure) write(e *mapi.Encoder) {
	e.Bytes([]byte{r.SourceOperation, r.CopyFlags})
}

// FastTransferDestinationPutBuffer gives the next octets of a FastTransfer stream, at most [UploadMost]. MS-OXCROPS §2.2.12.2.
type FastTransferDestinationPutBuffer struct {
	Input
	TransferData []byte
}

// ID says which operation it is.
func (*FastTransferDestinationPutBuffer) ID() ID                 { return idFastTransferPutBuffer }
func (*FastTransferDestinationPutBuffer) reply() *PutBufferReply { return &PutBufferReply{} }
func (r *FastTransferDestinationPutBuffer) write(e *mapi.Encoder) {
	writeSized(e, func() { e.Bytes(r.TransferData) })
}

// PutBufferReply is the reply to [FastTransferDestinationPutBuffer].
type PutBufferReply struct {
	Result
	BufferUsedSize uint16
}

// read reads what is told of progress, which says nothing (MS-OXCFXICS §2.2.3.1.2.2.2).
func (r *PutBufferReply) read(d *decoder) {
	d.Bytes(2 + 2 + 2 + 1) // TransferStatus, InProgressCount, TotalStepCount, Reserved
	r.BufferUsedSize = d.Uint16()
}

// readFailure reads what a failure has too.
//
// QUIRK: some servers leave it out. What would come next is a reply, and none begins with 0 or 1.
func (r *PutBufferReply) readFailure(d *decoder) {
	if next := d.peek(); next == int(TransferError) || next == int(TransferPartial) {
		r.read(d)
	}
}

func milliseconds(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }

// Kinds of [SynchronizationConfigure.SynchronizationType].
const (
	SynchronizeContents  uint8 = 1
	SynchronizeHierarchy uint8 = 2
)

// SynchronizationConfigure opens a FastTransfer stream of what has changed in a folder. MS-OXCROPS §2.2.13.1.
type SynchronizationConfigure struct {
	Opens
	SynchronizationType, SendOptions uint8
	SynchronizationFlags             uint16
	Restriction                      mapi.Restriction
	SynchronizationExtraFlags        uint32
	PropertyTags                     []mapi.Tag
}

// ID says which operation it is.
func (*SynchronizationConfigure) ID() ID         { return idSynchronizationConfigure }
func (*SynchronizationConfigure) reply() *Result { return &Result{} }
func (r *SynchronizationConfigure) write(e *mapi.Encoder) {
	e.Bytes([]byte{r.SynchronizationType, r.SendOptions})
	e.Uint16(r.SynchronizationFlags)
	writeRestriction(e, r.Restriction)
	e.Uint32(r.SynchronizationExtraFlags)
	e.Tags(r.PropertyTags)
}

// UploadStateStreamBegin begins to tell what the client has of a folder. MS-OXCROPS §2.2.13.9.
type UploadStateStreamBegin struct {
	Input
	StateProperty      mapi.Tag
	TransferBufferSize uint32
}

// ID says which operation it is.
func (*UploadStateStreamBegin) ID() ID         { return idUploadStateStreamBegin }
func (*UploadStateStreamBegin) reply() *Result { return &Result{} }
func (r *UploadStateStreamBegin) write(e *mapi.Encoder) {
	e.Tag(r.StateProperty)
	e.Uint32(r.TransferBufferSize)
}

// UploadStateStreamContinue tells a part of it. MS-OXCROPS §2.2.13.10.
type UploadStateStreamContinue struct {
	Input
	StreamData []byte
}

// ID says which operation it is.
func (*UploadStateStreamContinue) ID() ID         { return idUploadStateStreamContinue }
func (*UploadStateStreamContinue) reply() *Result { return &Result{} }
func (r *UploadStateStreamContinue) write(e *mapi.Encoder) {
	e.Uint32(uint32(len(r.StreamData)))
	e.Bytes(r.StreamData)
}

// UploadStateStreamEnd ends it. MS-OXCROPS §2.2.13.11.
type UploadStateStreamEnd struct{ Input }

// ID says which operation it is.
func (*UploadStateStreamEnd) ID() ID              { return idUploadStateStreamEnd }
func (*UploadStateStreamEnd) write(*mapi.Encoder) {}
func (*UploadStateStreamEnd) reply() *Result      { return &Result{} }
