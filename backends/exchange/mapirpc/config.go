package mapirpc

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/dcerpc"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
)

// Config says where a server is, and how it is spoken to.
type Config struct {
	// Host is the server's name or address.
	Host string
	// Port is that of the interface. "": the endpoint mapper is asked for it.
	Port string
	// Ports remembers what the endpoint mapper has said, for whoever shares them [nothing is remembered].
	Ports *Ports
	// Mapper is the port of the endpoint mapper [135].
	Mapper string
	// SignIn signs in to a service of the host.
	SignIn SignIn
	// Guard does what presents the credential of SignIn: connecting up to the first call, which says what became of it [at once].
	Guard func(ctx context.Context, something func() error) error
	// CodePage and Locale are those of the session: [1252 and 0x0409].
	CodePage, Locale uint32
	// Timeout is how long a server may send nothing [60 s].
	Timeout time.Duration
	// Most is how long a call may take in all [5 minutes].
	Most time.Duration
}

// SignIn makes what signs in on a new connection, and signs and seals what goes over it. The service is the first part of a service
// principal name, such as exchangeMDB.
type SignIn func(ctx context.Context, service, host string) (dcerpc.Security, error)

func (c Config) complete() (Config, error) {
	if c.Mapper == "" {
		c.Mapper = dcerpc.MapperPort
	}
	if c.CodePage == 0 {
		c.CodePage = 1252
	}
	if c.Locale == 0 {
		c.Locale = 0x0409
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Most == 0 {
		c.Most = 5 * time.Minute
	}
	if c.Guard == nil {
		c.Guard = func(_ context.Context, something func() error) error { return something() }
	}
	if c.Host == "" || c.SignIn == nil {
		return c, backends.Fail(backends.Permanent, "RPC wants a host, and a way to sign in")
	}
	return c, nil
}

// service is an interface of a server, and what its service principal names begin with (MS-OXCRPC §3.1.4, MS-OXNSPI §3.1.4).
type service struct {
	dcerpc.Interface
	name string
	most int // octets of a reply
}

// dial connects to a service. Where a port that the endpoint mapper has named before is that of the service no more, it is asked again.
func (c Config) dial(ctx context.Context, to service) (*dcerpc.Conn, error) {
	if port, known := c.Ports.find(c.Host, to); known && c.Port == "" {
		conn, err := c.dialPort(ctx, to, port)
		if err == nil || context.Cause(ctx) != nil {
			return conn, err
		}
		c.Ports.forget(c.Host, to)
	}
	port := c.Port
	if port == "" {
		var err error
		if port, err = dcerpc.Endpoint(ctx, c.Host, c.Mapper, to.Interface, c.Timeout); err != nil {
			return nil, c.unreachable(ctx, net.JoinHostPort(c.Host, c.Mapper), `"rpc.host" (its endpoint mapper is asked; "rpc.port" names the port without it)`, err)
		}
		c.Ports.remember(c.Host, to, port)
	}
	return c.dialPort(ctx, to, port)
}

// dialPort connects to a service at a port.
func (c Config) dialPort(ctx context.Context, to service, port string) (*dcerpc.Conn, error) {
	security, err := c.SignIn(ctx, to.name, c.Host)
	if err != nil {
		return nil, backends.AsFailure(err)
	}
	address := net.JoinHostPort(c.Host, port)
	conn, err := dcerpc.Dial(ctx, address, dcerpc.Config{Interface: to.Interface, Security: security, Timeout: c.Timeout, Most: to.most})
	if err != nil {
		return nil, c.unreachable(ctx, address, `"rpc.port"`, err)
	}
	return conn, nil
}

// Ports are those that endpoint mappers have named. The zero value is ready, and nil remembers nothing.
type Ports struct {
	mu    sync.Mutex
	known map[string]string // by the host and the service
}

func (p *Ports) find(host string, of service) (port string, known bool) {
	if p == nil {
		return "", false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	port, known = p.known[of.name+"/"+host]
	return port, known
}

func (p *Ports) remember(host string, of service, port string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = make(map[string]string)
	}
	p.known[of.name+"/"+host] = port
}

func (p *Ports) forget(host string, of service) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, of.name+"/"+host)
}

// silence says that the server sent nothing for too long, where the network says it in its own words.
func silence(err error) error {
	var n net.Error
	if errors.As(err, &n) && n.Timeout() {
		return mapihttp.ErrSilent
	}
	return err
}

// Port asks for the port of a service, that of mailboxes or the address book's, without signing in.
func Port(ctx context.Context, c Config, book bool) (string, error) {
	c, err := c.complete()
	if err != nil {
		return "", err
	}
	to := emsmdb
	if book {
		to = nspi
	}
	port, err := dcerpc.Endpoint(ctx, c.Host, c.Mapper, to.Interface, c.Timeout)
	if err != nil {
		return "", c.unreachable(ctx, net.JoinHostPort(c.Host, c.Mapper), `"rpc.host"`, err)
	}
	return port, nil
}
