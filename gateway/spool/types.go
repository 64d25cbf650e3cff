package spool

import (
	"errors"
	"strconv"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/state"
)

// ID is a message's number in the spool. Later messages have greater ones.
type ID int64

// String is the number in hexadecimal, as files and people have it.
func (id ID) String() string { return strconv.FormatInt(int64(id), 16) }

// Message is a message without its content, as it is taken in.
type Message struct {
	// Key names it in transit, as in [backends.Delivery]: 1 to 64 printable ASCII characters. What is
	// taken in under a key that is there already is the same message.
	Key      string
	Envelope backends.Envelope
	Trace    string // the traceparent of the session that brought it; may be empty
	Received time.Time
	// Expires is when trying ends; zero: the relay decides.
	Expires    time.Time
	Peer       backends.Peer
	Origin     Origin
	Recipients []Recipient
	// Remembered is until when the key is known, even if the message has left before: what comes under it again was
	// taken in already, whoever it is for. Zero: the key is forgotten with the message.
	Remembered time.Time
}

// Origin is the machine that a message is from, and who looks after it; zero: it is from a person, who gets the reports.
type Origin struct {
	Device string `json:"device,omitempty"` // its name
	Place  string `json:"place,omitempty"`  // where it stands, in words
	Owner  string `json:"owner,omitempty"`  // the address of who gets the reports on its mail
}

// Recipient is one recipient of a message.
type Recipient struct {
	backends.Recipient
	// Destination is what back-off, limits and shards are counted by: a mail domain, "store:sakes",
	// "route:…".
	Destination string
	// State is [Waiting], [Uncertain] (an earlier attempt may have delivered it), or [Held].
	State State
	// Due is when it may be tried first, by the spool's clock; zero: now. Wait is how long it waits at least from now on.
	Due  time.Time
	Wait time.Duration
}

// ReportTo is a recipient of a report: nobody is told of what becomes of that (RFC 3461 §6.1).
func ReportTo(address, destination string, held bool) Recipient {
	r := Recipient{Recipient: backends.Recipient{Address: address, Notify: backends.NotifyNever}, Destination: destination}
	if held {
		r.State = Held
	}
	return r
}

// State is where a recipient's copy of a message is. The numbers are in the database.
type State uint8

// The states.
const (
	// Waiting: it is tried when it is due.
	Waiting State = 0
	// InFlight: it was handed out, and nobody knows yet what became of it.
	InFlight State = 1
	// Delivered: somebody else has it.
	Delivered State = 2
	// Failed: nobody will get it.
	Failed State = 3
	// Uncertain: an attempt may have delivered it. It is tried when it is due; a store is asked
	// first (I2).
	Uncertain State = 4
	// Held: it is not tried until it is released.
	Held State = 5
)

var stateNames = [...]string{"waiting", "in flight", "delivered", "failed", "uncertain", "held"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "state " + strconv.Itoa(int(s))
}

// Final says that nothing more happens to the recipient.
func (s State) Final() bool { return s == Delivered || s == Failed }

// claimable says that it is tried when it is due.
func (s State) claimable() bool { return s == Waiting || s == Uncertain }

// Pending is a recipient that was handed out.
type Pending struct {
	Recipient // State is the one before: Waiting or Uncertain
	Number    int
	Attempts  int     // before this one
	Last      Outcome // of the last attempt; zero: there was none
}

// Outcome is what became of a recipient.
type Outcome struct {
	Number int `json:"-"` // Pending.Number
	// State is [Delivered], [Failed], [Held], or with Until [Waiting] or [Uncertain].
	State State `json:"-"`
	// Until is when it may be tried again; zero: now.
	Until time.Time `json:"-"`
	// Destination is where it waits from now on, with [Waiting]; empty: where it was.
	Destination string `json:"-"`
	// At is when it was attempted; zero: it was not, and its attempts and last outcome stay.
	At         time.Time `json:"at,omitzero"`
	Code       string    `json:"code,omitempty"`       // enhanced status code (RFC 3463)
	Server     string    `json:"server,omitempty"`     // whom it was given to, or that refused it
	Diagnostic string    `json:"diagnostic,omitempty"` // "smtp; 550 5.1.1 no such user" (RFC 3464 §2.3.6)
	// Delayed says that the sender was told that it takes longer. Once said, it stays.
	Delayed bool `json:"delayed,omitempty"`
}

// Result is what became of a delivery. Recipients without an outcome are still in flight.
type Result struct {
	Delivery *Delivery
	Outcomes []Outcome
	// New are messages, such as reports to the sender, that are taken in if and only if the
	// outcomes are.
	New []New
}

// New is a message with its content.
type New struct {
	Message
	Body *buffer.Buffer
}

// The errors that callers tell apart.
var (
	// ErrFull says that the disk has no room for a message (RFC 3463 §3.4, X.3.1).
	ErrFull = backends.Fail(backends.Temporary, "the spool's disk is nearly full").WithCode("4.3.1").Say("insufficient system storage, try again later")
	// ErrLease says that the node has lost the lease of a destination: what it has learnt of its
	// deliveries counts for nothing, and another node may have them.
	ErrLease = errors.New("the spool: the lease on the destination has run out")
	// ErrDamaged says that a message's content is not there as a whole, and will not be: it is to be held.
	ErrDamaged = errors.New("the message is damaged")
	// ErrClosed is what a spool says after Close.
	ErrClosed = errors.New("the spool is closed")
	// ErrFailed says that the disk has failed to sync, and that nothing is written until the next start: what
	// is in flight is uncertain then.
	ErrFailed = state.ErrFailed
	// ErrNotFound says that there is no such message.
	ErrNotFound = errors.New("the spool has no such message")
)
