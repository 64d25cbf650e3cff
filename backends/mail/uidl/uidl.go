// Package uidl says what a unique-id is (RFC 1939 §7), and has the administrator's rule for those that
// clients remember from the POP3 server that was in this one's place: they are told again, so that
// nobody downloads all their mail once more.
//
//	none           there was none; the gateway makes its own
//	dovecot        %08Xu%08Xv, Dovecot's default
//	cyrus          %v.%u, Cyrus's default
//	uid            %u, Cyrus's "uidonly"
//	any text with %u or %v
//	               as in Dovecot's pop3_uidl_format: %u is the UID, %v the UIDVALIDITY, each
//	               with a width, 0 for zeros in front, and X for hexadecimal: %08Xu
//	header:NAME    the content of that header field, which a migration has written
//
// The forms with UID and UIDVALIDITY are for a mailbox that is still the same one, or was
// copied with its UIDs; the header field is for one whose messages were copied to new UIDs.
package uidl

import (
	"fmt"
	"strings"
)

// Rule is a rule. The zero value is "none".
type Rule struct {
	// Header is the header field that holds the unique-id; empty: it is not there.
	Header string
	pieces []piece
}

// piece is a text, or a variable.
type piece struct {
	text     string
	variable byte // 'u', 'v'; 0: the text
	width    int
	zeros    bool
	hex      bool
}

var named = map[string]string{"dovecot": "%08Xu%08Xv", "cyrus": "%v.%u", "uid": "%u"}

// Most is how many characters a unique-id can have (RFC 1939 §7).
const Most = 70

// Valid says whether a text can be a unique-id: 1 to 70 characters in the range 0x21 to 0x7E (RFC
// 1939 §7).
func Valid(text string) bool {
	if text == "" || len(text) > Most {
		return false
	}
	for i := range len(text) {
		if text[i] < 0x21 || text[i] > 0x7E {
			return false
		}
	}
	return true
}

// Parse reads a rule. The error says what was expected.
func Parse(text string) (Rule, error) {
	if text == "" || text == "none" {
		return Rule{}, nil
	}
	if name, ok := strings.CutPrefix(text, "header:"); ok {
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return Rule{}, fmt.Errorf("header: wants the name of a field behind it, such as header:X-UIDL")
		}
		return Rule{Header: name}, nil
	}
	format := text
	if long, ok := named[text]; ok {
		format = long
	}
	r, err := parseFormat(format)
	if err != nil {
		return Rule{}, err
	}
	if !r.has('u') {
		return Rule{}, fmt.Errorf("expected none, dovecot, cyrus, uid, header:NAME, or a text with %%u in it")
	}
	return r, nil
}

func parseFormat(format string) (Rule, error) {
	var r Rule
	for format != "" {
		before, rest, found := strings.Cut(format, "%")
		if before != "" {
			r.pieces = append(r.pieces, piece{text: before})
		}
		if !found {
			break
		}
		p, after, err := parseVariable(rest)
		if err != nil {
			return r, err
		}
		r.pieces = append(r.pieces, p)
		format = after
	}
	return r, nil
}

// parseVariable reads what follows a percent sign: [0][width][X]u.
func parseVariable(text string) (piece, string, error) {
	var p piece
	if rest, ok := strings.CutPrefix(text, "0"); ok {
		p.zeros, text = true, rest
	}
	for text != "" && text[0] >= '0' && text[0] <= '9' && p.width < Most {
		p.width = p.width*10 + int(text[0]-'0')
		text = text[1:]
	}
	if rest, ok := strings.CutPrefix(text, "X"); ok {
		p.hex, text = true, rest
	}
	if text == "" || text[0] != 'u' && text[0] != 'v' || p.width > Most/2 {
		return p, "", fmt.Errorf("expected %%u or %%v, as %%08Xu at the most; nothing else can be told of a message here")
	}
	p.variable = text[0]
	return p, text[1:], nil
}

func (r Rule) has(variable byte) bool {
	for _, p := range r.pieces {
		if p.variable == variable {
			return true
		}
	}
	return false
}

// NeedsUID says whether Of makes anything of a UID.
func (r Rule) NeedsUID() bool { return len(r.pieces) > 0 }

// Of makes the unique-id of a message by its UID; empty where the rule needs the header, or is
// "none".
func (r Rule) Of(uid, validity uint32) string {
	var b strings.Builder
	for _, p := range r.pieces {
		b.WriteString(p.of(uid, validity))
	}
	return b.String()
}

func (p piece) of(uid, validity uint32) string {
	value := uid
	switch p.variable {
	case 0:
		return p.text
	case 'v':
		value = validity
	}
	digits := fmt.Sprint(value)
	if p.hex {
		digits = fmt.Sprintf("%x", value)
	}
	fill := " "
	if p.zeros {
		fill = "0"
	}
	return strings.Repeat(fill, max(0, p.width-len(digits))) + digits
}

// FromHeader finds the unique-id in a header, or a part of one, that has the rule's field. The
// first of several counts. What cannot be a unique-id is left out.
func (r Rule) FromHeader(header []byte) string {
	unfolded := strings.NewReplacer("\r\n ", " ", "\r\n\t", " ", "\n ", " ", "\n\t", " ").Replace(string(header))
	for line := range strings.Lines(unfolded) {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !strings.EqualFold(strings.TrimRight(name, " \t"), r.Header) {
			continue
		}
		return FromValue(value)
	}
	return ""
}

// FromValue is the unique-id in a header field's value; empty where it cannot be one.
func FromValue(value string) string {
	if value = strings.TrimSpace(value); Valid(value) {
		return value
	}
	return ""
}
