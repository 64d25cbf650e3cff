package ews

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

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
