package smtp

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/gateway/events"
)

// command is one verb.
type command struct {
	run   func(s *session, args string) reply
	bound int  // octets of its line, CRLF included
	junk  bool // it brings no mail nearer, and is counted
	// last says that a client waits for the reply before it says more (RFC 2920 §3.1).
	last bool
	// check says that health checks say it, too: it is no news.
	check bool
}

// Bounds of command lines: RFC 5321 §4.5.3.1.4 says 512, extensions add to it (RFC 1870,
// RFC 6152, RFC 6531, RFC 4954 §5: 26 + 17 + 10 + 500 for MAIL); AUTH is RFC 4954 §4's.
const (
	lineBound = 512
	mailBound = 512 + 26 + 17 + 10 + 500
	rcptBound = 1024
	authBound = 12288
)

var commands = map[string]command{
	"EHLO":     {run: (*session).ehlo, bound: lineBound, junk: true, last: true, check: true},
	"HELO":     {run: (*session).hello, bound: lineBound, junk: true, last: true, check: true},
	"STARTTLS": {run: (*session).starttls, bound: lineBound, last: true, check: true},
	"AUTH":     {run: (*session).auth, bound: authBound, last: true},
	"MAIL":     {run: (*session).mail, bound: mailBound},
	"RCPT":     {run: (*session).rcpt, bound: rcptBound},
	"DATA":     {run: (*session).data, bound: lineBound},
	"BDAT":     {run: (*session).bdat, bound: lineBound},
	"RSET":     {run: (*session).rset, bound: lineBound, junk: true, check: true},
	"NOOP":     {run: (*session).noop, bound: lineBound, junk: true, check: true},
	"VRFY":     {run: (*session).vrfy, bound: rcptBound, junk: true},
	"EXPN":     {run: (*session).expn, bound: rcptBound, junk: true},
	"ETRN":     {run: (*session).etrn, bound: lineBound, junk: true},
	"HELP":     {run: (*session).help, bound: lineBound, junk: true},
	"QUIT":     {run: (*session).quit, bound: lineBound, check: true},
}

// commandBound is the bound of a line that begins like this.
func commandBound(start []byte) int {
	name := string(start[:min(len(start), 9)])
	if end := strings.IndexAny(name, " \t"); end >= 0 {
		name = name[:end]
	}
	if c, known := commands[strings.ToUpper(name)]; known {
		return c.bound
	}
	return lineBound
}

// dispatch runs one command.
func (s *session) dispatch(line []byte) reply {
	name, args, r := s.parse(line)
	began := time.Now()
	c := commands[name]
	s.counted = s.counted || !c.check
	if r.code == none.code {
		if c.junk {
			s.junk++
		}
		if c.last && s.spoke() {
			r = hangUp(554, "5.5.0", "wait for the reply to "+name+" before the next command")
		} else if r = s.over(); r.code == none.code {
			r = c.run(s, args)
		}
	}
	s.server.observe(Event{Kind: Replied, Conn: s.id, Verb: name, Code: r.code, Took: time.Since(began)})
	if r.code >= 400 {
		s.log.Debug().Str("verb", name).Int("code", r.code).Str("enhanced", r.enhanced).Str("text", r.text).
			AnErr("cause", r.cause).Msg("refused")
	}
	return r
}

// over ends the session where the backend wants that.
func (s *session) over() reply {
	backend, is := s.backend.(Ends)
	if !is {
		return none
	}
	ctx, cancel := within(s.ctx, s.server.timeouts.Backend)
	defer cancel()
	if e := backend.Over(ctx); e != nil {
		r := failure(e)
		r.close = true
		return r
	}
	return none
}

// spoke says that an early talker's octets are here already.
func (s *session) spoke() bool {
	return s.server.rejectsEarlyTalkers() && len(s.in.unread()) > 0
}

// charge counts what a client does wrong, and ends the connection when it is too much. The
// last reply is sent before.
func (s *session) charge(r reply) reply {
	if r.fault {
		s.faults++
	}
	if r.close {
		return r
	}
	l, junk := s.limits, s.junk-s.forgiven.junk
	tooMany := ""
	switch {
	case over(s.faults-s.forgiven.faults+max(0, junk-mostJunk), l.Errors):
		tooMany = "too many errors"
	case over(s.refusals-s.forgiven.refusals, l.Refusals):
		tooMany = "too many unknown recipients"
	case s.authFailures > 0 && over(s.authFailures+1, l.AuthFailures):
		tooMany = "too many failed logins"
	default:
		return r
	}
	s.log.Warn().Str("reason", tooMany).Msg("hanging up")
	if err := s.say(r); err != nil {
		return none
	}
	return hangUp(421, "4.7.0", tooMany+", closing the connection")
}

// parse parts a line into verb and arguments, and refuses what is no command. White space at
// the line's end is taken, as RFC 5321 §4.1.1 asks.
func (s *session) parse(line []byte) (name, args string, r reply) {
	blank := " "
	if s.server.quirk(QuirkBlanks) {
		blank = " \t"
		line = spaced(bytes.TrimRight(line, blank))
	}
	name, args, _ = strings.Cut(strings.TrimRight(string(line), blank), " ")
	name = strings.ToUpper(name)
	if s.server.quirk(QuirkBlanks) {
		args = strings.TrimLeft(args, " ")
	}
	if _, known := commands[name]; !known {
		if speaksOther(name, line) {
			return unknownVerb, "", hangUp(421, "4.7.0", "this is an SMTP server")
		}
		return unknownVerb, "", refuse(500, "5.5.2", "syntax error, command unrecognized")
	}
	if bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) || !utf8.Valid(line) && !s.mayBeCalled(name) {
		r = refuse(500, "5.5.2", "syntax error: control characters, or octets that are not UTF-8, in the command")
		r.close = name == "BDAT" // how long its chunk is, nobody knows
		return name, "", r
	}
	return name, args, none
}

// speaksOther finds a client that was led here to speak to us in another protocol: an HTTP
// request with a mail in its body, for one. None of it may run as commands.
func speaksOther(name string, line []byte) bool {
	switch name {
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "CONNECT", "TRACE", "PATCH", "PRI":
		return true
	}
	const handshake = 0x16 // TLS to a port that begins in the clear
	return len(line) > 0 && line[0] == handshake || strings.HasSuffix(name, ":")
}

// ehlo greets back and says what we can do. RFC 5321 §4.1.1.1.
func (s *session) ehlo(args string) reply {
	if r := s.introduced(args); r.code != none.code {
		return r
	}
	s.esmtp = true
	lines := []string{s.server.Hostname + " greets " + s.helo, "PIPELINING", s.sizeKeyword(), "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"}
	if s.server.tls != nil && !s.secure() {
		lines = append(lines, "STARTTLS")
	}
	if mechanisms := s.mechanisms(); len(mechanisms) > 0 && s.mayAuth() {
		lines = append(lines, "AUTH "+strings.Join(mechanisms, " "))
	}
	if s.notifies() {
		lines = append(lines, "DSN")
	}
	if _, offered := s.priority(); offered {
		lines = append(lines, "MT-PRIORITY")
	}
	if s.requiresTLS() {
		lines = append(lines, "REQUIRETLS")
	}
	if _, _, may := s.dequeues(); may {
		lines = append(lines, "ETRN")
	}
	if limits := s.limitsKeyword(); limits != "" {
		lines = append(lines, limits)
	}
	return ok(250, "", strings.Join(lines, "\n"))
}

// sizeKeyword is RFC 1870 §4; 0 is no limit.
func (s *session) sizeKeyword() string {
	return fmt.Sprintf("SIZE %d", max(s.messageSize(), 0))
}

// messageSize is the largest message that is taken now; negative: any. What is told with EHLO
// may be another session's after AUTH, and MAIL asks again.
func (s *session) messageSize() int64 {
	limited, is := s.backend.(SizeLimited)
	if !is {
		return s.limits.MessageSize
	}
	ctx, cancel := within(s.ctx, s.server.timeouts.Backend)
	defer cancel()
	own := limited.MessageSize(ctx)
	if own < 0 || s.limits.MessageSize >= 0 && s.limits.MessageSize < own {
		return s.limits.MessageSize
	}
	return own
}

// limitsKeyword is RFC 9422 §3.
func (s *session) limitsKeyword() string {
	k := ""
	if n := s.limits.Messages; n > 0 {
		k += fmt.Sprintf(" MAILMAX=%d", n)
	}
	if n := s.limits.Recipients; n > 0 {
		k += fmt.Sprintf(" RCPTMAX=%d", n)
	}
	if k == "" {
		return ""
	}
	return "LIMITS" + k
}

// hello is HELO, for clients from before 1995. RFC 5321 §4.1.1.1.
func (s *session) hello(args string) reply {
	if r := s.introduced(args); r.code != none.code {
		return r
	}
	s.esmtp = false
	return ok(250, "", s.server.Hostname)
}

// introduced takes the client's name, and forgets the transaction (RFC 5321 §4.1.4).
func (s *session) introduced(args string) reply {
	name := strings.TrimRight(args, " ")
	if !validHelo(name) && s.server.quirk(QuirkHelo) {
		name = literal(s.raw.RemoteAddr())
	}
	if !validHelo(name) {
		return refuse(501, "5.5.4", "syntax error: the argument is a domain or an address literal")
	}
	s.endTransaction(s.backend)
	s.helo = name
	s.heloName.Store(&name)
	return none
}

// mayBeCalled says that a command's argument is a name that may be in any code page. QUIRK, see
// QuirkHelo.
func (s *session) mayBeCalled(name string) bool {
	return (name == "EHLO" || name == "HELO") && s.server.quirk(QuirkHelo)
}

func (s *session) secure() bool { return s.tlsState.Load() != nil }

// starttls goes on in TLS. RFC 3207 §4.
func (s *session) starttls(args string) reply {
	switch {
	case args != "":
		return refuse(501, "5.5.4", "syntax error: no parameters allowed")
	case s.secure():
		return refuse(503, "5.5.1", "bad sequence of commands: TLS is already active")
	case s.server.tls == nil:
		return refuse(502, "5.5.1", "command not implemented: TLS is not available")
	case s.authed:
		// The session of the backend would know what was told without TLS.
		return refuse(503, "5.5.1", "bad sequence of commands: STARTTLS comes before AUTH")
	}
	s.endTransaction(s.backend)
	if err := errors.Join(s.say(ok(220, "2.0.0", "Ready to start TLS")), s.flush()); err != nil {
		return goodbye(err)
	}
	if err := s.handshake(); err != nil {
		return goodbye(err)
	}
	return none
}

// handshakeError ends a connection for which no TLS came about.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "smtp: TLS handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// handshake changes to TLS. What came before it was not protected: it is forgotten, and
// octets that wait behind STARTTLS most of all (CVE-2011-0411, CVE-2021-33515).
func (s *session) handshake() error {
	s.in.discard()
	s.state = state{}
	s.heloName.Store(new(string))
	conn := tls.Server(s.raw, s.certificate.Watch(s.server.tls))
	ctx, cancel := within(s.ctx, s.server.timeouts.Handshake)
	defer cancel()
	if err := s.raw.SetDeadline(s.deadline(s.server.timeouts.Handshake)); err != nil {
		return &handshakeError{err}
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return &handshakeError{err}
	}
	s.conn = conn
	state := conn.ConnectionState()
	s.tlsState.Store(&state)
	events.TLS(s.log.Debug(), &state).Msg("TLS is up")
	s.server.observe(Event{Kind: Secured, Conn: s.id})
	return nil
}

// rset gives the transaction up. RFC 5321 §4.1.1.5.
func (s *session) rset(args string) reply {
	if args != "" {
		return refuse(501, "5.5.4", "syntax error: no parameters allowed")
	}
	s.endTransaction(s.backend)
	return ok(250, "2.0.0", "OK")
}

// noop takes any argument. RFC 5321 §4.1.1.9.
func (s *session) noop(string) reply { return ok(250, "2.0.0", "OK") }

// vrfy tells nothing. RFC 5321 §7.3.
func (s *session) vrfy(args string) reply {
	name, parameter, _ := strings.Cut(args, " ")
	switch {
	case name == "":
		return refuse(501, "5.5.4", "syntax error: VRFY needs an address")
	case !address.ASCII(name) && !strings.EqualFold(parameter, "SMTPUTF8"): // RFC 6531 §3.7.4.2
		return refuse(553, "5.6.7", needsUTF8)
	}
	return ok(252, "2.0.0", "cannot VRFY user, but will accept message and attempt delivery")
}

func (s *session) expn(string) reply {
	return refuse(502, "5.5.1", "command not implemented")
}

func (s *session) help(string) reply {
	return ok(214, "2.0.0", "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP\nVRFY HELP QUIT STARTTLS AUTH ETRN\nsee RFC 5321")
}

// quit ends the session. RFC 5321 §4.1.1.10.
func (s *session) quit(args string) reply {
	if args != "" {
		return refuse(501, "5.5.4", "syntax error: no parameters allowed")
	}
	s.endTransaction(s.backend)
	return hangUp(221, "2.0.0", s.server.Hostname+" Service closing transmission channel")
}
