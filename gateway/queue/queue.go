// Package queue is mail in transit as an administrator handles it: the same whether the running gateway is
// asked, through the socket in its state folder, or the database is opened because none runs.
//
//	q := queue.NewClient(admin.DialSocket("/var/lib/dipylon/state/admin.sock")) // a gateway's, as [Handler] serves it
//	q := &queue.Spool{Spool: spool, Ways: ways, Log: log}         // or a spool's
//	page, err := q.List(ctx, queue.Filter{Destination: "far.example"}, "", 100)
//	step, err := q.Change(ctx, queue.Change{Action: queue.Retry, Filter: filter})   // until step.Next is empty
//
// Whatever there is, one answer is a page: nothing is held in memory by the number of messages.
package queue

import (
	"context"
	"errors"
	"io"
	"time"
)

// Queue is mail in transit.
type Queue interface {
	// List gives the messages of which the filter means a recipient, the oldest first, behind the one with
	// an id (empty: from the start), at the most so many, and [PageMost].
	List(ctx context.Context, f Filter, after string, most int) (Page, error)
	// Show gives one message, by its id or else by its key, or [ErrNotFound].
	Show(ctx context.Context, name string) (Message, error)
	// Open opens the content of a message, by its id.
	Open(ctx context.Context, id string) (io.ReadCloser, error)
	// Change does one step of a change.
	Change(ctx context.Context, c Change) (Step, error)
	// Stats counts recipients by destination and state, those with most first, at the most so many lines,
	// and [StatsMost].
	Stats(ctx context.Context, most int) ([]Statistic, error)
}

// Bounds of an answer.
const (
	PageMost  = 200    // messages
	StatsMost = 10_000 // lines
)

// Filter says which recipients of which messages are meant; its zero value means all.
type Filter struct {
	ID          string   `json:"id,omitempty"` // of the message
	Key         string   `json:"key,omitempty"`
	Destination string   `json:"destination,omitempty"`
	Recipient   string   `json:"recipient,omitempty"`
	Sender      string   `json:"sender,omitempty"` // "<>" is the null reverse-path
	States      []string `json:"states,omitempty"`
}

// IsZero says that all are meant.
func (f Filter) IsZero() bool {
	return f.ID == "" && f.Key == "" && f.Destination == "" && f.Recipient == "" && f.Sender == "" && len(f.States) == 0
}

// Page is some messages.
type Page struct {
	Messages []Message `json:"messages"`
	Next     string    `json:"next,omitempty"` // List goes on after it; empty: there are no more
}

// Message is a message in the queue.
type Message struct {
	ID       string    `json:"id"`
	Key      string    `json:"key"`    // under which stores know it
	Sender   string    `json:"sender"` // the reverse-path; empty: the null one
	Received time.Time `json:"received,omitzero"`
	Expires  time.Time `json:"expires,omitzero"` // zero: as relay.expire has it
	Size     int64     `json:"size"`             // octets
	Priority int       `json:"priority,omitempty"`
	// EnvelopeID is the sender's name for the transaction (ENVID, RFC 3461 §4.4).
	EnvelopeID string `json:"envelope_id,omitempty"`
	// Account is who has submitted it, and Client the address that it came from.
	Account    string      `json:"account,omitempty"`
	Client     string      `json:"client,omitempty"`
	Session    string      `json:"session,omitempty"`
	Recipients []Recipient `json:"recipients"`
	Damage     string      `json:"damage,omitempty"` // what cannot be read of it
}

// Recipient is a recipient of a message in the queue.
type Recipient struct {
	Address     string    `json:"address"`
	Destination string    `json:"destination"`
	State       string    `json:"state"`
	Attempts    int       `json:"attempts"`
	Due         time.Time `json:"due,omitzero"` // when it is tried; zero: it is not
	// Why is why it waits, where that is not for what came of the last attempt.
	Why  string   `json:"why,omitempty"`
	Last *Outcome `json:"last,omitempty"`
}

// Outcome is what came of an attempt.
type Outcome struct {
	At         time.Time `json:"at,omitzero"`
	Code       string    `json:"code,omitempty"` // RFC 3463
	Server     string    `json:"server,omitempty"`
	Diagnostic string    `json:"diagnostic,omitempty"`
}

// The actions of a [Change].
const (
	Retry   = "retry"   // be tried now, whatever back-off there is
	Hold    = "hold"    // not be tried until released
	Release = "release" // what is held is tried
	Delete  = "delete"  // have failed, and nobody is told
	Reroute = "reroute" // wait for another destination
)

// Change is what is to be done with recipients.
type Change struct {
	Action string `json:"action"`
	Filter Filter `json:"filter"`
	From   string `json:"from,omitempty"` // Step.Next of the step before
	// To is the destination of [Reroute]; empty: as the routes are now.
	To string `json:"to,omitempty"`
}

// Step is what one step of a change has done.
type Step struct {
	Changed []Touched `json:"changed"`
	// InFlight are those that are being delivered at this moment, and stay as they are. The first step
	// tells of them.
	InFlight []Touched `json:"in_flight,omitempty"`
	Looked   int       `json:"looked"`         // how many were looked at
	Next     string    `json:"next,omitempty"` // where the next step goes on; empty: that was all
}

// Touched is a recipient that a change has to do with.
type Touched struct {
	ID          string `json:"id"` // of the message
	Sender      string `json:"sender"`
	Recipient   string `json:"recipient"`
	Destination string `json:"destination"`
}

// Statistic is how much there is of a state at a destination.
type Statistic struct {
	Destination string    `json:"destination"`
	State       string    `json:"state"`
	Recipients  int64     `json:"recipients"`
	Oldest      time.Time `json:"oldest"`        // when the first of them was taken in
	Due         time.Time `json:"due,omitzero"`  // when the first of them is tried; zero: none is
	Why         string    `json:"why,omitempty"` // why they wait, as in Recipient
}

// ErrNotFound says that there is no such message.
var ErrNotFound = errors.New("the queue has no such message")

// ArgumentError says what is wrong with what was asked.
type ArgumentError struct{ Text string }

// Error implements error.
func (e *ArgumentError) Error() string { return e.Text }
