package backends

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Verdict is the outcome for one recipient.
type Verdict struct {
	Recipient string // its address, as it was asked about
	// Failure is nil when the recipient's copy is taken. Failure.Temporary() parts "try
	// later" from "refused for good"; [Uncertain] means that it may have been taken.
	Failure *Failure
	// Account is, in the answer to Resolve, the [Account.ID] of whose mailbox the address is: one of
	// the account's own, or one of them with a detail (RFC 5233). The account may send as it. Empty: the store
	// does not know, or the address is nobody's own, as with a list, a catch-all or a forwarding.
	Account string
	// Directory is, in the answer to Resolve, what the store's directory says of the recipient; nil: nothing.
	Directory *DirectoryEntry
	// Holds is, in the answer to Resolve and without a failure, how long the answer holds for the recipient, whoever
	// sends the message from where, if it is no larger than was asked: so long the gateway may give it by itself,
	// 5 s at the most ([HoldsMost]). A mailbox whose quota may be full by then, or a list that is closed to some
	// senders, has no such answer. What a [Watcher] tells ends it early. Zero: each message is asked about.
	Holds time.Duration
	// Action is what was done, in the words of RFC 3464 §2.3.3; zero: what the call and the failure say.
	Action Action
	// Destination is where the message went: the folder, or the next server ("dns; mx.example.org",
	// RFC 3464 §2.3.5). One line for the track.
	Destination string
	// RemoteDiagnostic is what the next server has answered: "smtp; 550 5.1.1 no such user"
	// (RFC 3464 §2.3.6). One line for the track and for notifications.
	RemoteDiagnostic string
	// StoredAs is the id of the copy that the store now has of the message, for the track.
	StoredAs MessageID
}

// storedAsMost bounds the id of a stored copy in the log.
const storedAsMost = 256

// StoredAsText is the id of the copy as the log has it: its first 256 octets.
func (v Verdict) StoredAsText() string {
	return string(v.StoredAs[:min(len(v.StoredAs), storedAsMost)])
}

// HoldsMost bounds [Verdict.Holds].
const HoldsMost = 5 * time.Second

// Action is what was done with a message for a recipient (RFC 3464 §2.3.3).
type Action uint8

// The actions. The numbers are on the wire.
const (
	ActionUnset     Action = 0
	ActionDelivered Action = 1 // it is in the recipient's mailbox
	ActionRelayed   Action = 2 // a server that tells of no outcome has it
	ActionExpanded  Action = 3 // the address is a list's, and its members get the message
	ActionDelayed   Action = 4 // not yet; without a failure the store goes on trying by itself
	ActionFailed    Action = 5
)

var actionNames = [...]string{"", "delivered", "relayed", "expanded", "delayed", "failed"}

// String is the action's word in RFC 3464.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return ""
}

// Outcome is the verdict's action, or the one that its failure says where it names none.
// When to try again is the failure's RetryAfter.
func (v Verdict) Outcome() Action {
	switch {
	case v.Action != ActionUnset:
		return v.Action
	case v.Failure == nil:
		return ActionDelivered
	case v.Failure.Temporary():
		return ActionDelayed
	}
	return ActionFailed
}

// verdictFaults are what is wrong with a verdict.
var verdictFaults = []struct {
	what string
	has  func(v Verdict) bool
}{
	{"names an action that is none of RFC 3464", func(v Verdict) bool { return v.Action.String() == "" && v.Action != ActionUnset }},
	{"says that the message is taken, and has a failure", func(v Verdict) bool { return v.Failure != nil && v.Action.takes() }},
	{"says that the message has failed, and has no failure", func(v Verdict) bool { return v.Failure == nil && v.Action == ActionFailed }},
}

// takes says whether somebody has the message after the action.
func (a Action) takes() bool {
	return a == ActionDelivered || a == ActionRelayed || a == ActionExpanded
}

// Check says what is wrong with a verdict: nil if nothing is.
func (v Verdict) Check() error {
	for _, fault := range verdictFaults {
		if fault.has(v) {
			return errors.New("a verdict " + fault.what)
		}
	}
	return nil
}

// CheckVerdicts judges the answer to [Receiver.Resolve], [Receiver.Deliver], [Sender.Send] and
// [Sending.Send]. It has to
// speak of exactly the recipients that were asked about, in their order and spelling; otherwise nobody
// can say whose verdict is whose (I1), and none of them counts.
//
// It is the one judgement, and stands in the contract because nobody else is known to all who need it:
// the process boundary, to which a plugin may say anything (I10); the gateway's routing, whose stores
// need not be plugins; and the conformance suite.
func CheckVerdicts(asked []Recipient, verdicts []Verdict) error {
	if len(verdicts) != len(asked) {
		return fmt.Errorf("%d verdicts for %d recipients", len(verdicts), len(asked))
	}
	for i, v := range verdicts {
		if v.Recipient != asked[i].Address {
			return fmt.Errorf("verdict %d is about a recipient that was not asked about there", i+1)
		}
		if err := v.Check(); err != nil {
			return fmt.Errorf("verdict %d: %w", i+1, err)
		}
	}
	return nil
}

// Bounds of what a verdict tells for the track, in octets.
const (
	DestinationMost = 255
	DiagnosticMost  = 512
)

// diagnostic is the form of a diagnostic code (RFC 3464 §2.3.6): its type, and the code with its text.
var diagnostic = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*); ?(\S.*)$`)

// trackFaults are what is wrong with what a verdict tells for the track. It counts all the same.
var trackFaults = []struct {
	what string
	has  func(v Verdict) bool
}{
	{"a destination that is not one line of 255 octets", func(v Verdict) bool { return !oneLine(v.Destination, DestinationMost) }},
	{"a diagnostic that is not one line of 512 octets", func(v Verdict) bool { return !oneLine(v.RemoteDiagnostic, DiagnosticMost) }},
	{"a diagnostic that is not a type and a text (\"smtp; 550 5.1.1 …\")", func(v Verdict) bool {
		return v.RemoteDiagnostic != "" && diagnostic.FindString(v.RemoteDiagnostic) == ""
	}},
	{"an SMTP diagnostic that begins with no reply code", func(v Verdict) bool { return v.smtpClass() == notReply }},
	{"an SMTP diagnostic of success, and a failure", func(v Verdict) bool {
		return v.smtpClass() == '2' && v.Failure != nil && v.Failure.Kind != Uncertain
	}},
	{"an SMTP diagnostic of failure, and no failure", func(v Verdict) bool {
		return (v.smtpClass() == '4' || v.smtpClass() == '5') && v.Failure == nil && v.Action != ActionDelayed
	}},
}

// What smtpClass gives where there is no class.
const (
	notSMTP  = 0
	notReply = 1
)

// smtpReply is a reply's code, and what may follow it (RFC 5321 §4.2).
var smtpReply = regexp.MustCompile(`^[245][0-9][0-9](?:[ -]|$)`)

// smtpClass is the first digit of an SMTP diagnostic's reply code.
func (v Verdict) smtpClass() byte {
	parts := diagnostic.FindStringSubmatch(v.RemoteDiagnostic)
	switch {
	case parts == nil || !strings.EqualFold(parts[1], "smtp"):
		return notSMTP
	case !smtpReply.MatchString(parts[2]):
		return notReply
	}
	return parts[2][0]
}

func oneLine(text string, most int) bool {
	return len(text) <= most && !strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) })
}

// CheckTrack says what is wrong with where a verdict says that the message went and what the next server
// has answered (RFC 3464 §2.3.5, §2.3.6): nil if nothing is.
func (v Verdict) CheckTrack() error {
	for _, fault := range trackFaults {
		if fault.has(v) {
			return errors.New(fault.what)
		}
	}
	return nil
}
