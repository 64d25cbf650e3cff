package fasttransfer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"

	"github.com/dipylon/dipylon/backends/mail/codepage"
	"github.com/dipylon/dipylon/backends/mapi"
)

// Bounds, where Options do not say them.
const (
	ValueMost  = 64 << 10
	MemoryMost = 32 << 20
)

// nameMost is how many UTF-16 units the name of a named property can have: a PropertyName has 127 at most
// (MS-OXCDATA §2.6.1).
const nameMost = 127

// Options are how a stream is read.
type Options struct {
	// CodePage is that of strings that do not say theirs [1252].
	CodePage int
	// Keep takes the values that are larger than ValueMost. Without it they are an error. What it kept of a
	// message that could not be read to its end is its owner's to remove.
	Keep mapi.Keep
	// ValueMost is how many octets a value in memory may have [ValueMost].
	ValueMost int
	// MemoryMost is how many octets a message, or an element of a Scanner, may take in memory [MemoryMost].
	MemoryMost int
}

func (o Options) complete() Options {
	if o.CodePage == 0 {
		o.CodePage = codepage.WesternEuro
	}
	if o.ValueMost == 0 {
		o.ValueMost = ValueMost
	}
	if o.MemoryMost == 0 {
		o.MemoryMost = MemoryMost
	}
	if o.Keep == nil {
		o.Keep = func(io.Reader) (mapi.Content, error) { return mapi.Content{}, errLarge }
	}
	return o
}

// Errors of a stream. Each is in a [mapi.DecodeError] that says where.
var (
	ErrMemory = errors.New("what is in the stream needs more memory than is allowed")
	errLarge  = errors.New("a value is larger than is allowed")
	errName   = errors.New("the name of a property is empty, too long, or has no end")
	errSize   = errors.New("the size of the value is not that of its type")
)

// Scanner gives the elements of a stream one after another: markers and properties, MS-OXCFXICS §2.2.4.1.
type Scanner struct {
	r      *bufio.Reader
	o      Options
	at     int64
	memory int // what is left of Options.MemoryMost
	// together says that all elements share the memory, until somebody gives more.
	together bool

	property mapi.Property
	value    bool // whether the element has one
	err      error
}

// NewScanner makes a scanner.
func NewScanner(r io.Reader, o Options) *Scanner {
	o = o.complete()
	return &Scanner{r: bufio.NewReaderSize(r, 32<<10), o: o}
}

// Scan goes to the next element. It returns false at the end of the stream, and after an error.
func (s *Scanner) Scan() bool {
	s.property, s.value = mapi.Property{}, false
	if !s.together {
		s.memory = s.o.MemoryMost
	}
	if s.err != nil {
		return false
	}
	if _, err := s.r.Peek(1); err == io.EOF {
		return false // between two elements: it is the end
	}
	s.property.Tag = mapi.Tag(binary.LittleEndian.Uint32(s.fixed(4)))
	if s.err == nil && !markers[s.property.Tag] {
		s.value = true
		s.scanProperty()
	}
	return s.err == nil
}

// Err returns the error that ended the stream before its end.
func (s *Scanner) Err() error { return s.err }

// Offset returns how many octets of the stream were taken.
func (s *Scanner) Offset() int64 { return s.at }

// Marker returns the marker if the element is one, and 0 if not.
func (s *Scanner) Marker() mapi.Tag {
	if s.value {
		return 0
	}
	return s.property.Tag
}

// Property returns the property, if the element is one.
func (s *Scanner) Property() mapi.Property { return s.property }

func (s *Scanner) fail(err error) {
	if s.err != nil {
		return
	}
	name := ""
	if s.value {
		name = s.property.String()
	}
	s.err = &mapi.DecodeError{Offset: int(s.at), Property: name, Err: err}
}

// take reads n octets, which are few enough for memory.
func (s *Scanner) take(n int) []byte {
	if s.err != nil {
		return nil
	}
	octets := make([]byte, n)
	read, err := io.ReadFull(s.r, octets)
	s.at += int64(read)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		s.fail(err)
		return nil
	}
	return octets
}

// fixed reads n octets, and returns zeros if there are not that many.
func (s *Scanner) fixed(n int) []byte {
	if octets := s.take(n); octets != nil {
		return octets
	}
	return make([]byte, n)
}

func (s *Scanner) length() int { return int(binary.LittleEndian.Uint32(s.fixed(4))) }

// spend takes n octets from what may be in memory.
func (s *Scanner) spend(n int) {
	if s.memory -= n; s.memory < 0 {
		s.fail(ErrMemory)
	}
}

// overhead is about what a value takes in memory beside its octets.
const overhead = 128

// scanProperty reads what is behind the tag: the name of a named property, then the value.
func (s *Scanner) scanProperty() {
	s.spend(overhead)
	if s.property.Tag.ID() >= mapi.FirstNamedID {
		s.property.Named = s.named()
	}
	if s.err != nil {
		return
	}
	t, codePage := typeOf(s.property.Tag, s.o.CodePage)
	s.property.Tag = s.property.Tag.WithType(t)
	v := s.scanValue(t, codePage)
	if s.err == nil {
		s.property.Value = v
	}
}

// idsetGiven says in its tag that it is an integer, and is octets: older clients would not know it otherwise,
// MS-OXCFXICS §3.2.5.2.1.
const idsetGiven mapi.Tag = 0x40170003

// typeOf returns the type of a value. That of a string can be its code page, MS-OXCFXICS §2.2.4.1.1.1.
func typeOf(tag mapi.Tag, codePage int) (mapi.Type, int) {
	const isCodePage = 0x8000
	t := tag.Type()
	switch {
	case tag == idsetGiven:
		return mapi.PtypBinary, 0
	case t&isCodePage == 0:
		return t, codePage
	case t == codepage.UTF8: // which has the bit itself
		return mapi.PtypString8, codepage.UTF8
	case t&^isCodePage == codepage.UTF16LE:
		return mapi.PtypString, 0
	}
	return mapi.PtypString8, int(t &^ isCodePage)
}

// named reads a namedPropInfo, MS-OXCFXICS §2.2.4.1.
func (s *Scanner) named() mapi.Named {
	n := mapi.Named{Set: mapi.GUID(s.fixed(16))}
	switch kind := s.fixed(1)[0]; kind {
	case 0:
		n.LID = uint32(s.length())
	case 1:
		n.Name = s.name()
	default:
		s.fail(fmt.Errorf("0x%02x is no kind of property name", kind))
	}
	if n.IsZero() {
		s.fail(errName)
	}
	return n
}

// name reads UTF-16 up to a NUL.
func (s *Scanner) name() string {
	var units []uint16
	for s.err == nil && len(units) <= nameMost {
		unit := binary.LittleEndian.Uint16(s.fixed(2))
		if unit == 0 {
			break
		}
		units = append(units, unit)
	}
	if len(units) == 0 || len(units) > nameMost {
		s.fail(errName)
	}
	s.spend(len(units) * 2)
	return string(utf16.Decode(units))
}

// scanValue reads a value, MS-OXCFXICS §2.2.4.1.
func (s *Scanner) scanValue(t mapi.Type, codePage int) mapi.Value {
	if t.IsMulti() {
		return s.multiple(t.Single(), codePage)
	}
	if size := fixedSize(t); size > 0 {
		return mapi.FixedValue(t, s.fixed(size))
	}
	switch t {
	case mapi.PtypString, mapi.PtypString8, mapi.PtypBinary, mapi.PtypObject, mapi.PtypServerId:
	default:
		s.fail(fmt.Errorf("%s: %w", t, mapi.ErrType))
		return nil
	}
	n := s.length()
	if n > s.o.ValueMost || n < 0 {
		return s.stream(t, codePage, int64(uint32(n)))
	}
	s.spend(n)
	return valueOf(t, s.take(n), codePage)
}

// fixedSize returns how many octets a value has in a stream, where a PtypBoolean has two.
func fixedSize(t mapi.Type) int {
	if t == mapi.PtypBoolean {
		return 2
	}
	return mapi.FixedSize(t)
}

// valueOf makes the value of its octets. A string has a NUL at its end, which some leave out.
func valueOf(t mapi.Type, octets []byte, codePage int) mapi.Value {
	if t == mapi.PtypServerId {
		return mapi.ServerID(octets)
	}
	return mapi.ValueOf(t, octets[:len(octets)-terminator(t, octets)], codePage)
}

// terminator returns how many octets the NUL at the end of a string has, and 0 if there is none.
func terminator(t mapi.Type, octets []byte) int {
	n := len(octets)
	switch {
	case t == mapi.PtypString && n >= 2 && n%2 == 0 && octets[n-1] == 0 && octets[n-2] == 0:
		return 2
	case t == mapi.PtypString8 && n >= 1 && octets[n-1] == 0:
		return 1
	}
	return 0
}

// multiple reads a count and that many values. Each takes some of the memory that is left, so a count that lies
// ends with the stream or with the memory.
func (s *Scanner) multiple(t mapi.Type, codePage int) mapi.Value {
	var values []mapi.Value
	for range uint32(s.length()) {
		s.spend(overhead)
		v := s.scanValue(t, codePage)
		if s.err != nil {
			return nil
		}
		if _, large := v.(mapi.Streamed); large {
			s.fail(errLarge)
			return nil
		}
		values = append(values, v)
	}
	v, err := mapi.NewMultiple(t, values)
	if err != nil {
		s.fail(err)
	}
	return v
}

// stream takes a large value to where it is kept.
func (s *Scanner) stream(t mapi.Type, codePage int, n int64) mapi.Value {
	if t == mapi.PtypServerId {
		s.fail(errLarge)
	}
	if s.err != nil {
		return nil
	}
	value := &exactly{r: s.r, left: n}
	content, err := s.o.Keep(value)
	s.at += n - value.left
	switch {
	case value.err != nil:
		err = value.err
	case err == nil && (value.left > 0 || content.Size != n):
		err = errSize
	}
	if err != nil {
		s.fail(err)
		return nil
	}
	if end := terminator(t, value.last[:]); end > 0 {
		content = shortened(content, n-int64(end))
	}
	return mapi.Streamed{Of: t, Content: content, CodePage: codePage}
}

// exactly reads as many octets as a value has: the end of the stream within them is an error. It
// remembers the last two.
type exactly struct {
	r    io.Reader
	left int64
	last [2]byte
	err  error
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	for _, octet := range p[max(0, n-2):n] {
		e.last = [2]byte{e.last[1], octet}
	}
	if err == io.EOF && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		e.err = err
	}
	return n, e.err
}

// shortened is the beginning of a content.
func shortened(c mapi.Content, size int64) mapi.Content {
	return mapi.Content{Size: size, Open: func() (io.ReadCloser, error) {
		r, err := c.Open()
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.LimitReader(r, size), r}, nil
	}}
}
