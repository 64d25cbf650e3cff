package tnef

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mapi"
)

// ErrTooLarge says that something does not fit in the 4 GiB that TNEF has for it.
var ErrTooLarge = errors.New("too large for TNEF, which ends at 4 GiB")

// Options say how a stream is written. The zero value is good.
type Options struct {
	// CodePage is that of strings that are not Unicode, of old attributes among them. 0, or one that is not known or has
	// zeros in its characters: that of such a string in the message, and without one UTF-8.
	CodePage int
	// Key tells the streams of one sender apart, for readers of Microsoft Mail (MS-OXTNEF §2.1.3). 0: 1.
	Key uint16
}

// Encode writes a message as a TNEF stream. The same message gives the same octets. Contents are copied without being
// kept, and may be opened more than once.
//
// What TNEF has no form for is left out: values of the types PtypServerId, PtypRestriction, PtypRuleAction, PtypNull and
// PtypErrorCode, and properties of many values that have none.
func Encode(w io.Writer, m *mapi.Message, o Options) error {
	e := newEncoder(o)
	buffered := bufio.NewWriter(w) // what is written comes in pieces as short as an octet
	s := &sink{w: buffered}
	e.stream(s, m, outermost(e, m))
	return cmp.Or(s.err, buffered.Flush())
}

// Size returns how many octets Encode writes.
func Size(m *mapi.Message, o Options) (int64, error) {
	e := newEncoder(o)
	s := &sink{}
	e.stream(s, m, outermost(e, m))
	return s.n, s.err
}

// encoder is what the messages of a stream have in common.
type encoder struct {
	Options
	sizes      map[embedding]int64            // of embedded messages that were counted
	interfaces map[*mapi.Attachment]mapi.GUID // of OLE objects
}

// embedding is an embedded message as it is written.
type embedding struct {
	message  *mapi.Message
	codePage int
}

func newEncoder(o Options) *encoder {
	if o.Key == 0 {
		o.Key = 1
	}
	return &encoder{o, map[embedding]int64{}, map[*mapi.Attachment]mapi.GUID{}}
}

// place is where a message is.
type place struct {
	depth    int
	codePage codepage.Page
}

func outermost(e *encoder, m *mapi.Message) place {
	page, _ := codepage.Find(codepage.UTF8)
	return place{0, e.page(m, page)}
}

// page returns the code page of a message's stream.
func (e *encoder) page(m *mapi.Message, otherwise codepage.Page) codepage.Page {
	if p, ok := oemCodePage(e.CodePage); ok {
		return p
	}
	for property := range m.All() {
		if number, ok := codePageOf(property.Value); ok {
			if p, ok := oemCodePage(number); ok {
				return p
			}
		}
	}
	return otherwise
}

// oemCodePage returns a code page that a stream may have: one whose characters have no zeros in them (MS-OXTNEF §2.1.3).
func oemCodePage(number int) (codepage.Page, bool) {
	p, ok := codepage.Find(number)
	if !ok {
		return p, false
	}
	a, err := p.Encode("a")
	return p, err == nil && len(a) == 1
}

// codePageOf returns the code page of a string that is not Unicode.
func codePageOf(v mapi.Value) (int, bool) {
	switch v := v.(type) {
	case mapi.String8:
		return v.CodePage, true
	case mapi.Multiple[mapi.String8]:
		if len(v) > 0 {
			return v[0].CodePage, true
		}
	case mapi.Streamed:
		return v.CodePage, v.Of == mapi.PtypString8
	}
	return 0, false
}

// stream writes a message, MS-OXTNEF §2.1.3.
func (e *encoder) stream(s *sink, m *mapi.Message, at place) {
	if at.depth > mapi.DepthMost {
		s.fail(mapi.ErrDepth)
		return
	}
	s.uint32(signature)
	s.uint16(e.Key)
	e.attribute(s, attTnefVersion, func(s *sink) { s.uint32(tnefVersion) })
	e.attribute(s, attOemCodepage, func(s *sink) {
		s.uint32(uint32(at.codePage.Number))
		s.uint32(0)
	})
	e.mapped(s, m, at)
	if len(m.Recipients) > 0 {
		e.attribute(s, attRecipTable, func(s *sink) { recipients(s, m.Recipients, at) })
	}
	// MS-OXTNEF §2.1.3: behind all other attributes of the message.
	e.attribute(s, attMsgProps, func(s *sink) { writeList(s, &m.Properties, at, nil, 0) })
	for _, a := range m.Attachments {
		if s.err != nil {
			return // a message in itself would be tried without end
		}
		e.attachment(s, a, at)
	}
}

// attribute writes an attribute, MS-OXTNEF §2.1.3: the length goes before the data, and the checksum behind them.
func (e *encoder) attribute(s *sink, a Attribute, write func(*sink)) {
	s.uint8(uint8(levelOf(a)))
	s.uint32(uint32(a))
	if s.w == nil {
		s.uint32(0)
		before := s.n
		write(s)
		if n := s.n - before; n != int64(uint32(n)) {
			s.fail(fmt.Errorf("%s of %d octets: %w", a, n, ErrTooLarge))
		}
		s.uint16(0)
		return
	}
	counted := &sink{}
	write(counted)
	if counted.err != nil {
		s.fail(counted.err)
		return
	}
	s.size(counted.n)
	before := s.sum
	write(s)
	s.uint16(s.sum - before)
}

// recipients writes attRecipTable, MS-OXTNEF §2.1.3.3.22.
func recipients(s *sink, all []*mapi.Recipient, at place) {
	s.size(int64(len(all)))
	for _, r := range all {
		writeList(s, &r.Properties, at, nil, 0)
	}
}

// attachment writes the attributes of an attachment, MS-OXTNEF §2.1.3.3.15: attAttachRendData first, attAttachment last.
func (e *encoder) attachment(s *sink, a *mapi.Attachment, at place) {
	method, _ := a.Integer(mapi.PidTagAttachMethod)
	object := a.Embedded != nil || method == int64(mapi.AttachOLE)
	e.mappedOfAttachment(s, a, object, at)
	// QUIRK: ytnef stops at an attribute without octets, so an empty file has none. That it is a file tells its method.
	if !object && a.Data.Size > 0 {
		e.attribute(s, attAttachData, func(s *sink) { s.content(a.Data) })
	}
	e.attribute(s, attAttachment, func(s *sink) {
		var data *dataObject
		if object {
			data = e.dataObject(a, at)
		}
		writeList(s, &a.Properties, at, data, mapi.PidTagAttachRendering) // that is attAttachMetaFile
	})
}

// dataObject is the PidTagAttachDataObject of an attachment.
type dataObject struct {
	iid   mapi.GUID
	size  int64
	write func(*sink)
}

// dataObject returns an attachment's message or OLE object, MS-OXTNEF §2.1.3.4.
func (e *encoder) dataObject(a *mapi.Attachment, at place) *dataObject {
	if a.Embedded == nil {
		return &dataObject{e.interfaceOf(a), a.Data.Size, func(s *sink) { s.content(a.Data) }}
	}
	inner := place{at.depth + 1, e.page(a.Embedded, at.codePage)}
	as := embedding{a.Embedded, inner.codePage.Number}
	size, ok := e.sizes[as]
	if !ok {
		counted := &sink{}
		e.stream(counted, a.Embedded, inner)
		if counted.err != nil {
			return &dataObject{iidMessage, 0, func(s *sink) { s.fail(counted.err) }}
		}
		size = counted.n
		e.sizes[as] = size
	}
	return &dataObject{iidMessage, size, func(s *sink) {
		if s.w == nil {
			s.n += size
			return
		}
		e.stream(s, a.Embedded, inner)
	}}
}

// compoundFile is what a compound file begins with, MS-CFB §2.2.
const compoundFile = "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"

// interfaceOf returns by which interface an OLE object is opened: a compound file is a storage.
func (e *encoder) interfaceOf(a *mapi.Attachment) mapi.GUID {
	is, ok := e.interfaces[a]
	if !ok {
		is = iidStream
		if isCompoundFile(a.Data) {
			is = iidStorage
		}
		e.interfaces[a] = is
	}
	return is
}

func isCompoundFile(c mapi.Content) bool {
	if c.IsZero() {
		return false
	}
	r, err := c.Open()
	if err != nil {
		return false // the error comes again where it is written
	}
	defer r.Close()
	first := make([]byte, len(compoundFile))
	_, err = io.ReadFull(r, first)
	return err == nil && string(first) == compoundFile
}
