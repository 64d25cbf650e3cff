package login

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/stores"
)

// The errors of an exchange, for the engine to tell in its protocol's words.
var (
	// ErrMechanism says that there is no such mechanism.
	ErrMechanism = errors.New("no such SASL mechanism")
	// ErrMalformed says that a response does not follow its mechanism's rules.
	ErrMalformed = errors.New("malformed SASL response")
)

// The bounds of one response, in octets: three fields of at most 255 octets in RFC 4616 §2's
// days; passwords of today (tokens pasted as such) are longer.
const (
	identityMost = stores.NameMost
	passwordMost = 4096
)

// Proof is the credentials that a client has sent by the end of an exchange.
type Proof struct {
	// ActAs is the authorization identity, empty where it is the user's own.
	ActAs string
	// User is the authentication identity as the client gave it.
	User string
	// Kind is [backends.CredentialPassword] or [backends.CredentialToken].
	Kind backends.CredentialKind
	// Secret is not empty and holds no NUL.
	Secret []byte
}

func (p *Proof) check() error {
	switch {
	case p.User == "", len(p.Secret) == 0,
		len(p.User) > identityMost, len(p.ActAs) > identityMost, p.Kind == backends.CredentialPassword && len(p.Secret) > passwordMost,
		!utf8.ValidString(p.User), !utf8.ValidString(p.ActAs),
		bytes.IndexByte(p.Secret, 0) >= 0, bytes.IndexByte([]byte(p.User), 0) >= 0:
		return ErrMalformed
	}
	if p.ActAs == p.User {
		p.ActAs = "" // the same person: nothing is asked for that a plain login does not give
	}
	return nil
}

// speech is the client's side of a mechanism that does no more than say who somebody is and
// show a secret.
type speech interface {
	// next takes the client's response, nil at the start where there was no initial one, and
	// returns the next challenge or, at the end, the proof.
	next(response []byte) (challenge []byte, proof *Proof, err error)
}

// single is a mechanism of one message from the client: PLAIN, XOAUTH2, OAUTHBEARER.
type single struct {
	asked bool
	parse func(message []byte) (*Proof, error)
}

func (s *single) next(response []byte) ([]byte, *Proof, error) {
	if response == nil && !s.asked {
		s.asked = true
		return []byte{}, nil, nil // an empty challenge: the client speaks first (RFC 4422 §3)
	}
	proof, err := s.parse(response)
	return nil, proof, err
}

// ParsePlain reads the one message of PLAIN (RFC 4616 §2):
//
//	message = [authzid] UTF8NUL authcid UTF8NUL passwd
//
// with exactly two NULs, well-formed UTF-8 in the identities, and neither authcid nor
// passwd empty. Passwords are taken octet for octet: old stores hold some that are not UTF-8.
func ParsePlain(message []byte) (*Proof, error) {
	parts := bytes.Split(message, []byte{0})
	if len(parts) != 3 {
		return nil, ErrMalformed
	}
	proof := &Proof{Kind: backends.CredentialPassword, ActAs: string(parts[0]), User: string(parts[1]), Secret: bytes.Clone(parts[2])}
	return proof, proof.check()
}

// loginSpeech is LOGIN, which has no RFC; draft-murchison-sasl-login-00 says what clients do.
// A user name may come with the command, as an initial response.
type loginSpeech struct {
	step int
	user string
}

func (l *loginSpeech) next(response []byte) ([]byte, *Proof, error) {
	if l.step == 0 {
		l.step = 1
		if response == nil {
			return []byte("Username:"), nil, nil
		}
	}
	if l.step == 1 {
		if len(response) == 0 || len(response) > identityMost {
			return nil, nil, ErrMalformed
		}
		l.step, l.user = 2, string(response)
		return []byte("Password:"), nil, nil
	}
	proof := &Proof{Kind: backends.CredentialPassword, User: l.user, Secret: bytes.Clone(response)}
	return nil, proof, proof.check()
}
