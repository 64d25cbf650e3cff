package edge

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/dipylon/dipylon/gateway/events"
)

// pairOfConns gives both ends of a TCP connection over the loopback address.
func pairOfConns(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// header makes a header of either version.
func header(t *testing.T, version byte, command proxyproto.ProtocolVersionAndCommand, from, to net.Addr) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(version, from, to)
	if command == proxyproto.LOCAL {
		h.Command = command
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReceive(t *testing.T) {
	balancer := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	client := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}
	client6 := &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 4711}
	server := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 110}
	server6 := &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 110}
	udp := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}
	const own, ofItself = "its own address", "a health check of version 1"
	for _, c := range []struct {
		name string
		from []netip.Prefix
		sent string
		want string // the client's address
		err  error
	}{
		{"version 1", balancer, header(t, 1, proxyproto.PROXY, client, server), "192.0.2.7:4711", nil},
		{"version 1, IPv6", balancer, header(t, 1, proxyproto.PROXY, client6, server6), "[2001:db8::7]:4711", nil},
		{"version 2", balancer, header(t, 2, proxyproto.PROXY, client, server), "192.0.2.7:4711", nil},
		{"version 2, IPv6", balancer, header(t, 2, proxyproto.PROXY, client6, server6), "[2001:db8::7]:4711", nil},
		{"a health check of version 2", balancer, header(t, 2, proxyproto.LOCAL, client, server), own, nil},
		{ofItself, balancer, "", own, nil},
		{"unknown in version 1", balancer, "PROXY UNKNOWN\r\n", own, nil},
		{"a stranger with a header", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, header(t, 1, proxyproto.PROXY, client, server), "", ErrNotBalancer},
		{"no balancers at all", nil, header(t, 1, proxyproto.PROXY, client, server), "", ErrNotBalancer},
		{"a command and no header", balancer, "CAPA\r\nCAPA\r\nCAPA\r\nCAPA\r\n", "", ErrHeader},
		{"TLS and no header", balancer, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00", "", ErrHeader},
		{"addresses that are none", balancer, "PROXY TCP4 somebody somewhere 1 2\r\n", "", ErrHeader},
		{"a header without an end", balancer, "PROXY TCP4 " + strings.Repeat("1", 200), "", ErrHeader},
		{"datagrams", balancer, header(t, 2, proxyproto.PROXY, udp, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 110}), "", ErrHeader},
		{"a unix socket", balancer, header(t, 2, proxyproto.PROXY, &net.UnixAddr{Net: "unix", Name: "/a"}, &net.UnixAddr{Net: "unix", Name: "/b"}), "", ErrHeader},
		{"nothing", balancer, "", "", ErrNoHeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := pairOfConns(t)
			const after = "CAPA\r\n"
			if c.name == ofItself {
				c.sent = header(t, 1, proxyproto.PROXY, far.LocalAddr(), far.RemoteAddr())
			}
			_, _ = io.WriteString(far, c.sent)
			if c.err == nil {
				_, _ = io.WriteString(far, after)
			}
			_ = far.(*net.TCPConn).CloseWrite()
			p := &Proxy{From: c.from}
			conn, err := p.Receive(near)
			if !errors.Is(err, c.err) {
				t.Fatalf("the error is %v", err)
			}
			if c.err != nil {
				if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("the connection is open: %v", err)
				}
				return
			}
			want := c.want
			if want == own {
				want = near.RemoteAddr().String()
			}
			if got := conn.RemoteAddr().String(); got != want {
				t.Errorf("the client is %s, not %s", got, want)
			}
			if got := events.IsHealthCheck(conn); got != (c.want == own) {
				t.Errorf("it is a health check: %v", got)
			}
			if _, ok := conn.RemoteAddr().(*net.TCPAddr); !ok {
				t.Errorf("the address is a %T", conn.RemoteAddr())
			}
			if rest, err := io.ReadAll(conn); err != nil || string(rest) != after {
				t.Errorf("behind the header came %q, %v", rest, err)
			}
		})
	}
}

// TestReceiveGoesOn sends more behind the header than fits into the header's buffer, and then
// closes one half.
func TestReceiveGoesOn(t *testing.T) {
	near, far := pairOfConns(t)
	sent := "PROXY TCP4 192.0.2.7 192.0.2.1 4711 110\r\n" + strings.Repeat("0123456789abcdef", 4096)
	go func() {
		_, _ = io.WriteString(far, sent)
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	p := &Proxy{From: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	conn, err := p.Receive(near)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(conn)
	if _, want, _ := strings.Cut(sent, "\r\n"); err != nil || string(rest) != want {
		t.Errorf("%d octets came (%v), not %d", len(rest), err, len(want))
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Errorf("closing one half: %v", err)
	}
	if n, err := far.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the other side reads %d octets, %v", n, err)
	}
}

func TestReceiveWaitsNoLonger(t *testing.T) {
	near, far := pairOfConns(t)
	_, _ = io.WriteString(far, "PROX")
	p := &Proxy{From: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Timeout: 20 * time.Millisecond}
	if _, err := p.Receive(near); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
}

// FuzzReceive: whatever a balancer sends, the address is a client's or the connection's own.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 192.0.2.1 4711 110\r\nCAPA\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\x12\x67\x00\x6eCAPA\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00CAPA\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		conn, err := (&Proxy{From: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}).Receive(&scripted{in: sent})
		if err != nil {
			return
		}
		if _, ok := conn.RemoteAddr().(*net.TCPAddr); !ok || conn.RemoteAddr().String() == "" {
			t.Errorf("the address is %v", conn.RemoteAddr())
		}
		if rest, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(sent), string(rest)) {
			t.Errorf("%q came behind the header (%v)", rest, err)
		}
	})
}

// scripted is a balancer's connection on which everything comes at once.
type scripted struct {
	net.Conn
	in []byte
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *scripted) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func (s *scripted) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 2} }
func (s *scripted) Close() error        { return nil }
func (s *scripted) SetReadDeadline(time.Time) error {
	return nil
}
