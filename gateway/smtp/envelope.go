package smtp

import (
	"fmt"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/xtext"
)

// needsUTF8 is told of what SMTPUTF8 (RFC 6531) would be needed for.
const needsUTF8 = "the address needs SMTPUTF8"

// mail begins a transaction. RFC 5321 §4.1.1.2.
func (s *session) mail(args string) reply {
	if r := s.mayMail(); r.code != none.code {
		return r
	}
	path, rest, r := s.reversePath(args)
	if r.code != none.code {
		return r
	}
	options, r := s.mailOptions(rest)
	if r.code != none.code {
		return r
	}
	if !options.UTF8 && !address.ASCII(path.String()+options.Auth) {
		return refuse(553, "5.6.7", needsUTF8) // RFC 6531 §3.5
	}
	return s.begin(path, options)
}

// mayMail says what stands against a transaction now.
func (s *session) mayMail() reply {
	submission := s.server.Role == Submission
	switch {
	case s.helo == "":
		return refuse(503, "5.5.1", "bad sequence of commands: EHLO comes first")
	case s.tx != nil:
		return refuse(503, "5.5.1", "bad sequence of commands: nested MAIL command, RSET ends the transaction") // RFC 5321 §4.1.4
	case submission && !s.mayAuth():
		return refuse(530, "5.7.0", "Must issue a STARTTLS command first") // RFC 3207 §4
	case submission && !s.authed && !s.known:
		if r := s.recognize(); r.code != none.code {
			return r
		}
	}
	switch {
	case over(s.transactions+1, s.limits.Messages):
		return hangUp(421, "4.7.0", "too many messages in one session")
	}
	return none
}

// recognize lets a client go on without AUTH that the backend knows.
func (s *session) recognize() reply {
	if backend, is := s.backend.(Recognizes); is {
		ctx, cancel := within(s.ctx, s.server.timeouts.Backend)
		defer cancel()
		known, err := backend.Recognize(ctx)
		if err != nil {
			return failure(err)
		}
		if s.known = known; known {
			return none
		}
	}
	return refuse(530, "5.7.0", "Authentication required") // RFC 4954 §6
}

func (s *session) mailOptions(rest string) (MailOptions, reply) {
	var o MailOptions
	parameters, err := parseParameters(rest)
	if err != nil {
		return o, refuse(501, "5.5.4", err.Error())
	}
	for _, p := range parameters {
		if r := s.mailOption(&o, p); r.code != none.code {
			return o, r
		}
	}
	return o, none
}

func (s *session) mailOption(o *MailOptions, p parameter) reply {
	unknown := refuse(555, "5.5.4", "MAIL FROM parameter "+p.keyword+" not recognized or not implemented") // RFC 5321 §4.1.1.11
	if !s.esmtp {
		return unknown
	}
	wrong := refuse(501, "5.5.4", "syntax error in the value of "+p.keyword)
	var err error
	switch p.keyword {
	case "SIZE":
		if o.Size, err = parseSize(p.value); err != nil {
			return wrong
		}
		if over(o.Size, s.messageSize()) {
			return reply{code: 552, enhanced: "5.3.4", text: errTooLarge.Text} // RFC 1870 §6.1
		}
	case "BODY": // RFC 6152 §3
		o.EightBit = strings.EqualFold(p.value, "8BITMIME")
		if !o.EightBit && !strings.EqualFold(p.value, "7BIT") {
			return wrong
		}
	case "SMTPUTF8": // RFC 6531 §3.4
		if o.UTF8 = !p.hasValue; !o.UTF8 {
			return wrong
		}
	case "AUTH":
		if len(s.mechanisms()) == 0 {
			return unknown
		}
		if p.value == "<>" { // nobody in particular
			break
		}
		if o.Auth, err = xtext.Decode(p.value); err != nil || o.Auth == "" {
			return wrong
		}
	case "MT-PRIORITY":
		most, offered := s.priority()
		if !offered {
			return unknown
		}
		if o.Priority, err = parsePriority(p.value); err != nil {
			return wrong
		}
		o.Priority, o.lowered = min(o.Priority, most), o.Priority > most
	case "REQUIRETLS": // RFC 8689 §2
		if !s.requiresTLS() {
			return unknown
		}
		if o.RequireTLS = !p.hasValue; !o.RequireTLS {
			return wrong
		}
	case "RET", "ENVID":
		switch {
		case !s.notifies():
			return unknown
		case p.keyword == "RET":
			o.Return, err = parseReturn(p.value)
		default:
			o.EnvelopeID, err = parseEnvelopeID(p.value)
		}
		if err != nil {
			return wrong
		}
	default:
		return unknown
	}
	return none
}

// begin asks the backend. A transaction that it refuses has not begun, and is forgotten.
func (s *session) begin(reversePath address.Path, options MailOptions) reply {
	s.transactions++
	options.ID = fmt.Sprintf("%s.%d", s.id, s.transactions)
	ctx, cancel := within(s.ctx, s.server.timeouts.Backend)
	defer cancel()
	s.tx = &transaction{id: options.ID, reversePath: reversePath, options: options, size: s.messageSize(), began: time.Now()}
	if err := s.backend.Mail(ctx, reversePath, options); err != nil {
		r := failure(err)
		s.log.Info().Str("transaction", options.ID).Stringer("from", reversePath).Int("code", r.code).AnErr("cause", r.cause).Msg("sender refused")
		s.endTransaction(s.backend)
		return r
	}
	if options.lowered { // RFC 6710 §4.1
		return ok(250, "2.3.6", fmt.Sprintf("%d is the priority of the message, as high as you may ask for", options.Priority))
	}
	return ok(250, "2.1.0", "sender ok")
}

// rcpt adds a recipient. RFC 5321 §4.1.1.3.
func (s *session) rcpt(args string) reply {
	switch {
	case s.tx == nil:
		return refuse(503, "5.5.1", "bad sequence of commands: MAIL comes first")
	case s.tx.transfer != nil:
		return refuse(503, "5.5.1", "bad sequence of commands: the message has begun") // RFC 3030 §2
	case over(s.tx.recipients+1, s.limits.Recipients):
		return reply{code: 452, enhanced: "4.5.3", text: "too many recipients"} // RFC 5321 §4.5.3.1.10
	}
	recipient, rest, r := s.forwardPath(args)
	if r.code != none.code {
		return r
	}
	options, r := s.rcptOptions(rest)
	if r.code != none.code {
		return r
	}
	return s.add(recipient, options)
}

// rcptOptions reads the parameters of RCPT: those of RFC 3461, where notifications are sent.
func (s *session) rcptOptions(rest string) (o RcptOptions, r reply) {
	parameters, err := parseParameters(rest)
	if err != nil {
		return o, refuse(501, "5.5.4", err.Error())
	}
	for _, p := range parameters {
		switch {
		case p.keyword != "NOTIFY" && p.keyword != "ORCPT" || p.keyword == "ORCPT" && !s.notifies():
			return o, refuse(555, "5.5.4", "RCPT TO parameter "+p.keyword+" not recognized or not implemented")
		case p.keyword == "ORCPT":
			o.OriginalRecipient, err = parseOriginal(p.value)
		case s.notifies():
			o.Notify, err = parseNotify(p.value)
		case !s.server.quirk(QuirkNotify) || !strings.EqualFold(p.value, "NEVER"):
			return o, refuse(555, "5.5.4", "RCPT TO parameter NOTIFY not implemented: no delivery status notifications are sent, switch them off")
		}
		if err != nil {
			return o, refuse(501, "5.5.4", "syntax error in the value of "+p.keyword)
		}
	}
	return o, none
}

func (s *session) add(recipient address.Path, options RcptOptions) reply {
	ctx, cancel := within(s.ctx, s.server.timeouts.Backend)
	defer cancel()
	if err := s.backend.Rcpt(ctx, recipient, options); err != nil {
		r := failure(err)
		s.log.Info().Str("transaction", s.tx.id).Stringer("to", recipient).Int("code", r.code).AnErr("cause", r.cause).Msg("recipient refused")
		s.tx.refused++
		if r.code >= 500 {
			s.refusals++
		}
		return r
	}
	if s.tx.recipients++; s.tx.recipients == 1 {
		s.tx.recipient = recipient
	}
	return ok(250, "2.1.5", "recipient ok")
}

// endTransaction is the one place where a transaction ends, however it does: nothing of it
// is left for the next.
func (s *session) endTransaction(backend Session) {
	tx := s.tx
	if tx == nil {
		return
	}
	s.tx = nil
	if tx.transfer != nil {
		tx.transfer.stop()
	}
	backend.Reset()
}
