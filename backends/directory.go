package backends

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// DirectoryEntry is what a store's directory says of a recipient, in the answer to [Receiver.Resolve].
type DirectoryEntry struct {
	// Address is the recipient's canonical address: the same by whatever alias, case or detail it was
	// asked about. It may be empty where the store does not know.
	Address string
	// Members are who gets a message to a list, at most [MembersMost]. A store that expands a list
	// itself, or that has more of them, names none.
	Members []string
	// Preferences are how the recipient wants messages to be written.
	Preferences Preferences
}

// MembersMost bounds DirectoryEntry.Members.
const MembersMost = 1000

// Preferences are what a recipient's entry says of the form of messages to it. The zero value says
// nothing.
type Preferences struct {
	RichText RichText
	Format   Format
	Charset  string // for text, by its name in the IANA registry; empty: not said
}

// RichText is whether a recipient is sent formatted text.
type RichText uint8

// Whether there is formatted text. The numbers are on the wire.
const (
	RichTextUnset  RichText = 0
	RichTextNever  RichText = 1
	RichTextAlways RichText = 2
	RichTextAsSent RichText = 3 // as the message's author says
)

// Format is how messages with attachments are written for a recipient.
type Format uint8

// The formats. The numbers are on the wire.
const (
	FormatUnset    Format = 0
	FormatMIME     Format = 1
	FormatUUENCODE Format = 2 // plain text, with attachments in UUENCODE
)

// charsetMost bounds the name of a charset (RFC 2978 §2.3: 40 characters).
const charsetMost = 40

// Check says what is wrong with an entry: nil if nothing is.
func (e *DirectoryEntry) Check() error {
	if e.Address != "" && !hasAddressForm(e.Address) {
		return errors.New("a canonical address that is none")
	}
	if len(e.Members) > MembersMost {
		return fmt.Errorf("%d members, and %d are the most", len(e.Members), MembersMost)
	}
	known := make(map[string]bool, len(e.Members))
	for _, member := range e.Members {
		switch {
		case !hasAddressForm(member):
			return errors.New("a member whose address is none")
		case known[member]:
			return errors.New("a member who is named twice")
		case member == e.Address:
			return errors.New("a list that is its own member")
		}
		known[member] = true
	}
	return e.Preferences.check()
}

func (p Preferences) check() error {
	switch {
	case p.RichText > RichTextAsSent:
		return errors.New("a preference of rich text that is none")
	case p.Format > FormatUUENCODE:
		return errors.New("a preferred format that is none")
	case len(p.Charset) > charsetMost || strings.ContainsFunc(p.Charset, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("a preferred charset that has no name of one")
	}
	return nil
}

// addressMost bounds an address (RFC 5321 §4.5.3.1: 64 octets, "@", 255 octets).
const addressMost = 320

// hasAddressForm looks at the form alone: who uses an address parses it.
func hasAddressForm(address string) bool {
	at := strings.LastIndexByte(address, '@')
	return at > 0 && at < len(address)-1 && len(address) <= addressMost && !strings.ContainsFunc(address, func(r rune) bool {
		return r == unicode.ReplacementChar || !unicode.IsPrint(r)
	})
}
