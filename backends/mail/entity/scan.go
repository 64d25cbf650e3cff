package entity

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends/mail/header"
)

// delimiterMost is the longest line that can be a boundary delimiter. RFC 2046 §5.1.1 allows boundaries
// of 70 characters; longer ones are sent.
const delimiterMost = 1000

// Read reads the structure of a message. It takes one pass. The errors are those of the reader,
// [ErrTooComplex], [header.ErrTooLarge] and [header.ErrTooManyFields].
func Read(source io.ReaderAt, size int64) (*Entity, error) {
	s := &scanner{source: source, r: bufio.NewReaderSize(io.NewSectionReader(source, 0, size), 16<<10), known: map[string]int{}}
	e, _, err := s.entity("text/plain", 0)
	return e, err
}

// scanner reads lines, and knows which boundaries are open.
type scanner struct {
	source    io.ReaderAt
	r         *bufio.Reader
	at        int64          // the offset of what r gives next
	lineEnd   int64          // the octets of the line end before at
	open      []string       // boundaries, the outermost first
	known     map[string]int // the index of the innermost open boundary of a name
	entities  int
	scratch   []byte // a line that is not kept
	headersAt int64  // octets of headers so far
}

// mark is what has ended an entity: a delimiter, or the end of the message.
type mark struct {
	level   int // the index of the boundary; -1 for the end
	closing bool
	stop    int64 // where the content before it ends: the line end belongs to the delimiter (RFC 2046 §5.1.1)
}

// line reads a line to its end and appends so many octets of it at most. An empty one is the message's end.
func (s *scanner) line(text []byte, most int) (_ []byte, whole bool, err error) {
	whole = true
	for {
		piece, err := s.r.ReadSlice('\n')
		s.at += int64(len(piece))
		if room := most - len(text); len(piece) > room {
			piece, whole = piece[:room], false
		}
		text = append(text, piece...)
		switch {
		case err == nil:
			s.lineEnd = 1
			if bytes.HasSuffix(text, []byte("\r\n")) {
				s.lineEnd = 2
			}
			return text, whole, nil
		case errors.Is(err, io.EOF):
			s.lineEnd = 0
			return text, whole, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, err
		}
	}
}

// delimiter says whether a line that starts at an offset is one.
func (s *scanner) delimiter(line []byte) (m mark, is bool) {
	rest, is := bytes.CutPrefix(bytes.TrimRight(line, " \t\r\n"), []byte("--"))
	if !is || len(s.open) == 0 {
		return mark{}, false
	}
	if level, is := s.known[string(rest)]; is {
		return mark{level: level}, true
	}
	rest, is = bytes.CutSuffix(rest, []byte("--"))
	level, known := s.known[string(rest)]
	return mark{level: level, closing: true}, is && known
}

// entity reads an entity up to the delimiter that ends it.
func (s *scanner) entity(fallback string, depth int) (*Entity, mark, error) {
	if s.entities++; s.entities > EntitiesMost || s.headersAt > HeadersMost {
		return nil, mark{}, ErrTooComplex
	}
	e := &Entity{Header: &header.Header{}, source: s.source, offset: s.at}
	end, ended, err := s.header(e)
	if err != nil {
		return nil, mark{}, err
	}
	e.describe(fallback)
	s.headersAt += e.body - e.offset
	if !ended {
		end, err = s.content(e, depth)
	}
	e.body = min(e.body, max(end.stop, e.offset)) // an empty part has no line end to spare
	e.stop = max(end.stop, e.body)
	return e, end, err
}

// content reads what is behind the header.
func (s *scanner) content(e *Entity, depth int) (end mark, err error) {
	boundary := e.Type.Get("boundary")
	switch {
	case depth >= DepthMost || e.Encoding != "":
		// RFC 2045 §6.4: what is encoded is not opened.
	case e.Is("multipart/") && boundary != "" && len(boundary) < delimiterMost-4:
		return s.multipart(e, boundary, depth)
	case e.Is("message/rfc822") || e.Is("message/global"):
		e.Message, end, err = s.entity("text/plain", depth+1)
		return end, err
	}
	return s.skip()
}

// multipart reads the parts and what is around them, RFC 2046 §5.1.
func (s *scanner) multipart(e *Entity, boundary string, depth int) (end mark, err error) {
	fallback := "text/plain"
	if e.Is("multipart/digest") {
		fallback = "message/rfc822" // RFC 2046 §5.1.5
	}
	pop := s.push(boundary)
	level := len(s.open) - 1
	if end, err = s.skip(); err != nil { // the preamble
		return end, err
	}
	for end.level == level && !end.closing {
		var part *Entity
		if part, end, err = s.entity(fallback, depth+1); err != nil {
			return end, err
		}
		e.Parts = append(e.Parts, part)
	}
	pop()
	if end.level == level {
		return s.skip() // the epilogue
	}
	return end, nil
}

// push opens a boundary. One that is open already is hidden until the function returned is called.
func (s *scanner) push(boundary string) (pop func()) {
	hidden, was := s.known[boundary]
	s.known[boundary] = len(s.open)
	s.open = append(s.open, boundary)
	return func() {
		s.open = s.open[:len(s.open)-1]
		delete(s.known, boundary)
		if was {
			s.known[boundary] = hidden
		}
	}
}

// skip reads up to the next delimiter.
func (s *scanner) skip() (mark, error) {
	for {
		start, before := s.at, s.lineEnd
		line, whole, err := s.line(s.scratch[:0], delimiterMost)
		if err != nil {
			return mark{}, err
		}
		if s.scratch = line; len(line) == 0 {
			return mark{level: -1, stop: s.at}, nil
		}
		if end, is := s.delimiter(line); is && whole {
			end.stop = start - before
			return end, nil
		}
	}
}

// header reads the header of an entity, and says whether a delimiter or the message's end has cut it off.
//
// A line that is neither a field nor a continuation starts the body (as the empty line was forgotten),
// unless a field follows it: then it is kept as a field without a name.
func (s *scanner) header(e *Entity) (end mark, ended bool, err error) {
	for {
		start, before := s.at, s.lineEnd
		line, whole, err := s.line(nil, header.Most)
		switch {
		case err != nil:
			return mark{}, false, err
		case !whole || s.at-e.offset > header.Most:
			return mark{}, false, header.ErrTooLarge
		case len(line) == 0:
			e.body = s.at
			return mark{level: -1, stop: s.at}, true, nil
		}
		if end, is := s.delimiter(line); is {
			e.body, end.stop = start, start-before
			return end, true, nil
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			e.Header.End, e.body = line, s.at
			return mark{}, false, nil
		}
		if !add(e.Header, line) {
			if !s.fieldFollows() {
				e.body = start
				return mark{}, false, nil
			}
			e.Header.Fields = append(e.Header.Fields, header.Field{Raw: line})
		}
		if len(e.Header.Fields) > header.FieldsMost {
			return mark{}, false, header.ErrTooManyFields
		}
	}
}

// add takes a line that is a field or the continuation of one.
func add(h *header.Header, line []byte) bool {
	if line[0] == ' ' || line[0] == '\t' {
		if len(h.Fields) == 0 {
			return false
		}
		last := &h.Fields[len(h.Fields)-1]
		last.Raw = append(last.Raw, line...)
		return true
	}
	name, is := header.FieldName(line)
	if is {
		h.Fields = append(h.Fields, header.Field{Name: name, Raw: line})
	}
	return is
}

// fieldFollows says whether the next line is a field.
func (s *scanner) fieldFollows() bool {
	next, err := s.r.Peek(200)
	if err != nil && !errors.Is(err, io.EOF) {
		return false // the error will be met again
	}
	line, _, _ := bytes.Cut(next, []byte("\n"))
	_, is := header.FieldName(line)
	return is
}
