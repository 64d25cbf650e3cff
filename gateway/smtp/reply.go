package smtp

import (
	"errors"
	"strconv"
	"strings"
)

// reply is one answer to a command (RFC 5321 §4.2).
type reply struct {
	code     int
	enhanced string // RFC 2034; empty where it does not belong: greeting, EHLO, 334, 354
	text     string // lines parted by \n
	// close ends the connection after the reply.
	close bool
	// fault says that the client broke the protocol: there is a limit to that.
	fault bool
	cause error // for the log alone
	// ended is why there is nobody to reply to; nil: somebody is there, or nothing is known.
	ended error
	// session is named at the end of the last line; empty: none is.
	session string
}

// goodbye is the reply to nobody: the session has ended with an error.
func goodbye(err error) reply { return reply{close: true, ended: err} }

// none is the reply to a client that is gone.
var none = reply{}

const (
	mostReplyOctets = 512 // of one line, CRLF included (RFC 5321 §4.5.3.1.5)
	mostReplyLines  = 32
)

func ok(code int, enhanced, text string) reply {
	return reply{code: code, enhanced: enhanced, text: text}
}

// refuse is the engine's own refusal of a command that breaks the protocol.
func refuse(code int, enhanced, text string) reply {
	return reply{code: code, enhanced: enhanced, text: text, fault: true}
}

// hangUp is a reply after which the connection ends.
func hangUp(code int, enhanced, text string) reply {
	return reply{code: code, enhanced: enhanced, text: text, close: true}
}

// failure makes a reply of what a session returned. Only an [*Error] has words for the
// client (I10).
func failure(err error) reply {
	e, found := errors.AsType[*Error](err)
	if !found {
		return reply{code: 451, enhanced: "4.3.0", text: "a local error, try again later", cause: err}
	}
	if e.Code < 400 || e.Code > 599 {
		return reply{code: 451, enhanced: "4.3.0", text: "a local error, try again later", close: e.Fatal, cause: err}
	}
	r := reply{code: e.Code, enhanced: e.Enhanced, text: e.Text, cause: e.Err}
	r.close = e.Fatal || e.Code == 421 // 421 says that the channel closes
	if !enhancedFits(r.enhanced, r.code) {
		r.enhanced = strconv.Itoa(r.code/100) + ".0.0"
	}
	return r
}

// enhancedFits says whether an enhanced status code is one, of the reply's class (RFC 2034
// §4).
func enhancedFits(enhanced string, code int) bool {
	parts := strings.Split(enhanced, ".")
	if len(parts) != 3 || parts[0] != strconv.Itoa(code/100) {
		return false
	}
	for _, p := range parts[1:] {
		if n, err := strconv.Atoi(p); err != nil || n < 0 || n > 999 || strconv.Itoa(n) != p {
			return false
		}
	}
	return true
}

// naming puts a session's id into a refusal: what a user reads out leads to the lines of the log.
func (r reply) naming(session string) reply {
	if r.code >= 400 {
		r.session = session
	}
	return r
}

// appendTo appends the reply as it goes over the wire: the enhanced code on each line, no
// line over 512 octets, nothing in it but printable ASCII.
func (r reply) appendTo(out []byte) []byte {
	lines := strings.Split(r.text, "\n")
	lines = lines[:min(len(lines), mostReplyLines)]
	for i, text := range lines {
		start := len(out)
		out = strconv.AppendInt(out, int64(r.code), 10)
		if i < len(lines)-1 {
			out = append(out, '-')
		} else {
			out = append(out, ' ')
		}
		if r.enhanced != "" {
			out = append(append(out, r.enhanced...), ' ')
		}
		named := ""
		if r.session != "" && i == len(lines)-1 {
			named = "(session " + r.session + ")"
			if text != "" {
				named = " " + named
			}
		}
		out = appendPrintable(out, text, start+mostReplyOctets-2-len(named))
		out = append(out, named...)
		out = append(out, '\r', '\n')
	}
	return out
}

// appendPrintable appends text up to a length of the result. What is not printable ASCII
// becomes a space or a question mark.
func appendPrintable(out []byte, text string, most int) []byte {
	for _, r := range text {
		if len(out) >= most {
			break
		}
		switch {
		case r < ' ' || r == 0x7f:
			r = ' '
		case r > '~':
			r = '?'
		}
		out = append(out, byte(r))
	}
	return out
}
