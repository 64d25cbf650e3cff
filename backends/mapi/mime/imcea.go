package mime

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mapi"
)

// Encapsulate returns the Internet address that stands for an address of another kind, such as EX or X400.
// MS-OXCMAIL §2.1.3.1.8.
func Encapsulate(addressType, address, domain string) string {
	var b strings.Builder
	b.WriteString(imcea + strings.ToUpper(strings.Map(letterOrDigit, addressType)) + "-")
	for _, c := range []byte(address) {
		switch {
		case c == '/':
			b.WriteByte('_')
		case isEncoded(c) && c != '_' && c != '+':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "+%02X", c)
		}
	}
	return b.String() + "@" + domain
}

// imcea begins an address that encapsulates another one (Internet Mail Connector Encapsulated Address).
const imcea = "IMCEA"

// letterOrDigit leaves out of the type of an address what is in none.
func letterOrDigit(r rune) rune {
	if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
		return r
	}
	return -1
}

// isEncoded says whether an octet may be in an address that was encoded, MS-OXCMAIL §2.2.3.1.2.
func isEncoded(c byte) bool { return letterOrDigit(rune(c)) >= 0 || strings.IndexByte("-=_+", c) >= 0 }

// Decapsulate returns the type, in capitals, and the address that an Internet address encapsulates, MS-OXCMAIL §2.2.3.1.2. ok is false for any
// other address, for one that is encoded wrongly, and for one outside the domains: whose address it is, only its own organisation can say.
// An encapsulated Internet address that is itself outside them is none either, so that nobody's mail is led out by a name within another.
func Decapsulate(address string, domains []string) (addressType, original string, ok bool) {
	at := strings.LastIndexByte(address, '@')
	if at < len(imcea) || !strings.EqualFold(address[:len(imcea)], imcea) || !isOf(address[at+1:], domains) {
		return "", "", false
	}
	addressType, encoded, found := strings.Cut(address[len(imcea):at], "-")
	original, valid := decodeAddress(encoded)
	if !found || !valid || addressType == "" || strings.Map(letterOrDigit, addressType) != addressType {
		return "", "", false
	}
	addressType = strings.ToUpper(addressType)
	if addressType != mapi.AddressSMTP {
		return addressType, original, true
	}
	at = strings.LastIndexByte(original, '@')
	return addressType, original, at > 0 && isOf(original[at+1:], domains)
}

// isOf says whether a domain is one of some.
func isOf(domain string, domains []string) bool {
	return slices.ContainsFunc(domains, func(one string) bool { return fold.Equal(domain, one) })
}

// decodeAddress takes the encoding off an address. One that is empty, or no text, is none.
func decodeAddress(encoded string) (string, bool) {
	var b []byte
	for i := 0; i < len(encoded); i++ {
		switch c := encoded[i]; {
		case c == '_':
			b = append(b, '/')
		case c == '+':
			octet, err := hex.DecodeString(encoded[i+1 : min(i+3, len(encoded))])
			if err != nil || len(octet) != 1 {
				return "", false
			}
			b = append(b, octet[0])
			i += 2
		case isEncoded(c):
			b = append(b, c)
		default:
			return "", false
		}
	}
	text := string(b)
	return text, text != "" && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// decapsulated returns what a recipient's address encapsulates, if that is within the Reader's domains. The Internet address stays beside it.
// Only recipients are read so: an author within the organisation is one whom it has let in, and who comes from the Internet only says to be one.
func (r Reader) decapsulated(a mapi.Address) mapi.Address {
	addressType, original, ok := Decapsulate(a.Address, r.Domains)
	if !ok {
		return a
	}
	a.Type, a.Address = addressType, original
	if addressType == mapi.AddressSMTP {
		a.SMTP = original
	}
	return a
}
