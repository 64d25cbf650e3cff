package maildir

import (
	"errors"
	"io"
	"strings"

	"github.com/dipylon/dipylon/backends"
	mail "github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/pickup"
)

// addressed are the recipients of a message by its header; an address without a domain is in the one that is given.
func addressed(h *header.Header, domain string) []backends.Recipient {
	l := addressList{domain: domain}
	for _, f := range recipientFields(h) {
		for _, text := range splitAddresses(f.Value()) {
			l.add(text)
		}
	}
	return l.all
}

// outgoingOf is the envelope of a message in an account's outbox, and where in the file the message begins.
//
// Whoever can write into the folder sends as the account: of other senders those count that it may send as.
func (u *inUse) outgoingOf(d *directory, a *account, file io.ReadSeeker) (out backends.Outgoing, begins int64, err error) {
	e, begins, err := pickup.Read(file)
	if err != nil {
		return out, 0, err
	}
	if _, err := file.Seek(begins, io.SeekStart); err != nil {
		return out, 0, err
	}
	h, _, err := header.Read(file, header.Most)
	if err != nil {
		var malformed *header.MalformedError
		if !errors.As(err, &malformed) && !errors.Is(err, header.ErrTooLarge) && !errors.Is(err, header.ErrTooManyFields) {
			return out, 0, err
		}
		h = &header.Header{} // the gateway says what is wrong with it
	}
	out.Return, out.ID = e.Return, ""
	out.Envelope.ID = e.ID
	out.From = u.senderOf(d, a, e, h)
	l := addressList{domain: a.address.domain}
	for _, r := range e.Recipients {
		l.put(r)
	}
	if len(e.Recipients) == 0 {
		l.all = addressed(h, a.address.domain)
	}
	out.Recipients = l.recipients()
	out.Submitter = backends.Submitter{Account: a.address.String(), Address: a.address.String()}
	return out, begins, nil
}

// senderOf is the reverse-path of a message: that of its envelope or its Return-Path, or the address in Sender or From, if
// the account may send as that; or else the account's own.
func (u *inUse) senderOf(d *directory, a *account, e pickup.Envelope, h *header.Header) string {
	var candidates []string
	if e.Sender != nil {
		candidates = append(candidates, *e.Sender)
	} else {
		for _, name := range []string{"Return-Path", "Sender", "From"} {
			for _, f := range h.All(name) {
				found := splitAddresses(f.Value())
				if len(found) == 0 && strings.TrimSpace(f.Value()) == "<>" && name == "Return-Path" {
					found = []string{""}
				}
				candidates = append(candidates, found...)
			}
		}
	}
	const lookedAt = 10
	for _, text := range candidates[:min(len(candidates), lookedAt)] {
		if text == "" {
			return "" // RFC 5321 §4.5.5
		}
		if box, err := mail.Parse(text); err == nil && u.maySend(d, a, box) {
			return box.String()
		}
	}
	return a.address.String()
}

// maySend says whether an account may send as an address: it is its own, one of it with a detail, or listed in send_as.
func (u *inUse) maySend(d *directory, a *account, box mail.Mailbox) bool {
	as, err := parseAddress(box.String())
	if err != nil {
		return false
	}
	if d.byOwnAddress(as, string(u.DetailSeparator)) == a {
		return true
	}
	for _, listed := range a.sendAs {
		if domain, whole := strings.CutPrefix(listed, "@"); whole && domain == as.domain || listed == as.String() {
			return true
		}
	}
	return false
}
