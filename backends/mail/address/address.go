// Package address reads and compares mail addresses: mailboxes in the form of RFC 5321 §4.1.2, the
// paths that MAIL and RCPT have around them, and the domains in them. It is the one parser of
// addresses: what it has read is passed on as a value.
//
// Domains are compared as lower-case A-labels (RFC 5890 §2.3.2.1), local parts octet by octet
// where mail is routed (RFC 5321 §2.4) and without regard to case where ownership is asked:
//
//	box, err := address.Parse(`"alice"@Bücher.Example`)
//	box.String()                      // alice@xn--bcher-kva.example
//	address.Domain("Sakes.Example")   // sakes.example
//	path, rest, err := address.ParsePath("<alice@Sakes.Example> SIZE=1")
//
// Nothing in a local part is ever read as a route: `%`, `!` and `IMCEA…` are literal characters. A
// source route is ignored in a path (RFC 5321 appendix C), and a syntax error elsewhere (I12).
package address

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/dipylon/dipylon/backends/mail/fold"
)

// The errors of this package.
var (
	ErrSyntax    = errors.New("not a mail address")
	ErrLocalPart = fmt.Errorf("%w: the local part is malformed", ErrSyntax)
	ErrDomain    = errors.New("not a domain name")
	ErrLiteral   = errors.New("not an address literal")
)

// The bounds in octets.
const (
	// mailboxMost is a bound on what is looked at at all: 64 octets of local part (which
	// encapsulated addresses exceed, so it is not a limit of its own), "@", 255 of domain.
	mailboxMost = 320
	domainMost  = 255 // RFC 5321 §4.5.3.1.2
	labelMost   = 63  // RFC 1035 §2.3.4
)

// Mailbox is a parsed address.
type Mailbox struct {
	// Local is the local part, quoted only where it has to be; one with dots that RFC 5321 has in
	// quotes alone is as it came, see [Parse].
	Local string
	// Domain is a lower-case A-label name or an address literal in brackets.
	Domain string
}

// String is the address in the form of RFC 5321 §4.1.2, without angle brackets.
func (m Mailbox) String() string { return m.Local + "@" + m.Domain }

// EqualFold compares two mailboxes, the local parts without regard to case: for the question
// whose address this is, not for routing.
func (m Mailbox) EqualFold(o Mailbox) bool {
	return m.Domain == o.Domain && fold.Equal(unquoted(m.Local), unquoted(o.Local))
}

// separators are the characters that some mail server may have between a mailbox and its detail
// (RFC 5233 §1): all that a local part can have without quotes, but letters and digits.
const separators = "!#$%&'*+-./=?^_`{|}~"

// DetailOf says whether m may be o with a detail, as ann+news@x.example is to ann@x.example. Whether
// it is, only the server that delivers to them knows.
func (m Mailbox) DetailOf(o Mailbox) bool {
	detail, is := strings.CutPrefix(fold.Lower(unquoted(m.Local)), fold.Lower(unquoted(o.Local)))
	return is && m.Domain == o.Domain && detail != "" && strings.IndexByte(separators, detail[0]) >= 0
}

// Unquoted is the local part without quotes and backslashes: what it means.
func (m Mailbox) Unquoted() string { return unquoted(m.Local) }

// Parse reads a mailbox. What RFC 5321 §4.1.2 does not allow is [ErrSyntax], [ErrDomain] or
// [ErrLiteral]. A source route is an error here, see [ParsePath].
//
// QUIRK: dots together, or in front of the at sign, as in a..b.@c.example, are let pass. Large
// carriers have given such addresses out, and their servers take them without quotes only. It is
// the same mailbox as the quoted form, and is written as it came.
func Parse(s string) (Mailbox, error) {
	if len(s) > mailboxMost {
		return Mailbox{}, ErrSyntax
	}
	local, rest, err := cutLocal(s)
	if err != nil {
		return Mailbox{}, err
	}
	rest, ok := strings.CutPrefix(rest, "@")
	if !ok {
		return Mailbox{}, ErrSyntax
	}
	domain, _, rest, err := cutDomain(rest)
	switch {
	case err != nil:
		return Mailbox{}, err
	case rest != "":
		return Mailbox{}, ErrDomain
	}
	return Mailbox{Local: local, Domain: domain}, nil
}

// Join makes a mailbox of a local part without quoting, as package net/mail gives it, and a
// domain.
func Join(local, domain string) (Mailbox, error) {
	return Parse(canonicalLocal(local) + "@" + domain)
}

// cutLocal reads the local part in its canonical form and returns what follows it.
func cutLocal(s string) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		content, rest, err := cutQuoted(s)
		if err != nil {
			return "", "", err
		}
		return canonicalLocal(content), rest, nil
	}
	end := strings.IndexAny(s, "@>")
	if end < 0 || !dotAtom(s[:end]) && !dotty(s[:end]) {
		return "", "", ErrLocalPart
	}
	return s[:end], s[end:], nil
}

// cutQuoted reads a Quoted-string and returns its content without quotes and backslashes.
func cutQuoted(s string) (content, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			content := b.String()
			if !utf8.ValidString(content) || strings.ContainsFunc(content, unicode.IsControl) {
				return "", "", ErrLocalPart
			}
			return content, s[i+1:], nil
		case '\\':
			i++
			if i == len(s) || s[i] < ' ' || s[i] > '~' {
				return "", "", ErrLocalPart
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", ErrLocalPart
}

// canonicalLocal quotes only what has to be quoted: RFC 5321 §4.1.2 holds both forms equal.
func canonicalLocal(content string) string {
	if dotAtom(content) {
		return content
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(content) + `"`
}

// dotAtom says whether s is a Dot-string, with the letters that RFC 6531 §3.3 adds.
func dotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || !utf8.ValidString(atom) || strings.ContainsFunc(atom, func(r rune) bool { return !atext(r) }) {
			return false
		}
	}
	return true
}

// dotty says whether s is a Dot-string but for dots behind dots, or at its end.
func dotty(s string) bool {
	first, rest, _ := strings.Cut(s, ".")
	for atom := range strings.SplitSeq(rest, ".") {
		if atom != "" && !dotAtom(atom) {
			return false
		}
	}
	return dotAtom(first)
}

// unquoted is what a local part of a Mailbox means.
func unquoted(local string) string {
	if strings.HasPrefix(local, `"`) {
		if content, rest, err := cutQuoted(local); err == nil && rest == "" {
			return content
		}
	}
	return local
}

// atext is RFC 5322 §3.2.3 with RFC 6532's letters. Unicode's C1 controls are not of them.
func atext(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune(`()<>[]:;@\,."`, r) || r >= 0xa0
}

// cutDomain reads a domain or an address literal up to the path's end, or the text's. It returns
// the form for comparing, what was written, and what follows.
func cutDomain(s string) (domain, written, rest string, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']') + 1
		domain, err = literal(s[:end])
		return domain, s[:end], s[end:], err
	}
	end := strings.IndexByte(s, '>')
	if end < 0 {
		end = len(s)
	}
	domain, err = Domain(s[:end])
	return domain, s[:end], s[end:], err
}

// literal reads an address literal (RFC 5321 §4.1.3). Of the tagged ones there is IPv6 alone.
func literal(s string) (string, error) {
	text := strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	ip, err := netip.ParseAddr(strings.TrimPrefix(text, "ipv6:"))
	if err != nil || ip.Zone() != "" || ip.Is4() == strings.HasPrefix(text, "ipv6:") {
		return "", ErrLiteral
	}
	return "[" + text + "]", nil
}

// Domain returns a domain name as lower-case A-labels. Underscores are let pass, since names
// with them exist; a trailing dot is not (RFC 5321 §2.3.5).
func Domain(s string) (string, error) {
	if s == "" || len(s) > domainMost || !utf8.ValidString(s) {
		return "", ErrDomain
	}
	name := strings.ToLower(s)
	if !ASCII(s) {
		var err error
		if name, err = idna.Lookup.ToASCII(s); err != nil {
			return "", ErrDomain
		}
	}
	if len(name) > domainMost {
		return "", ErrDomain
	}
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return "", ErrDomain
		}
	}
	return name, nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > labelMost || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := range len(label) {
		c := label[i]
		if ('a' > c || c > 'z') && ('0' > c || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// ASCII says whether a text can be written without SMTPUTF8 (RFC 6531).
func ASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
