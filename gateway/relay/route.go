package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"strings"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/spool"
)

// Kind is what the next hop of a destination is.
type Kind uint8

// The kinds.
const (
	MX        Kind = iota + 1 // the hosts of a domain, by DNS (RFC 5321 §5)
	SmartHost                 // an SMTP server that is named
	LMTP                      // an LMTP server (RFC 2033) that is named
	Store                     // a store of this gateway
	Transport                 // the own transport of a store of this gateway, to others
)

// String is the kind's name in logs and metrics.
func (k Kind) String() string {
	switch k {
	case MX:
		return "mx"
	case SmartHost:
		return "smart_host"
	case LMTP:
		return "lmtp"
	case Store:
		return "store"
	case Transport:
		return "transport"
	}
	return ""
}

// Route is the next hop of a destination: all that there is to know of it but what DNS says.
type Route struct {
	Kind Kind
	// Domain is whose hosts are looked for, in A-labels, or an address literal, "[192.0.2.1]". Of [MX].
	Domain string
	// Port is that of the hosts [25]. Of [MX].
	Port string
	// Servers are tried in their order: host:port, or the path of a unix socket. Of [SmartHost] and [LMTP]. Those of a
	// group share the mail: they are tried in any order.
	Servers [][]string
	// Store is the store's name. Of [Store] and [Transport].
	Store string
	// As is whose mailbox sends. Of [Transport].
	As string
	// Rewrite gives recipients at a domain, in lower-case A-labels, another one where the server is told of them. Domain
	// is the one that DNS has. Reports and the log have the recipient as it was.
	Rewrite map[string]string
	// Drops is what of automatic messages ends here: they are told of in the log, and nobody gets them (RFC 3834 §5).
	// Reports go on. Of all but [Store].
	Drops content.Automatic
	// Converts is what is done to messages. Of all but [Store].
	Converts Conversion
	// Auth logs in; nil: nobody does. Of [SmartHost] and [LMTP].
	Auth func(ctx context.Context, mechanisms []string) (sasl.Client, error)
	// TLS is how connections are secured; nil: [smtpclient.Verified] where Auth logs in, else
	// [smtpclient.Opportunistic].
	TLS *smtpclient.TLS
	// Common is what has to work for this destination and for others alike: a provider's tokens, the transport of a store.
	// Where that fails all of them wait, and one message of one of them tries whether it works again. Empty: there is nothing
	// of the kind.
	Common string
	// Asked has mail wait until somebody asks for it ([Relay.Asked]). Of all but [Store].
	Asked bool
	// FallBack is where mail waits instead when no server could be reached for some time; zero: there is nothing of the kind.
	FallBack FallBack
	// Limits are those of the destination. What is zero is as [Relay.Limits] has it.
	Limits Limits
}

// FallBack is another destination, for mail whose own one cannot be reached.
type FallBack struct {
	Destination string
	// After is how old a message is that goes there, since it was received; 0: at its first failure.
	After time.Duration
	// SizeMost is the largest message that is taken there, in octets; 0: nobody says.
	SizeMost int64
}

// recipient is a recipient as the next server is told of it. The original one goes along with an address that is
// another than the sender's, so that what the server reports can be understood (RFC 3461 §5.2.1).
func (r Route) recipient(p spool.Pending) (path, original string) {
	box, err := address.Parse(p.Address)
	if err != nil || r.Rewrite[box.Domain] == "" {
		return p.Address, p.OriginalRecipient
	}
	box.Domain = r.Rewrite[box.Domain]
	return box.String(), cmp.Or(p.OriginalRecipient, "rfc822;"+p.Address)
}

// Routes decide where mail goes on: the one place.
type Routes interface {
	// Back is where a report to the sender of a message goes. The error says why nothing leads there.
	Back(sender string) (route.Way, error)
	// Route is a destination's next hop.
	Route(destination string) (Route, error)
}

// secured is how a connection to a host is secured: the one place where that is decided.
//
// "TLS-Required: No" (RFC 8689 §4.1) waives what a recipient's domain publishes of its TLS, for mail without REQUIRETLS
// alone, and never what a route says. Opportunistic TLS takes any certificate, and none: there is nothing to waive, and
// the field goes on to the next server as it came.
func (r *Relay) secured(route Route, host string) smtpclient.TLS {
	how := smtpclient.TLS{Policy: smtpclient.Opportunistic}
	switch {
	case route.TLS != nil:
		how = *route.TLS
	case route.Auth != nil:
		how.Policy = smtpclient.Verified
	}
	config := cmp.Or(how.Config, r.TLS).Clone()
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if config.ServerName == "" {
		config.ServerName = host
	}
	how.Config = config
	return how
}

// confidential says whether a route may carry what asks for REQUIRETLS (RFC 8689 §4.2.1): its server is known by a
// name that nobody on the way can have forged, and shows a certificate for it. By which way the own transport of a store sends on
// nobody knows.
func (r *Relay) confidential(route Route) bool {
	switch route.Kind {
	case Store:
		return true
	case SmartHost, LMTP:
		return r.secured(route, "").Policy == smtpclient.Verified
	case Transport:
	case MX: // the names come from DNS, until they are authenticated (RFC 7672, RFC 8461)
	}
	return false
}

// isUnix says whether a server is named by the path of its socket.
func isUnix(server string) bool { return strings.HasPrefix(server, "/") }
