package signin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/kerberos"
	"github.com/dipylon/dipylon/backends/mail/channelbinding"
)

// kerberosExchange is a login by Kerberos under Negotiate, RFC 4559.
type kerberosExchange struct {
	login *Login
	state *kerberos.Login
	kept  bool // the ticket was there before
}

// begin asks without a token: the connection has to be there, as the token is bound to it.
func (x *kerberosExchange) begin() ([]byte, error) { return nil, nil }

func (x *kerberosExchange) answer(ctx context.Context, _ []byte, connection *tls.ConnectionState) ([]byte, error) {
	ticket, err := x.ticket(ctx)
	if err != nil {
		return nil, err
	}
	var binding []byte
	if !x.login.server.config.Unbound {
		if binding, err = channelbinding.EndPoint(connection); err != nil {
			return nil, backends.Fail(backends.Permanent, "Kerberos: %w", err)
		}
	}
	state, token, err := ticket.Begin(binding)
	x.state = state
	return token, err
}

// ticket is the login's for the service, which is got once for all its connections.
func (x *kerberosExchange) ticket(ctx context.Context) (*kerberos.Ticket, error) {
	p, c := x.login.proof, x.login.server.config
	if err := take(ctx, p.tickets); err != nil {
		return nil, err
	}
	defer func() { p.tickets <- struct{}{} }()
	if f := p.refused.Load(); f != nil {
		return nil, f
	}
	if p.ticket != nil && p.ticket.Valid() {
		x.kept = true
		return p.ticket, nil
	}
	var secret kerberos.Secret = kerberos.Password(x.login.credential.Password)
	if x.login.credential.Keytab != nil {
		secret = *x.login.credential.Keytab
	}
	ticket, err := c.Kerberos.Ticket(ctx, x.login.credential.User, secret, c.Service)
	if err != nil {
		return nil, x.noTicket(ctx, err)
	}
	p.ticket = ticket
	return ticket, nil
}

// noTicket is the failure of a KDC that has given none. Where it has not judged the password, another method may.
func (x *kerberosExchange) noTicket(ctx context.Context, err error) error {
	var e *kerberos.Error
	if !errors.As(err, &e) {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	switch e.Verdict {
	case kerberos.Wrong:
		return x.login.turnDown(backends.Fail(backends.BadCredentials, "Kerberos: %w", err))
	case kerberos.Expired:
		return x.login.refuse(backends.Fail(backends.PasswordExpired, "Kerberos: %w", err))
	case kerberos.Revoked: // nobody has looked at the password, and nobody is told of the account by it
		return x.login.refuse(backends.Fail(backends.BadCredentials, "Kerberos: %w", err))
	}
	if x.login.server.config.Method == Auto && x.login.credential.Keytab == nil {
		x.login.proof.noTicket.Store(true)
		return errOther
	}
	if e.Verdict == kerberos.Unknown {
		return x.login.refuse(backends.Fail(backends.BadCredentials, "Kerberos: %w", err))
	}
	return backends.Fail(backends.Temporary, "%w: %w", ErrNoTicket, err)
}

// refused says why a server does not take a ticket. The KDC has judged the password before: it is none of the reasons.
func (x *kerberosExchange) refused(l *lane, response *http.Response, w way) error {
	drain(response)
	said, _ := find(challenges(response.Header), w.scheme)
	p := x.login.proof
	if x.kept {
		<-p.tickets // the service may have another key by now: a new ticket tells
		p.ticket = nil
		p.tickets <- struct{}{}
		return errOther
	}
	why := kerberos.Refusal(said.octets())
	var e *kerberos.Error
	if errors.As(why, &e) && e.Code != errorcode.KRB_ERR_GENERIC {
		why = fmt.Errorf("%w: %w", ErrTicket, why)
	} else { // servers say nothing, or no more than that, of a binding
		why = ErrBinding
	}
	return x.login.refuse(backends.Fail(backends.Permanent, "%s refuses a ticket for %s that the KDC has given for the password: %w",
		l.login.server.host, l.login.server.config.Service, why).Say(sayMethod))
}

func (x *kerberosExchange) finish(said []byte) error { return x.state.Finish(said) }
