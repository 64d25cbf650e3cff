package backends

import "time"

// Envelope is what the sender's side has said of a message besides its recipients: the parameters
// of MAIL (RFC 5321 §4.1.1.2), and who has logged in. The zero value of each field is what SMTP
// means where the parameter is left out.
type Envelope struct {
	From string // the reverse-path; empty: the null reverse-path
	// ID is the sender's own name for this transaction, which comes back in a notification (ENVID,
	// RFC 3461 §4.4): printable ASCII, decoded from xtext, at most 100 characters.
	ID     string
	Return Return
	Body   BodyType
	// SMTPUTF8 says that addresses or header need it (RFC 6531).
	SMTPUTF8 bool
	// RequireTLS asks that the message goes through verified TLS alone (RFC 8689).
	RequireTLS bool
	// Priority is from -9 to 9 (MT-PRIORITY, RFC 6710); 0: normal.
	Priority  int
	DeliverBy DeliverBy
	Submitter Submitter
}

// Submitter is the account that has logged in to submit the message; zero: nobody has. A store
// whose lists are closed to strangers decides by it. Account is comparable inside Store alone.
type Submitter struct {
	Store   string // the name of the account's store, as in Settings.Store
	Account string // the Account.ID
	// Address is the account's primary address. Empty: it has none, or none of which Store may say that
	// it is an account's.
	Address string
}

// Recipient is one recipient with the parameters of its RCPT (RFC 3461 §4).
type Recipient struct {
	Address string
	// Notify is when the sender wants word; zero: not said, which is taken as failure (RFC 3461 §4.1).
	Notify Notify
	// OriginalRecipient is whom the sender has named, "rfc822;ada@example.org" (ORCPT, RFC 3461
	// §4.2), decoded from xtext, at most 500 characters; empty: not said.
	OriginalRecipient string
}

// To makes recipients of addresses, with nothing said of notifications.
func To(addresses ...string) []Recipient {
	recipients := make([]Recipient, len(addresses))
	for i, address := range addresses {
		recipients[i].Address = address
	}
	return recipients
}

// Addresses returns the addresses of recipients, in their order.
func Addresses(recipients []Recipient) []string {
	addresses := make([]string, len(recipients))
	for i, r := range recipients {
		addresses[i] = r.Address
	}
	return addresses
}

// Notify is the set of events that the sender wants to be told of (RFC 3461 §4.1).
type Notify uint8

// The events of [Notify]. NotifyNever stands alone.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Valid says whether the set can be: NEVER excludes the others (RFC 3461 §4.1).
func (n Notify) Valid() bool {
	return n == NotifyNever || n&^(NotifySuccess|NotifyFailure|NotifyDelay) == 0
}

// Return is how much of a message comes back in a notification of failure (RET, RFC 3461 §4.3).
type Return uint8

// The values of [Return]. The numbers are on the wire.
const (
	ReturnUnset   Return = 0 // as the sender of the notification sees fit
	ReturnFull    Return = 1 // FULL
	ReturnHeaders Return = 2 // HDRS
)

// BodyType is the declared form of the content (BODY, RFC 6152).
type BodyType uint8

// The body types. The numbers are on the wire.
const (
	Body7Bit     BodyType = 0
	Body8BitMIME BodyType = 1
)

// BodyOf is the body type of a content that is declared to have octets above 127, or not.
func BodyOf(eightBit bool) BodyType {
	if eightBit {
		return Body8BitMIME
	}
	return Body7Bit
}

// DeliverBy is until when the message is to be delivered, and what happens then (RFC 2852).
type DeliverBy struct {
	Until  time.Time // zero: no bound
	Return bool      // by-mode R: it is returned then; else N: its sender is told, and it goes on
	Trace  bool      // by-trace T: relays tell the sender, too
}
