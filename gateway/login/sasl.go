package login

import (
	"bytes"
	"errors"
	"unicode/utf8"
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
	identityMost = nameMost
	passwordMost = 4096
)

// Exchange is one SASL exchange (RFC 4422 §3), seen from the server. It knows nothing of
// base64, nor of "*", which cancels: both are the engine's.
type Exchange interface {
	// Next takes the client's response, nil at the start where there was no initial one, and
	// returns the next challenge or, at the end, the proof. After an error it is over.
	Next(response []byte) (challenge []byte, proof *Proof, err error)
}

// NewExchange starts an exchange with one of [Mechanisms], upper case.
func NewExchange(mechanism string) (Exchange, error) {
	switch mechanism {
	case "PLAIN":
		return &plain{}, nil
	case "LOGIN":
		return &loginExchange{}, nil
	}
	return nil, ErrMechanism
}

// plain is RFC 4616.
type plain struct{ asked bool }

func (p *plain) Next(response []byte) ([]byte, *Proof, error) {
	if response == nil && !p.asked {
		p.asked = true
		return []byte{}, nil, nil // an empty challenge: the client speaks first (RFC 4422 §3)
	}
	proof, err := ParsePlain(response)
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
	proof := &Proof{ActAs: string(parts[0]), User: string(parts[1]), Password: bytes.Clone(parts[2])}
	if proof.ActAs == proof.User {
		proof.ActAs = "" // the same person: nothing is asked for that a plain login does not give
	}
	return proof, proof.check()
}

func (p *Proof) check() error {
	switch {
	case p.User == "", len(p.Password) == 0,
		len(p.User) > identityMost, len(p.ActAs) > identityMost, len(p.Password) > passwordMost,
		!utf8.ValidString(p.User), !utf8.ValidString(p.ActAs),
		bytes.IndexByte(p.Password, 0) >= 0, bytes.IndexByte([]byte(p.User), 0) >= 0:
		return ErrMalformed
	}
	return nil
}

// loginExchange is LOGIN, which has no RFC; draft-murchison-sasl-login-00 says what clients do.
// A user name may come with the command, as an initial response.
type loginExchange struct {
	step int
	user string
}

func (l *loginExchange) Next(response []byte) ([]byte, *Proof, error) {
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
	proof := &Proof{User: l.user, Password: bytes.Clone(response)}
	return nil, proof, proof.check()
}
