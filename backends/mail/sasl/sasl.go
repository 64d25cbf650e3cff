// Package sasl has the server's side of a SASL exchange (RFC 4422 §3) as one interface, for all who
// conduct one or pass one on: the engines of POP3 and SMTP, the gateway's logins, and stores that
// conduct a mechanism themselves.
//
// It stands beside what mail is because it is needed on both sides, and knows neither of them: the
// engines may not import the contract of stores, nor the contract the gateway.
package sasl

import "context"

// Exchange is one SASL exchange under way, seen from the server. Result is what a success yields: an
// account, an open maildrop, or [Accepted]. It is used by one goroutine.
//
// Base64, and "*" to cancel, are the profile's (RFC 4422 §4): the engine's, and not the exchange's.
type Exchange[Result any] interface {
	// Next takes the client's response and returns the next challenge, or the result when the
	// exchange has succeeded. The response is nil at the start where there is no initial response,
	// and empty but not nil where that is an empty one (RFC 4422 §4.3.a); it is valid until Next
	// returns. A mechanism that ends with data for the client sends it as a challenge, and
	// the result follows the empty response to that (RFC 4422 §4.3.b). After an error the exchange
	// is over.
	Next(ctx context.Context, response []byte) (challenge []byte, result *Result, err error)
	// Close ends the exchange: finished, failed, cancelled or lost. It is called once.
	Close() error
}

// Accepted is the result of an exchange that yields no more than its success.
type Accepted struct{}
