// Package content is what may be done to a message on its way through the gateway.
//
// A header is read in bounded memory, field by field and octet by octet; what a rule does not
// name leaves as it came, in its order, and the body is not touched at all:
//
//	header, size, err := content.ReadHeader(message, content.HeaderMost)
//	err = content.Submission{MayWrite: owns, Date: now, MessageID: id}.Apply(header)
//	out := io.MultiReader(header.Reader(), body) // body: the message from octet size on
//
// # What is done to a submitted message
//
// RFC 6409 §8 lets a submission server add a Date and a Message-ID, and RFC 5322 §3.6.3 one
// remove Bcc. From and Sender have to be the account's own (RFC 6409 §6.1). That holds for
// redirected messages too: a Resent-From (RFC 5322 §3.6.6) does not excuse somebody else's
// From, or anybody could write in anybody's name by adding one.
package content

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The bounds of a header.
const (
	// HeaderMost is how many octets a header may have.
	HeaderMost = 512 << 10
	// FieldsMost is how many fields it may have: each costs more memory than the four octets
	// that it can be written in.
	FieldsMost = 10_000
)

// The errors of a header that exceeds its bounds.
var (
	ErrHeaderTooLarge = errors.New("the header is too large")
	ErrFieldsTooMany  = errors.New("the header has too many fields")
)

// MalformedError says that a line of the header is neither a field nor a field's continuation.
type MalformedError struct{ Line int }

func (e *MalformedError) Error() string {
	return fmt.Sprintf("line %d of the header is not a header field", e.Line)
}

// Field is one header field.
type Field struct {
	// Name is as it was written, without white space.
	Name string
	// Raw is the whole field, folded as it came, with its line ends.
	Raw []byte
}

// Is says whether the field has this name; letters' case does not matter (RFC 5322 §1.2.2).
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// Value is what comes after the colon, unfolded (RFC 5322 §2.2.3), without white space around.
func (f Field) Value() string {
	_, value, _ := bytes.Cut(f.Raw, []byte(":"))
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(string(value)))
}

// Header is a message's header: the fields in their order and the empty line, if there is one.
type Header struct {
	Fields []Field
	end    []byte
}

// ReadHeader reads a header of at most so many octets from the start of a message, and says how
// many octets it has with its empty line. A header that the message's end breaks off is whole:
// a body is optional (RFC 5322 §3.5). It may read further than the header from r.
func ReadHeader(r io.Reader, most int64) (header *Header, size int64, err error) {
	// One octet more than is allowed is enough to know.
	lines := bufio.NewReader(io.LimitReader(r, most+1))
	header = &Header{}
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		size += int64(len(line))
		switch {
		case size > most:
			return nil, 0, ErrHeaderTooLarge
		case err != nil && !errors.Is(err, io.EOF):
			return nil, 0, err
		case len(line) == 0:
			return header, size, nil
		case len(bytes.TrimRight(line, "\r\n")) == 0:
			header.end = line
			return header, size, nil
		}
		if !header.add(line) {
			return nil, 0, &MalformedError{Line: number}
		}
		if len(header.Fields) > FieldsMost {
			return nil, 0, ErrFieldsTooMany
		}
	}
}

// add takes a line of the header.
func (h *Header) add(line []byte) bool {
	if line[0] == ' ' || line[0] == '\t' {
		if len(h.Fields) == 0 {
			return false
		}
		last := &h.Fields[len(h.Fields)-1]
		last.Raw = append(last.Raw, line...)
		return true
	}
	name, ok := fieldName(line)
	if ok {
		h.Fields = append(h.Fields, Field{Name: name, Raw: line})
	}
	return ok
}

// fieldName is what stands before the colon. RFC 5322 §4.5 has white space there in old
// messages: "Bcc : x" is a Bcc.
func fieldName(line []byte) (string, bool) {
	before, _, ok := bytes.Cut(line, []byte(":"))
	name := bytes.TrimRight(before, " \t")
	if !ok || len(name) == 0 {
		return "", false
	}
	for _, c := range name {
		if c < 33 || c > 126 {
			return "", false
		}
	}
	return string(name), true
}

// All returns the fields of a name.
func (h *Header) All(name string) (found []Field) {
	for _, f := range h.Fields {
		if f.Is(name) {
			found = append(found, f)
		}
	}
	return found
}

// Append adds a field at the header's end. The value is one line.
func (h *Header) Append(name, value string) {
	if n := len(h.Fields); n > 0 && !bytes.HasSuffix(h.Fields[n-1].Raw, []byte("\n")) {
		// The message's end has broken the last field off (BDAT, RFC 3030 §2).
		h.Fields[n-1].Raw = append(bytes.Clone(h.Fields[n-1].Raw), "\r\n"...)
	}
	h.Fields = append(h.Fields, Field{Name: name, Raw: []byte(name + ": " + value + "\r\n")})
}

// Size is the number of octets that Reader gives.
func (h *Header) Size() int64 {
	size := int64(len(h.end))
	for _, f := range h.Fields {
		size += int64(len(f.Raw))
	}
	return size
}

// Reader reads the header, its empty line included. There can be several at once.
func (h *Header) Reader() io.Reader {
	parts := make([]io.Reader, 0, len(h.Fields)+1)
	for _, f := range h.Fields {
		parts = append(parts, bytes.NewReader(f.Raw))
	}
	return io.MultiReader(append(parts, bytes.NewReader(h.end))...)
}
