package rop

import (
	"encoding/binary"
	"fmt"

	"github.com/dipylon/dipylon/backends/mapi"
)

// request is what each request has: the types of this package whose names are those of operations.
type request interface {
	// ID says which operation it is.
	ID() ID
	// indexes writes the indexes that stand behind the LogonId.
	indexes(e *mapi.Encoder)
	// replied returns the index that the reply has.
	replied() uint8
	// write writes what is behind the indexes.
	write(e *mapi.Encoder)
}

// replier is a request whose reply is an R.
type replier[R Reply] interface {
	request
	reply() R // for it to be read into
}

// The requests by the objects that they are about.
type (
	onRequest interface {
		request
		input() *Input
	}
	openRequest interface {
		request
		opens() *Opens
	}
	betweenRequest interface {
		request
		between() *Between
	}
	saveRequest interface {
		request
		saves() *Saves
	}
)

// Input is the place of the object that an operation is about in the table of handles.
type Input struct{ InputHandleIndex uint8 }

func (p *Input) input() *Input           { return p }
func (p *Input) replied() uint8          { return p.InputHandleIndex }
func (p *Input) indexes(e *mapi.Encoder) { e.Uint8(p.InputHandleIndex) }

// Opens are the places of the object that an operation is about, and of the one that it opens.
type Opens struct{ InputHandleIndex, OutputHandleIndex uint8 }

func (p *Opens) opens() *Opens           { return p }
func (p *Opens) replied() uint8          { return p.OutputHandleIndex }
func (p *Opens) indexes(e *mapi.Encoder) { e.Bytes([]byte{p.InputHandleIndex, p.OutputHandleIndex}) }

// Between are the places of the folders that messages are moved or copied from and to.
type Between struct{ SourceHandleIndex, DestHandleIndex uint8 }

func (p *Between) between() *Between       { return p }
func (p *Between) replied() uint8          { return p.SourceHandleIndex }
func (p *Between) indexes(e *mapi.Encoder) { e.Bytes([]byte{p.SourceHandleIndex, p.DestHandleIndex}) }

// Saves are the places of the object that the reply names, and of the one that an operation is about.
type Saves struct{ ResponseHandleIndex, InputHandleIndex uint8 }

func (p *Saves) saves() *Saves           { return p }
func (p *Saves) replied() uint8          { return p.ResponseHandleIndex }
func (p *Saves) indexes(e *mapi.Encoder) { e.Bytes([]byte{p.ResponseHandleIndex, p.InputHandleIndex}) }

// writeRequest writes a request, MS-OXCROPS §2.2.3 to §2.2.15.
func writeRequest(e *mapi.Encoder, logon uint8, r request) {
	e.Bytes([]byte{byte(r.ID()), logon})
	r.indexes(e)
	r.write(e)
}

// Reply is what a request was answered with: a type of this package, whose fields mean something if Err is nil.
type Reply interface {
	// Err returns nil if the operation succeeded, an [Error] if it failed, and [ErrUnanswered] before it was answered.
	Err() error
	head() *Result
	// read reads what is behind the ReturnValue of a reply that has it.
	read(d *decoder)
}

// Result is what each reply has.
type Result struct {
	// ReturnValue is 0 if the operation succeeded, or says why it did not.
	ReturnValue Code
	op          ID
	answered    bool
}

// Err implements [Reply].
func (r *Result) Err() error {
	switch {
	case !r.answered:
		return ErrUnanswered
	case r.ReturnValue == Success || r.ReturnValue.Warning():
		return nil
	}
	return &Error{r.op, r.ReturnValue}
}

func (r *Result) head() *Result { return r }

// read of a reply that has no more than a ReturnValue.
func (r *Result) read(*decoder) {}

// warned is a reply that is whole with a warning.
type warned interface{ whole(Code) bool }

// failing is a reply that says more than a ReturnValue when the operation fails.
type failing interface{ readFailure(d *decoder) }

// extended is a reply that goes on in further buffers: the last request of a chain is executed again and again.
type extended interface{ extend(d *decoder) }

// readReply reads what is behind the index of a reply: a ReturnValue, and what belongs to it.
func readReply(d *decoder, op ID, r Reply) error {
	head := r.head()
	head.op, head.ReturnValue = op, Code(d.Uint32())
	whole := head.ReturnValue == Success
	if w, ok := r.(warned); ok && !whole {
		whole = w.whole(head.ReturnValue)
	}
	if f, ok := r.(failing); ok && !whole {
		f.readFailure(d)
	} else if whole {
		r.read(d)
	}
	if err := d.failed(); err != nil {
		return fmt.Errorf("rop: the reply to %s: %w", op, err)
	}
	head.answered = true
	return nil
}

// decoder reads what mapi.Decoder reads, and knows what comes next.
type decoder struct {
	*mapi.Decoder
	octets []byte
	err    error // that mapi.Decoder does not know
}

// codePage is what strings of 8 bits are in where nothing else is said: requests ask for Unicode.
const codePage = 1252

func newDecoder(octets []byte) *decoder {
	return &decoder{Decoder: mapi.NewDecoder(octets, mapi.Format{CodePage: codePage}), octets: octets}
}

func (d *decoder) failed() error {
	if err := d.Decoder.Err(); err != nil {
		return err
	}
	return d.err
}

// peek returns the next octet, and -1 if there is none.
func (d *decoder) peek() int {
	if d.Left() == 0 {
		return -1
	}
	return int(d.octets[d.Offset()])
}

func (d *decoder) bool() bool { return d.Uint8() != 0 }

func (d *decoder) objectID() mapi.ObjectID { return mapi.Integer64(d.Uint64()).ObjectID() }

// list reads n things. What is announced and not there ends it: each of them has an octet at least.
func list[T any](d *decoder, n int, one func() T) []T {
	var all []T
	for range n {
		v := one()
		if d.failed() != nil {
			return nil
		}
		all = append(all, v)
	}
	return all
}

func writeBool(e *mapi.Encoder, b bool) { e.Value(mapi.Boolean(b)) }

func writeID(e *mapi.Encoder, id mapi.ObjectID) { e.Uint64(uint64(id.Integer())) }

// writeIDs writes ids behind a count of 16 bits.
func writeIDs(e *mapi.Encoder, ids []mapi.ObjectID) {
	writeCount(e, len(ids))
	for _, id := range ids {
		writeID(e, id)
	}
}

// writeCount writes a count of 16 bits. One that does not fit is too large for a buffer anyhow, which is refused.
func writeCount(e *mapi.Encoder, n int) { e.Uint16(uint16(n)) }

// writeSized writes what write writes behind its size in 16 bits.
func writeSized(e *mapi.Encoder, write func()) {
	at := len(e.Octets())
	e.Uint16(0)
	write()
	binary.LittleEndian.PutUint16(e.Octets()[at:], uint16(len(e.Octets())-at-2))
}
