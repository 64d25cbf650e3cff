package routing

import (
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/gateway/dequeue"
	"github.com/dipylon/dipylon/gateway/devices"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/reports"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Options are the settings of an [MX], a [Submission] or an [Outbox]. Log and Router are required, and Authenticator
// for a Submission; the others have defaults, given in brackets.
type Options struct {
	Log zerolog.Logger
	// Protocol is the listener's, for the log of logins: "submissions" where TLS comes first
	// ["submission"].
	Protocol string
	Router   *stores.Router
	// Authenticator is where accounts log in. One is shared by all listeners.
	Authenticator *login.Authenticator
	// Policies say which accounts may submit, and to whom elsewhere [all, to everybody].
	Policies *policy.Current
	// Opening opens TNEF before stores get a message [it stays as it is].
	Opening *receivers.Opening
	// Hostname is the right-hand side of Message-IDs that are added ["localhost"].
	Hostname string
	// Dedup remembers the outcomes of messages that were answered with 4xx. One is shared by
	// all listeners. Without one, an outage between the deliveries to two stores causes duplicates.
	Dedup Dedup
	// Queue keeps mail that cannot be delivered at once, and mail that goes elsewhere by Ways. Without one, or
	// without a route, clients keep what stores cannot take now, and nothing goes elsewhere.
	Queue Queue
	Ways  route.Ways
	// Reports is what reports are like, as it is now [that of the zero value].
	Reports func() reports.Settings
	// TakesIn says whether an MX takes mail from clients that may not relay now, and TakesOut whether mail for recipients
	// in none of the stores is taken now [both: always]. What is not taken is told to come again later.
	TakesIn, TakesOut func() bool
	// PassesOut says whether the transport of an account's store takes mail for such recipients now [always]: the queue
	// cannot keep it, as it leaves with the login of a session.
	PassesOut func() bool
	// Relays says whether an MX takes mail for others' domains from a client at an address [from nobody].
	Relays func(netip.Addr) bool
	// Dequeue starts mail that waits until it is asked for, by clients of an MX. One is shared by all listeners [nobody asks].
	Dequeue *dequeue.Dequeuer
	// FirstRetry is the first wait of the schedule of mail [a minute, which is the most].
	FirstRetry func() time.Duration
	// Confirmed is shared by all listeners [nothing is remembered].
	Confirmed *Confirmed
	// Buffers are where messages on their way are held [those of buffer.Options].
	Buffers buffer.Options
	// HeaderMost is how many octets the header of a submitted message may have: not less than the
	// engine takes, whose limit is the one that is told [header.Most].
	HeaderMost int64
	// SizeMost is how many octets a message from a store's outbox may have [any number].
	SizeMost int64
	// PlaintextLogin allows logins over connections without TLS (RFC 4954 §4) [no].
	PlaintextLogin bool
	// Devices are the machines among those who log in [there are none].
	Devices *devices.Registry
	// Legacy lets devices that are of the old kind come without TLS, or with one older than 1.2, which the listener offers
	// then [no].
	Legacy bool
	// Quirks are what a Submission does for devices and scripts [none].
	Quirks Quirks
}

func (o *Options) setDefaults() {
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	always := func() bool { return true }
	if o.TakesIn == nil {
		o.TakesIn = always
	}
	if o.TakesOut == nil {
		o.TakesOut = always
	}
	if o.PassesOut == nil {
		o.PassesOut = always
	}
	if o.Relays == nil {
		o.Relays = func(netip.Addr) bool { return false }
	}
	if o.Dedup == nil {
		o.Dedup = forgetful{}
	}
	if o.HeaderMost <= 0 {
		o.HeaderMost = header.Most
	}
}

// peerOf describes the client to stores.
func peerOf(conn smtp.Conn, protocol string) backends.Peer {
	p := backends.Peer{Protocol: protocol, TLS: conn.TLS != nil && conn.TLS() != nil, Session: conn.ID}
	if conn.Remote != nil {
		p.Address = conn.Remote.String()
	}
	return p
}
