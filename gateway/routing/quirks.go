package routing

import (
	"io"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/gateway/content"
)

// Quirks are changes to the mail of devices and scripts that have logged in and cannot be corrected
// themselves. RFC 6409 §8 allows a submission server to add or leave out these fields; an [MX] does none
// of it.
type Quirks uint8

const (
	// QuirkEmptyFields leaves fields out that must have a value and have none, and Date and Message-ID are
	// added then: an empty Sender (msmtp#51, RainLoop#1934), a Date that a script could not fill in.
	QuirkEmptyFields Quirks = 1 << iota
	// QuirkNoFrom adds the From of a message that has none (Haraka#1912, canarytokens#134): the envelope's
	// reverse-path, which is the account's own, or the account's address if it has one alone. A From
	// that is a name without an address gets the same one: what a device's panel asks for is a name.
	QuirkNoFrom
	// QuirkNoHeader takes a message whose first line is blank, or is no header field but a text: its header
	// is empty (RFC 5322 §2.1). With QuirkNoFrom, it is what echo or a UPS sends.
	QuirkNoHeader
)

func (q Quirks) has(one Quirks) bool { return q&one != 0 }

// quirks are those of the listener; a device has all of them.
func (s *submissionSession) quirks() Quirks {
	if s.who != nil && s.who.device != nil {
		return QuirkEmptyFields | QuirkNoFrom | QuirkNoHeader
	}
	return s.o.Quirks
}

// readHeader reads the header of a submitted message.
func (o *Options) readHeader(m *message, quirks Quirks) (*header.Header, int64, error) {
	if quirks.has(QuirkNoHeader) {
		return content.ReadSubmitted(func() io.Reader { return m.Reader() }, o.HeaderMost)
	}
	return header.Read(m.Reader(), o.HeaderMost)
}

// author is the address for the From field (RFC 5322 §3.6.2) of a message that has none; empty: not
// known.
func (s *submissionSession) author(t *transaction) string {
	author := t.reversePath.String()
	if !s.quirks().has(QuirkNoFrom) {
		return ""
	}
	if author == "" { // a notice of the account's (RFC 8098 §3)
		author = s.who.owns.only()
	}
	if !t.options.UTF8 && !address.ASCII(author) {
		return "" // RFC 6532 §3.2: such a field is for SMTPUTF8 alone
	}
	return author
}

// only is the account's address if there is one alone that it may send as.
func (o ownership) only() string {
	if boxes, domains := o.allowed(); len(boxes) == 1 && len(domains) == 0 {
		return boxes[0].String()
	}
	return ""
}
