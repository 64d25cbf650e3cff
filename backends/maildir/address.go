package maildir

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	mail "github.com/dipylon/dipylon/backends/mail/address"
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

// mostLocal bounds a local part, in octets (RFC 5321 §4.5.3.1.1).
const mostLocal = 64

var errNoAt = errors.New("there is no @ in it")

// parseAddress reads local@domain. A dot at the domain's end is let pass.
func parseAddress(text string) (address, error) {
	if !strings.Contains(text, "@") {
		return address{}, errNoAt
	}
	box, err := mail.Parse(strings.TrimSuffix(text, "."))
	if err != nil {
		return address{}, err
	}
	local, err := parseLocal(box.Unquoted())
	if err != nil {
		return address{}, err
	}
	domain, err := parseDomain(box.Domain)
	if err != nil {
		return address{}, err
	}
	return address{local, domain}, nil
}

// parseLocal folds a local part without quotes.
func parseLocal(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", errors.New("it is not valid UTF-8")
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

// parseDomain reads the name of a domain, with a dot at its end or without.
func parseDomain(text string) (string, error) { return mail.Domain(strings.TrimSuffix(text, ".")) }
