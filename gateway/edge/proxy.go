package edge

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// Proxy says who may tell the gateway whose connection it is, with the PROXY protocol's header
// (version 1 or 2, https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
//
// The header is required: a connection without one is refused, and so is one from anywhere else
// than From, since neither has an address that could be believed.
type Proxy struct {
	// From are the balancers' networks.
	From []netip.Prefix
	// Timeout is how long the header may take; balancers send it at once [5 seconds].
	Timeout time.Duration
}

var (
	// ErrNotBalancer is a connection from outside the balancers' networks.
	ErrNotBalancer = errors.New("only load balancers may connect here")
	// ErrNoHeader is a connection that its balancer has closed without a word: a health check
	// that only connects.
	ErrNoHeader = errors.New("closed before the PROXY header")
	// ErrHeader is a connection that does not begin with a PROXY header of a TCP connection.
	ErrHeader = errors.New("no PROXY header of a TCP connection")
)

// headerBuffer holds a header of version 1, which has to come in one piece, and the start of
// what follows.
const headerBuffer = 256

// Receive reads the header, and nothing of what follows it. The connection that it gives has the
// client's addresses; that of a health check (LOCAL, or UNKNOWN in version 1) keeps its own. On
// an error the connection is closed: [ErrNotBalancer], [ErrNoHeader], [ErrHeader], or a time-out.
func (p *Proxy) Receive(conn net.Conn) (net.Conn, error) {
	received, err := p.receive(conn)
	if err != nil {
		_ = conn.Close() // nobody has spoken on it
	}
	return received, err
}

func (p *Proxy) receive(conn net.Conn) (net.Conn, error) {
	if !p.trusts(conn.RemoteAddr()) {
		return nil, ErrNotBalancer
	}
	if err := conn.SetReadDeadline(time.Now().Add(cmp.Or(p.Timeout, 5*time.Second))); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, headerBuffer)
	if _, err := in.Peek(1); errors.Is(err, io.EOF) {
		return nil, ErrNoHeader
	}
	header, err := proxyproto.Read(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	r := &received{Conn: conn, in: in, remote: conn.RemoteAddr(), local: conn.LocalAddr()}
	if header.Command.IsLocal() || header.TransportProtocol.IsUnspec() {
		r.check = true
		return r, nil
	}
	source, destination, ok := header.TCPAddrs()
	if !ok { // datagrams and unix sockets have no business here
		return nil, ErrHeader
	}
	// HAProxy sends version 1 of its checks with the addresses of the very connection; a client's has
	// another source.
	r.check = sameAddr(source, r.remote) && sameAddr(destination, r.local)
	r.remote, r.local = source, destination
	return r, nil
}

func sameAddr(a, b net.Addr) bool {
	first, err := netip.ParseAddrPort(a.String())
	second, err2 := netip.ParseAddrPort(b.String())
	return err == nil && err2 == nil && first.Port() == second.Port() && first.Addr().Unmap() == second.Addr().Unmap()
}

func (p *Proxy) trusts(peer net.Addr) bool {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	return slices.ContainsFunc(p.From, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// received is a connection whose header has been read. What came together with the header is
// read first.
type received struct {
	net.Conn
	in            *bufio.Reader // nil once it is empty
	remote, local net.Addr
	check         bool // the balancer speaks for itself
}

// IsHealthCheck tells the engines: see events.IsHealthCheck.
func (r *received) IsHealthCheck() bool { return r.check }

func (r *received) RemoteAddr() net.Addr { return r.remote }
func (r *received) LocalAddr() net.Addr  { return r.local }

func (r *received) Read(p []byte) (int, error) {
	if r.in == nil {
		return r.Conn.Read(p)
	}
	if r.in.Buffered() > 0 {
		return r.in.Read(p)
	}
	r.in = nil
	return r.Conn.Read(p)
}

// CloseWrite says that nothing more will be sent; what the client still sends can be read.
func (r *received) CloseWrite() error {
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
