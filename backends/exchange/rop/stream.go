package rop

import "github.com/dipylon/dipylon/backends/mapi"

// OpenStream opens the value of a property as a stream. MS-OXCROPS §2.2.9.1. OpenModeFlags are [OpenReadOnly],
// [OpenReadWrite] or [OpenCreate].
type OpenStream struct {
	Opens
	PropertyTag   mapi.Tag
	OpenModeFlags uint8
}

// ID says which operation it is.
func (*OpenStream) ID() ID                  { return idOpenStream }
func (*OpenStream) reply() *StreamSizeReply { return &StreamSizeReply{} }
func (r *OpenStream) write(e *mapi.Encoder) {
	e.Tag(r.PropertyTag)
	e.Uint8(r.OpenModeFlags)
}

// StreamSizeReply is a reply that says how many octets a stream has.
type StreamSizeReply struct {
	Result
	StreamSize uint32
}

func (r *StreamSizeReply) read(d *decoder) { r.StreamSize = d.Uint32() }

// GetStreamSize asks how many octets a stream has. MS-OXCROPS §2.2.9.5.
type GetStreamSize struct{ Input }

// ID says which operation it is.
func (*GetStreamSize) ID() ID                  { return idGetStreamSize }
func (*GetStreamSize) write(*mapi.Encoder)     {}
func (*GetStreamSize) reply() *StreamSizeReply { return &StreamSizeReply{} }

// maximumFollows in a size of 16 bits says that one of 32 bits follows, MS-OXCROPS §2.2.9.2.1.
const maximumFollows = 0xBABE

// ReadStream asks for the next octets of a stream. MS-OXCROPS §2.2.9.2.
type ReadStream struct {
	Input
	// ByteCount is how many octets are asked for. Where it is 0, MaximumByteCount counts, and the server sends
	// what fits.
	ByteCount        uint16
	MaximumByteCount uint32
}

// ID says which operation it is.
func (*ReadStream) ID() ID                  { return idReadStream }
func (*ReadStream) reply() *ReadStreamReply { return &ReadStreamReply{} }
func (r *ReadStream) write(e *mapi.Encoder) {
	if r.ByteCount != 0 {
		e.Uint16(r.ByteCount)
		return
	}
	e.Uint16(maximumFollows)
	e.Uint32(r.MaximumByteCount)
}

// ReadStreamReply is the reply to [ReadStream]. There are no octets behind the end of the stream.
type ReadStreamReply struct {
	Result
	Data []byte
}

func (r *ReadStreamReply) read(d *decoder) { r.Data = append(r.Data, d.Bytes(int(d.Uint16()))...) }

func (r *ReadStreamReply) extend(d *decoder) { r.read(d) }

// readFailure reads the size, 0, that a failure has too.
//
// QUIRK: some servers leave it out. What would come next is a reply, and none begins with 0.
func (r *ReadStreamReply) readFailure(d *decoder) {
	if d.peek() == 0 {
		d.Uint16()
	}
}

// WriteStream writes octets into a stream. MS-OXCROPS §2.2.9.3.
type WriteStream struct {
	Input
	Data []byte
}

// ID says which operation it is.
func (*WriteStream) ID() ID                   { return idWriteStream }
func (r *WriteStream) write(e *mapi.Encoder)  { writeSized(e, func() { e.Bytes(r.Data) }) }
func (*WriteStream) reply() *WriteStreamReply { return &WriteStreamReply{} }

// WriteStreamReply is the reply to [WriteStream].
type WriteStreamReply struct {
	Result
	WrittenSize uint16
}

func (r *WriteStreamReply) read(d *decoder) { r.WrittenSize = d.Uint16() }

// readFailure reads how much was written before the failure, as [ReadStreamReply] reads its size.
func (r *WriteStreamReply) readFailure(d *decoder) {
	if d.peek() == 0 {
		d.Uint16()
	}
}

// SeekStream moves to a place in a stream: from its beginning, from where it is, or from its end (Origin 0, 1, 2).
// MS-OXCROPS §2.2.9.7.
type SeekStream struct {
	Input
	Origin uint8
	Offset int64
}

// ID says which operation it is.
func (*SeekStream) ID() ID                  { return idSeekStream }
func (*SeekStream) reply() *SeekStreamReply { return &SeekStreamReply{} }
func (r *SeekStream) write(e *mapi.Encoder) {
	e.Uint8(r.Origin)
	e.Uint64(uint64(r.Offset))
}

// SeekStreamReply is the reply to [SeekStream].
type SeekStreamReply struct {
	Result
	NewPosition uint64
}

func (r *SeekStreamReply) read(d *decoder) { r.NewPosition = d.Uint64() }

// SetStreamSize says how many octets a stream is to have. MS-OXCROPS §2.2.9.6.
type SetStreamSize struct {
	Input
	StreamSize uint64
}

// ID says which operation it is.
func (*SetStreamSize) ID() ID                  { return idSetStreamSize }
func (r *SetStreamSize) write(e *mapi.Encoder) { e.Uint64(r.StreamSize) }
func (*SetStreamSize) reply() *Result          { return &Result{} }

// CommitStream keeps what was written into a stream. MS-OXCROPS §2.2.9.4.
type CommitStream struct{ Input }

// ID says which operation it is.
func (*CommitStream) ID() ID              { return idCommitStream }
func (*CommitStream) write(*mapi.Encoder) {}
func (*CommitStream) reply() *Result      { return &Result{} }
