package smtpclient

import (
	"fmt"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/xtext"
)

// Notice is what the sender wants to be told of one recipient (RFC 3461 §4). It is passed on to a server that
// has DSN; see [Client.Extension] for whether it does.
type Notice struct {
	// Notify is the value of NOTIFY, "SUCCESS,DELAY"; empty: not said.
	Notify string
	// Original is ORCPT with its type, "rfc822;ada@example.org", decoded; empty: not said.
	Original string
}

// mailNotice are RET and ENVID (RFC 3461 §4.3, §4.4).
func (c *Client) mailNotice(e Envelope) string {
	if !c.has("DSN") {
		return ""
	}
	text := ""
	if e.Return != "" {
		text += " RET=" + e.Return
	}
	if e.ID != "" {
		text += " ENVID=" + xtext.Encode(e.ID)
	}
	return text
}

// rcptNotice are NOTIFY and ORCPT (RFC 3461 §4.1, §4.2) of a recipient, by its number in the envelope.
func (c *Client) rcptNotice(e Envelope, recipient int) string {
	if recipient >= len(e.Notices) || !c.has("DSN") {
		return ""
	}
	text, notice := "", e.Notices[recipient]
	if notice.Notify != "" {
		text += " NOTIFY=" + notice.Notify
	}
	if kind, address, ok := strings.Cut(notice.Original, ";"); ok && kind != "" {
		if utf8 := utf8Xtext(address); utf8 != address {
			kind, address = "utf-8", utf8
		}
		text += " ORCPT=" + xtext.Encode(kind) + ";" + xtext.Encode(address)
	}
	return text
}

// utf8Xtext writes what is not ASCII as RFC 6533 §3 has it (utf-8-addr-xtext), which every server can be told.
func utf8Xtext(address string) string {
	var b strings.Builder
	for _, c := range address {
		if c < 0x80 {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, `\x{%X}`, c)
		}
	}
	return b.String()
}
