package maildir

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/dipylon/dipylon/backends/mail/fold"
)

// address is a mail address as the store compares it: both parts in lower case, the domain
// as A-labels, the local part unquoted and in Unicode's form NFC.
//
// RFC 5321 §2.4 leaves it to the receiving host whether local parts differ in case; here
// they do not.
type address struct{ local, domain string }

// String is the address in the form of RFC 5321 §4.1.2; "@example.org" is a whole domain.
func (a address) String() string {
	if a.local == "" || isDotString(a.local) {
		return a.local + "@" + a.domain
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.local) + `"@` + a.domain
}

// isDotString says whether a local part needs no quotes (RFC 5321 §4.1.2, RFC 6531 §3.3).
func isDotString(local string) bool {
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsAny(atom, ` "(),:;<>@[\]`) {
			return false
		}
	}
	return true
}

// The bounds of RFC 5321 §4.5.3.1.1 and §4.5.3.1.2, in octets.
const (
	mostLocal  = 64
	mostDomain = 255
)

var errNoAt = errors.New("there is no @ in it")

// parseAddress reads local@domain.
func parseAddress(text string) (address, error) {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return address{}, errNoAt
	}
	local, err := parseLocal(text[:at])
	if err != nil {
		return address{}, err
	}
	domain, err := parseDomain(text[at+1:])
	if err != nil {
		return address{}, err
	}
	return address{local, domain}, nil
}

// parseLocal folds a local part, quoted or not (RFC 5321 §4.1.2).
func parseLocal(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", errors.New("it is not valid UTF-8")
	}
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = unquote(text[1 : len(text)-1])
	}
	local := fold.Lower(norm.NFC.String(text))
	switch {
	case local == "":
		return "", errors.New("nothing stands before the @")
	case len(local) > mostLocal:
		return "", fmt.Errorf("what stands before the @ is longer than %d octets", mostLocal)
	case strings.ContainsFunc(local, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", errors.New("there is a character in it that cannot be printed")
	}
	return local, nil
}

// unquote removes the backslashes of a quoted string's content.
func unquote(quoted string) string {
	var b strings.Builder
	for i := 0; i < len(quoted); i++ {
		if quoted[i] == '\\' && i+1 < len(quoted) {
			i++
		}
		b.WriteByte(quoted[i])
	}
	return b.String()
}

// parseDomain folds a domain: dot-separated labels of letters, digits and hyphens.
func parseDomain(text string) (string, error) {
	domain := strings.ToLower(strings.TrimSuffix(text, "."))
	if strings.ContainsFunc(domain, func(r rune) bool { return r >= utf8.RuneSelf }) {
		ascii, err := idna.Lookup.ToASCII(domain)
		if err != nil {
			return "", fmt.Errorf("its domain is not one: %w", err)
		}
		domain = ascii
	}
	if domain == "" || len(domain) > mostDomain {
		return "", errors.New("its domain is empty or too long")
	}
	for label := range strings.SplitSeq(domain, ".") {
		if !isLabel(label) {
			return "", errors.New("its domain is not one")
		}
	}
	return domain, nil
}

func isLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for _, c := range []byte(label) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
