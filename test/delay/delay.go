// Package delay is a TCP proxy that makes a server far away: what goes in at one end comes
// out of the other a fixed time later, in both directions, as fast as it went in.
package delay

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// inFlight bounds what one direction of a connection holds: at 40 ms it allows 200 MB/s.
const inFlight = 128

// Proxy starts a proxy to an address and returns its own. Each direction delays by half a round
// trip. It ends with the test.
func Proxy(t testing.TB, to string, roundTrip time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{to: to, oneWay: roundTrip / 2, conns: make(map[net.Conn]struct{})}
	p.all.Go(func() { p.accept(l) })
	t.Cleanup(func() {
		_ = l.Close()
		p.closeAll()
		p.all.Wait()
	})
	return l.Addr().String()
}

type proxy struct {
	to     string
	oneWay time.Duration
	all    sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

func (p *proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil || !p.keep(client, server) {
			_ = client.Close()
			continue
		}
		p.all.Go(func() { p.pass(client, server) })
		p.all.Go(func() { p.pass(server, client) })
	}
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return !p.closed
}

func (p *proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
}

// packet is what was read at once, and when it is due. No octets: the end.
type packet struct {
	due    time.Time
	octets []byte
}

// pass passes one direction on. The end of it is passed on, too, as late as all else.
func (p *proxy) pass(from, to net.Conn) {
	packets := make(chan packet, inFlight)
	p.all.Go(func() {
		for packet := range packets {
			time.Sleep(time.Until(packet.due)) // the delay is what this package is for
			if len(packet.octets) == 0 {
				_ = to.Close()
			} else if _, err := to.Write(packet.octets); err != nil {
				_ = from.Close()
			}
		}
	})
	defer close(packets)
	for {
		buffer := make([]byte, 64<<10)
		n, err := from.Read(buffer)
		if n > 0 {
			packets <- packet{time.Now().Add(p.oneWay), buffer[:n]}
		}
		if err != nil {
			if err == io.EOF || n == 0 {
				packets <- packet{due: time.Now().Add(p.oneWay)}
			}
			return
		}
	}
}
