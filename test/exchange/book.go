package exchange

import (
	"net/http"
	"slices"
	"strings"
)

// bookPath is that of the address book's end point.
const bookPath = "/mapi/nspi/"

// stateSize is that of a STAT, MS-OXNSPI §2.2.8.
const stateSize = 36

// bind makes a session context for the address book, MS-OXCMAPIHTTP §2.2.5.1.
func (s *Server) bind(w http.ResponseWriter, user *Mailbox, body []byte) (int, []byte) {
	if len(body) != 4+1+stateSize+4 || body[4] != 0xFF {
		s.wrong("send a Bind of %d octets", len(body))
		return invalidBody, nil
	}
	s.give(w, &context{mailbox: user, book: true}, bookPath)
	return succeeded, append(append(words(0, 0), make([]byte, 16)...), words(0)...) // the GUID of the server
}

// dispatchBook does what is asked of the address book.
func (s *Server) dispatchBook(kind string, r *http.Request, body []byte) (int, []byte) {
	switch kind {
	case "ResolveNames":
		return s.resolveNames(body)
	case "Unbind":
		if len(body) != 8 {
			s.wrong("send an Unbind of %d octets", len(body))
			return invalidBody, nil
		}
		cookie, _ := r.Cookie(contextCookie)
		delete(s.contexts, cookie.Value)
		return succeeded, words(0, 1, 0) // UnbindSuccess, MS-OXNSPI §2.2.1.2
	}
	s.wrong("send a %s to the address book", kind)
	return invalidType, nil
}

// Properties of an entry of the address book.
const (
	tagEmailAddress = 0x3003001F // the distinguished name
	tagSMTPAddress  = 0x39FE001F
	tagProxies      = 0x800F101F
	tagDelegates    = 0x8015101F
)

// resolveNames finds entries by address, MS-OXCMAPIHTTP §2.2.5.14.
func (s *Server) resolveNames(body []byte) (int, []byte) {
	in := cursor{octets: body}
	in.take(4 + 1 + stateSize) // Reserved, HasState, State
	if in.u8() != 0xFF {
		s.wrong("ask for no columns")
		return invalidBody, nil
	}
	var columns []uint32
	for range min(in.u32(), 100) {
		columns = append(columns, in.u32())
	}
	in.u8() // HasNames
	outcomes, rows, n := []byte{}, []byte{}, uint32(0)
	count := min(in.u32(), 100)
	for range count {
		outcome := uint32(0)
		if one := s.entry(in.wide()); one != nil {
			outcome, rows, n = 2, append(rows, entryRow(one, columns)...), n+1
		}
		outcomes = append(outcomes, words(outcome)...)
	}
	if in.u32(); in.short || len(in.octets) > 0 { // AuxiliaryBufferSize
		s.wrong("send a ResolveNames whose sizes lie")
		return invalidBody, nil
	}
	out := append(append(words(0, 0, 1200), 0xFF), words(count)...)
	out = append(append(out, outcomes...), 0xFF)
	out = append(append(out, words(uint32(len(columns)))...), words(columns...)...)
	return succeeded, append(append(append(out, words(n)...), rows...), words(0)...)
}

// entry finds the mailbox of an address.
func (s *Server) entry(name string) *Mailbox {
	for _, m := range s.mailboxes {
		if strings.EqualFold(name, "=SMTP:"+m.User) || strings.EqualFold(name, "="+m.DN) || slices.ContainsFunc(m.OldDNs, func(dn string) bool {
			return strings.EqualFold(name, "=X500:"+dn)
		}) {
			return m
		}
	}
	return nil
}

// entryRow is an AddressBookPropertyRow, MS-OXCMAPIHTTP §2.2.1.7, each value with a flag.
func entryRow(m *Mailbox, columns []uint32) []byte {
	out := []byte{1}
	for _, tag := range columns {
		switch tag {
		case tagEmailAddress:
			out = append(append(out, 0, 0xFF), wide(m.DN)...)
		case tagSMTPAddress, tagName:
			out = append(append(out, 0, 0xFF), wide(m.User)...)
		case tagProxies:
			out = append(append(append(out, 0, 0xFF), words(uint32(1+len(m.OldDNs)))...), 0xFF)
			out = append(out, wide("SMTP:"+m.User)...)
			for _, dn := range m.OldDNs {
				out = append(append(out, 0xFF), wide("X500:"+dn)...)
			}
		case tagDelegates:
			out = append(append(out, 0, 0xFF), words(uint32(len(m.Delegates)))...)
			for _, dn := range m.Delegates {
				out = append(append(out, 0xFF), wide(dn)...)
			}
		default:
			out = append(append(out, 0x0A), words(notFound)...)
		}
	}
	return out
}

// wide takes an ASCII text in UTF-16LE up to its NUL.
func (c *cursor) wide() string {
	var text []byte
	for !c.short {
		r := c.u16()
		if r == 0 {
			break
		}
		text = append(text, byte(r))
	}
	return string(text)
}
