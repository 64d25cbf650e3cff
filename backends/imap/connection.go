package imap

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/remote"
)

// connection is one logged-in connection to the server. The client library knows no contexts:
// what must end in time goes through call, which gives the connection up to end it.
type connection struct {
	client *imapclient.Client
	user   string // logged in as
	proof  proof  // of the credential that opened it
}

// call runs one exchange with the server and ends it with the context, at the price of the
// connection: IMAP has no way to take a command back.
func call[T any](ctx context.Context, client *imapclient.Client, exchange func() (T, error)) (T, error) {
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	v, err := exchange()
	if !stop() && err != nil {
		err = fmt.Errorf("%w (%v)", context.Cause(ctx), err)
	}
	return v, err
}

// connect opens a connection up to the greeting, TLS included.
func (s *Store) connect(ctx context.Context) (*imapclient.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
	defer cancel()
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", s.settings.Address)
	if err != nil {
		return nil, remote.ConnectFailure(s.settings.Address, noTLS, err)
	}
	client, err := s.greet(ctx, raw)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return client, nil
}

func (s *Store) greet(ctx context.Context, raw net.Conn) (*imapclient.Client, error) {
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	options := &imapclient.Options{TLSConfig: s.tls}
	var client *imapclient.Client
	var err error
	switch s.settings.TLS {
	case "implicit":
		config := s.tls.Clone()
		config.NextProtos = []string{"imap"} // RFC 7301's registry
		secured := tls.Client(raw, config)
		if err = secured.HandshakeContext(ctx); err == nil {
			client = imapclient.New(secured, options)
		}
	case "starttls":
		client, err = imapclient.NewStartTLS(raw, options)
	default:
		client = imapclient.New(raw, options)
	}
	if err != nil {
		return nil, remote.ConnectFailure(s.settings.Address, noTLS, ended(ctx, err))
	}
	if err := client.WaitGreeting(); err != nil {
		_ = client.Close()
		return nil, failure("greeting", ended(ctx, err), backends.Temporary)
	}
	return client, nil
}

// ended puts the context's reason in front of the closed connection it led to.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return fmt.Errorf("%w (%v)", cause, err)
	}
	return err
}

// authenticate logs a fresh connection in.
func (s *Store) authenticate(ctx context.Context, client *imapclient.Client, c backends.Credential) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
	defer cancel()
	_, err := call(ctx, client, func() (struct{}, error) { return struct{}{}, s.login(client, c) })
	return failure("login as "+s.loginName(c), err, backends.BadCredentials)
}

// login chooses the command: AUTHENTICATE where an identity is to be acted for or the
// credential is a token, LOGIN for servers that have nothing else.
func (s *Store) login(client *imapclient.Client, c backends.Credential) error {
	user, password := s.loginName(c), string(c.Secret)
	actAs := c.ActAs
	switch c.Kind {
	case backends.CredentialToken:
		return s.loginToken(client, user, password)
	case backends.CredentialActing:
		actAs = user
		if c.ActAs != "" {
			actAs = c.ActAs
		}
		user, password = s.settings.Master.User, s.settings.Master.Password
	}
	caps := client.Caps()
	if caps.Has(imap.AuthCap(sasl.Plain)) {
		return client.Authenticate(sasl.NewPlainClient(actAs, user, password))
	}
	if actAs != "" && actAs != user {
		return backends.Fail(backends.Unsupported, "the server offers no AUTH=PLAIN, which acting for %s needs", actAs)
	}
	if caps.Has(imap.CapLoginDisabled) {
		return backends.Fail(backends.Temporary, "the server disables LOGIN on this connection: set \"tls\"").WithCode("4.7.5")
	}
	return client.Login(user, password).Wait()
}

func (s *Store) loginToken(client *imapclient.Client, user, token string) error {
	caps := client.Caps()
	switch {
	case caps.Has(imap.AuthCap(sasl.OAuthBearer)):
		host, port := hostPort(s.settings.Address)
		return client.Authenticate(sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: user, Token: token, Host: host, Port: port}))
	case caps.Has(imap.AuthCap("XOAUTH2")):
		return client.Authenticate(&xoauth2{user: user, token: token})
	}
	return backends.Fail(backends.Unsupported, "the server offers neither OAUTHBEARER nor XOAUTH2")
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

// xoauth2 is the mechanism that Google and Microsoft have beside OAUTHBEARER. On failure the
// server sends a challenge that holds the reason; an empty answer makes it say NO.
type xoauth2 struct{ user, token string }

func (x *xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", []byte("user=" + x.user + "\x01auth=Bearer " + x.token + "\x01\x01"), nil
}

func (x *xoauth2) Next([]byte) ([]byte, error) { return []byte{}, nil }
