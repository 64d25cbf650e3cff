package wire

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that does the rest
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// Nearly all octets that cross are chunks of messages, and gRPC's own codec copies each of them
// twice on both sides. The codec here passes them on as the buffers they are in. The wire is
// the same: what it sends, any protobuf library reads, and the other way round.
//
// A side sends a chunk with SendMsg and a [*Chunk], and receives frames with RecvMsg and a
// [*Frame]. All other messages go the ordinary way.

// Field numbers of the chunks, and of what comes before one in a MaildropResponse.
const (
	fieldID            = 1  // MaildropResponse.id
	fieldDone          = 2  // MaildropResponse.done
	fieldEnd           = 10 // MaildropResponse.end
	fieldMaildropChunk = 7  // MaildropResponse.chunk
	fieldTransferChunk = 2  // DeliverRequest.chunk, SendRequest.chunk, CollectResponse.chunk
)

// Chunk is a chunk of a message on its way out. Sending it gives its buffer away.
type Chunk struct {
	header []byte
	data   mem.Buffer
}

// Last says what a chunk of a fetch is the last one of.
type Last uint8

// A chunk is the last one of nothing, of its message, or of its message and the request.
const (
	LastOfNone Last = iota
	LastOfMessage
	LastOfRequest
)

// MaildropChunk is a MaildropResponse that carries a chunk. What stands before the chunk is what
// [Frame] takes apart: the field end, whose number is higher, comes before it too.
func MaildropChunk(id uint64, last Last, data mem.Buffer) *Chunk {
	h := make([]byte, 0, 32)
	h = protowire.AppendTag(h, fieldID, protowire.VarintType)
	h = protowire.AppendVarint(h, id)
	switch last {
	case LastOfMessage:
		h = protowire.AppendTag(h, fieldEnd, protowire.VarintType)
		h = protowire.AppendVarint(h, 1)
	case LastOfRequest:
		h = protowire.AppendTag(h, fieldDone, protowire.VarintType)
		h = protowire.AppendVarint(h, 1)
	}
	return newChunk(h, fieldMaildropChunk, data)
}

// TransferChunk is a DeliverRequest, SendRequest or CollectResponse that carries a chunk.
func TransferChunk(data mem.Buffer) *Chunk {
	return newChunk(make([]byte, 0, 16), fieldTransferChunk, data)
}

func newChunk(h []byte, field protowire.Number, data mem.Buffer) *Chunk {
	h = protowire.AppendTag(h, field, protowire.BytesType)
	h = protowire.AppendVarint(h, uint64(data.Len()))
	return &Chunk{header: h, data: data}
}

func (c *Chunk) marshal() (mem.BufferSlice, error) {
	if c.data == nil {
		return nil, errors.New("a chunk is sent twice")
	}
	out := mem.BufferSlice{mem.SliceBuffer(c.header), c.data}
	c.data = nil
	return out, nil
}

// Frame receives messages of a type that may carry a chunk. It may be used again after each
// message.
type Frame struct {
	// Message is what came; nil where it was a chunk.
	Message proto.Message
	// ID, Done and End are a MaildropResponse's, where it was a chunk.
	ID        uint64
	Done, End bool
	// Chunk is the chunk, in pieces; whoever takes it frees it.
	Chunk mem.BufferSlice

	field protowire.Number
	make  func() proto.Message
}

// MaildropFrame receives MaildropResponses.
func MaildropFrame() *Frame {
	return &Frame{field: fieldMaildropChunk, make: func() proto.Message { return new(pb.MaildropResponse) }}
}

// DeliverFrame receives DeliverRequests.
func DeliverFrame() *Frame {
	return &Frame{field: fieldTransferChunk, make: func() proto.Message { return new(pb.DeliverRequest) }}
}

// SendFrame receives SendRequests.
func SendFrame() *Frame {
	return &Frame{field: fieldTransferChunk, make: func() proto.Message { return new(pb.SendRequest) }}
}

// CollectFrame receives CollectResponses.
func CollectFrame() *Frame {
	return &Frame{field: fieldTransferChunk, make: func() proto.Message { return new(pb.CollectResponse) }}
}

// headerMost is as long as what stands before a chunk can get: two tags with their numbers, and
// a tag with a length.
const headerMost = 32

// unmarshal reads a message. One that has the form that protobuf libraries give to a chunk
// (fields in the order of their numbers, and nothing else) is taken apart here.
func (f *Frame) unmarshal(data mem.BufferSlice) error {
	f.Message, f.Chunk, f.ID, f.Done, f.End = nil, nil, 0, false, false
	var buf [headerMost]byte
	head := buf[:min(headerMost, data.CopyTo(buf[:]))]
	total := data.Len()
	if start, length, ok := f.header(head); ok && start+length == total {
		f.Chunk = slice(data, start)
		return nil
	}
	f.ID, f.Done, f.End = 0, false, false
	f.Message = f.make()
	return standard().Unmarshal(data, f.Message)
}

// header reads what stands before a chunk; ok: one of at least an octet follows.
func (f *Frame) header(b []byte) (start, length int, ok bool) {
	for at := 0; ; {
		number, kind, n := protowire.ConsumeTag(b[at:])
		if n < 0 {
			return 0, 0, false
		}
		at += n
		value, n := protowire.ConsumeVarint(b[at:])
		if n < 0 {
			return 0, 0, false
		}
		at += n
		switch {
		case number == f.field && kind == protowire.BytesType:
			return at, int(value), value > 0 && value <= convert.ChunkMost
		case f.field == fieldMaildropChunk && number == fieldID && kind == protowire.VarintType:
			f.ID = value
		case f.field == fieldMaildropChunk && number == fieldDone && kind == protowire.VarintType:
			f.Done = value != 0
		case f.field == fieldMaildropChunk && number == fieldEnd && kind == protowire.VarintType:
			f.End = value != 0
		default:
			return 0, 0, false
		}
	}
}

// slice is what follows the first octets, as references of its own.
func slice(data mem.BufferSlice, from int) mem.BufferSlice {
	out := make(mem.BufferSlice, 0, len(data))
	for _, b := range data {
		if n := b.Len(); from >= n {
			from -= n
			continue
		} else {
			out = append(out, b.Slice(from, n))
		}
		from = 0
	}
	return out
}

// codec is gRPC's codec with a shorter way for chunks.
type codec struct{}

func standard() encoding.CodecV2 { return encoding.GetCodecV2("proto") }

// Name is the ordinary codec's: on the wire there is no difference.
func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if c, ok := v.(*Chunk); ok {
		return c.marshal()
	}
	return standard().Marshal(v)
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*Frame); ok {
		return f.unmarshal(data)
	}
	return standard().Unmarshal(data, v)
}

// Chunks lends the buffers of chunks.
var Chunks mem.BufferPool = &chunkPool{
	tiny:  sync.Pool{New: func() any { return newBuffer(tinyChunk) }},
	small: sync.Pool{New: func() any { return newBuffer(FirstChunk) }},
	large: sync.Pool{New: func() any { return newBuffer(convert.ChunkMost) }},
}

const tinyChunk = 4 << 10

// chunkPool has buffers of three sizes. What was in them is not wiped: a buffer is never handed
// on beyond what was read into it.
type chunkPool struct{ tiny, small, large sync.Pool }

func newBuffer(n int) *[]byte {
	b := make([]byte, n)
	return &b
}

// Get lends a buffer of n octets.
func (p *chunkPool) Get(n int) *[]byte {
	pool := &p.large
	switch {
	case n <= tinyChunk:
		pool = &p.tiny
	case n <= FirstChunk:
		pool = &p.small
	case n > convert.ChunkMost:
		return newBuffer(n)
	}
	b := pool.Get().(*[]byte)
	*b = (*b)[:n]
	return b
}

// Put takes a buffer back.
func (p *chunkPool) Put(b *[]byte) {
	switch cap(*b) {
	case tinyChunk:
		p.tiny.Put(b)
	case FirstChunk:
		p.small.Put(b)
	case convert.ChunkMost:
		p.large.Put(b)
	}
}

// Filled makes a buffer of the first n octets of one that Chunks has lent; it goes back when the
// buffer is freed.
func Filled(b *[]byte, n int) mem.Buffer {
	*b = (*b)[:n]
	return mem.NewBuffer(b, Chunks)
}

// WriteChunks writes a content to w chunk by chunk, without a copy. next gives what is not written
// yet of a chunk, and io.EOF after the last one; consume is told how much of it was written.
func WriteChunks(w io.Writer, next func() ([]byte, error), consume func(n int)) (total int64, err error) {
	for {
		chunk, err := next()
		if err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(chunk)
		consume(n)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// String keeps a message's octets out of logs.
func (c *Chunk) String() string { return fmt.Sprintf("a chunk after %x", c.header) }
