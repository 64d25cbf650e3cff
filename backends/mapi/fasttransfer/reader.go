package fasttransfer

import (
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends/mapi"
)

// Reader reads messages from a stream.
type Reader struct {
	s *Scanner
	// held says that the scanner's element has not been used yet.
	held bool
	// begun says that a message was read already.
	begun bool
	ended bool
}

// NewReader makes a reader.
func NewReader(r io.Reader, o Options) *Reader {
	s := NewScanner(r, o)
	s.together = true
	return &Reader{s: s}
}

// errMarker says that a marker is not where it may be, or that one is missing.
var errMarker = errors.New("a marker that does not belong here, or none where one does")

// next goes to the next element, and says whether there is one.
func (r *Reader) next() bool {
	if r.held {
		r.held = false
		return true
	}
	return r.s.Scan()
}

// Message returns the next message, and io.EOF behind the last. It takes a stream of one message's content
// (MS-OXCFXICS §2.2.4.3.12, messageContent) and a list of messages (§2.2.4.3.16, messageList). The contents of
// what is large are those that Options.Keep returned.
func (r *Reader) Message() (*mapi.Message, error) {
	r.s.memory = r.s.o.MemoryMost
	for r.next() {
		marker := r.s.Marker()
		switch {
		case marker == mapi.PidTagStartMessage || marker == mapi.PidTagStartFAIMsg:
			r.begun = true
			return r.content(mapi.PidTagEndMessage, 0)
		case marker == 0 && isMeta(r.s.Property().Tag):
			// A warning that a message was left out, for example.
		case r.begun || r.ended:
			r.s.fail(errMarker)
		default:
			r.held, r.ended = true, true
			return r.content(0, 0)
		}
	}
	if r.s.Err() != nil {
		return nil, r.s.Err()
	}
	return nil, io.EOF
}

// content reads a messageContent up to a marker, or to the end of the stream if that is 0.
func (r *Reader) content(end mapi.Tag, depth int) (*mapi.Message, error) {
	if depth > mapi.DepthMost {
		r.s.fail(mapi.ErrDepth)
	}
	m := &mapi.Message{}
	ended := false
	for !ended && r.next() {
		switch marker := r.s.Marker(); marker {
		case 0:
			put(&m.Properties, r.s.Property())
		case mapi.PidTagStartRecip:
			r.recipient(m)
		case mapi.PidTagNewAttach:
			r.attachment(m, depth)
		default:
			if ended = marker == end; !ended {
				r.s.fail(errMarker)
			}
		}
	}
	if !ended && end != 0 {
		r.s.fail(io.ErrUnexpectedEOF)
	}
	return m, r.s.Err()
}

// put sets a property, unless it is one of the stream. The id of a named one was the source's, and means nothing here.
func put(properties *mapi.Properties, p mapi.Property) {
	if !isMeta(p.Tag) {
		properties.Set(p.Key(), p.Value)
	}
}

// recipient reads a recipient, MS-OXCFXICS §2.2.4.3.21.
func (r *Reader) recipient(m *mapi.Message) {
	r.s.spend(overhead)
	recipient := &mapi.Recipient{}
	m.Recipients = append(m.Recipients, recipient)
	for r.next() {
		switch r.s.Marker() {
		case 0:
			put(&recipient.Properties, r.s.Property())
		case mapi.PidTagEndToRecip:
			return
		default:
			r.s.fail(errMarker)
		}
	}
	r.s.fail(io.ErrUnexpectedEOF)
}

// attachment reads an attachment, MS-OXCFXICS §2.2.4.3.1.
func (r *Reader) attachment(m *mapi.Message, depth int) {
	r.s.spend(overhead)
	a := &mapi.Attachment{}
	m.Attachments = append(m.Attachments, a)
	for r.next() {
		switch marker := r.s.Marker(); {
		case marker == 0:
			putAttachment(a, r.s.Property())
		case marker == mapi.PidTagStartEmbed && a.Embedded == nil:
			a.Embedded, _ = r.content(mapi.PidTagEndEmbed, depth+1)
		case marker == mapi.PidTagEndAttach:
			return
		default:
			r.s.fail(errMarker)
		}
	}
	r.s.fail(io.ErrUnexpectedEOF)
}

// putAttachment sets a property of an attachment. Its data become the content.
func putAttachment(a *mapi.Attachment, p mapi.Property) {
	if p.Tag.ID() != mapi.PidTagAttachDataBinary.ID() {
		put(&a.Properties, p)
		return
	}
	switch v := p.Value.(type) {
	case mapi.Binary:
		a.Data = mapi.ContentOf(v)
	case mapi.Object:
		a.Data = mapi.ContentOf(v)
	case mapi.Streamed:
		a.Data = v.Content
	}
}
