package fasttransfer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"unicode/utf16"

	"github.com/dipylon/dipylon/backends/mapi"
)

// Writer writes messages into a stream. What it wrote is in the stream after Flush.
type Writer struct {
	w   *pieces
	err error
	ids map[mapi.Named]mapi.ID // those of named properties in the message: each message is written as if it were the only one
}

// NewWriter makes a writer.
func NewWriter(w io.Writer) *Writer {
	return NewSplitWriter(pieceMost, func(piece []byte) error {
		_, err := w.Write(piece)
		return err
	})
}

// NewSplitWriter makes a writer that gives the stream in pieces of no more than most octets, each of which ends where a stream may be split:
// between two atoms, or within a value of variable size (MS-OXCFXICS §2.2.4.1). So they can be uploaded
// (RopFastTransferDestinationPutBuffer). most is 4096 at least. A piece is the writer's again when put returns.
func NewSplitWriter(most int, put func(piece []byte) error) *Writer {
	return &Writer{w: &pieces{octets: make([]byte, 0, max(most, pieceLeast)), put: put}, ids: map[mapi.Named]mapi.ID{}}
}

// Message writes a message as one of a list, MS-OXCFXICS §2.2.4.3.16.
func (w *Writer) Message(m *mapi.Message) error {
	clear(w.ids)
	w.marker(mapi.PidTagStartMessage)
	w.content(m, 0)
	w.marker(mapi.PidTagEndMessage)
	return w.err
}

// Content writes a message as the content of one, MS-OXCFXICS §2.2.4.3.12: what RopFastTransferSourceCopyTo makes. Nothing may follow it.
func (w *Writer) Content(m *mapi.Message) error {
	w.content(m, 0)
	return w.err
}

// Flush ends the stream.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

func (w *Writer) fail(err error) {
	if w.err == nil && err != nil {
		w.err = err
	}
}

// octets writes those of a value of variable size.
func (w *Writer) octets(octets []byte) {
	if w.err == nil {
		_, err := w.w.Write(octets)
		w.fail(err)
	}
}

// atom writes what is not split.
func (w *Writer) atom(octets []byte) {
	if w.err == nil {
		w.fail(w.w.atom(octets))
	}
}

func (w *Writer) uint32(n uint32) { w.atom(binary.LittleEndian.AppendUint32(nil, n)) }

func (w *Writer) marker(t mapi.Tag) { w.uint32(uint32(t)) }

func (w *Writer) content(m *mapi.Message, depth int) {
	if depth > mapi.DepthMost {
		w.fail(mapi.ErrDepth)
	}
	if w.err != nil {
		return
	}
	w.properties(&m.Properties, 0)
	for i, r := range m.Recipients {
		w.marker(mapi.PidTagStartRecip)
		w.number(&r.Properties, mapi.PidTagRowid, i)
		w.properties(&r.Properties, mapi.PidTagRowid.ID())
		w.marker(mapi.PidTagEndToRecip)
	}
	for i, a := range m.Attachments {
		w.marker(mapi.PidTagNewAttach)
		w.number(&a.Properties, mapi.PidTagAttachNumber, i)
		w.properties(&a.Properties, mapi.PidTagAttachNumber.ID())
		w.data(a)
		if a.Embedded != nil {
			w.marker(mapi.PidTagStartEmbed)
			w.content(a.Embedded, depth+1)
			w.marker(mapi.PidTagEndEmbed)
		}
		w.marker(mapi.PidTagEndAttach)
	}
}

// number writes the property with which a recipient and an attachment begins.
func (w *Writer) number(properties *mapi.Properties, tag mapi.Tag, i int) {
	n, ok := mapi.As[mapi.Integer32](properties, tag)
	if !ok {
		n = mapi.Integer32(i)
	}
	w.property(mapi.Property{Tag: tag, Value: n})
}

// properties writes all but one.
func (w *Writer) properties(properties *mapi.Properties, but mapi.ID) {
	for p := range properties.All() {
		if p.Tag.ID() != but || but == 0 {
			w.property(p)
		}
	}
}

// data writes the octets of an attachment.
func (w *Writer) data(a *mapi.Attachment) {
	if a.Data.IsZero() {
		return
	}
	tag := mapi.PidTagAttachDataBinary
	if method, _ := a.Integer(mapi.PidTagAttachMethod); method == int64(mapi.AttachOLE) {
		tag = mapi.PidTagAttachDataObject
	}
	w.property(mapi.Property{Tag: tag, Value: mapi.Streamed{Of: tag.Type(), Content: a.Data}})
}

// property writes one. An error in the place of a value is not written: nothing can be.
func (w *Writer) property(p mapi.Property) {
	if _, failed := p.Value.(mapi.ErrorCode); failed || w.err != nil {
		return
	}
	if err := w.tryProperty(p); err != nil {
		w.fail(fmt.Errorf("property %s: %w", p, err))
	}
}

func (w *Writer) tryProperty(p mapi.Property) error {
	id, err := w.id(p)
	if err != nil {
		return err
	}
	definition := binary.LittleEndian.AppendUint32(nil, uint32(mapi.NewTag(id, p.Value.Type())))
	if !p.Named.IsZero() {
		if definition, err = appendName(definition, p.Named); err != nil {
			return err
		}
	}
	w.atom(definition)
	return w.value(p.Value)
}

var (
	errNoName = errors.New("an id of 0x8000 or more needs a name")
	errIDs    = errors.New("there are more named properties than ids")
)

// namedMost is how many ids there are for named properties: 0x8000 to 0xFFFD.
const namedMost = 0x7FFE

// id returns the id of a property. One that has a name gets the next that is free: it means nothing behind the stream.
func (w *Writer) id(p mapi.Property) (mapi.ID, error) {
	if p.Named.IsZero() {
		if p.Tag.ID() >= mapi.FirstNamedID {
			return 0, errNoName
		}
		return p.Tag.ID(), nil
	}
	id, ok := w.ids[p.Named]
	if !ok {
		if len(w.ids) >= namedMost {
			return 0, errIDs
		}
		id = mapi.FirstNamedID + mapi.ID(len(w.ids))
		w.ids[p.Named] = id
	}
	return id, nil
}

// appendName appends a namedPropInfo, MS-OXCFXICS §2.2.4.1.
func appendName(octets []byte, n mapi.Named) ([]byte, error) {
	octets = append(octets, n.Set[:]...)
	if n.Name == "" {
		return binary.LittleEndian.AppendUint32(append(octets, 0), n.LID), nil
	}
	units := utf16.Encode([]rune(n.Name))
	if len(units) > nameMost || slices.Contains(units, 0) {
		return nil, errName
	}
	octets = append(octets, 1)
	for _, unit := range append(units, 0) {
		octets = binary.LittleEndian.AppendUint16(octets, unit)
	}
	return octets, nil
}

// value writes a value, MS-OXCFXICS §2.2.4.1.
func (w *Writer) value(v mapi.Value) error {
	if b, ok := v.(mapi.Boolean); ok {
		octets, _ := mapi.AppendFixed(nil, b)
		w.atom(append(octets, 0))
		return nil
	}
	if octets, ok := mapi.AppendFixed(nil, v); ok {
		w.atom(octets)
		return nil
	}
	switch v := v.(type) {
	case mapi.String, mapi.String8:
		return w.text(v)
	case mapi.Binary:
		return w.sized(v)
	case mapi.Object:
		return w.sized(v)
	case mapi.ServerID:
		return w.sized(v)
	case mapi.Streamed:
		return w.stream(v)
	case mapi.Many:
		return w.many(v.Values())
	}
	return fmt.Errorf("%s: %w", v.Type(), mapi.ErrType)
}

// text writes a string with a NUL at its end.
func (w *Writer) text(v mapi.Value) error {
	e := mapi.NewEncoder(nil, mapi.Format{})
	e.Value(v)
	return w.sized(e.Octets())
}

var errTooLong = errors.New("the value is larger than a stream can say")

func (w *Writer) sized(octets []byte) error {
	if uint64(len(octets)) > math.MaxUint32 {
		return errTooLong
	}
	w.uint32(uint32(len(octets)))
	w.octets(octets)
	return nil
}

func (w *Writer) many(values []mapi.Value) error {
	if uint64(len(values)) > math.MaxUint32 {
		return errTooLong
	}
	w.uint32(uint32(len(values)))
	for _, v := range values {
		if err := w.value(v); err != nil {
			return err
		}
	}
	return nil
}

// stream writes a content as it is read. Its size was said before, so it must be right.
func (w *Writer) stream(v mapi.Streamed) error {
	end := make([]byte, map[mapi.Type]int{mapi.PtypString: 2, mapi.PtypString8: 1}[v.Of])
	size := v.Content.Size + int64(len(end))
	if size > math.MaxUint32 || v.Content.Size < 0 {
		return errTooLong
	}
	w.uint32(uint32(size))
	if w.err != nil {
		return nil
	}
	r, err := v.Content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(w.w, io.LimitReader(r, v.Content.Size+1))
	if err == nil && n != v.Content.Size {
		err = fmt.Errorf("%d octets were announced, and there are %d or more", v.Content.Size, n)
	}
	w.octets(end)
	return err
}
