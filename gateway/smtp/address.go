package smtp

import (
	"errors"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of RFC 5321 §4.5.3.1.1 to .3, in octets.
const (
	mostLocal  = 64
	mostDomain = 255
	mostPath   = 256
	mostLabel  = 63
)

// Errors of a path. Their texts are for the client.
var (
	errNoPath    = errors.New("a path stands in angle brackets, with no name: <local-part@domain>")
	errNotClosed = errors.New("the path has no > at its end: <local-part@domain>")
	errLocal     = errors.New("the local part is not well formed")
	errDomain    = errors.New("the domain is not well formed")
	errNoDomain  = errors.New("the address has no domain")
	errLiteral   = errors.New("the address literal is not well formed")
	errPathLong  = errors.New("the path is too long")
	errLocalLong = errors.New("the local part is too long")
)

// errBrackets refuses what RFC 5321 §4.1.2 has in a Quoted-string, and other servers take for the
// path's end. It is told at MAIL and RCPT, and not by a store that has got the whole message.
var errBrackets = errors.New("a local part with < or > in it is not taken")

// mailbox is a parsed path (RFC 5321 §4.1.2, RFC 6531 §3.3). The zero value is <>.
type mailbox struct {
	local  string // without quotes
	dotty  bool   // it came without them, and should have had them for its dots
	domain string // a name, or a literal in its brackets; empty for <> and <postmaster>
}

// String is the mailbox in its one canonical form: quoted only where that is needed, so
// that <"a"@b> and <a@b> are one recipient.
func (m mailbox) String() string {
	local := m.local
	if local != "" && !m.dotty && !dotString(local) {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	if m.domain == "" {
		return local
	}
	return local + "@" + m.domain
}

// parsePath takes a path from the beginning of s and gives what follows it. A source route
// is accepted and ignored (RFC 5321 §4.1.1.3, appendix C).
func parsePath(s string) (m mailbox, rest string, err error) {
	s, is := strings.CutPrefix(s, "<")
	if !is {
		return m, "", errNoPath
	}
	if rest, is := strings.CutPrefix(s, ">"); is {
		return m, rest, nil
	}
	if s, err = cutRoute(s); err != nil {
		return m, "", err
	}
	whole := s
	if m.local, s, err = cutLocal(s); err != nil {
		return m, "", err
	}
	m.dotty = !strings.HasPrefix(whole, `"`) && !dotString(m.local)
	if at, is := strings.CutPrefix(s, "@"); is {
		if m.domain, s, err = cutDomain(at); err != nil {
			return m, "", err
		}
	}
	rest, is = strings.CutPrefix(s, ">")
	switch {
	case !is && s == "":
		return m, "", errNotClosed
	case !is && m.domain == "":
		return m, "", errLocal
	case !is:
		return m, "", errDomain
	case len(m.String())+len("<>") > mostPath:
		return m, "", errPathLong
	}
	return m, rest, nil
}

// cutRoute takes "@a,@b:" away.
func cutRoute(s string) (string, error) {
	if !strings.HasPrefix(s, "@") {
		return s, nil
	}
	route, rest, is := strings.Cut(s, ":")
	if !is {
		return "", errDomain
	}
	for hop := range strings.SplitSeq(route, ",") {
		if name, is := strings.CutPrefix(hop, "@"); !is || !validDomain(name) {
			return "", errDomain
		}
	}
	return rest, nil
}

func cutLocal(s string) (local, rest string, err error) {
	if quoted, is := strings.CutPrefix(s, `"`); is {
		return cutQuoted(quoted)
	}
	end := strings.IndexAny(s, "@>")
	if end < 0 || !dotString(s[:end]) && !dotty(s[:end]) {
		return "", "", errLocal
	}
	return s[:end], s[end:], nil
}

// cutQuoted takes the rest of a Quoted-string (RFC 5321 §4.1.2).
func cutQuoted(s string) (local, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			local := b.String()
			if local == "" || !utf8.ValidString(local) || strings.ContainsFunc(local, unicode.IsControl) {
				return "", "", errLocal
			}
			return local, s[i+1:], nil
		case c == '\\':
			i++
			if i == len(s) || s[i] < ' ' || s[i] > '~' {
				return "", "", errLocal
			}
			c = s[i]
		}
		b.WriteByte(c)
	}
	return "", "", errLocal
}

// dotString is RFC 5321 §4.1.2's Dot-string with RFC 6531 §3.3's letters.
func dotString(s string) bool {
	return utf8.ValidString(s) && !strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") && !strings.Contains(s, "..") &&
		s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r != '.' && !atext(r) })
}

// dotty is a Dot-string but for dots behind dots, or at its end.
//
// QUIRK: large carriers have given such addresses out. They are taken, and given to the backend as
// they came; see package address.
func dotty(s string) bool {
	for strings.Contains(s, "..") {
		s = strings.ReplaceAll(s, "..", ".")
	}
	return dotString(strings.TrimSuffix(s, "."))
}

// atext is RFC 5322 §3.2.3 with RFC 6532's letters. Unicode's C1 controls are not of them.
func atext(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune(`()<>[]:;@\,."`, r) || r >= 0xa0
}

func cutDomain(s string) (domain, rest string, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 || !validLiteral(s[:end+1]) {
			return "", "", errLiteral
		}
		return s[:end+1], s[end+1:], nil
	}
	end := strings.IndexByte(s, '>')
	if end < 0 {
		return "", "", errNotClosed
	}
	if !validDomain(s[:end]) {
		return "", "", errDomain
	}
	return s[:end], s[end:], nil
}

// validDomain is RFC 5321 §4.1.2's Domain with RFC 6531 §3.3's U-labels.
//
// QUIRK: an underscore is taken, as names with one are in use.
func validDomain(s string) bool {
	if s == "" || len(s) > mostDomain || !utf8.ValidString(s) {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > mostLabel || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !letDigHyp(r) }) {
			return false
		}
	}
	return true
}

func letDigHyp(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r >= 0xa0
}

// validLiteral is RFC 5321 §4.1.3's address-literal. Of the tagged ones there is IPv6 alone.
func validLiteral(s string) bool {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	const tag = "IPv6:"
	if len(s) > len(tag) && strings.EqualFold(s[:len(tag)], tag) {
		a, err := netip.ParseAddr(s[len(tag):])
		return err == nil && a.Is6() && a.Zone() == ""
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

// validHelo says whether a client may call itself so.
//
// QUIRK: RFC 5321 §4.1.1.1 wants a domain or an address literal, and clients say the name
// of their machine, whatever it is. Any word will do that cannot be mistaken for another
// part of a Received line.
func validHelo(s string) bool {
	return s != "" && len(s) <= mostDomain && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f && r < 0xa0 || strings.ContainsRune(`()<>@,;"\`, r) })
}

// ASCII says whether a text can be written without SMTPUTF8 (RFC 6531).
func ASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7f })
}
