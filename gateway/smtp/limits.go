package smtp

import (
	"cmp"
	"time"
)

// Limits bound what a client can make the server hold or do. Zero is the default that is
// named; a negative number is no limit.
type Limits struct {
	// MessageSize is told with SIZE (RFC 1870): octets of the message as it comes, stuffed
	// dots and our own Received line not counted. Default 50 MiB.
	MessageSize int64
	// Header bounds the header section, in octets. Default 1 MiB.
	Header int64
	// Hops is how many Received lines a message may have. Default 100 (RFC 5321 §6.3).
	Hops int
	// Recipients of one message. Default 1000; under 100 is not allowed by RFC 5321
	// §4.5.3.1.8 and taken as 100.
	Recipients int
	// Messages of one connection. Default 1000.
	Messages int
	// Errors is how many protocol errors a connection may make between two accepted
	// messages. Default 20.
	Errors int
	// Refusals is how many recipients of a connection may be refused for good between two
	// accepted messages; more is a directory harvest attack. Default 100.
	Refusals int
	// AuthFailures of one connection. Default 3.
	AuthFailures int
	// Connections at a time, of all clients. Default 1000.
	Connections int
	// PerAddress is how many connections one IPv4 address or IPv6 /64 may have. Default 50.
	PerAddress int
	// Discard is how many octets of refused messages and chunks a connection may make us
	// read before we hang up. Default 64 MiB.
	Discard int64
	// SmallChunks is how many BDAT chunks under 256 octets one message may have. Default
	// 1000.
	SmallChunks int
}

// Timeouts bound each wait. Zero is the default that is named; a negative duration is no
// time-out.
type Timeouts struct {
	// Handshake is for TLS. Default 1 minute.
	Handshake time.Duration
	// Command is for one whole command line. Default 5 minutes (RFC 5321 §4.5.3.2.7).
	Command time.Duration
	// Data is for the next octets of a message, whatever their number. Default 3 minutes
	// (RFC 5321 §4.5.3.2.5).
	Data time.Duration
	// Write is for the client to take our replies. Default 1 minute.
	Write time.Duration
	// Backend is for each call of a session but Data. Default 4 minutes: the client waits 5
	// (RFC 5321 §4.5.3.2.1 to .3).
	Backend time.Duration
	// Commit is for Data after the message's end. Default 9 minutes: the client waits 10
	// (RFC 5321 §4.5.3.2.6).
	Commit time.Duration
	// Session is for the whole connection. Default 2 hours.
	Session time.Duration
}

const (
	fewestRecipients = 100 // RFC 5321 §4.5.3.1.8
	smallChunk       = 256
	mostJunk         = 100     // commands that do nothing, between two accepted messages
	mostSkipped      = 1 << 20 // octets of a line that is too long, before we hang up
	mostExchanges    = 16      // steps of one SASL exchange
)

func (l Limits) withDefaults() Limits {
	l.MessageSize = cmp.Or(l.MessageSize, 50<<20)
	l.Header = cmp.Or(l.Header, 1<<20)
	l.Hops = cmp.Or(l.Hops, 100)
	l.Recipients = cmp.Or(l.Recipients, 1000)
	if l.Recipients > 0 {
		l.Recipients = max(l.Recipients, fewestRecipients)
	}
	l.Messages = cmp.Or(l.Messages, 1000)
	l.Errors = cmp.Or(l.Errors, 20)
	l.Refusals = cmp.Or(l.Refusals, 100)
	l.AuthFailures = cmp.Or(l.AuthFailures, 3)
	l.Connections = cmp.Or(l.Connections, 1000)
	l.PerAddress = cmp.Or(l.PerAddress, 50)
	l.Discard = cmp.Or(l.Discard, 64<<20)
	l.SmallChunks = cmp.Or(l.SmallChunks, 1000)
	return l
}

func (t Timeouts) withDefaults() Timeouts {
	t.Handshake = cmp.Or(t.Handshake, time.Minute)
	t.Command = cmp.Or(t.Command, 5*time.Minute)
	t.Data = cmp.Or(t.Data, 3*time.Minute)
	t.Write = cmp.Or(t.Write, time.Minute)
	t.Backend = cmp.Or(t.Backend, 4*time.Minute)
	t.Commit = cmp.Or(t.Commit, 9*time.Minute)
	t.Session = cmp.Or(t.Session, 2*time.Hour)
	return t
}

// over says whether n is beyond a limit; a negative limit is none.
func over[N int | int64](n, limit N) bool { return limit >= 0 && n > limit }
