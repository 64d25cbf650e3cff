package exchange

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/mapirpc"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	"github.com/dipylon/dipylon/backends/probe"
)

// rpc says where a server is that is spoken to by RPC.
type rpc struct {
	Host string `json:"host"` // of the mailboxes
	Port int    `json:"port"` // of EMSMDB; 0: the endpoint mapper is asked
	// AddressBook is where the address book is.
	AddressBook struct {
		Host string `json:"host"` // empty: that of the mailboxes
		Port int    `json:"port"` // of NSPI; 0: the endpoint mapper is asked
	} `json:"address_book"`
	Mapper int `json:"mapper"` // the port of the endpoint mapper
}

const mapperPort = 135

func (r *rpc) given() bool { return *r != rpc{Mapper: r.Mapper} }

func (r *rpc) check(wrong *backends.SettingsError, protocol string, method signin.Method) {
	if protocol != protocolRPC {
		if r.given() {
			wrong.Add("rpc", "is there for protocol: rpc alone")
		}
		return
	}
	for path, host := range map[string]string{"rpc.host": r.Host, "rpc.address_book.host": r.AddressBook.Host} {
		if strings.ContainsAny(host, "/@: ") && net.ParseIP(host) == nil || path == "rpc.host" && host == "" {
			wrong.Add(path, "expected the name of the server: mail.sakes.example")
		}
	}
	for path, port := range map[string]int{"rpc.port": r.Port, "rpc.address_book.port": r.AddressBook.Port, "rpc.mapper": r.Mapper - 1} {
		if port < 0 || port > 65535 {
			wrong.Add(path, "expected the number of a port")
		}
	}
	if method != signin.Auto && method != signin.NTLM {
		wrong.Add("authentication", "is ntlm with protocol: rpc")
	}
}

// rpcService is one of the two services of a server.
type rpcService struct {
	host string
	port int // 0: the endpoint mapper is asked
	book bool
}

func (r *rpc) mailboxes() rpcService { return rpcService{r.Host, r.Port, false} }

func (r *rpc) addressBook() rpcService {
	if r.AddressBook.Host != "" {
		return rpcService{r.AddressBook.Host, r.AddressBook.Port, true}
	}
	return rpcService{r.Host, r.AddressBook.Port, true}
}

func (a rpcService) String() string {
	if a.book {
		return "address book"
	}
	return "mailboxes"
}

// rpcConfig is that of a session context by RPC.
func (s *Store) rpcConfig(login login, at rpcService) mapirpc.Config {
	c := mapirpc.Config{
		Host: at.host, Ports: &s.ports, Mapper: strconv.Itoa(s.settings.RPC.Mapper), Timeout: s.settings.timeout(),
		SignIn: mapirpc.NTLM(login.credential.User, login.credential.Password),
	}
	if at.port != 0 {
		c.Port = strconv.Itoa(at.port)
	}
	if login.server != nil {
		c.Guard = login.server.Try
	}
	return c
}

// rpcAddress is where a service listens. The endpoint mapper is asked, unless the port is given.
func (s *Store) rpcAddress(ctx context.Context, at rpcService) (string, error) {
	if at.port != 0 {
		return net.JoinHostPort(at.host, strconv.Itoa(at.port)), nil
	}
	port, err := mapirpc.Port(ctx, s.rpcConfig(login{}, at), at.book)
	if err != nil {
		return "", failure(err)
	}
	return net.JoinHostPort(at.host, port), nil
}

// rpcHealth connects to both services, and says nothing to them.
func (s *Store) rpcHealth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.settings.timeout())
	defer cancel()
	for _, at := range []rpcService{s.settings.RPC.mailboxes(), s.settings.RPC.addressBook()} {
		if _, err := s.rpcReach(ctx, at); err != nil {
			return err
		}
	}
	return nil
}

// rpcReach connects to a service, and returns its address.
func (s *Store) rpcReach(ctx context.Context, at rpcService) (string, error) {
	address, err := s.rpcAddress(ctx, at)
	if err != nil {
		return "", err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", backends.Fail(backends.Temporary, "connect to %s for the %s: %w", address, at, err).WithCode("4.4.1")
	}
	return address, conn.Close()
}

// rpcServer goes from the names of the servers to the ports of their services.
func (x *examination) rpcServer(ctx context.Context) bool {
	for _, at := range []rpcService{x.store.settings.RPC.mailboxes(), x.store.settings.RPC.addressBook()} {
		if !x.step(fmt.Sprintf("RPC of the %s at %s", at, at.host), func(ctx context.Context) (probe.Found, error) {
			address, err := x.store.rpcReach(ctx, at)
			if backends.KindOf(err) == backends.Unsupported {
				err = probe.Because(rpcOff, err)
			}
			return probe.Found{Detail: "it listens at " + address}, err
		}) {
			return false
		}
	}
	return true
}
