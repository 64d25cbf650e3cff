package htmltext

import (
	"bufio"
	"errors"
	"html"
	"io"
	"strings"
)

// tagMost is how much of a tag is looked at. What is longer has a picture in its address.
const tagMost = 8 << 10

// tag is a tag of HTML, with the attributes that count here.
type tag struct {
	name    string // in lower case
	closing bool
	text    string // what stands behind the name
}

// attribute returns the value of an attribute, and "" without one.
func (t tag) attribute(name string) string {
	rest := t.text
	for rest != "" {
		rest = strings.TrimLeft(rest, " \t\r\n\f/")
		end := strings.IndexAny(rest, "= \t\r\n\f/")
		if end < 0 {
			return ""
		}
		found := rest[:end]
		rest = strings.TrimLeft(rest[end:], " \t\r\n\f")
		assigned, is := strings.CutPrefix(rest, "=")
		if !is {
			continue
		}
		var value string
		value, rest = cutValue(strings.TrimLeft(assigned, " \t\r\n\f"))
		if strings.EqualFold(found, name) {
			return html.UnescapeString(value)
		}
		if found == "" && value == "" {
			return "" // nothing that can be read
		}
	}
	return ""
}

func cutValue(s string) (value, rest string) {
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		value, rest, _ = strings.Cut(s[1:], s[:1])
		return value, rest
	}
	end := strings.IndexAny(s, " \t\r\n\f")
	if end < 0 {
		return s, ""
	}
	return s[:end], s[end:]
}

// scanner reads HTML.
type scanner struct{ r *bufio.Reader }

// referenceMost is longer than any character reference, HTML §13.5.
const referenceMost = 40

// next gives the next piece: a character or some, or a tag. At the end it returns io.EOF.
func (s *scanner) next() (text string, t *tag, err error) {
	r, size, err := s.r.ReadRune()
	switch {
	case err != nil:
		return "", nil, err
	case r == '&':
		return s.reference(), nil, nil
	case r == '<':
		return s.markup()
	case r == '\uFFFD' && size == 1:
		return "\uFFFD", nil, nil
	}
	return string(r), nil, nil
}

// reference reads a character reference, behind its ampersand. One that is none is text.
func (s *scanner) reference() string {
	ahead, _ := s.r.Peek(referenceMost) // an error comes again
	end := 0
	for end < len(ahead) && (ahead[end] == '#' || 'a' <= ahead[end]|0x20 && ahead[end]|0x20 <= 'z' || '0' <= ahead[end] && ahead[end] <= '9') {
		end++
	}
	if end < len(ahead) && ahead[end] == ';' {
		end++
	}
	written := "&" + string(ahead[:end])
	_, _ = s.r.Discard(end) // is buffered
	return html.UnescapeString(written)
}

// markup reads what is behind a "<", HTML §13.2.5.6.
func (s *scanner) markup() (string, *tag, error) {
	ahead, _ := s.r.Peek(3)
	switch {
	case strings.HasPrefix(string(ahead), "!--"):
		return "", nil, s.skip("-->")
	case len(ahead) > 0 && (ahead[0] == '!' || ahead[0] == '?'):
		return "", nil, s.skip(">")
	case len(ahead) > 0 && isLetter(ahead[0]), len(ahead) > 1 && ahead[0] == '/' && isLetter(ahead[1]):
		t, err := s.tag()
		return "", t, err
	}
	return "<", nil, nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// skip skips up to the end of a comment or the like. One that has no end is the rest.
func (s *scanner) skip(end string) error {
	var last []byte
	for {
		c, err := s.r.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if last = append(last, c); len(last) > len(end) {
			last = append(last[:0], last[1:]...)
		}
		if string(last) == end {
			return nil
		}
	}
}

// tag reads a tag to its end. In a value in quotes there may be a ">".
func (s *scanner) tag() (*tag, error) {
	var text []byte
	quote, before := byte(0), byte(0)
	for {
		c, err := s.r.ReadByte()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if err != nil || quote == 0 && c == '>' {
			return parseTag(string(text)), nil
		}
		switch {
		case quote == 0 && (c == '"' || c == '\'') && before == '=':
			quote = c
		case c == quote:
			quote = 0
		}
		if len(text) < tagMost {
			text = append(text, c)
		}
		if c > ' ' {
			before = c
		}
	}
}

func parseTag(text string) *tag {
	name, closing := strings.CutPrefix(text, "/")
	end := strings.IndexAny(name, " \t\r\n\f/")
	if end < 0 {
		end = len(name)
	}
	return &tag{name: strings.ToLower(name[:end]), closing: closing, text: name[end:]}
}

// raw skips what is in an element whose content is no HTML (HTML §13.2.5.2), up to its end tag.
func (s *scanner) raw(name string) error {
	end := "</" + name
	matched := 0
	for matched < len(end) {
		c, err := s.r.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case c == end[matched], matched > 1 && c|0x20 == end[matched]:
			matched++
		case c == '<':
			matched = 1
		default:
			matched = 0
		}
	}
	return s.skip(">")
}
