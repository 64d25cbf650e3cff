package smtp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/events"
)

// mechanisms are what the backend offers; a name that is none (RFC 4422 §3.1) would break
// the EHLO reply and is left out.
func (s *session) mechanisms() []string {
	return slices.DeleteFunc(slices.Clone(s.backend.Mechanisms()), func(m string) bool {
		return m == "" || strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != ""
	})
}

// offered names the mechanisms for somebody who has to choose one in a device's settings: as many as
// a reply line has room for.
func (s *session) offered() string {
	const most = 12
	mechanisms := s.mechanisms()
	list := strings.Join(mechanisms[:min(len(mechanisms), most)], ", ")
	if more := len(mechanisms) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// noLogins tells who wants to log in at the wrong port which one it is (RFC 6409 §3.1, RFC 8314 §3.3).
func (s *session) noLogins() string {
	if s.server.Role == MX {
		return "command not implemented: authenticate on the submission port, usually 587 or 465"
	}
	return "command not implemented: no authentication mechanism is available"
}

// mayAuth says whether credentials may come over this connection.
func (s *session) mayAuth() bool { return s.secure() || s.server.AllowInsecureAuth }

// auth is RFC 4954 §4.
func (s *session) auth(args string) reply {
	mechanism, initial, given := strings.Cut(args, " ")
	mechanism = strings.ToUpper(mechanism)
	if r := s.mayAuthNow(); r.code != none.code {
		if r.code == errInsecureAuth.code {
			s.log.Info().Str(events.Event, events.Login).Str(events.Outcome, events.OutcomeInsecure).Str("mechanism", mechanism).
				Msg("login refused: the connection has no TLS")
		}
		return r
	}
	switch {
	case mechanism == "":
		return refuse(501, "5.5.4", "AUTH needs a mechanism: "+s.offered())
	case !slices.Contains(s.mechanisms(), mechanism):
		return refuse(504, "5.5.4", "unrecognized authentication type, offered are "+s.offered())
	}
	var response []byte
	if given {
		var r reply
		if response, r = decodeResponse([]byte(initial), true); r.code != none.code {
			return r
		}
	}
	r := s.authenticate(mechanism, response)
	s.log.Debug().Str("mechanism", mechanism).Bool("ok", s.authed).Int("code", r.code).AnErr("cause", r.cause).Msg("authentication")
	s.server.observe(Event{Kind: Authenticated, Conn: s.id, Code: r.code})
	return r
}

// errInsecureAuth is for a login without TLS (RFC 4954 §6).
var errInsecureAuth = refuse(538, "5.7.11", "Encryption required for requested authentication mechanism")

func (s *session) mayAuthNow() reply {
	switch {
	case !s.esmtp:
		return refuse(503, "5.5.1", "bad sequence of commands: EHLO comes first")
	case s.authed:
		return refuse(503, "5.5.1", "bad sequence of commands: already authenticated")
	case s.tx != nil:
		return refuse(503, "5.5.1", "bad sequence of commands: AUTH is not permitted during a mail transaction")
	case !s.mayAuth() && s.server.Role == Submission && s.server.tls != nil:
		return errInsecureAuth // the backend need not name mechanisms then
	case len(s.mechanisms()) == 0:
		return refuse(502, "5.5.1", s.noLogins())
	case !s.mayAuth():
		return errInsecureAuth
	}
	return none
}

// authenticate goes through one exchange. The backend alone knows whether it succeeds; a
// failed one counts.
func (s *session) authenticate(mechanism string, response []byte) reply {
	s.known = false // it is whoever it says now, or nobody
	ctx, cancel := within(s.ctx, s.server.timeouts.Backend)
	exchange, err := s.backend.Authenticate(ctx, mechanism)
	cancel()
	if err != nil {
		return s.authFailed(err)
	}
	defer func() { _ = exchange.Close() }()
	for range mostExchanges {
		challenge, accepted, err := s.step(exchange, response)
		switch {
		case err != nil:
			return s.authFailed(err)
		case accepted != nil:
			s.authed = true
			return ok(235, "2.7.0", "Authentication succeeded")
		}
		var r reply
		if response, r = s.challenge(challenge); r.code != none.code || r.close {
			return r
		}
	}
	return s.authFailed(errors.New("smtp: the exchange does not end"))
}

func (s *session) step(exchange sasl.Exchange[sasl.Accepted], response []byte) (challenge []byte, accepted *sasl.Accepted, err error) {
	ctx, cancel := within(s.ctx, s.server.timeouts.Backend)
	defer cancel()
	return exchange.Next(ctx, response)
}

// authFailed counts what was the client's fault: with 454 nothing was said about its
// credentials.
func (s *session) authFailed(err error) reply {
	r := failure(err)
	if _, told := errors.AsType[*Error](err); !told {
		r.code, r.enhanced = 454, "4.7.0" // RFC 4954 §6
	}
	if r.code >= 500 {
		s.authFailures++
	}
	return r
}

// challenge sends one and takes the response. "*" cancels.
func (s *session) challenge(challenge []byte) ([]byte, reply) {
	if err := s.say(ok(334, "", base64.StdEncoding.EncodeToString(challenge))); err != nil {
		return nil, goodbye(err)
	}
	line, err := s.line(func([]byte) int { return authBound })
	if err == errLineTooLong {
		return nil, refuse(500, "5.5.6", "Authentication Exchange line is too long") // RFC 4954 §6
	}
	if r := lineFault(err); r.code != none.code {
		return nil, r
	}
	if err != nil {
		return nil, goodbye(s.farewell(err))
	}
	if string(line) == "*" {
		return nil, refuse(501, "5.7.0", "authentication cancelled")
	}
	response, r := decodeResponse(line, false)
	clear(line)
	return response, r
}

// decodeResponse decodes base64, never to nil; as an initial response "=" stands for an
// empty one (RFC 4954 §4).
func decodeResponse(line []byte, initial bool) ([]byte, reply) {
	if initial && string(line) == "=" {
		return []byte{}, none
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	n, err := base64.StdEncoding.Strict().Decode(out, line)
	if err != nil || bytes.ContainsAny(line, "\r\n") || initial && len(line) == 0 {
		return nil, refuse(501, "5.5.2", "cannot decode the response: it is not base64")
	}
	return out[:n], none
}
