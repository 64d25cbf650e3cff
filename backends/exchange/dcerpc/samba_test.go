//go:build linux

package dcerpc_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/exchange/dcerpc"
	"github.com/dipylon/dipylon/backends/mail/ntlm"
	"github.com/dipylon/dipylon/test/peers"
)

// srvsvc is an interface that Samba has over TCP, MS-SRVS §1.9.
var srvsvc = dcerpc.Interface{
	Name: "srvsvc", UUID: dcerpc.NewUUID(0x4b324fc8, 0x1670, 0x01d3, [8]byte{0x12, 0x78, 0x5a, 0x47, 0xbf, 0x6e, 0xe1, 0x88}), Major: 3,
}

// sealed is a login by NTLM.
type sealed struct{ *ntlm.Client }

func (sealed) Method() uint8      { return dcerpc.MethodNTLM }
func (sealed) SignatureSize() int { return ntlm.SignatureSize }
func (sealed) SignHeaders(bool)   {}

// shares asks for the shares of a server of a name, MS-SRVS §3.1.4.8 (NetrShareEnum).
func shares(name string) []byte {
	var w dcerpc.Writer
	w.Pointer()
	w.Wide(name)
	w.Uint32(1, 1) // the level, and which it is of the union
	w.Pointer()
	w.Uint32(0, 0)          // no shares yet
	w.Uint32(0xFFFFFFFF, 0) // as much as there is, from the first
	return w.Octets()
}

const opShareEnum = 15

func dialSamba(t *testing.T, s *peers.Samba, password string) (*dcerpc.Conn, error) {
	t.Helper()
	port, err := dcerpc.Endpoint(t.Context(), s.Host, dcerpc.MapperPort, srvsvc, 0)
	if err != nil {
		t.Fatal(err)
	}
	client := ntlm.New(s.Domain+`\`+s.User, password)
	client.Sealing()
	if err := client.Bind(nil, "cifs/"+s.Host); err != nil {
		t.Fatal(err)
	}
	conn, err := dcerpc.Dial(t.Context(), net.JoinHostPort(s.Host, port), dcerpc.Config{Interface: srvsvc, Security: sealed{client}})
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
	}
	return conn, err
}

// TestSamba has Samba judge what is signed and sealed, and its endpoint mapper asked: calls and replies of many fragments.
func TestSamba(t *testing.T) {
	s := peers.StartSamba(t, peers.SambaOptions{Shares: 300})
	conn, err := dialSamba(t, s, s.Password)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{`\\x`, `\\` + strings.Repeat("x", 20_000), `\\xy`} {
		reply, err := conn.Call(t.Context(), opShareEnum, shares(name))
		if err != nil {
			t.Fatal(err)
		}
		r := dcerpc.NewReader(reply)
		r.Bytes(4 * 4) // up to how many there are
		if n := r.Uint32(); n < 300 || len(reply) < 6*5840 {
			t.Errorf("%d shares in %d octets", n, len(reply))
		}
	}
	var fault *dcerpc.FaultError
	if _, err := conn.Call(t.Context(), 999, nil); !errors.As(err, &fault) || fault.Status != dcerpc.StatusOutOfRange || fault.SignIn() {
		t.Errorf("a procedure that is not there: %v", err)
	}
	if _, err := conn.Call(t.Context(), opShareEnum, shares(`\\x`)); err != nil {
		t.Errorf("a call after a fault: %v", err)
	}
}

// TestSambaRefuses has a password that is wrong, and an interface that the mapper does not know.
func TestSambaRefuses(t *testing.T) {
	s := peers.StartSamba(t, peers.SambaOptions{})
	conn, err := dialSamba(t, s, "wrong")
	if err != nil {
		t.Fatal(err)
	}
	var fault *dcerpc.FaultError
	if _, err := conn.Call(t.Context(), opShareEnum, shares(`\\x`)); !errors.As(err, &fault) || !fault.SignIn() {
		t.Errorf("a wrong password: %v", err)
	}
	var unknown *dcerpc.NotRegisteredError
	emsmdb := dcerpc.Interface{
		Name: "EMSMDB", UUID: dcerpc.NewUUID(0xa4f1db00, 0xca47, 0x1067, [8]byte{0xb3, 0x1f, 0x00, 0xdd, 0x01, 0x06, 0x62, 0xda}), Minor: 81,
	}
	if port, err := dcerpc.Endpoint(t.Context(), s.Host, dcerpc.MapperPort, emsmdb, 0); !errors.As(err, &unknown) {
		t.Errorf("port %s, %v", port, err)
	}
}
