package smtpclient

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends/mail/address"
)

// Envelope is the envelope of one message.
type Envelope struct {
	ReversePath string
	Recipients  []string
	Size        int64 // octets; 0: not known
	EightBit    bool
	UTF8        bool
	// ID and Return are ENVID, decoded, and the value of RET (RFC 3461 §4.3, §4.4); empty: not said.
	ID, Return string
	// Notices are what RFC 3461 has of each recipient, in their order; none: nothing is said.
	Notices []Notice
	// RequireTLS is passed on to a server that has REQUIRETLS (RFC 8689 §3), over TLS alone. Who cannot do
	// without asks for the extension first.
	RequireTLS bool
	// Priority is passed on to a server that has MT-PRIORITY (RFC 6710); 0: normal.
	Priority int
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
	if c.has("SMTPUTF8") && (e.UTF8 || !address.ASCII(strings.Join(paths, ""))) {
		b.WriteString(" SMTPUTF8")
	}
	if c.has("REQUIRETLS") && e.RequireTLS && c.state != nil {
		b.WriteString(" REQUIRETLS")
	}
	if c.has("MT-PRIORITY") && e.Priority != 0 {
		b.WriteString(" MT-PRIORITY=" + strconv.Itoa(e.Priority))
	}
	b.WriteString(c.mailNotice(e))
	return b.String()
}

func (c *Client) has(extension string) bool {
	_, ok := c.extensions[extension]
	return ok
}

// path is an address as the server can be told it. One in UTF-8 goes as it is to a server with
// SMTPUTF8 (RFC 6531 §3.3). For another, the domain has a form in ASCII (RFC 5891 §4.4), and the
// local part has none.
func (c *Client) path(text string) (string, error) {
	if !sayable(text) {
		return "", &AddressError{Address: text, Status: "5.1.3", Err: address.ErrSyntax}
	}
	if address.ASCII(text) || c.has("SMTPUTF8") {
		return text, nil
	}
	at := strings.LastIndexByte(text, '@')
	if !address.ASCII(text[:at]) {
		return "", &AddressError{Address: text, Status: "5.6.7", Err: errNoUTF8}
	}
	domain, err := address.Domain(text[at+1:])
	if err != nil {
		return "", &AddressError{Address: text, Status: "5.1.2", Err: err}
	}
	return text[:at+1] + domain, nil
}

var errNoUTF8 = errors.New("the server has no SMTPUTF8, which it needs")

// reversePath refuses a reverse-path that no server can be told, for the whole message.
func (c *Client) reversePath(text string) error {
	if text == "" {
		return nil
	}
	_, err := c.path(text)
	if e := (*AddressError)(nil); errors.As(err, &e) {
		e.ReversePath = true
	}
	return err
}

// sayable says whether an address can stand between < and > without ending the command, or what
// it names, before its time (RFC 5321 §4.1.2, §4.5.3.1).
func sayable(text string) bool {
	at := strings.LastIndexByte(text, '@')
	if at <= 0 || at == len(text)-1 || len(text) > 254 || !utf8.ValidString(text) {
		return false
	}
	local, domain := text[:at], text[at+1:]
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.ContainsAny(domain, ` <>"\,;()`) {
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

func domainOf(text string) string {
	return strings.ToLower(text[strings.LastIndexByte(text, '@')+1:])
}
