package imap

import (
	"net"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"

	"github.com/dipylon/dipylon/backends"
)

// The mechanisms for bearer tokens: RFC 7628, and what Google and Microsoft had before it.
const (
	oauthBearer = sasl.OAuthBearer
	xoauth2     = "XOAUTH2"
)

// bearer is either mechanism. A server that refuses a token says why in a challenge, and its
// NO comes when that has been answered (RFC 7628 §3.2.3).
type bearer struct {
	mechanism string
	initial   []byte
	refusal   string // the last challenge: a JSON object, without the token
}

// newBearer chooses among the mechanisms that a server offers.
func newBearer(offered []string, address, user, token string) (*bearer, error) {
	switch {
	case slices.Contains(offered, oauthBearer):
		host, port, _ := net.SplitHostPort(address)
		name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) // RFC 5801 §4
		initial := "n,a=" + name + ",\x01host=" + host + "\x01port=" + port + "\x01auth=Bearer " + token + "\x01\x01"
		return &bearer{mechanism: oauthBearer, initial: []byte(initial)}, nil
	case slices.Contains(offered, xoauth2):
		return &bearer{mechanism: xoauth2, initial: []byte("user=" + user + "\x01auth=Bearer " + token + "\x01\x01")}, nil
	}
	return nil, backends.Fail(backends.Unsupported, "the server offers neither OAUTHBEARER nor XOAUTH2, but %v", offered)
}

func (b *bearer) Start() (string, []byte, error) { return b.mechanism, b.initial, nil }

// Next answers a refusal with the one octet that RFC 7628 wants. XOAUTH2 has an empty answer
// there, for which the library sends "=", which is no base64; servers look at neither.
func (b *bearer) Next(challenge []byte) ([]byte, error) {
	b.refusal = string(challenge)
	return []byte{1}, nil
}

// bearerName is whose mailbox a token is to open. The server judges whether it may.
func bearerName(c backends.Credential, user string) string {
	if c.ActAs != "" {
		return c.ActAs
	}
	return user
}
