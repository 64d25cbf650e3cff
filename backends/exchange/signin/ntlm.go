package signin

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/ntlm"
)

// ntlmExchange is a login by NTLM, MS-NTHT.
type ntlmExchange struct {
	client  *ntlm.Client
	service string
	unbound bool
}

func newNTLM(c Config, who Credential, host string) *ntlmExchange {
	name, _, _ := net.SplitHostPort(host)
	return &ntlmExchange{client: ntlm.New(who.User, who.Password), service: "HTTP/" + name, unbound: c.Unbound}
}

func (x *ntlmExchange) begin() ([]byte, error) {
	if _, _, err := x.client.Start(); err != nil {
		return nil, err
	}
	return x.client.Next(nil)
}

func (x *ntlmExchange) answer(_ context.Context, said []byte, connection *tls.ConnectionState) ([]byte, error) {
	if x.unbound {
		connection = nil
	}
	if err := x.client.Bind(connection, x.service); err != nil {
		return nil, backends.Fail(backends.Permanent, "%w", err)
	}
	token, err := x.client.Next(said)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "%w", err)
	}
	return token, nil
}

// finish has nothing to look at: NTLM does not prove who the server is.
func (x *ntlmExchange) finish([]byte) error { return nil }
