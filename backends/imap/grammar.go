package imap

import (
	"strconv"
	"strings"
)

// fetchText is the text of a FETCH response that is read by its grammar (RFC 9051 §9, msg-att), with
// blanks wherever a server may put them.
type fetchText struct{ rest string }

// readFetch reads "(" item item … ")", or from a content to the next one or the end. False: it does
// not keep to the grammar.
func readFetch(text string, first, end bool) (items fetchItems, ok bool) {
	items.size = -1
	t := fetchText{text}
	t.blanks()
	if first && !t.skip('(') {
		return items, false
	}
	for {
		t.blanks()
		switch {
		case t.rest == "":
			return items, !end
		case t.skip(')'):
			t.blanks()
			return items, end && t.rest == ""
		}
		name, section, origin := t.name()
		t.blanks()
		if name == "BODY[]" && strings.HasPrefix(t.rest, ")") {
			// QUIRK: of a part that begins at the message's end GNU Mailutils says no value at all.
			items.set(name, section, origin, "NIL")
			continue
		}
		value, ok := t.value()
		if name == "" || !ok || !items.set(name, section, origin, value) {
			return items, false
		}
	}
}

func (t *fetchText) blanks() { t.rest = strings.TrimLeft(t.rest, " \t") }

func (t *fetchText) skip(c byte) bool {
	found := t.rest != "" && t.rest[0] == c
	if found {
		t.rest = t.rest[1:]
	}
	return found
}

// name reads an item's name; empty: there is none. What belongs to BODY[section]<origin> comes apart.
func (t *fetchText) name() (name, section, origin string) {
	n := strings.IndexAny(t.rest, " \t()\"[")
	if n < 0 {
		n = len(t.rest)
	}
	name, t.rest = strings.ToUpper(t.rest[:n]), t.rest[n:]
	if name == "" || name[0] < 'A' || name[0] > 'Z' {
		return "", "", ""
	}
	if t.skip('[') {
		var found bool
		if section, t.rest, found = strings.Cut(t.rest, "]"); !found {
			return "", "", ""
		}
		name += "[]"
		if end := strings.IndexByte(t.rest, '>'); strings.HasPrefix(t.rest, "<") && end > 0 {
			origin, t.rest = t.rest[:end+1], t.rest[end+1:]
		}
	}
	return name, section, origin
}

// value reads a list, a string or an atom. A value that is the name of an item is none.
func (t *fetchText) value() (string, bool) {
	n := 0
	switch {
	case t.rest == "":
		return "", false
	case t.rest[0] == '(':
		n = listEnd(t.rest)
	case t.rest[0] == '"':
		n = stringEnd(t.rest)
	default:
		if n = strings.IndexAny(t.rest, " \t()\""); n < 0 {
			n = len(t.rest)
		}
	}
	value := t.rest[:n]
	t.rest = t.rest[n:]
	switch strings.ToUpper(value) {
	case "", "UID", "FLAGS", "RFC822.SIZE", "INTERNALDATE", "MODSEQ":
		return "", false
	}
	return value, true
}

// stringEnd is the length of the quoted string that a text begins with; 0: it has no end.
func stringEnd(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// listEnd is the length of the list that a text begins with; 0: it has no end.
func listEnd(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			n := stringEnd(text[i:])
			if n == 0 {
				return 0
			}
			i += n - 1
		}
	}
	return 0
}

// set takes an item in. False: it is one that ends the grammar, not one whose value is odd.
func (i *fetchItems) set(name, section, origin, value string) bool {
	switch name {
	case "UID":
		uid := uidOf(value)
		if uid == 0 || i.uid != 0 && i.uid != uid {
			return false
		}
		i.uid = uid
	case "RFC822.SIZE":
		if size, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 64); err == nil && size >= 0 {
			i.size = size
		}
	case "FLAGS":
		if value[0] == '(' || strings.EqualFold(value, "NIL") {
			i.flagsOf(value)
		}
	case "INTERNALDATE":
		i.date = dateOf(strings.Trim(value, `"`))
	case "BODY[]", "BODY.PEEK[]":
		body := fetchBody{section: canonicalSection(section, origin), null: strings.EqualFold(value, "NIL")}
		if !body.null && value[0] != '"' {
			return false
		}
		if !body.null {
			body.octets = []byte(escaped.ReplaceAllString(value[1:len(value)-1], "$1"))
		}
		if body.section != "" {
			i.bodies = append(i.bodies, body)
		}
	}
	return true
}
