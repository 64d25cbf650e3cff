package ews

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
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
