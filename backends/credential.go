package backends

import (
	"context"

	"github.com/dipylon/dipylon/backends/mail/sasl"
)

// CredentialKind says what a login is proved with.
type CredentialKind uint8

// The kinds of credential. The numbers are on the wire.
const (
	CredentialPassword      CredentialKind = 1 // User, Secret: a password
	CredentialToken         CredentialKind = 2 // User, Secret: a bearer token (RFC 6750)
	CredentialCertificate   CredentialKind = 3 // Certificate: DER, its private key proved in TLS
	CredentialGrant         CredentialKind = 4 // Secret: Account.Grant of an earlier login
	CredentialImpersonation CredentialKind = 5 // User: the gateway's word; "act for this user"
)

func (k CredentialKind) String() string {
	switch k {
	case CredentialPassword:
		return "password"
	case CredentialToken:
		return "token"
	case CredentialCertificate:
		return "certificate"
	case CredentialGrant:
		return "grant"
	case CredentialImpersonation:
		return "impersonation"
	}
	return "unknown"
}

// Credential is what a client (or, for [CredentialImpersonation], the gateway) presents.
type Credential struct {
	Kind CredentialKind
	// User is the login name (SASL's authentication identity), as the gateway understood it:
	// user@domain where the gateway knows the domain, else as the client gave it.
	User string
	// ActAs is whose mailbox is meant (SASL's authorization identity); empty: User's own.
	// Whether the user may open it is the store's to say, whatever the kind: the gateway's word
	// says who somebody is, and no more.
	ActAs  string
	Secret []byte
	// Certificate is the client's leaf certificate, DER.
	Certificate []byte
	// Peer is who asks, for the store's own log and throttling.
	Peer Peer
}

// String hides the secret, so that a credential can stand in an error or a log line.
func (c Credential) String() string {
	s := c.Kind.String() + " of " + c.User
	if c.ActAs != "" && c.ActAs != c.User {
		s += " as " + c.ActAs
	}
	return s
}

// GoString hides the secret from %#v.
func (c Credential) GoString() string { return c.String() }

// Peer is the client behind a call.
type Peer struct {
	Address  string // "192.0.2.7:50123"
	Protocol string // "pop3", "smtp", "submission"
	TLS      bool
	Session  string // the gateway's session id: quote it in the backend's own log
}

// Authenticator is a store that conducts a SASL exchange itself (RFC 4422), for mechanisms
// whose secrets the gateway has no business with. Description.Mechanisms names them.
type Authenticator interface {
	// Authenticate starts an exchange, whose result is the account. [Unsupported]: no such
	// mechanism.
	Authenticate(ctx context.Context, mechanism string, peer Peer) (sasl.Exchange[Account], error)
}
