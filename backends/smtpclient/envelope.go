package smtpclient

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/dipylon/dipylon/backends"
)

// Envelope is the envelope of one message.
type Envelope struct {
	ReversePath string
	Recipients  []string
	Size        int64 // octets; 0: not known
	EightBit    bool
	UTF8        bool
}

// parameters are those of MAIL. SMTPUTF8 is said where an address needs it, too.
func (c *Client) parameters(e Envelope, paths []string) string {
	var b strings.Builder
	if c.has("SIZE") && e.Size > 0 {
		b.WriteString(" SIZE=" + strconv.FormatInt(e.Size, 10))
	}
	if c.has("8BITMIME") && e.EightBit {
		b.WriteString(" BODY=8BITMIME")
	}
	if c.has("SMTPUTF8") && (e.UTF8 || !ascii(strings.Join(paths, ""))) {
		b.WriteString(" SMTPUTF8")
	}
	return b.String()
}

func (c *Client) has(extension string) bool {
	_, ok := c.extensions[extension]
	return ok
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// path is an address as the server can be told it. One in UTF-8 goes as it is to a server with
// SMTPUTF8 (RFC 6531 §3.3). For another, the domain has a form in ASCII (RFC 5891 §4.4), and the
// local part has none.
func (c *Client) path(address string) (string, *backends.Failure) {
	if !sayable(address) {
		return "", backends.Fail(backends.NotFound, "%.300q is no address", address).WithCode("5.1.3")
	}
	if ascii(address) || c.has("SMTPUTF8") {
		return address, nil
	}
	at := strings.LastIndexByte(address, '@')
	if !ascii(address[:at]) {
		return "", backends.Fail(backends.Permanent, "the server has no SMTPUTF8, which %q needs", address).
			WithCode("5.6.7").Say("the mail server ahead takes no addresses with letters outside ASCII")
	}
	domain, err := idna.Lookup.ToASCII(address[at+1:])
	if err != nil {
		return "", backends.Fail(backends.NotFound, "the domain of %q: %w", address, err).WithCode("5.1.2")
	}
	return address[:at+1] + domain, nil
}

// reversePath refuses a reverse-path that no server can be told, for the whole message.
func (c *Client) reversePath(address string) error {
	if address == "" {
		return nil
	}
	_, f := c.path(address)
	switch {
	case f == nil:
		return nil
	case f.Kind == backends.NotFound:
		return backends.Fail(backends.Permanent, "the reverse-path: %w", f).WithCode("5.1.7").Say("the sender is not a mail address")
	}
	return f
}

// sayable says whether an address can stand between < and > without ending the command, or what
// it names, before its time (RFC 5321 §4.1.2, §4.5.3.1).
func sayable(address string) bool {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || at == len(address)-1 || len(address) > 254 || !utf8.ValidString(address) {
		return false
	}
	local, domain := address[:at], address[at+1:]
	if strings.ContainsFunc(address, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.ContainsAny(domain, ` <>"\,;()`) {
		return false
	}
	if !strings.HasPrefix(local, `"`) {
		return !strings.ContainsAny(local, ` <>"\,;()@`)
	}
	for i := 1; i < len(local); i++ {
		switch local[i] {
		case '\\':
			i++
		case '"':
			return i == len(local)-1
		}
	}
	return false
}

func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}
