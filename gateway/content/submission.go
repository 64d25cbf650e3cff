package content

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
)

// parsedMost bounds a field whose structure is looked into, in octets.
const parsedMost = 64 << 10

// The errors of [Submission.Apply].
var (
	// ErrNoFrom: a message has exactly one From (RFC 5322 §3.6).
	ErrNoFrom = errors.New("the message has no From field")
	// ErrTwice: From or Sender is there more than once.
	ErrTwice = errors.New("the message has two fields of a kind")
)

// AddressError says that the addresses in a field cannot be read.
type AddressError struct {
	Field string
	Err   error
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("the addresses in the %s field cannot be read: %v", e.Field, e.Err)
}

func (e *AddressError) Unwrap() error { return e.Err }

// NotOwnedError says that a field names somebody in whose name the account may not write.
type NotOwnedError struct {
	Field   string
	Mailbox address.Mailbox
}

func (e *NotOwnedError) Error() string {
	return fmt.Sprintf("the account may not write as %s in the %s field", e.Mailbox, e.Field)
}

// Submission is what is done to a message from somebody who has logged in.
type Submission struct {
	// MayWrite says whether an address is the account's.
	MayWrite func(address.Mailbox) bool
	// OnBehalf says whether the account may write on behalf of an address (RFC 5322 §3.6.2): it may
	// stand in From while Sender names the account. Nil: it may of none.
	OnBehalf func(address.Mailbox) bool
	// Sender is the account's own address, for the Sender of a message on behalf of somebody that has
	// none; empty: the account writes on behalf of nobody.
	Sender string
	// Date and MessageID (without angle brackets) are for a message that has none.
	Date      time.Time
	MessageID string
	// DropEmpty takes out what stands in a header and says nothing, as a Date or a Sender
	// without a value does.
	DropEmpty bool
	// Author is the address for the From of a message that has none, or that has a name alone there;
	// empty: that is [ErrNoFrom] or an [AddressError].
	Author string
	// Domain is that of an address in From or Sender that has none, as programs of a machine write their user's
	// (RFC 6409 §4.2); empty: that is an [AddressError].
	Domain string
}

// Check looks whether From and Sender are in order.
func (s Submission) Check(h *header.Header) error {
	from := h.All("From")
	if len(from) == 0 {
		return ErrNoFrom
	}
	// From may name several authors, Sender one. A sender who is not the account would be a
	// forgery that many clients show ("x on behalf of y").
	for _, fields := range [][]header.Field{from, h.All("Sender")} {
		if len(fields) > 1 {
			return fmt.Errorf("%w: %s", ErrTwice, fields[0].Name)
		}
		for _, f := range fields {
			if err := s.checkField(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s Submission) checkField(f header.Field) error {
	boxes, err := Mailboxes(f)
	if err != nil {
		return err
	}
	for _, box := range boxes {
		if !s.MayWrite(box) && !(f.Is("From") && s.mayRepresent(box)) {
			return &NotOwnedError{Field: f.Name, Mailbox: box}
		}
	}
	return nil
}

func (s Submission) mayRepresent(box address.Mailbox) bool {
	return s.Sender != "" && s.OnBehalf != nil && s.OnBehalf(box)
}

// nameSender adds the Sender of a checked message that is written on behalf of somebody (RFC 5322 §3.6.2).
func (s Submission) nameSender(h *header.Header) {
	if s.Sender == "" || len(h.All("Sender")) > 0 {
		return
	}
	for _, f := range h.All("From") {
		boxes, err := Mailboxes(f)
		if err == nil && slices.ContainsFunc(boxes, func(box address.Mailbox) bool { return !s.MayWrite(box) }) {
			h.Append("Sender", s.Sender)
			return
		}
	}
}

// Apply checks a header, takes Bcc, Resent-Bcc and Return-Path out, and adds Date and Message-ID where they
// are missing, From if Author is known, a domain to addresses without one if Domain is, and Sender where the account writes on behalf of somebody (RFC 6409 §8). After an error the header is as it was.
func (s Submission) Apply(h *header.Header) error {
	mended := &header.Header{Fields: slices.Clone(h.Fields), End: h.End}
	if s.DropEmpty {
		dropEmpty(mended)
	}
	if s.Domain != "" {
		qualify(mended, s.Domain)
	}
	if s.Author != "" {
		nameAuthor(mended, s.Author)
	}
	if err := s.Check(mended); err != nil {
		return err
	}
	s.nameSender(mended)
	mended.Fields = slices.DeleteFunc(mended.Fields, func(f header.Field) bool { return f.Is("Bcc") || f.Is("Resent-Bcc") || f.Is("Return-Path") })
	if len(mended.All("Date")) == 0 {
		mended.Append("Date", s.Date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	}
	if len(mended.All("Message-ID")) == 0 {
		mended.Append("Message-ID", "<"+s.MessageID+">")
	}
	*h = *mended
	return nil
}

// lenient decodes no charset: the addresses are wanted, not the names beside them.
var lenient = mime.WordDecoder{CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil }}

// Mailboxes reads the addresses in a From or Sender: at least one. Where the field is not what
// RFC 5322 has, they are all that anybody could take for one.
func Mailboxes(f header.Field) ([]address.Mailbox, error) {
	if len(f.Raw) > parsedMost {
		return nil, &AddressError{Field: f.Name, Err: header.ErrTooLarge}
	}
	boxes, err := strictMailboxes(f)
	if err == nil {
		return boxes, nil
	}
	// QUIRK: RFC 5322 §3.4 wants names quoted that have commas, dots or brackets in them.
	if loose, e := looseMailboxes(f.Value()); e == nil {
		return loose, nil
	}
	return nil, err
}

// strictMailboxes reads the addresses by RFC 5322 §3.4.
func strictMailboxes(f header.Field) ([]address.Mailbox, error) {
	parser := mail.AddressParser{WordDecoder: &lenient}
	list, err := parser.ParseList(withoutComments(f.Value()))
	if err == nil && len(list) == 0 {
		err = errors.New("there is none") // an empty group (RFC 6854)
	}
	if err != nil {
		return nil, &AddressError{Field: f.Name, Err: err}
	}
	boxes := make([]address.Mailbox, 0, len(list))
	for _, a := range list {
		at := strings.LastIndexByte(a.Address, '@')
		if at < 0 {
			return nil, &AddressError{Field: f.Name, Err: address.ErrSyntax}
		}
		box, err := address.Join(a.Address[:at], a.Address[at+1:])
		if err != nil {
			return nil, &AddressError{Field: f.Name, Err: err}
		}
		boxes = append(boxes, box)
	}
	return boxes, nil
}

// withoutComments takes the comments out of a structured field's value (RFC 5322 §3.2.2), where
// package net/mail takes them at an address's end only. One that does not end stays, as the
// error that it is.
func withoutComments(value string) string { return uncommented(value, " ") }

// uncommented puts a text in the place of each comment.
func uncommented(value, instead string) string {
	var out strings.Builder
	depth, open, quoted := 0, 0, false
	for i := 0; i < len(value); i++ {
		start := i
		switch c := value[i]; {
		case c == '\\' && (quoted || depth > 0):
			i = min(i+1, len(value)-1)
		case c == '"' && depth == 0:
			quoted = !quoted
		case c == '(' && !quoted:
			if depth == 0 {
				open = i
			}
			depth++
		case c == ')' && depth > 0:
			depth--
			if depth == 0 {
				out.WriteString(instead)
				continue
			}
		}
		if depth == 0 {
			out.WriteString(value[start : i+1])
		}
	}
	if depth > 0 {
		out.WriteString(value[open:])
	}
	return out.String()
}
