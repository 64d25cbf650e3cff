package smtp

import (
	"bytes"
)

// BareNewlines says what becomes of a message in which a CR or an LF stands alone.
// RFC 5321 §2.3.8 forbids them; servers that disagree on what they mean can be made to see
// different messages in the same octets (SMTP smuggling).
type BareNewlines int

const (
	// RejectBareNewlines refuses the message with 550 5.5.2, behind its proper end.
	RejectBareNewlines BareNewlines = iota
	// NormaliseBareNewlines makes each a CRLF, and one CRLF of CR CR LF, which is what
	// text-mode files on Windows do to a CRLF. The message's end stays CRLF.CRLF alone.
	// Command lines may end in LF as well.
	NormaliseBareNewlines
)

var (
	errBareNewline = &Error{Code: 550, Enhanced: "5.5.2", Text: "the message has a CR or LF that is not part of a CRLF (RFC 5321 section 2.3.8)"}
	errTooLarge    = &Error{Code: 552, Enhanced: "5.3.4", Text: "the message is too large"}
	errHeaderLarge = &Error{Code: 552, Enhanced: "5.3.4", Text: "the message's header section is too large"}
	errHops        = &Error{Code: 554, Enhanced: "5.4.6", Text: "too many hops, this message is in a loop"}
)

// canonical holds a message to the rules, in pieces of any size: every line ends in CRLF,
// size, header section, hops and lines have their bounds.
type canonical struct {
	limits    Limits
	normalise bool

	size int64 // octets as they came
	line int   // octets of the line so far, without its end
	cr   bool  // the last octet was a CR

	body     bool // the header section is over
	header   int64
	hops     int
	received bool // the line so far is a beginning of "Received:"

	held    int    // CRs that wait for what follows them, when normalising: 0, 1 or 2
	scratch []byte // what has been normalised
}

// take gives a piece in canonical form. It is valid as long as the piece.
func (c *canonical) take(piece []byte) ([]byte, error) {
	c.size += int64(len(piece))
	if over(c.size, c.limits.MessageSize) {
		return nil, errTooLarge
	}
	if c.normalise {
		piece = c.normalised(piece)
	}
	return piece, c.check(piece)
}

// end gives what is missing at the message's end: the last CRLF, when BDAT's chunks have
// ended without.
func (c *canonical) end() ([]byte, error) {
	if c.normalise && c.held > 0 {
		c.scratch = c.appendHeld(c.scratch[:0])
		return c.scratch, c.check(c.scratch)
	}
	switch {
	case c.cr:
		return nil, errBareNewline
	case c.line > 0:
		return crlf, nil
	}
	return nil, nil
}

// check walks through the piece's lines.
func (c *canonical) check(b []byte) error {
	for len(b) > 0 {
		if c.cr && b[0] != '\n' {
			return errBareNewline
		}
		text, ended := b, false
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			text, ended = b[:i], true
			b = b[i+1:]
		} else {
			b = nil
		}
		j := bytes.IndexByte(text, '\r')
		switch {
		case j < 0:
			if ended && !(c.cr && len(text) == 0) {
				return errBareNewline
			}
			c.cr = false
		case j == len(text)-1:
			text = text[:j]
			c.cr = !ended
		default:
			return errBareNewline
		}
		if err := c.text(text, ended); err != nil {
			return err
		}
	}
	return nil
}

// text counts a part of a line, or its rest.
func (c *canonical) text(text []byte, ended bool) error {
	if !c.body {
		if err := c.headerText(text, ended); err != nil {
			return err
		}
	}
	c.line += len(text)
	if ended {
		c.line = 0
	}
	return nil
}

// headerText counts the header section and the Received fields in it (RFC 5321 §6.3).
func (c *canonical) headerText(text []byte, ended bool) error {
	const received = "received:"
	if c.line == 0 {
		c.received = true
	}
	for i := c.line; c.received && i < len(received) && i-c.line < len(text); i++ {
		c.received = text[i-c.line]|0x20 == received[i]|0x20
		if c.received && i == len(received)-1 {
			c.hops++
		}
	}
	c.header += int64(len(text))
	if ended {
		c.header += int64(len(crlf))
		c.body = c.line+len(text) == 0
	}
	if over(c.hops, c.limits.Hops) {
		return errHops
	}
	if over(c.header, c.limits.Header) {
		return errHeaderLarge
	}
	return nil
}

// normalised makes a CRLF of each bare CR and each bare LF.
func (c *canonical) normalised(piece []byte) []byte {
	out := c.scratch[:0]
	for len(piece) > 0 {
		i := bytes.IndexAny(piece, "\r\n")
		if i < 0 {
			i = len(piece)
		}
		if i > 0 {
			out = append(c.appendHeld(out), piece[:i]...)
			piece = piece[i:]
			continue
		}
		if piece[0] == '\n' {
			c.held = 0 // LF, CR LF, CR CR LF
			out = append(out, crlf...)
		} else {
			if c.held == 2 { // the first of three is no part of a CR CR LF
				out = append(out, crlf...)
				c.held--
			}
			c.held++
		}
		piece = piece[1:]
	}
	c.scratch = out
	return out
}

// appendHeld gives the CRs away that no LF has followed.
func (c *canonical) appendHeld(out []byte) []byte {
	for ; c.held > 0; c.held-- {
		out = append(out, crlf...)
	}
	return out
}
