// Package header reads and writes a message's header (RFC 5322 §2.2), in bounded memory, field by
// field and octet by octet: what nobody changes leaves as it came, in its order.
//
//	h, size, err := header.Read(message, header.Most)
//	h.Append("Message-ID", id)
//	out := io.MultiReader(h.Reader(), body) // body: the message from octet size on
package header

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
	// Most is how many octets a header may have.
	Most = 512 << 10
	// FieldsMost is how many fields it may have: each costs more memory than the four octets
	// that it can be written in.
	FieldsMost = 10_000
)

// The errors of a header that exceeds its bounds.
var (
	ErrTooLarge      = errors.New("the header is too large")
	ErrTooManyFields = errors.New("the header has too many fields")
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

// lineEnds is what unfolding takes out.
var lineEnds = strings.NewReplacer("\r", "", "\n", "")

// Value is what comes after the colon, unfolded (RFC 5322 §2.2.3), without white space around.
func (f Field) Value() string {
	_, value, _ := bytes.Cut(f.Raw, []byte(":"))
	return strings.TrimSpace(lineEnds.Replace(string(value)))
}

// Header is a message's header: the fields in their order and the empty line, if there is one.
type Header struct {
	Fields []Field
	// End is the empty line, nothing where the message ends with the header.
	End []byte
}

// Read reads a header of at most so many octets from the start of a message, and says how
// many octets it has with its empty line. A header that the message's end breaks off is whole:
// a body is optional (RFC 5322 §3.5). It may read further than the header from r.
func Read(r io.Reader, most int64) (h *Header, size int64, err error) {
	// One octet more than is allowed is enough to know.
	lines := bufio.NewReader(io.LimitReader(r, most+1))
	h = &Header{}
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		size += int64(len(line))
		switch {
		case size > most:
			return nil, 0, ErrTooLarge
		case err != nil && !errors.Is(err, io.EOF):
			return nil, 0, err
		case len(line) == 0:
			return h, size, nil
		case len(bytes.TrimRight(line, "\r\n")) == 0:
			h.End = line
			return h, size, nil
		}
		if !h.add(line) {
			return nil, 0, &MalformedError{Line: number}
		}
		if len(h.Fields) > FieldsMost {
			return nil, 0, ErrTooManyFields
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
	name, ok := FieldName(line)
	if ok {
		h.Fields = append(h.Fields, Field{Name: name, Raw: line})
	}
	return ok
}

// FieldName is what stands before the colon of a line. RFC 5322 §4.5 has white space there in old
// messages: "Bcc : x" is a Bcc.
func FieldName(line []byte) (string, bool) {
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
	size := int64(len(h.End))
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
	return io.MultiReader(append(parts, bytes.NewReader(h.End))...)
}

// CutField cuts the first field with its continuation lines off (RFC 5322 §2.2.3).
func CutField(text []byte) (field, rest []byte) {
	for end := 0; ; {
		next := bytes.IndexByte(text[end:], '\n')
		if next < 0 {
			return text, nil
		}
		end += next + 1
		if end == 1 || end == 2 && text[0] == '\r' || end >= len(text) || text[end] != ' ' && text[end] != '\t' {
			return text[:end], text[end:]
		}
	}
}
