package mapihttp

import (
	"crypto/tls"
	"encoding/base64"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// Authentication is how a client signs in.
type Authentication interface {
	// Start begins a login.
	Start() Login
	// Bound says that a login holds for the connection (NTLM, Negotiate), and need not go with each request.
	Bound() bool
}

// Login is one login, RFC 9110 §11.
type Login interface {
	// Authorize returns the Authorization of the next request. challenges are the WWW-Authenticate of the reply before, and
	// connection is what the TLS is that it came by: both are nil at first. An empty Authorization says
	// that the server has refused the credential.
	Authorize(challenges []string, connection *tls.ConnectionState) (string, error)
}

// stepsMost is how many requests a login may take.
const stepsMost = 5

// Basic signs in with user and password, RFC 7617.
type Basic struct {
	User     string
	Password string
}

// Bound says that the credential goes with each request.
func (Basic) Bound() bool { return false }

// Start begins a login.
func (b Basic) Start() Login { return &basicLogin{Basic: b} }

type basicLogin struct {
	Basic
	sent bool
}

func (b *basicLogin) Authorize(challenges []string, _ *tls.ConnectionState) (string, error) {
	if b.sent && !offers(challenges, "Basic") {
		return "", backends.Fail(backends.Permanent, "the server does not take a password by HTTP Basic here, and offers %.200q: "+
			"allow Basic at its MAPI front end, or choose another way to sign in", schemes(challenges)).
			WithCode("5.7.4").Say("the mail store does not allow this way to log in, tell your administrator")
	}
	if b.sent {
		return "", nil
	}
	b.sent = true
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(b.User+":"+b.Password)), nil
}

// offers says whether a scheme is among the challenges.
func offers(challenges []string, scheme string) bool {
	for _, one := range schemes(challenges) {
		if strings.EqualFold(one, scheme) {
			return true
		}
	}
	return false
}

// schemes returns the first word of each challenge. Servers of this protocol send a field for each.
func schemes(challenges []string) []string {
	var all []string
	for _, one := range challenges {
		scheme, _, _ := strings.Cut(strings.TrimSpace(one), " ")
		all = append(all, scheme)
	}
	return all
}
