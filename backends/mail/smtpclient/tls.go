package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"time"
)

// Policy is what has to be true of a connection's TLS.
type Policy uint8

// The policies, from the weakest.
const (
	// Clear does without TLS.
	Clear Policy = iota
	// Opportunistic takes TLS where the server offers it, whatever its certificate, and goes on
	// without where it does not, or where TLS fails (RFC 7435). It is for relaying to strangers.
	Opportunistic
	// Required takes TLS only, whatever the certificate: nobody who only listens reads the message.
	Required
	// Verified takes TLS only, with a certificate that Config takes.
	Verified
)

// policies are their names in configurations.
var policies = []string{Clear: "clear", Opportunistic: "opportunistic", Required: "required", Verified: "verified"}

func (p Policy) String() string {
	if int(p) < len(policies) {
		return policies[p]
	}
	return ""
}

// TLS is how a connection is secured.
type TLS struct {
	Policy Policy
	// Implicit has TLS begin with the first octet (RFC 8314 §3), and not with STARTTLS (RFC 3207).
	// Policy is then Required or Verified.
	Implicit bool
	// Config says which certificates [Verified] takes: authorities, the server's name, a check of
	// its own such as a pin. The others take its versions alone.
	Config *tls.Config
}

// ErrNoTLS says that a server does not offer the TLS that the policy requires.
var ErrNoTLS = errors.New("the server does not offer STARTTLS")

// errPolicy refuses what makes no sense.
var errPolicy = errors.New("credentials and implicit TLS need TLS that is required or verified, or none")

// TLSError says that TLS did not come about.
type TLSError struct{ Err error }

func (e *TLSError) Error() string { return "TLS: " + e.Err.Error() }
func (e *TLSError) Unwrap() error { return e.Err }

// check refuses a policy that would give a credential, or the first octet, to chance.
func (o Options) check() error {
	opportunistic := o.TLS.Policy == Opportunistic
	if o.Auth != nil && opportunistic || o.TLS.Implicit && (opportunistic || o.TLS.Policy == Clear) {
		return errPolicy
	}
	return nil
}

// config is the one place that says which certificates are taken.
func (t TLS) config() *tls.Config {
	config := t.Config.Clone()
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if t.Policy != Verified {
		config.InsecureSkipVerify = true // encrypted is what is asked for
		config.VerifyConnection, config.VerifyPeerCertificate = nil, nil
	}
	return config
}

// upgrade is the one place that says whether STARTTLS is sent, and what follows where it fails.
func (c *Client) upgrade(ctx context.Context) error {
	policy := c.options.TLS.Policy
	if c.options.TLS.Implicit || policy == Clear || c.inClear {
		return nil
	}
	_, offered := c.extensions["STARTTLS"]
	switch {
	case offered:
		return c.startTLS(ctx)
	case policy == Opportunistic:
		return nil
	}
	return &TLSError{ErrNoTLS}
}

// startTLS secures the connection and forgets all that was said before (RFC 3207 §4.2).
func (c *Client) startTLS(ctx context.Context) error {
	_, err := c.command(220, "STARTTLS")
	if refused := (*ReplyError)(nil); errors.As(err, &refused) && c.options.TLS.Policy == Opportunistic && c.broken == nil {
		return nil // RFC 3207 §4: 454 or 501, and the client decides to go on
	}
	if err != nil {
		return &TLSError{err}
	}
	if c.in.Buffered() > 0 {
		return &TLSError{errors.New("the server sent something before TLS")}
	}
	if err := c.handshake(ctx, c.options.Timeouts.Command); err != nil {
		return err
	}
	c.buffers()
	return c.hello()
}

func (c *Client) handshake(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	secured := tls.Client(c.conn, c.options.TLS.config())
	if err := secured.HandshakeContext(ctx); err != nil {
		return &TLSError{err}
	}
	c.use(secured)
	state := secured.ConnectionState()
	c.state = &state
	return nil
}

// withoutTLS says whether a connection that failed for its TLS is tried once more without.
func (c *Client) withoutTLS(err error) bool {
	var failed *TLSError
	if c.options.TLS.Policy != Opportunistic || c.inClear || !errors.As(err, &failed) {
		return false
	}
	c.inClear = true
	return true
}

// TLSState is the state of the connection's TLS, nil where there is none.
func (c *Client) TLSState() *tls.ConnectionState { return c.state }
