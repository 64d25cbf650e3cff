package smtpclient

import (
	"errors"
	"fmt"
)

// The points of a transaction at which a server refuses: the Command of a [ReplyError]. The same
// code means something else at each.
const (
	AtMail = "MAIL"
	AtRcpt = "RCPT"
	AtData = "DATA"
	AtBdat = "BDAT"
	AtEnd  = "end of content"
	// AtEndLMTP is one recipient's reply to the content (RFC 2033 §4.2).
	AtEndLMTP = "end of content, LMTP"
)

// Outcome is what became of one recipient.
type Outcome struct {
	Recipient string
	// Err is nil for one who has the message, or would have it. It is a [*ReplyError] where the
	// server refused, an [*AddressError] where it was not asked, an [*UncertainError] where it did
	// not answer, and an [*UnsentError] where it came to nothing behind other recipients.
	Err error
	// Reply is the server's to the content, for one who has the message; see [Outcome.Said].
	Reply Reply
}

// Said is the server's last reply about the recipient; ok: there was one.
func (o Outcome) Said() (reply Reply, ok bool) {
	if refused := (*ReplyError)(nil); errors.As(o.Err, &refused) {
		return refused.Reply, true
	}
	return o.Reply, o.Err == nil && o.Reply.Code != 0
}

// Asked says whether the server knows of the message for the recipient: it has replied, or owes the
// reply to the content.
func (o Outcome) Asked() bool {
	_, said := o.Said()
	return said || errors.As(o.Err, new(*UncertainError))
}

// UncertainError says that the end of the content was not answered: the message may have been taken.
type UncertainError struct{ Err error }

func (e *UncertainError) Error() string {
	return "no answer to the end of the content: " + e.Err.Error()
}
func (e *UncertainError) Unwrap() error { return e.Err }

// UnsentError says why a recipient got nothing after others had the message.
type UnsentError struct{ Err error }

func (e *UnsentError) Error() string { return "nothing more could be sent: " + e.Err.Error() }
func (e *UnsentError) Unwrap() error { return e.Err }

// AddressError says that the server cannot be told an address.
type AddressError struct {
	Address     string
	Status      string // the enhanced status code (RFC 3463 §3.2, RFC 6531 §3.5)
	ReversePath bool   // it is that, and so stands for the whole message
	Err         error
}

func (e *AddressError) Error() string {
	what := "the recipient"
	if e.ReversePath {
		what = "the reverse-path"
	}
	return fmt.Sprintf("%s %.300q: %v", what, e.Address, e.Err)
}

func (e *AddressError) Unwrap() error { return e.Err }

// NeedsUTF8 says that the server lacks SMTPUTF8 (RFC 6531) for the address.
func (e *AddressError) NeedsUTF8() bool { return e.Status == "5.6.7" }

// LoopError says that the server is ourselves, by its name.
type LoopError struct{ Name string }

func (e *LoopError) Error() string {
	return fmt.Sprintf("the server calls itself %s, as this gateway does: mail would go round in circles", e.Name)
}
