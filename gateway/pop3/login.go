package pop3

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/events"
)

// bare are the SASL mechanisms that show a password or a token to whoever listens.
var bare = []string{"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}

func (s *session) bareAllowed() bool { return s.server.InsecureAuth || s.overTLS() }

// passwordBarred says why USER is not available, if it is not.
func (s *session) passwordBarred() error {
	if policy, ok := s.backend.(PasswordPolicy); ok && !policy.AllowPassword() {
		if !s.overTLS() && s.tlsRefused() == nil {
			return errTLSFirst // it may be another matter then
		}
		return errNoPassword
	}
	if !s.bareAllowed() {
		return errTLSFirst
	}
	return nil
}

// insecure refuses a login because the connection has no TLS, and notes it: users of clients that
// are set up so have nothing but "it does not work" to tell.
func (s *session) insecure(mechanism, user string) error {
	s.log(zerolog.InfoLevel).Str(events.Event, events.Login).Str(events.Outcome, events.OutcomeInsecure).Str("mechanism", mechanism).
		Str(events.User, user).Msg("login refused: the connection has no TLS")
	return errTLSFirst
}

// mechanisms are those to offer now. After the login they stay what they were: CAPA goes on
// to name them (RFC 5034 §3).
func (s *session) mechanisms() []string {
	if s.state == transaction {
		return s.mechs
	}
	offered := s.backend.Mechanisms()
	if s.bareAllowed() {
		return offered
	}
	hidden := func(m string) bool { return slices.Contains(bare, m) }
	return slices.DeleteFunc(slices.Clone(offered), hidden)
}

// userName takes the name for PASS (RFC 1939 §7). The answer is the same for every name.
func (s *session) userName(_ context.Context, a args) error {
	s.user = ""
	name := bytes.Trim(a.rest, " ")
	if err := s.passwordBarred(); err == errTLSFirst {
		s.warned = true
		return s.insecure("USER", string(name))
	} else if err != nil {
		return err
	}
	if len(name) == 0 {
		return errArguments
	}
	if hasControl(name) || !utf8.Valid(name) {
		return errUserName
	}
	s.user = string(name)
	s.ok("send PASS")
	return nil
}

// password logs in with what is left of the line, blanks included (RFC 1939 §7). The name has
// to be given again after a failure. An empty password is none: some directories take it for
// an anonymous login, and let everybody in.
func (s *session) password(ctx context.Context, a args) error {
	defer clear(a.rest)
	if err := s.passwordBarred(); err == errTLSFirst && !s.warned {
		return s.insecure("PASS", "")
	} else if err != nil {
		s.warned = false // USER was refused, and told of: this is the same login
		return err
	}
	if s.user == "" {
		return errNoUser
	}
	user := s.user
	s.user = ""
	if bytes.ContainsAny(a.rest, "\x00\r") {
		return errCharacter
	}
	secret := bytes.Clone(a.rest)
	defer clear(secret)
	opened, err := s.backend.Password(ctx, user, secret)
	return s.login("PASS", user, opened, cause(ctx, err))
}

// login ends a login, well or not.
func (s *session) login(method, user string, opened *Login, err error) error {
	if err == nil && (opened == nil || opened.Maildrop == nil) {
		opened, err = nil, errors.New("the backend gave no maildrop")
	}
	s.server.observer().Login(s.info, method, err)
	if err != nil && opened != nil {
		_ = opened.Close() // nobody else has it
	}
	if err != nil {
		s.log(zerolog.DebugLevel).Str("method", method).Str("reason", err.Error()).Msg("login refused")
		return s.loginFailed(err)
	}
	s.mechs = slices.Clone(s.mechanisms())
	s.drop, s.state = opened, transaction
	s.server.entered(s)
	if opened.AfterLoss != nil {
		s.unwatch = opened.AfterLoss(func() { s.retire(errMaildropLost) })
	}
	s.highest.begin(opened)
	s.limit(opened)
	user = cmp.Or(opened.User, user)
	s.sum.User = user
	s.log(zerolog.DebugLevel).Str(events.User, user).Str("method", method).Int("messages", opened.Len()).Msg("maildrop opened")
	s.okNumber("maildrop has ", int64(opened.Len()), " messages")
	return nil
}

// limit takes the limits of a maildrop, or the server's.
func (s *session) limit(opened *Login) {
	s.idle = timeout(opened.IdleTimeout, s.server.idleTimeout())
	if most := timeout(opened.SessionLimit, s.server.SessionLimit); most > 0 {
		s.ends = time.Now().Add(most)
	}
}

// loginFailed answers, and ends the connection of one that tries and tries (logged already).
func (s *session) loginFailed(err error) error {
	e := answer(err)
	s.failures++
	if e.Fatal || reached(s.failures, s.server.MaxLogins, 5) {
		return &farewell{reason: "login failed", code: e.Code, text: e.Text}
	}
	return &Error{Code: e.Code, Text: e.Text}
}

// auth conducts a SASL exchange (RFC 5034 §4). QUIRK: without a mechanism it lists them, see
// QuirkAuthList.
func (s *session) auth(_ context.Context, a args) error {
	if a.n == 0 {
		return s.listMechanisms()
	}
	mechanism := strings.ToUpper(a.field[0])
	var initial []byte
	var err error
	if a.n == 2 {
		initial, err = decodeInitial(a.field[1])
	}
	clear(a.rest) // now: in its place in the buffer the exchange reads what comes behind
	switch {
	case !slices.Contains(s.mechanisms(), mechanism):
		return s.notOffered(mechanism)
	case err != nil:
		return err
	}
	opened, err := s.exchange(mechanism, initial)
	return s.authDone(mechanism, opened, err)
}

func (s *session) listMechanisms() error {
	if !s.server.quirk(QuirkAuthList) {
		return errArguments
	}
	offered := s.mechanisms()
	s.ok("mechanisms follow")
	for _, m := range offered {
		s.line(m)
	}
	return s.stop()
}

// notOffered says whether it is TLS that a mechanism lacks.
func (s *session) notOffered(mechanism string) error {
	// A backend that does not look at passwords without TLS need not name their mechanisms.
	hidden := !s.bareAllowed() && s.tlsRefused() == nil && slices.Contains(bare, mechanism)
	if hidden || slices.Contains(s.backend.Mechanisms(), mechanism) {
		return s.insecure(mechanism, "")
	}
	return errMechanism
}

// decodeInitial decodes an initial response: "=" is an empty one.
func decodeInitial(field string) ([]byte, error) {
	if field == "=" {
		return []byte{}, nil
	}
	return decode([]byte(field))
}

// decode takes only what RFC 4648 §4 calls base64: no other characters, padding at the end.
func decode(line []byte) ([]byte, error) {
	if bytes.ContainsAny(line, "\r\n") { // which the decoder would ignore
		return nil, errBase64
	}
	response := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	n, err := base64.StdEncoding.Strict().Decode(response, line)
	if err != nil {
		return nil, errBase64
	}
	return response[:n], nil
}

// authDone tells a client's own mistake from a login that was refused, and from a connection
// that is lost.
func (s *session) authDone(mechanism string, opened *Login, err error) error {
	var lost *drop
	var last *farewell
	if errors.As(err, &lost) || errors.As(err, &last) {
		return err
	}
	if _, ok := errors.AsType[refusal](err); ok {
		return err
	}
	return s.login(mechanism, "", opened, err)
}

// exchange goes from challenge to response, until there is a maildrop.
func (s *session) exchange(mechanism string, response []byte) (*Login, error) {
	e, err := s.startExchange(mechanism)
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.Close() }()
	for {
		challenge, opened, err := s.next(e, response)
		clear(response)
		if err != nil || opened != nil {
			return opened, err
		}
		if response, err = s.ask(challenge); err != nil {
			return nil, err
		}
	}
}

func (s *session) startExchange(mechanism string) (sasl.Exchange[Login], error) {
	ctx, done := s.begin(false)
	defer done()
	e, err := s.backend.Authenticate(ctx, mechanism)
	return e, cause(ctx, err)
}

func (s *session) next(e sasl.Exchange[Login], response []byte) ([]byte, *Login, error) {
	ctx, done := s.begin(false)
	defer done()
	challenge, opened, err := e.Next(ctx, response)
	if err != nil && opened != nil {
		_ = opened.Close() // nobody else has it
		opened = nil
	}
	return challenge, opened, cause(ctx, err)
}

// ask sends a challenge and takes the response to it.
func (s *session) ask(challenge []byte) ([]byte, error) {
	line := append([]byte("+ "), base64.StdEncoding.EncodeToString(challenge)...)
	_, _ = s.out.Write(append(line, crlf...)) // its error is kept
	line, err := s.readLine(maxSASLLine)
	defer clear(line)
	switch {
	case errors.Is(err, errLongLine):
		return nil, errTooLong
	case errors.Is(err, errBareLF):
		return nil, errNoCR
	case err != nil:
		return nil, err
	case string(line) == "*":
		return nil, errCancelled
	}
	return decode(line)
}

func (s *session) tlsRefused() error {
	switch {
	case s.overTLS():
		return errHaveTLS
	case s.server.TLSConfig == nil:
		return errNoTLS
	}
	return nil
}

// stls turns TLS on (RFC 2595 §4). Whatever came before it in plaintext is forgotten: what
// was read ahead may be somebody else's (an injection), and so may the user name be.
func (s *session) stls(context.Context, args) error {
	if err := s.tlsRefused(); err != nil {
		return err
	}
	if s.utf8 {
		return errAfterUTF8 // RFC 6856 §2.1
	}
	s.ok("begin TLS negotiation")
	if err := s.out.flush(); err != nil {
		return &drop{reason: "gone", err: err}
	}
	s.in.forget()
	s.user = ""
	return s.startTLS()
}
