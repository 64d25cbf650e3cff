package routing

import (
	"context"
	"crypto/tls"
	"errors"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/dequeue"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/smtp"
)

// Dequeues implements [smtp.Dequeues]: it is offered to those who may ask, and, as EHLO is not said again after a login, to those who may log
// in. RFC 6409 §7 has ETRN at an MX alone.
func (s *mxSession) Dequeues() (exists, may bool) {
	if s.o.Dequeue == nil {
		return false, false
	}
	exists, _ = s.o.Dequeue.Exists()
	return exists, exists && (s.o.Dequeue.May(s.asker()) || s.logsIn())
}

// asker is the client as one that asks for mail.
func (s *mxSession) asker() route.Asker {
	who := route.Asker{Address: addrOf(s.conn)}
	if s.who != nil {
		who.Account = s.who.address()
	}
	return who
}

// Dequeue implements [smtp.Dequeues]. The text of a refusal is the same whatever there is.
func (s *mxSession) Dequeue(ctx context.Context, node smtp.Node) (smtp.Dequeued, error) {
	if s.o.Dequeue == nil {
		return smtp.Dequeued{}, &smtp.Error{Code: 502, Enhanced: "5.5.1", Text: "command not implemented"}
	}
	who := s.asker()
	done, err := s.o.Dequeue.Start(ctx, route.Wanted{Domain: node.Domain, Below: node.Below, Route: node.Queue}, who)
	_, logins := s.o.Dequeue.Exists()
	switch {
	case err == nil:
		return smtp.Dequeued(done), nil
	case errors.Is(err, dequeue.ErrNotAllowed) && who.Account == "" && logins && !s.o.Dequeue.May(who):
		return smtp.Dequeued{}, errLoginFirst
	case errors.Is(err, dequeue.ErrNotAllowed):
		return smtp.Dequeued{}, &smtp.Error{Code: 459, Enhanced: "4.7.1", Text: "node " + node.String() + " not allowed: this client is " + err.Error()}
	case errors.Is(err, dequeue.ErrBusy), errors.Is(err, dequeue.ErrKept):
		return smtp.Dequeued{}, &smtp.Error{Code: 458, Enhanced: "4.3.2", Text: "unable to queue messages for node " + node.String() + ": " + err.Error()}
	}
	return smtp.Dequeued{}, &smtp.Error{Code: 458, Enhanced: "4.3.0", Text: "unable to queue messages for node " + node.String() + ": a local error, try again later", Err: err}
}

// logsIn says whether somebody may log in: to ask for mail, which is all that a login is good for here, and by TLS.
func (s *mxSession) logsIn() bool {
	if s.o.Dequeue == nil || s.o.Authenticator == nil || !login.ModernTLS(s.TLS()) {
		return false
	}
	_, logins := s.o.Dequeue.Exists()
	return logins
}

// Mechanisms implements [smtp.Session].
func (s *mxSession) Mechanisms() []string {
	if !s.logsIn() {
		return nil
	}
	return s.o.Authenticator.Mechanisms(s)
}

// Authenticate implements [smtp.Session].
func (s *mxSession) Authenticate(ctx context.Context, mechanism string) (sasl.Exchange[sasl.Accepted], error) {
	if !s.logsIn() {
		return nil, &smtp.Error{Code: 502, Enhanced: "5.5.1", Text: "command not implemented: authenticate on the submission port"}
	}
	return begin(ctx, s.o.Authenticator, s, mechanism, func() { s.who = nil })
}

// Protocol implements [login.Client].
func (s *mxSession) Protocol() string { return "smtp" }

// Peer implements [login.Client].
func (s *mxSession) Peer() backends.Peer { return peerOf(s.conn, "smtp") }

// TLS implements [login.Client].
func (s *mxSession) TLS() *tls.ConnectionState { return tlsOf(s.conn) }

// ServerCertificate implements [login.Client].
func (s *mxSession) ServerCertificate() []byte { return certificateOf(s.conn) }

// Enter implements [login.Client]. What is sent is refused or taken as that of anybody else.
func (s *mxSession) Enter(ctx context.Context, e login.Entry) error {
	s.who = nil
	if e.Device != "" {
		return backends.Fail(backends.BadCredentials, "the device %s logs in where mail comes in", e.Device)
	}
	account, err := e.Open(ctx)
	if err != nil {
		return err
	}
	if err := e.Check(account); err != nil {
		return err
	}
	s.who = &identity{store: e.Store, account: account, owns: newOwnership(account, e.Store)}
	s.log = s.log.With().Str("account", account.ID).Logger()
	return nil
}
