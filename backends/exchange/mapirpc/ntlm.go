package mapirpc

import (
	"context"

	"github.com/dipylon/dipylon/backends/exchange/dcerpc"
	"github.com/dipylon/dipylon/backends/mail/ntlm"
)

// NTLM signs in by NTLMv2: a user is DOMAIN\user or user@domain.
func NTLM(user, password string) SignIn {
	return func(_ context.Context, service, host string) (dcerpc.Security, error) {
		client := ntlm.New(user, password)
		client.Sealing()
		return byNTLM{client}, client.Bind(nil, service+"/"+host)
	}
}

// byNTLM is a login by NTLM, MS-RPCE §2.2.1.1.7 (RPC_C_AUTHN_WINNT).
type byNTLM struct{ *ntlm.Client }

// Method implements [dcerpc.Security].
func (byNTLM) Method() uint8 { return dcerpc.MethodNTLM }

// SignatureSize implements [dcerpc.Security].
func (byNTLM) SignatureSize() int { return ntlm.SignatureSize }

// SignHeaders implements [dcerpc.Security]: NTLM signs them in any case.
func (byNTLM) SignHeaders(bool) {}
