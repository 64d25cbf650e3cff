package memstore

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
)

// The mechanisms here: CRAM-MD5 (RFC 2195) is an example of an exchange of several steps, and both
// are of a proof that is used up. Do not build anything new on them.
const (
	cramMD5 = "CRAM-MD5"
	apop    = "APOP" // RFC 1939 §7; the gateway makes the challenge
)

// Authenticate starts a SASL exchange.
func (s *Store) Authenticate(ctx context.Context, mechanism string, _ backends.Peer) (sasl.Exchange[backends.Account], error) {
	if err := s.enter(ctx, "authenticate"); err != nil {
		return nil, err
	}
	switch mechanism {
	case cramMD5, apop:
		return &exchange{store: s, apop: mechanism == apop}, nil
	case ntlmV2:
		return &ntlmExchange{store: s}, nil
	}
	return nil, backends.Fail(backends.Unsupported, "mechanism %q", mechanism)
}

// exchange is one exchange of CRAM-MD5, the challenge and then the proof, or of APOP, which is
// the proof alone.
type exchange struct {
	store     *Store
	apop      bool
	challenge string // empty: not sent yet
	over      bool
}

func (e *exchange) Next(ctx context.Context, response []byte) ([]byte, *backends.Account, error) {
	switch {
	case e.over || ctx.Err() != nil || e.store.alive.Err() != nil:
		e.over = true
		return nil, nil, backends.Fail(backends.Temporary, "the exchange is over")
	case e.apop:
		return e.byDigest(string(response))
	case e.challenge == "" && len(response) > 0:
		e.over = true
		return nil, nil, backends.Fail(backends.BadCredentials, "an initial response, which CRAM-MD5 does not have")
	case e.challenge == "":
		e.challenge = "<" + random(26) + "@memstore.invalid>"
		return []byte(e.challenge), nil, nil
	}
	e.over = true
	return e.store.admit(e.store.prove(e.challenge, string(response), hmacMD5))
}

// byDigest is APOP: timestamp, user and digest.
func (e *exchange) byDigest(response string) ([]byte, *backends.Account, error) {
	e.over = true
	timestamp, rest, _ := strings.Cut(response, " ")
	return e.store.admit(e.store.prove(timestamp, rest, plainMD5))
}

// admit gives an account that has proved itself. The proof cannot be shown again to Open.
func (s *Store) admit(a *account, err error) ([]byte, *backends.Account, error) {
	if err != nil {
		return nil, nil, err
	}
	account := a.public()
	account.Grant = s.grantTo(a)
	return nil, &account, nil
}

func hmacMD5(challenge, password string) []byte {
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(challenge))
	return mac.Sum(nil)
}

func plainMD5(challenge, password string) []byte {
	sum := md5.Sum([]byte(challenge + password))
	return sum[:]
}

func (e *exchange) Close() error {
	e.over = true
	return nil
}

// prove checks "user digest".
func (s *Store) prove(challenge, response string, digestOf func(challenge, password string) []byte) (*account, error) {
	space := strings.LastIndexByte(response, ' ')
	if space < 0 {
		return nil, backends.Fail(backends.BadCredentials, "a response without a digest")
	}
	user, digest := response[:space], response[space+1:]
	s.mu.Lock()
	a := s.accounts[strings.ToLower(user)]
	s.mu.Unlock()
	password := ""
	if a != nil {
		password = a.Password
	}
	right := hmac.Equal([]byte(hex.EncodeToString(digestOf(challenge, password))), []byte(strings.ToLower(digest)))
	switch {
	case !right || a == nil:
		return nil, backends.Fail(backends.BadCredentials, "user %q", user)
	case a.Disabled:
		return nil, disabled(a)
	}
	return a, nil
}
