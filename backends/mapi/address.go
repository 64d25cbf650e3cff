package mapi

import (
	"bytes"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/codepage"
)

// Types of addresses, MS-OXCMAIL §2.1.1.
const (
	AddressSMTP = "SMTP"
	AddressEX   = "EX" // a distinguished name of the organisation's address book
)

// Address is a sender or recipient as properties name one.
type Address struct {
	Name    string // to show
	Type    string // such as SMTP or EX
	Address string // of that type
	SMTP    string // the Internet address, if it is known
}

// AddressTags are the properties that hold one address, MS-OXOMSG §2.2.1.
type AddressTags struct{ Name, Type, Address, SMTP, EntryID, SearchKey Tag }

// The addresses of messages and recipients.
var (
	RecipientAddress = AddressTags{
		PidTagDisplayName, PidTagAddressType, PidTagEmailAddress,
		PidTagSmtpAddress, PidTagEntryId, PidTagSearchKey,
	}
	SenderAddress = AddressTags{
		PidTagSenderName, PidTagSenderAddressType, PidTagSenderEmailAddress,
		PidTagSenderSmtpAddress, PidTagSenderEntryId, PidTagSenderSearchKey,
	}
	SentRepresentingAddress = AddressTags{
		PidTagSentRepresentingName, PidTagSentRepresentingAddressType, PidTagSentRepresentingEmailAddress,
		PidTagSentRepresentingSmtpAddress, PidTagSentRepresentingEntryId, PidTagSentRepresentingSearchKey,
	}
	ReceivedByAddress = AddressTags{
		PidTagReceivedByName, PidTagReceivedByAddressType, PidTagReceivedByEmailAddress,
		PidTagReceivedBySmtpAddress, PidTagReceivedByEntryId, PidTagReceivedBySearchKey,
	}
	ReceivedRepresentingAddress = AddressTags{
		PidTagReceivedRepresentingName, PidTagReceivedRepresentingAddressType, PidTagReceivedRepresentingEmailAddress,
		PidTagReceivedRepresentingSmtpAddress, PidTagReceivedRepresentingEntryId, PidTagReceivedRepresentingSearchKey,
	}
)

// Address returns the address that properties hold. What they do not say is taken from the entry id, if
// that knows. The second result says whether there is an address at all.
func (p *Properties) Address(tags AddressTags) (Address, bool) {
	a := Address{
		Name: p.Text(tags.Name), Type: p.Text(tags.Type),
		Address: p.Text(tags.Address), SMTP: p.Text(tags.SMTP),
	}
	a.complete(p.Bytes(tags.EntryID))
	if a.SMTP == "" && (strings.EqualFold(a.Type, AddressSMTP) || a.Type == "" && strings.Contains(a.Address, "@")) {
		a.SMTP = a.Address
	}
	return a, a.Address != "" || a.SMTP != ""
}

// complete takes what is missing from an entry id.
func (a *Address) complete(entry []byte) {
	if a.Address != "" || len(entry) == 0 {
		return
	}
	id, err := ParseEntryID(entry, codepage.WesternEuro)
	if err != nil {
		return
	}
	switch id := id.(type) {
	case OneOffEntryID:
		a.Type, a.Address = id.AddressType, id.Address
		if a.Name == "" {
			a.Name = id.DisplayName
		}
	case AddressBookEntryID:
		a.Type, a.Address = AddressEX, id.DN
	}
}

// SetAddress sets the properties that hold an address, with its entry id and search key.
func (p *Properties) SetAddress(tags AddressTags, a Address) {
	p.Set(tags.Name, String(a.Name))
	p.Set(tags.Type, String(a.Type))
	p.Set(tags.Address, String(a.Address))
	if a.SMTP != "" {
		p.Set(tags.SMTP, String(a.SMTP))
	}
	p.Set(tags.EntryID, Binary(a.EntryID().AppendTo(nil)))
	p.Set(tags.SearchKey, SearchKey(a.Type, a.Address))
}

// EntryID returns the entry id of the address: an object of the address book if its type is EX, and
// otherwise a one-off entry id, whose recipient is not sent TNEF.
func (a Address) EntryID() EntryID {
	if strings.EqualFold(a.Type, AddressEX) {
		return AddressBookEntryID{AddressBookUser, a.Address}
	}
	return OneOffEntryID{Flags: OneOffUnicode | OneOffMIME, DisplayName: a.Name, AddressType: a.Type, Address: a.Address}
}

// SearchKey returns the value by which addresses are compared, such as that of PidTagSenderSearchKey: type
// and address in capitals, with a NUL behind them. MS-OXCMSG §2.2.1.10 and MS-OXOABK §2.2.3.
func SearchKey(addressType, address string) Binary {
	return append([]byte(strings.ToUpper(addressType+":"+address)), 0)
}

// ParseSearchKey returns type and address of a search key, in capitals. It says whether it is one of an address.
func ParseSearchKey(searchKey []byte) (addressType, address string, ok bool) {
	text, _, _ := bytes.Cut(searchKey, []byte{0})
	return strings.Cut(string(text), ":")
}
