package address

import (
	"errors"
	"strings"
)

// pathMost is RFC 5321 §4.5.3.1.3's bound, with the brackets.
const pathMost = 256

// The errors of [ParsePath], beside those of a mailbox.
var (
	ErrNotBracketed = errors.New("not in angle brackets")
	ErrNotClosed    = errors.New("no > at the end")
	ErrNoDomain     = errors.New("no domain")
	ErrTooLong      = errors.New("too long")
)

// postmaster is the one mailbox that needs no domain (RFC 5321 §4.1.1.3, §4.5.1).
const postmaster = "postmaster"

// Path is what stands in MAIL and RCPT (RFC 5321 §4.1.2): a mailbox, <postmaster>, or the null
// reverse-path <>, which is the zero value.
type Path struct {
	box    Mailbox
	domain string // as it was written
}

// Path is the mailbox as a path.
func (m Mailbox) Path() Path { return Path{box: m, domain: m.Domain} }

// IsNull says whether it is the null reverse-path (RFC 5321 §4.5.5).
func (p Path) IsNull() bool { return p == Path{} }

// IsPostmaster says whether it is <postmaster>, without a domain.
func (p Path) IsPostmaster() bool { return p.domain == "" && p.box.Local == postmaster }

// Mailbox is the path for comparing. Those of <> and <postmaster> have no domain.
func (p Path) Mailbox() Mailbox { return p.box }

// String is the path without brackets, the domain as it was written. The local part is quoted only
// where it has to be, so that <"a"@b> and <a@b> are one recipient.
func (p Path) String() string {
	if p.domain == "" {
		return p.box.Local
	}
	return p.box.Local + "@" + p.domain
}

// ParsePath reads a path at the beginning of s and returns what follows it. A source route is
// accepted and ignored (RFC 5321 §4.1.1.3, appendix C). A local part that is empty, in quotes, is
// refused: RFC 5321 §4.1.2 has it, and nobody else could tell it from <>.
func ParsePath(s string) (path Path, rest string, err error) {
	s, ok := strings.CutPrefix(s, "<")
	if !ok {
		return Path{}, "", ErrNotBracketed
	}
	if rest, ok := strings.CutPrefix(s, ">"); ok {
		return Path{}, rest, nil
	}
	if s, err = cutRoute(s); err != nil {
		return Path{}, "", err
	}
	if path.box.Local, s, err = cutLocal(s); err != nil {
		return Path{}, "", err
	}
	if after, ok := strings.CutPrefix(s, "@"); ok {
		if !strings.Contains(after, ">") {
			return Path{}, "", ErrNotClosed
		}
		if path.box.Domain, path.domain, s, err = cutDomain(after); err != nil {
			return Path{}, "", err
		}
	}
	rest, ok = strings.CutPrefix(s, ">")
	if err := path.check(ok, s); err != nil {
		return Path{}, "", err
	}
	return path, rest, nil
}

// check looks at a path that has been read up to s, its closing bracket if it has one.
func (p *Path) check(closed bool, s string) error {
	switch {
	case !closed && s == "":
		return ErrNotClosed
	case !closed && p.domain == "", p.box.Local == `""`:
		return ErrLocalPart
	case !closed:
		return ErrDomain
	case p.domain == "" && !strings.EqualFold(p.box.Local, postmaster):
		return ErrNoDomain
	case len(p.String())+len("<>") > pathMost:
		return ErrTooLong
	}
	if p.domain == "" {
		p.box.Local = postmaster
	}
	return nil
}

// cutRoute takes "@a,@b:" away.
func cutRoute(s string) (string, error) {
	if !strings.HasPrefix(s, "@") {
		return s, nil
	}
	route, rest, ok := strings.Cut(s, ":")
	if !ok {
		return "", ErrDomain
	}
	for hop := range strings.SplitSeq(route, ",") {
		name, ok := strings.CutPrefix(hop, "@")
		if !ok {
			return "", ErrDomain
		}
		if _, err := Domain(name); err != nil {
			return "", err
		}
	}
	return rest, nil
}
