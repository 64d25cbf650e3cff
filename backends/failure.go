package backends

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind is the class of a failure. It decides what a client is told; see [Replies].
type Kind uint8

// The kinds. The numbers are on the wire; a number that is not known counts as [Temporary].
const (
	// Temporary: the store cannot do it now; trying again later makes sense.
	Temporary Kind = 1
	// Permanent: it was refused, and will be refused again.
	Permanent Kind = 2
	// BadCredentials: the store has checked the credential and it is wrong. Never used for
	// an outage (nor [Temporary] for a wrong password).
	BadCredentials Kind = 3
	// InUse: somebody else has the maildrop open (RFC 2449 §8.1.1).
	InUse Kind = 4
	// NotFound: no such message, folder or recipient.
	NotFound Kind = 5
	// OverQuota: the recipient's mailbox is full.
	OverQuota Kind = 6
	// TooLarge: the message is larger than the store or the recipient takes.
	TooLarge Kind = 7
	// Throttled: too many requests; RetryAfter says when to come back.
	Throttled Kind = 8
	// Unsupported: the store does not have this operation, mechanism or option.
	Unsupported Kind = 9
	// Poison: the store has the message but cannot render it.
	Poison Kind = 10
	// Uncertain: it may have happened; only the store can tell (I2).
	Uncertain Kind = 11
	// AccountDisabled: the credential is right, and the account may not log in until somebody has
	// enabled it again. Only told of a credential that was verified: else it is [BadCredentials].
	AccountDisabled Kind = 12
	// PasswordExpired: the password was right, and has to be changed first. Only told of one that
	// was verified.
	PasswordExpired Kind = 13
	// MailboxMoved: the mailbox is on another system now, for good, and this store does not lead
	// there (RFC 3463 §3.2, X.1.6).
	MailboxMoved Kind = 14
)

var kindNames = map[Kind]string{
	Temporary: "temporary", Permanent: "permanent", BadCredentials: "bad credentials", InUse: "in use",
	NotFound: "not found", OverQuota: "over quota", TooLarge: "too large", Throttled: "throttled",
	Unsupported: "unsupported", Poison: "poison", Uncertain: "uncertain",
	AccountDisabled: "account disabled", PasswordExpired: "password expired", MailboxMoved: "mailbox moved",
}

func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// ErrCrashed is the cause of failures of calls whose plugin process ended under them, and nobody had asked it to. They are
// [Temporary], as the process is started again.
var ErrCrashed = errors.New("the plugin has crashed")

// Failure is an error with a class. Text goes to the client, Detail to the log alone.
type Failure struct {
	Kind Kind
	// Code is the enhanced status code (RFC 3463), "5.1.1". Empty: the kind's own.
	Code string
	// Text is fit for a stranger: one line, no host names, no addresses but the client's own,
	// nothing of the store's insides. Empty: the kind's own.
	Text string
	// Detail is for the administrator.
	Detail string
	// RetryAfter is when to try again; 0: not known. With the kinds that pass the gateway does
	// not ask the same again before that, for an hour at the most.
	RetryAfter time.Duration
	// Guess says of a login's failure that the credential may be what is wrong, though the client
	// is told something else: the gateway counts it as a guess, as it does [BadCredentials],
	// [Permanent] and [NotFound] in any case.
	Guess bool
	// Whole says that it is the store as a whole that fails, whoever it is asked for: the gateway gets no token, or its
	// server is away. Nobody has got anything then, whatever was read of a content; and what else waits for the store is
	// not tried before one attempt has shown that it works again.
	Whole bool

	cause error
}

// Fail makes a failure of a kind, with a detail for the log in the manner of [fmt.Errorf]:
// what %w names can be found again with errors.Is and errors.As, on this side of the wire.
func Fail(kind Kind, format string, args ...any) *Failure {
	err := fmt.Errorf(format, args...)
	return &Failure{Kind: kind, Detail: err.Error(), cause: err} // not unwrapped: several %w have no one cause
}

// Say returns a copy of the failure with the text for the client set.
func (f *Failure) Say(text string) *Failure {
	g := *f
	g.Text = text
	return &g
}

// WithCode returns a copy of the failure with the enhanced status code set.
func (f *Failure) WithCode(code string) *Failure {
	g := *f
	g.Code = code
	return &g
}

// After returns a copy of the failure with RetryAfter set.
func (f *Failure) After(d time.Duration) *Failure {
	g := *f
	g.RetryAfter = d
	return &g
}

// OfStore returns a copy of the failure with Whole set.
func (f *Failure) OfStore() *Failure {
	g := *f
	g.Whole = true
	return &g
}

func (f *Failure) Error() string {
	switch {
	case f.Detail != "":
		return f.Kind.String() + ": " + f.Detail
	case f.Text != "":
		return f.Kind.String() + ": " + f.Text
	}
	return f.Kind.String()
}

func (f *Failure) Unwrap() error { return f.cause }

// Is makes errors.Is(err, &Failure{Kind: k}) ask for the kind alone.
func (f *Failure) Is(target error) bool {
	t, ok := target.(*Failure)
	return ok && t.Kind == f.Kind && t.Detail == "" && t.Text == ""
}

// Temporary says whether trying again later makes sense.
func (f *Failure) Temporary() bool { return f.reply().SMTP/100 == 4 }

// AsFailure finds the failure in an error; an error that has none becomes a temporary one,
// whose text says nothing of it. nil stays nil.
func AsFailure(err error) *Failure {
	if err == nil {
		return nil
	}
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Failure{Kind: Temporary, Code: "4.4.7", Detail: err.Error(), cause: err}
	case errors.Is(err, context.Canceled):
		return &Failure{Kind: Temporary, Detail: err.Error(), cause: err}
	}
	return &Failure{Kind: Temporary, Detail: err.Error(), cause: err}
}

// KindOf is AsFailure(err).Kind; 0 for nil.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	return AsFailure(err).Kind
}
