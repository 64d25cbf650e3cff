package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/remote"
)

// connection is one logged-in connection to the server. The client library knows no contexts:
// what must end in time goes through call, which gives the connection up to end it.
type connection struct {
	client *client
	user   string // logged in as
	proof  proof  // of the credential that opened it
	kind   backends.CredentialKind
	since  time.Time // logged in

	selected bool // a mailbox is, or may be
	readOnly bool // it was opened so
}

// call runs one exchange with the server and ends it with the context, at the price of the
// connection: IMAP has no way to take a command back.
func call[T any](ctx context.Context, client *client, exchange func() (T, error)) (T, error) {
	stop := context.AfterFunc(ctx, func() { client.end(context.Cause(ctx)) })
	v, err := exchange()
	if !stop() && err != nil {
		return v, fmt.Errorf("%w (%v)", context.Cause(ctx), err)
	}
	return v, client.explain(err)
}

// connect opens a connection up to the greeting, TLS included.
func (s *Store) connect(ctx context.Context) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
	defer cancel()
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", s.settings.Address)
	if err != nil {
		return nil, s.connectFailure(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	w, err := s.secure(ctx, raw)
	if err != nil {
		_ = raw.Close()
		return nil, s.connectFailure(ended(ctx, err))
	}
	w.patience.limit = time.Duration(s.settings.Timeout)
	c := newClient(w)
	if err := c.greeted(); err != nil {
		_ = c.Close()
		return nil, s.connectFailure(ended(ctx, err))
	}
	return c, nil
}

// secure puts TLS on a connection, as the settings want it.
func (s *Store) secure(ctx context.Context, raw net.Conn) (*wire, error) {
	var w *wire
	switch s.settings.TLS {
	case "implicit":
		config := s.tls.Clone()
		config.NextProtos = []string{"imap"} // RFC 7301's registry
		w = &wire{Conn: tls.Client(raw, config)}
	case "starttls":
		var err error
		if w, err = startTLS(raw, s.tls); err != nil {
			return nil, err
		}
	default:
		return &wire{Conn: raw}, nil
	}
	return w, w.Conn.(*tls.Conn).HandshakeContext(ctx)
}

// greeted waits for the greeting. A server that greets with PREAUTH has logged in somebody of
// its own choice (RFC 9051 §7.1.4).
func (c *client) greeted() error {
	if err := c.WaitGreeting(); err != nil {
		return c.explain(err)
	}
	if state := c.State(); state != imap.ConnStateNotAuthenticated {
		return backends.Fail(backends.Temporary, "the server does not ask who we are: its state is %q from the start", state)
	}
	return nil
}

// ended puts the context's reason in front of the closed connection it led to.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return fmt.Errorf("%w (%v)", cause, err)
	}
	return err
}

// authenticate logs a fresh connection in.
func (s *Store) authenticate(ctx context.Context, client *client, c backends.Credential) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
	defer cancel()
	caps, err := call(ctx, client, func() (imap.CapSet, error) {
		client.wire.takeAlert()
		if err := s.login(client, c); err != nil {
			return nil, err
		}
		if !client.wire.toldCapabilities() {
			// The library forgets what the greeting told some time after the login has ended.
			return client.Capability().Wait()
		}
		return client.Caps(), nil
	})
	if err != nil {
		return s.loginFailure(client, c, err)
	}
	if client.caps = caps; caps == nil {
		return backends.Fail(backends.Temporary, "the server does not say what it can do")
	}
	if !caps.Has(imap.CapUIDPlus) {
		s.withoutUIDPlus.Do(func() {
			s.log.Warn().Msg("the IMAP server has no UIDPLUS (RFC 4315): messages that a client deletes cannot be removed, and each QUIT after a DELE fails; set \"deleted: mark\" in the store's policy, or \"deleted: trash\" if the server has MOVE")
		})
	}
	return s.identify(ctx, client)
}

// loginFailure is what a refused login is told as.
func (s *Store) loginFailure(client *client, c backends.Credential, err error) error {
	operation := "login as " + s.loginName(c)
	var known *backends.Failure
	var said *imap.Error
	if errors.As(err, &known) || !errors.As(err, &said) {
		return failure(operation, err, backends.BadCredentials)
	}
	refusal := *said
	if text := client.wire.takeAlert(); text != "" && (refusal.Code == "" || isAlert(refusal.Code)) {
		refusal.Code, refusal.Text = imap.ResponseCodeAlert, strings.TrimSpace(refusal.Text+" "+text)
	}
	name, _, _ := strings.Cut(c.User, "@")
	typed := []string{string(c.Secret), s.settings.Master.Password, c.User, c.ActAs, name}
	return s.advise(told(loginRefused(&refusal, typed), &refusal, operation, err))
}

// advise tells the administrator, where there are too many connections, how many there are.
func (s *Store) advise(err error) error {
	var f *backends.Failure
	if !errors.As(err, &f) || f.Kind != backends.Throttled || s.pool == nil {
		return err
	}
	advised := *f
	advised.Detail += fmt.Sprintf("; %d connections are open: \"connections.total\" (%d) and \"connections.per_account\" (%d) have to stay below what the server allows for one address and one account",
		len(s.pool.total), s.settings.Pool.Total, s.settings.Pool.PerAccount)
	return &advised
}

// identify says who we are, where that is wanted (RFC 2971): servers of Coremail open no mailbox
// for a client that has not. What comes of it otherwise does not matter.
func (s *Store) identify(ctx context.Context, client *client) error {
	if !client.caps.Has(imap.CapID) {
		return nil
	}
	_, err := call(ctx, client, func() (*imap.IDData, error) {
		return client.ID(&imap.IDData{Name: "Dipylon", Version: remote.Version()}).Wait()
	})
	if err != nil && !isRefusal(err) {
		return failure("identify", err, backends.Temporary)
	}
	return nil
}

// login chooses the command: AUTHENTICATE where an identity is to be acted for or the
// credential is a token, LOGIN for servers that have nothing else.
func (s *Store) login(client *client, c backends.Credential) error {
	user, password := s.loginName(c), string(c.Secret)
	actAs := c.ActAs
	switch c.Kind {
	case backends.CredentialToken:
		return s.loginToken(client, bearerName(c, user), password)
	case backends.CredentialImpersonation:
		actAs = user
		user, password = s.settings.Master.User, s.settings.Master.Password
	}
	caps := client.Caps()
	if caps.Has(imap.AuthCap(sasl.Plain)) {
		err := client.Authenticate(sasl.NewPlainClient(actAs, user, password))
		if !notUnderstood(err) || actAs != "" && actAs != user || caps.Has(imap.CapLoginDisabled) {
			return err
		}
	}
	if actAs != "" && actAs != user {
		return backends.Fail(backends.Unsupported, "the server offers no AUTH=PLAIN, which acting for %s needs", actAs)
	}
	if caps.Has(imap.CapLoginDisabled) {
		return remote.Unsafe(backends.Fail(backends.Temporary, "the server disables LOGIN on this connection: set \"tls\" to starttls or implicit"))
	}
	return client.Login(user, password).Wait()
}

// notUnderstood says whether a server offers what it does not have: AUTH=PLAIN, answered with BAD.
func notUnderstood(err error) bool {
	var said *imap.Error
	return errors.As(err, &said) && said.Type == imap.StatusResponseTypeBad && meaningOf(said.Text)&^saysOutage == 0
}

func (s *Store) loginToken(client *client, user, token string) error {
	mechanism, err := newBearer(client.Caps().AuthMechanisms(), s.settings.Address, user, token)
	if err != nil {
		return err
	}
	err = client.Authenticate(mechanism)
	var said *imap.Error
	if mechanism.Refusal != "" && errors.As(err, &said) && said.Code == "" && meaningOf(said.Text)&(saysLimit|saysOutage) == 0 {
		return backends.Fail(backends.BadCredentials, "the server refuses the token, with %q: %w", mechanism.Refusal, err)
	}
	return err
}

// loginName is the name as the server knows it.
func (s *Store) loginName(c backends.Credential) string {
	if s.settings.Username == "local" {
		if at := strings.LastIndexByte(c.User, '@'); at > 0 {
			return c.User[:at]
		}
	}
	return c.User
}
