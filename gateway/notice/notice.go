// Package notice writes delivery status notifications (RFC 3461, 3464): what the sender of a message is told of
// what became of it, in words and for programs.
//
//	r := notice.Report{Hostname: "mail.sakes.example", Key: "k1", Envelope: envelope, Outcomes: outcomes, Original: message}
//	if r.Outcomes = notice.Wanted(envelope, outcomes); len(r.Outcomes) > 0 {
//		_, err = r.WriteTo(w) // to envelope.From, from the null reverse-path
//	}
//
// The same report is the same octets each time, so that it can be made again after a failure under the same
// key. It holds no more of the message than its header.
package notice

import (
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Outcome is what became of a message for one recipient.
type Outcome struct {
	backends.Recipient
	// Action is the word of RFC 3464 §2.3.3.
	Action backends.Action
	// Code is the enhanced status code (RFC 3463), "5.1.1"; empty: the class of the action and no more.
	Code string
	// Server is the name of the server that has decided it; empty: the reporting one.
	Server string
	// Diagnostic is what that server has answered, "smtp; 550 5.1.1 no such user" (RFC 3464 §2.3.6).
	Diagnostic  string
	LastAttempt time.Time // zero: not told
	RetryUntil  time.Time // of a delay: until when it is tried; zero: not told
}

// Wanted are the outcomes that a sender is told of (RFC 3461 §4.1, §5.2): of failures unless NOTIFY says
// otherwise, of the others only if NOTIFY asks for them. Nobody is told of a message from the null
// reverse-path: two servers would tell one another for ever (RFC 5321 §4.5.5).
func Wanted(envelope backends.Envelope, outcomes []Outcome) (wanted []Outcome) {
	if envelope.From == "" {
		return nil
	}
	for _, o := range outcomes {
		if Wants(o.Notify, o.Action) {
			wanted = append(wanted, o)
		}
	}
	return wanted
}

// Device is the machine that a message is from. Its reports go to who looks after it, in words for that.
type Device struct {
	Name  string
	Place string // where it stands, in words; may be empty
	Owner string // an address
}

// Wanted are the outcomes that the device's owner is told of: failures and delays, whatever a machine says with NOTIFY,
// and whatever its reverse-path is.
func (d Device) Wanted(outcomes []Outcome) (wanted []Outcome) {
	for _, o := range outcomes {
		if d.Wants(o.Action) {
			wanted = append(wanted, o)
		}
	}
	return wanted
}

// Wants says whether the owner is told of an action.
func (d Device) Wants(a backends.Action) bool {
	return d.Owner != "" && (a == backends.ActionFailed || a == backends.ActionDelayed)
}

// called is the device as people know it.
func (d Device) called() string {
	if d.Place == "" {
		return d.Name
	}
	return d.Name + " (" + d.Place + ")"
}

// Wants says whether a sender who has said so of a recipient is told of an action.
func Wants(n backends.Notify, a backends.Action) bool {
	return n&asks(a) != 0 || n == 0 && a != backends.ActionUnset && asks(a) != backends.NotifySuccess
}

// asks is the word of NOTIFY that asks for an action. That a server has the message that tells of no
// outcome, or a list, is a success (RFC 3461 §5.2.2, §5.2.7.3).
func asks(a backends.Action) backends.Notify {
	switch a {
	case backends.ActionFailed:
		return backends.NotifyFailure
	case backends.ActionDelayed:
		return backends.NotifyDelay
	case backends.ActionDelivered, backends.ActionRelayed, backends.ActionExpanded:
		return backends.NotifySuccess
	case backends.ActionUnset:
	}
	return 0
}
