// Package bearer is the client's side of a login with a bearer token (RFC 6750): OAUTHBEARER (RFC 7628), and XOAUTH2,
// which Google and Microsoft had before it.
package bearer

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
)

// XOAuth2 is the name of the mechanism that no RFC has.
const XOAuth2 = "XOAUTH2"

// Client is either mechanism. It implements [sasl.Client]. A server that refuses a token says why in a challenge, and its
// refusal comes when that has been answered (RFC 7628 §3.2.3).
type Client struct {
	// Refusal is what the server has said of a token that it refuses: a JSON object, without the token.
	Refusal string

	mechanism string
	initial   []byte
}

// UnsupportedError says what a server offers that has neither mechanism.
type UnsupportedError struct{ Offered []string }

// Error implements error.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("the server offers neither OAUTHBEARER nor XOAUTH2, but %v", e.Offered)
}

// New chooses among the mechanisms that a server offers, in upper case. The address is the server's, "host:port"; it may
// be empty. The error is an [*UnsupportedError].
func New(offered []string, address, user, token string) (*Client, error) {
	switch {
	case slices.Contains(offered, sasl.OAuthBearer):
		name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) // RFC 5801 §4
		initial := "n,a=" + name + ",\x01"
		if host, port, err := net.SplitHostPort(address); err == nil {
			initial += "host=" + host + "\x01port=" + port + "\x01"
		}
		return &Client{mechanism: sasl.OAuthBearer, initial: []byte(initial + "auth=Bearer " + token + "\x01\x01")}, nil
	case slices.Contains(offered, XOAuth2):
		return &Client{mechanism: XOAuth2, initial: []byte("user=" + user + "\x01auth=Bearer " + token + "\x01\x01")}, nil
	}
	return nil, &UnsupportedError{offered}
}

// Start implements [sasl.Client].
func (b *Client) Start() (string, []byte, error) { return b.mechanism, b.initial, nil }

// Next answers a refusal with the one octet that RFC 7628 wants. XOAUTH2 has an empty answer there, for which a library
// may send "=", which is no base64; servers look at neither.
func (b *Client) Next(challenge []byte) ([]byte, error) {
	b.Refusal = string(challenge)
	return []byte{1}, nil
}
