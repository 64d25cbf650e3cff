package ews

import (
	"slices"
	"strings"
	"unicode/utf8"
)

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
