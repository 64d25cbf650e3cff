package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/gateway/edge"
)

// greeter answers each connection with its name, and keeps those that it has.
type greeter struct {
	name    string
	serving sync.WaitGroup
}

func (g *greeter) serve(t *testing.T, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v", g.name, err)
			}
			return
		}
		g.serving.Go(func() {
			defer conn.Close()
			_, _ = io.WriteString(conn, g.name+"\n")
			_, _ = io.Copy(conn, conn)
		})
	}
}

// greeting connects and gives the first line.
func greeting(t *testing.T, address string) (net.Conn, string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("no greeting: %v", err)
	}
	return conn, line
}

// TestListenerChangesHands opens one handoff after another while clients keep coming: each of them
// is served, and a connection that was there before stays.
func TestListenerChangesHands(t *testing.T) {
	defer goleak.VerifyNone(t)
	d, err := openListener(zerolog.Nop(), "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	var servers sync.WaitGroup
	greeters := []*greeter{{name: "first"}}
	put := func(g *greeter) {
		l := d.open()
		servers.Go(func() { g.serve(t, l) })
	}
	put(greeters[0])
	early, line := greeting(t, d.address())
	if line != "first\n" {
		t.Errorf("greeted by %q", line)
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := net.Dial("tcp", d.address())
				if err != nil {
					t.Errorf("refused: %v", err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
					t.Errorf("not greeted: %v", err)
				}
				_ = conn.Close()
			}
		})
	}
	for range 50 {
		greeters = append(greeters, &greeter{name: "later"})
		put(greeters[len(greeters)-1])
	}
	close(stop)
	clients.Wait()
	greeters = append(greeters, &greeter{name: "last"})
	put(greeters[len(greeters)-1])
	late, line := greeting(t, d.address())
	if line != "last\n" {
		t.Errorf("after the change a client is greeted by %q", line)
	}
	if _, err := io.WriteString(early, "still there\n"); err != nil {
		t.Errorf("the first connection: %v", err)
	}
	if line, err := bufio.NewReader(early).ReadString('\n'); err != nil || line != "still there\n" {
		t.Errorf("the first connection answers %q, %v", line, err)
	}
	_ = early.Close()
	_ = late.Close()
	d.close()
	servers.Wait()
	for _, g := range greeters {
		g.serving.Wait()
	}
	if _, err := net.DialTimeout("tcp", d.address(), time.Second); err == nil {
		t.Error("a listener that is closed lets somebody in")
	}
}

// TestOldHandoffEnds when there is a new one: its server is told.
func TestOldHandoffEnds(t *testing.T) {
	defer goleak.VerifyNone(t)
	d, err := openListener(zerolog.Nop(), "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	old := d.open()
	ended := make(chan error, 1)
	go func() {
		_, err := old.Accept()
		ended <- err
	}()
	d.open()
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for connections still")
		_ = old.Close()
		<-ended
	}
}

// TestListenerWithNobodyBehind keeps a client waiting until somebody is there, and closes the
// connection when nobody will be.
func TestListenerWithNobodyBehind(t *testing.T) {
	defer goleak.VerifyNone(t)
	d, err := openListener(zerolog.Nop(), "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	l := d.open()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed handoff accepts: %v", err)
	}
	conn, err := net.Dial("tcp", d.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	g := &greeter{name: "late"}
	var serving sync.WaitGroup
	l = d.open()
	serving.Go(func() { g.serve(t, l) })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "late\n" {
		t.Errorf("greeted by %q, %v", line, err)
	}
	_ = conn.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	serving.Wait()
	waiting, err := net.Dial("tcp", d.address())
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	d.close()
	_ = waiting.SetDeadline(time.Now().Add(time.Minute))
	if _, err := waiting.Read(make([]byte, 1)); err == nil {
		t.Error("somebody speaks behind a closed listener")
	}
	g.serving.Wait()
}

// TestListenerBehindABalancer lets in whom the balancer announces, one way or the other, and keeps
// nobody waiting behind a connection whose header does not come.
func TestListenerBehindABalancer(t *testing.T) {
	defer goleak.VerifyNone(t)
	proxy := &edge.Proxy{From: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Timeout: time.Minute}
	d, err := openListener(zerolog.Nop(), "127.0.0.1:0", proxy)
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Dial("tcp", d.address())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	l := d.open()
	seen := func(header string) string {
		t.Helper()
		conn, err := net.Dial("tcp", d.address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, header)
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		host, _, _ := net.SplitHostPort(accepted.RemoteAddr().String())
		return host
	}
	if got := seen("PROXY TCP4 192.0.2.7 192.0.2.1 4711 110\r\n"); got != "192.0.2.7" {
		t.Errorf("the client is %s", got)
	}
	d.proxy.Store(nil) // as a reload does
	if got := seen(""); got != "127.0.0.1" {
		t.Errorf("without a balancer the client is %s", got)
	}
	d.close() // ends the wait for the silent one, too
	_ = silent.SetDeadline(time.Now().Add(time.Minute))
	if _, err := silent.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a connection whose header never came stays open")
	}
}
