package login

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dipylon/dipylon/gateway/address"
)

// nameMost bounds a login name, in octets. SASL's PLAIN allows 255 (RFC 4616 §2); an
// address can be somewhat longer.
const nameMost = 320

// Name is a login name taken apart. The forms are
//
//	alice@sakes.example   User alice, Domain sakes.example
//	SAKES\alice           User alice, Realm SAKES: a Windows domain, which stores may know
//	alice                 User alice
//
// A name with a domain belongs to the store of that domain; every other one to the default
// store, which gets it as it was given.
type Name struct {
	Raw    string
	User   string
	Domain string // lower-case A-labels
	Realm  string // what stood before a backslash
}

// ParseName reads a login name. It is not ok when it cannot be anybody's: empty, too long, not
// UTF-8, with control characters, or with a domain that is none.
func ParseName(raw string) (name Name, ok bool) {
	name = Name{Raw: raw, User: raw}
	if raw == "" || len(raw) > nameMost || !utf8.ValidString(raw) || strings.ContainsFunc(raw, unicode.IsControl) {
		return name, false
	}
	if at := strings.LastIndexByte(raw, '@'); at >= 0 {
		domain, err := address.Domain(raw[at+1:])
		name.User, name.Domain = raw[:at], domain
		return name, err == nil && at > 0
	}
	if realm, user, found := strings.Cut(raw, `\`); found {
		name.Realm, name.User = realm, user
		return name, realm != "" && user != ""
	}
	return name, true
}

// String is the name as a store is given it: a domain as lower-case A-labels, everything else
// untouched.
func (n Name) String() string {
	if n.Domain != "" {
		return n.User + "@" + n.Domain
	}
	return n.Raw
}

// key is what attempts are counted under: one account, however its name's letters are cased.
func (n Name) key() string { return strings.ToLower(n.String()) }
