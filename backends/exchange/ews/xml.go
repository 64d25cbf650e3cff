package ews

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a reply.
const (
	depthMost      = 64       // elements in each other
	attributesMost = 64       // of one element
	nameMost       = 256      // octets of a name
	valueMost      = 64 << 10 // octets of the attributes of one element
	referenceMost  = 12       // octets of "&#x10FFFF;"
	windowSize     = 32 << 10
)

// ErrXML says that a reply is not the XML that it must be.
var ErrXML = errors.New("the reply is not well-formed XML")

func wrongXML(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrXML, fmt.Sprintf(format, args...))
}

// name is an element's name, with the namespace that its prefix stands for.
type name struct{ space, local string }

// attribute is one of an element. Attributes of this protocol have no namespace.
type attribute struct{ name, value string }

// scanner reads XML element by element, and the text of one element as a stream: encoding/xml keeps a text whole in memory, however
// long it is. It reads UTF-8 alone, and no document type declaration, so that there are no entities but the five of XML itself
// (XML 1.0 §4.6). What a program can make nothing of is passed over: comments, processing instructions, and text between elements.
//
// QUIRK: servers write characters that XML 1.0 does not allow (§2.2) as references, such as &#x1F;, where a message has them. They are
// read as U+FFFD.
type scanner struct {
	src        *bufio.Reader
	open       []element
	bindings   []binding
	name       name        // of the element that was begun, or has ended, last
	attributes []attribute // of the element that was begun last
	empty      bool        // it has no content, and its end comes next
	begun      bool        // the root was
	marked     bool        // a byte order mark was looked for
	cdata      bool        // the text that is being read is in a CDATA section
}

// element is one that was begun and has not ended.
type element struct {
	raw  string // as it is written
	name name
	own  int // bindings that there were before it
}

// binding is what a prefix stands for.
type binding struct{ prefix, space string }

func newScanner(r io.Reader) *scanner {
	return &scanner{src: bufio.NewReaderSize(r, windowSize)}
}

// depth is how many elements are open.
func (s *scanner) depth() int { return len(s.open) }

// next goes to where the next element begins or the one that is open ends, and says which. After the root it returns io.EOF. Behind
// the beginning of an element come its children, or one of text, stream and leave.
func (s *scanner) next() (begins bool, err error) {
	if s.empty {
		s.empty = false
		s.pop()
		return false, nil
	}
	for {
		if err := s.toMarkup(); err != nil {
			return false, err
		}
		switch c, err := s.peek(); {
		case err != nil:
			return false, err
		case c == '/':
			return false, s.endTag()
		case c == '!' || c == '?':
			if err := s.passOver(); err != nil {
				return false, err
			}
		default:
			return true, s.startTag()
		}
	}
}

// toMarkup passes text over, and the < behind it.
func (s *scanner) toMarkup() error {
	if !s.marked {
		s.marked = true
		if mark, _ := s.src.Peek(3); string(mark) == "\ufeff" {
			_, _ = s.src.Discard(len(mark))
		}
	}
	for {
		window, err := s.window()
		if err == io.EOF && s.begun && len(s.open) == 0 {
			return io.EOF
		} else if err != nil {
			return ended(err)
		}
		at := bytes.IndexByte(window, '<')
		text := window
		if at >= 0 {
			text = window[:at]
		}
		if len(s.open) == 0 && len(bytes.Trim(text, " \t\r\n")) > 0 {
			return wrongXML("text outside of the root")
		}
		if at >= 0 {
			_, err = s.src.Discard(at + 1)
			return err
		}
		_, _ = s.src.Discard(len(window))
	}
}

// window is what has come and was not read.
func (s *scanner) window() ([]byte, error) {
	if s.src.Buffered() == 0 {
		if _, err := s.src.Peek(1); err != nil {
			return nil, err
		}
	}
	return s.src.Peek(s.src.Buffered())
}

func (s *scanner) peek() (byte, error) {
	c, err := s.src.Peek(1)
	if err != nil {
		return 0, ended(err)
	}
	return c[0], nil
}

// ended is what the end of a reply means within it.
func ended(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// passOver passes what begins with <! or <? over, but for a CDATA section, which becomes text.
func (s *scanner) passOver() error {
	head, err := s.src.Peek(8)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case bytes.HasPrefix(head, []byte("!--")):
		_, _ = s.src.Discard(3)
		return s.until("-->", nil)
	case string(head) == "![CDATA[":
		_, _ = s.src.Discard(8)
		if len(s.open) == 0 {
			return wrongXML("text outside of the root")
		}
		return s.until("]]>", nil)
	case bytes.HasPrefix(head, []byte("?")):
		return s.instruction()
	}
	if err == io.EOF && (strings.HasPrefix("!--", string(head)) || strings.HasPrefix("![CDATA[", string(head))) {
		return io.ErrUnexpectedEOF
	}
	return wrongXML("a document type declaration")
}

// declarationMost is how much of a processing instruction is looked at.
const declarationMost = 256

// instruction reads a processing instruction. The encoding that an XML declaration names has to be UTF-8.
func (s *scanner) instruction() error {
	var text []byte
	if err := s.until("?>", func(p []byte) { text = append(text, p[:min(len(p), declarationMost-len(text))]...) }); err != nil {
		return err
	}
	declaration, is := strings.CutPrefix(string(text), "?xml ")
	_, encoding, found := strings.Cut(declaration, "encoding")
	if !is || !found {
		return nil
	}
	switch encoding = strings.ToLower(strings.Trim(encoding, " \t\r\n='\"")); {
	case strings.HasPrefix(encoding, "utf-8"), strings.HasPrefix(encoding, "us-ascii"):
		return nil
	}
	return wrongXML("it is written in %.20q", encoding)
}

// until reads to the end of a mark, and gives what is before it to text.
func (s *scanner) until(mark string, text func([]byte)) error {
	for {
		window, err := s.src.Peek(max(s.src.Buffered(), len(mark)))
		if len(window) < len(mark) {
			return ended(err)
		}
		at := bytes.Index(window, []byte(mark))
		n, skip := at, at+len(mark)
		if at < 0 {
			n = len(window) - len(mark) + 1
			skip = n
		}
		if text != nil {
			text(window[:n])
		}
		if _, err := s.src.Discard(skip); at >= 0 || err != nil {
			return err
		}
	}
}

// word reads a name.
func (s *scanner) word() (string, error) {
	var text []byte
	for {
		c, err := s.peek()
		if err != nil {
			return "", err
		}
		if strings.IndexByte(" \t\r\n/>=", c) >= 0 {
			break
		}
		if strings.IndexByte("<&'\"!?;", c) >= 0 || len(text) == nameMost {
			return "", wrongXML("a name that is none")
		}
		text = append(text, c)
		_, _ = s.src.Discard(1)
	}
	if len(text) == 0 || !utf8.Valid(text) {
		return "", wrongXML("a name that is none")
	}
	return string(text), nil
}

// space passes white space over, and returns what is behind it.
func (s *scanner) space() (byte, error) {
	for {
		c, err := s.peek()
		if err != nil || strings.IndexByte(" \t\r\n", c) < 0 {
			return c, err
		}
		_, _ = s.src.Discard(1)
	}
}

// startTag reads the tag behind its <.
func (s *scanner) startTag() error {
	if s.begun && len(s.open) == 0 || len(s.open) == depthMost {
		return wrongXML("a second root, or elements that are nested too deep")
	}
	raw, err := s.word()
	if err != nil {
		return err
	}
	e := element{raw: raw, own: len(s.bindings)}
	s.attributes = s.attributes[:0]
	for room, count := valueMost, 0; ; count++ {
		c, err := s.space()
		if err != nil {
			return err
		}
		if c == '>' || c == '/' {
			break
		}
		if count == attributesMost {
			return wrongXML("an element with more than %d attributes", attributesMost)
		}
		if room, err = s.attribute(room); err != nil {
			return err
		}
	}
	c, _ := s.src.ReadByte()
	if c == '/' {
		if err := s.closing(); err != nil {
			return err
		}
		s.empty = true
	}
	if e.name, err = s.resolve(raw); err != nil {
		return err
	}
	s.name, s.begun, s.open = e.name, true, append(s.open, e)
	return nil
}

// closing reads the end of a tag.
func (s *scanner) closing() error {
	c, err := s.space()
	switch {
	case err != nil:
		return err
	case c != '>':
		return wrongXML("a tag that does not end")
	}
	_, err = s.src.Discard(1)
	return err
}

// attribute reads an attribute, and returns how much room is left for others.
func (s *scanner) attribute(room int) (int, error) {
	key, err := s.word()
	if err != nil {
		return 0, err
	}
	equals, err := s.space()
	if err == nil && equals == '=' {
		_, _ = s.src.Discard(1)
	}
	quote, err := s.space()
	if err != nil {
		return 0, err
	}
	if equals != '=' || quote != '"' && quote != '\'' {
		return 0, wrongXML("an attribute without a value")
	}
	_, _ = s.src.Discard(1)
	value, err := s.quoted(quote, room)
	if err != nil {
		return 0, err
	}
	prefix, local, qualified := strings.Cut(key, ":")
	switch {
	case key == "xmlns":
		s.bindings = append(s.bindings, binding{"", value})
	case qualified && prefix == "xmlns":
		s.bindings = append(s.bindings, binding{local, value})
	case !qualified:
		s.attributes = append(s.attributes, attribute{key, value})
	}
	return room - len(key) - len(value), nil
}

// quoted reads to the end of an attribute's value.
func (s *scanner) quoted(quote byte, room int) (string, error) {
	var text []byte
	for {
		c, err := s.src.ReadByte()
		switch {
		case err != nil:
			return "", ended(err)
		case c == quote:
			return strings.ToValidUTF8(string(text), "\ufffd"), nil
		case len(text) >= room:
			return "", wrongXML("an element with attributes of more than %d octets", valueMost)
		case c == '<':
			return "", wrongXML("a value that does not end")
		case c == '&':
			if text, err = s.reference(text); err != nil {
				return "", err
			}
		default:
			text = append(text, c)
		}
	}
}

// resolve finds the namespace of a name.
func (s *scanner) resolve(raw string) (name, error) {
	prefix, local, qualified := strings.Cut(raw, ":")
	if !qualified {
		prefix, local = "", raw
	}
	for _, b := range slices.Backward(s.bindings) {
		if b.prefix == prefix {
			return name{b.space, local}, nil
		}
	}
	if qualified {
		return name{}, wrongXML("the prefix %.40q, which stands for nothing", prefix)
	}
	return name{"", local}, nil
}

// endTag reads the tag behind its <.
func (s *scanner) endTag() error {
	_, _ = s.src.Discard(1)
	raw, err := s.word()
	if err != nil {
		return err
	}
	if err := s.closing(); err != nil {
		return err
	}
	if len(s.open) == 0 || s.open[len(s.open)-1].raw != raw {
		return wrongXML("the end of %.40q, which is not open", raw)
	}
	s.pop()
	return nil
}

func (s *scanner) pop() {
	e := s.open[len(s.open)-1]
	s.open, s.bindings, s.name = s.open[:len(s.open)-1], s.bindings[:e.own], e.name
}

// reference reads a reference behind its &, and appends what it stands for (XML 1.0 §4.1).
func (s *scanner) reference(text []byte) ([]byte, error) {
	var word []byte
	for {
		c, err := s.src.ReadByte()
		if err != nil {
			return nil, ended(err)
		}
		if c == ';' {
			break
		}
		if word = append(word, c); len(word) == referenceMost {
			return nil, wrongXML("a reference that does not end")
		}
	}
	if plain, known := entities[string(word)]; known {
		return append(text, plain), nil
	}
	digits, is := strings.CutPrefix(string(word), "#")
	base := 10
	if hex, isHex := strings.CutPrefix(digits, "x"); isHex {
		digits, base = hex, 16
	}
	number, err := strconv.ParseUint(digits, base, 32)
	if !is || err != nil {
		return nil, wrongXML("the reference %.20q", word)
	}
	r := rune(number)
	if number > utf8.MaxRune || number < ' ' && r != '\t' && r != '\n' && r != '\r' {
		r = utf8.RuneError
	}
	return utf8.AppendRune(text, r), nil
}

// entities are those that there are without a document type, XML 1.0 §4.6.
var entities = map[string]byte{"lt": '<', "gt": '>', "amp": '&', "apos": '\'', "quot": '"'}

// attr is an attribute of the element that was begun last.
func (s *scanner) attr(key string) string {
	for _, a := range s.attributes {
		if a.name == key {
			return a.value
		}
	}
	return ""
}

// leave goes behind the end of elements, until so many are open.
func (s *scanner) leave(depth int) error {
	if s.cdata { // a text was not read to its end
		s.cdata = false
		if err := s.until("]]>", nil); err != nil {
			return err
		}
	}
	for len(s.open) > depth {
		if _, err := s.next(); err != nil {
			return ended(err)
		}
	}
	return nil
}

// text reads the text of the element that was begun, to behind its end. The element must have no other in it.
func (s *scanner) text(most int) (string, error) {
	octets, err := io.ReadAll(io.LimitReader(s.stream(), int64(most)+1))
	switch {
	case err != nil:
		return "", err
	case len(octets) > most:
		return "", wrongXML("the element %.40q has more than %d octets", s.name.local, most)
	}
	return strings.ToValidUTF8(string(octets), "\ufffd"), nil
}

// stream gives the text of the element that was begun. Its end is io.EOF, and then the element has ended, too.
func (s *scanner) stream() io.Reader { return &textStream{s: s, depth: len(s.open)} }

type textStream struct {
	s     *scanner
	depth int
	left  []byte // of a reference
	err   error
}

// Read implements [io.Reader].
func (t *textStream) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for n == 0 && t.err == nil {
		n = copy(p, t.left)
		if t.left = t.left[n:]; n == 0 {
			n, t.err = t.more(p)
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, t.err
}

// more reads text up to the next markup, or what that is.
func (t *textStream) more(p []byte) (int, error) {
	s := t.s
	if len(s.open) < t.depth || s.empty {
		return 0, s.endEmpty(t.depth)
	}
	window, err := s.window()
	if err != nil {
		return 0, ended(err)
	}
	if s.cdata {
		return t.section(p)
	}
	window = window[:min(len(window), len(p))]
	if at := bytes.IndexAny(window, "<&"); at != 0 {
		if at > 0 {
			window = window[:at]
		}
		n := copy(p, window)
		_, err := s.src.Discard(n)
		return n, err
	}
	markup := window[0]
	_, _ = s.src.Discard(1)
	if markup == '&' {
		t.left, err = s.reference(nil)
		return 0, err
	}
	return 0, t.markup()
}

// endEmpty ends an element that has no content, once.
func (s *scanner) endEmpty(depth int) error {
	if s.empty && len(s.open) == depth {
		s.empty = false
		s.pop()
	}
	return io.EOF
}

// markup reads what stands between texts: the end of the element, or what is passed over.
func (t *textStream) markup() error {
	s := t.s
	c, err := s.peek()
	switch {
	case err != nil:
		return err
	case c == '/':
		if err := s.endTag(); err != nil {
			return err
		}
		return io.EOF
	case c != '!' && c != '?':
		return wrongXML("an element where the text of %.40q goes on", s.name.local)
	}
	if head, _ := s.src.Peek(8); string(head) == "![CDATA[" {
		_, _ = s.src.Discard(8)
		s.cdata = true
		return nil
	}
	return s.passOver()
}

// section reads text of a CDATA section, XML 1.0 §2.7.
func (t *textStream) section(p []byte) (int, error) {
	const mark = "]]>"
	s := t.s
	window, err := s.src.Peek(max(s.src.Buffered(), len(mark)))
	if len(window) < len(mark) {
		return 0, ended(err)
	}
	window = window[:min(len(window), len(p)+len(mark))]
	at := bytes.Index(window, []byte(mark))
	switch {
	case at == 0:
		s.cdata = false
		_, err = s.src.Discard(len(mark))
		return 0, err
	case at < 0:
		at = len(window) - len(mark) + 1
	}
	n := copy(p, window[:at])
	_, err = s.src.Discard(n)
	return n, err
}
