package signin

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/ntlm"
)

// ntlmExchange is a login by NTLM, MS-NTHT.
type ntlmExchange struct {
	client *ntlm.Client
	config Config
}

func newNTLM(c Config, who Credential) *ntlmExchange {
	return &ntlmExchange{client: ntlm.New(who.User, who.Password), config: c}
}

func (x *ntlmExchange) begin() ([]byte, error) {
	if _, _, err := x.client.Start(); err != nil {
		return nil, err
	}
	return x.client.Next(nil)
}

func (x *ntlmExchange) answer(_ context.Context, said []byte, connection *tls.ConnectionState) ([]byte, error) {
	if x.config.Unbound {
		connection = nil
	}
	if err := x.client.Bind(connection, x.config.Service); err != nil {
		return nil, backends.Fail(backends.Permanent, "%w", err)
	}
	token, err := x.client.Next(said)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "%w", err)
	}
	return token, nil
}

func (x *ntlmExchange) refused(l *lane, response *http.Response, w way) error {
	return l.refuse(response, w)
}

// finish has nothing to look at: NTLM does not prove who the server is.
func (x *ntlmExchange) finish([]byte) error { return nil }
