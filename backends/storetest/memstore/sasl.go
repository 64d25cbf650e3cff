package memstore

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// cramMD5 is the one mechanism here (RFC 2195). It is an example of an exchange of several
// steps, and of a proof that is used up: do not build anything new on it.
const cramMD5 = "CRAM-MD5"

// Authenticate starts a SASL exchange.
func (s *Store) Authenticate(ctx context.Context, mechanism string, _ backends.Peer) (backends.Exchange, error) {
	if err := s.enter(ctx, "authenticate"); err != nil {
		return nil, err
	}
	if mechanism != cramMD5 {
		return nil, backends.Fail(backends.Unsupported, "mechanism %q", mechanism)
	}
	return &exchange{store: s}, nil
}

// exchange is one CRAM-MD5 exchange: the challenge, then the proof.
type exchange struct {
	store     *Store
	challenge string // empty: not sent yet
	over      bool
}

func (e *exchange) Next(ctx context.Context, response []byte) ([]byte, *backends.Account, error) {
	switch {
	case e.over || ctx.Err() != nil || e.store.alive.Err() != nil:
		e.over = true
		return nil, nil, backends.Fail(backends.Temporary, "the exchange is over")
	case e.challenge == "" && len(response) > 0:
		e.over = true
		return nil, nil, backends.Fail(backends.BadCredentials, "an initial response, which CRAM-MD5 does not have")
	case e.challenge == "":
		e.challenge = "<" + random(26) + "@memstore.invalid>"
		return []byte(e.challenge), nil, nil
	}
	e.over = true
	a, err := e.store.prove(e.challenge, string(response))
	if err != nil {
		return nil, nil, err
	}
	account := a.public()
	account.Grant = e.store.grantTo(a) // the proof cannot be shown again to Open
	return nil, &account, nil
}

func (e *exchange) Close() error {
	e.over = true
	return nil
}

// prove checks "user digest".
func (s *Store) prove(challenge, response string) (*account, error) {
	space := strings.LastIndexByte(response, ' ')
	if space < 0 {
		return nil, backends.Fail(backends.BadCredentials, "a response that is not of CRAM-MD5")
	}
	user, digest := response[:space], response[space+1:]
	s.mu.Lock()
	a := s.accounts[strings.ToLower(user)]
	s.mu.Unlock()
	password := ""
	if a != nil {
		password = a.Password
	}
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(challenge))
	right := hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(strings.ToLower(digest)))
	switch {
	case !right || a == nil:
		return nil, backends.Fail(backends.BadCredentials, "user %q", user)
	case a.Disabled:
		return nil, disabled(a)
	}
	return a, nil
}
