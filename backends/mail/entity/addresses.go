package entity

import (
	"strings"
)

// Address is one mailbox of a header field. Groups are dissolved.
type Address struct {
	Name    string // decoded, without quotes; "" without one
	Address string // as it came: it need not be one that [address.Parse] reads
}

// ParseAddresses reads a list of addresses (RFC 5322 §3.4) as leniently as it can: whatever stands in
// the field is in one of the addresses. A name with a comma that lacks its quotes is one name.
func ParseAddresses(value string) []Address {
	p := addressParser{rest: Text(value)}
	for p.rest != "" {
		p.next()
	}
	p.finish()
	if p.name != "" { // a name that no address follows
		p.list = append(p.list, Address{p.name, p.name})
	}
	return p.list
}

// literalMost is longer than any address literal.
const literalMost = 100

// addressParser has the mailbox that is being read.
type addressParser struct {
	rest    string
	list    []Address
	name    string   // of mailboxes before, which had no address
	phrase  []string // words, without quotes
	bare    strings.Builder
	angle   string
	is      bool // angle is there
	comment string
}

func (p *addressParser) next() {
	switch c := p.rest[0]; c {
	case ' ', '\t', '\r', '\n':
		p.rest = p.rest[1:]
	case '"':
		content, rest := cutQuoted(p.rest)
		p.word(content, p.rest[:len(p.rest)-len(rest)])
		p.rest = rest
	case '(':
		p.comment, p.rest = cutComment(p.rest)
	case '<':
		p.angle, p.rest = cutAngle(p.rest)
		p.is = true
	case ',', ';':
		p.rest = p.rest[1:]
		p.finish()
	case ':': // what is in front is a group's name
		p.rest = p.rest[1:]
		p.phrase = nil
		p.bare.Reset()
	default:
		end := strings.IndexAny(p.rest, " \t\r\n\"(<,;:")
		if end < 0 {
			end = len(p.rest)
		}
		if literal := strings.IndexByte(p.rest[:end], '['); literal >= 0 { // RFC 5321 §4.1.3 has colons in it
			most := min(len(p.rest), literal+literalMost)
			if closing := strings.IndexByte(p.rest[literal:most], ']'); closing >= 0 {
				end = max(end, literal+closing+1)
			}
		}
		p.word(p.rest[:end], p.rest[:end])
		p.rest = p.rest[end:]
	}
}

// word takes a word of a name, or a piece of an address that has no brackets.
func (p *addressParser) word(content, raw string) {
	p.phrase = append(p.phrase, content)
	p.bare.WriteString(raw)
}

// finish ends a mailbox.
func (p *addressParser) finish() {
	name := DecodeWords(strings.Join(p.phrase, " "))
	bare := p.bare.String()
	before := p.name
	p.name = ""
	switch {
	case p.is:
		if before != "" {
			name = strings.TrimSpace(before + ", " + name)
		}
		p.list = append(p.list, Address{name, p.angle})
	case strings.Contains(bare, "@"):
		if before != "" {
			p.list = append(p.list, Address{before, before})
		}
		p.list = append(p.list, Address{DecodeWords(p.comment), bare})
	case name != "" && before != "":
		p.list = append(p.list, Address{before, before})
		p.name = name
	default:
		p.name = before + name
	}
	p.phrase, p.angle, p.is, p.comment = nil, "", false, ""
	p.bare.Reset()
}

// cutAngle cuts an address in angle brackets off, and leaves a source route out (RFC 5322 §4.4).
func cutAngle(s string) (addr, rest string) {
	var b strings.Builder
	for s = s[1:]; s != ""; {
		switch s[0] {
		case '>':
			return routeless(b.String()), s[1:]
		case '"':
			_, after := cutQuoted(s)
			b.WriteString(s[:len(s)-len(after)])
			s = after
			continue
		case ' ', '\t', '\r', '\n':
		default:
			b.WriteByte(s[0])
		}
		s = s[1:]
	}
	return routeless(b.String()), ""
}

func routeless(addr string) string {
	if strings.HasPrefix(addr, "@") {
		if _, after, is := strings.Cut(addr, ":"); is {
			return after
		}
	}
	return addr
}

// FormatAddresses writes a field that is a list of addresses, one a line, with its line end.
func FormatAddresses(name string, list []Address) string {
	written := make([]string, 0, len(list))
	for _, a := range list {
		written = append(written, a.String())
	}
	return name + ": " + strings.Join(written, ",\r\n ") + "\r\n"
}

// addressMost is more than any address has (RFC 5321 §4.5.3.1), encapsulated ones included.
const addressMost = 900

// lineStart is how much room a field's name needs in front of an address.
const lineStart = 30

// String returns the address as it stands in a field, RFC 5322 §3.4. The local part is ASCII or SMTPUTF8's.
func (a Address) String() string {
	addr := strings.NewReplacer("<", "", ">", "", "\r", "", "\n", "", "\x00", "").Replace(a.Address)
	switch {
	case len(addr) > addressMost: // no line has room for it
		return EncodeWords(strings.TrimSpace(a.Name+" "+addr), lineStart) + "\r\n <>"
	case a.Name == "":
		return "<" + addr + ">"
	case !isPrintable(a.Name) || strings.Contains(a.Name, "=?") || len(a.Name) > lineMost-len(addr)-10:
		return EncodeWords(a.Name, lineStart) + "\r\n <" + addr + ">"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.Name) + `" <` + addr + ">"
}
