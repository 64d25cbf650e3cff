// Package entity reads the MIME structure of a message (RFC 2045, RFC 2046) from a file: where each
// part is, and not what is in it, so that no body is ever whole in memory. It reads what is sent, and
// not only what is allowed: a message that breaks the rules has a structure, too.
//
//	message, err := entity.Read(file, size)
//	for part := range message.Leaves() {
//		content := part.Decoded() // without the transfer encoding
//	}
//
// It also reads and writes what stands in header fields: encoded words (RFC 2047), parameters
// (RFC 2231), lists of addresses (RFC 5322 §3.4), and dates.
package entity

import (
	"errors"
	"io"
	"iter"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/header"
)

// The bounds of what is read. All that is kept in memory of a message is its headers.
const (
	DepthMost    = 100     // multiparts and messages in one another; what is deeper is left unopened
	EntitiesMost = 20_000  // in a message
	HeadersMost  = 8 << 20 // octets of all the headers of a message
)

// ErrTooComplex says that a message has more parts, or more header fields in them, than is read.
var ErrTooComplex = errors.New("the message has too many parts")

// Entity is a message or a part of one, RFC 2045 §2.4.
type Entity struct {
	Header      *header.Header
	Type        Parameterized // of Content-Type: the media type in lower case
	Disposition Parameterized // of Content-Disposition; its Value is empty without one
	Encoding    string        // of Content-Transfer-Encoding, in lower case; "" for none and for those that change nothing
	Parts       []*Entity     // of a multipart that was opened
	Message     *Entity       // of a message/rfc822 that was opened

	source             io.ReaderAt
	offset, body, stop int64 // the entity starts, its body starts, it ends
}

// Field returns the unfolded value of the first field of a name, as it came, and "" without one.
func (e *Entity) Field(name string) string {
	for _, f := range e.Header.Fields {
		if f.Is(name) {
			return f.Value()
		}
	}
	return ""
}

// Is says whether the media type is the one given, or of it where that ends in a slash.
func (e *Entity) Is(mediaType string) bool {
	if strings.HasSuffix(mediaType, "/") {
		return strings.HasPrefix(e.Type.Value, mediaType)
	}
	return e.Type.Value == mediaType
}

// Filename returns the name that the entity has as a file, and "" if it has none.
func (e *Entity) Filename() string {
	if name := e.Disposition.Get("filename"); name != "" {
		return name
	}
	return e.Type.Get("name")
}

// Leaves are the entities that have neither parts nor a message inside, in their order.
func (e *Entity) Leaves() iter.Seq[*Entity] {
	return func(yield func(*Entity) bool) { e.leaves(yield) }
}

func (e *Entity) leaves(yield func(*Entity) bool) bool {
	if e.Message != nil {
		return e.Message.leaves(yield)
	}
	for _, part := range e.Parts {
		if !part.leaves(yield) {
			return false
		}
	}
	return len(e.Parts) > 0 || yield(e)
}

// Raw is the body as it came, in its transfer encoding.
func (e *Entity) Raw() *io.SectionReader { return io.NewSectionReader(e.source, e.body, e.stop-e.body) }

// Whole is the entity with its header, octet by octet.
func (e *Entity) Whole() *io.SectionReader {
	return io.NewSectionReader(e.source, e.offset, e.stop-e.offset)
}

// Decoded is the body without its transfer encoding. Each call gives a new reader.
func (e *Entity) Decoded() io.Reader { return decode(e.Raw(), e.Encoding) }

// describe reads the fields that MIME defines. RFC 2045 §5.2: what has no type that can be read is plain text.
func (e *Entity) describe(fallback string) {
	e.Type = ParseParameters(e.Field("Content-Type"))
	e.Type.Value = strings.ToLower(e.Type.Value)
	if !IsMediaType(e.Type.Value) {
		e.Type.Value = fallback
	}
	e.Disposition = ParseParameters(e.Field("Content-Disposition"))
	e.Disposition.Value = strings.ToLower(e.Disposition.Value)
	e.Encoding = transferEncoding(e.Field("Content-Transfer-Encoding"))
}
