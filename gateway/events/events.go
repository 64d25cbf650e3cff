// Package events is the schema of the gateway's log: the names of what happens, and of the fields
// that tell of it. README.md says what each one means; a test holds both against what a gateway
// really writes.
//
// A line that has the field [Event] is one of these. Any other line is a diagnostic, for people.
package events

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/rs/zerolog"
)

// The fields that more than one event has. Durations are milliseconds and say so in their names.
const (
	Event      = "event"
	Session    = "session"
	Protocol   = "protocol"
	Remote     = "remote"
	Outcome    = "outcome"
	User       = "user"
	Store      = "store"
	Account    = "account"
	Device     = "device"
	Folder     = "folder"
	TLSVersion = "tls_version"
	TLSCipher  = "tls_cipher"
	Reason     = "reason"
	Octets     = "octets"
	TookMS     = "took_ms"
	MessageID  = "message_id"
)

// The events.
const (
	SessionStart   = "session_start"
	SessionEnd     = "session_end"
	SessionRefused = "session_refused"
	Login          = "login"
	MessageIn      = "message_in"
	Collected      = "collected"
	Fetched        = "fetched"
	Queued         = "queued"
	Delivery       = "delivery"
	Relay          = "relay"
	QueueChange    = "queue_change"
	MessageOut     = "message_out"
	Deletion       = "deletion"
	Plugin         = "plugin"
)

// OutcomeInsecure is the outcome of a login that was refused because the connection has no TLS.
const OutcomeInsecure = "insecure"

// Silent says whether a TLS handshake failed because nobody spoke, as in a balancer's health check.
// A client that dislikes the certificate, or does not speak TLS, is not silent.
func Silent(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, context.Canceled) || errors.As(err, &network) && network.Timeout()
}

// IsHealthCheck says that a connection is a balancer's own, and no client's: the PROXY protocol's LOCAL,
// or UNKNOWN in version 1. Whoever reads that header gives a connection that knows.
func IsHealthCheck(conn net.Conn) bool {
	check, is := conn.(interface{ IsHealthCheck() bool })
	return is && check.IsHealthCheck()
}

// TLS adds what a connection is protected by; nil: nothing.
func TLS(e *zerolog.Event, state *tls.ConnectionState) *zerolog.Event {
	if state == nil {
		return e.Str(TLSVersion, "").Str(TLSCipher, "")
	}
	return e.Str(TLSVersion, tls.VersionName(state.Version)).Str(TLSCipher, tls.CipherSuiteName(state.CipherSuite))
}
