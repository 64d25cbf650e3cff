//go:build unix

package state

import (
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TestStale: a connection is given up once its server has said a last word on it, or has closed it.
func TestStale(t *testing.T) {
	for name, tt := range map[string]struct {
		server func(net.Conn) error
		stale  bool
	}{
		"quiet":      {func(net.Conn) error { return nil }, false},
		"last words": {func(c net.Conn) error { _, err := c.Write([]byte("E")); return err }, true},
		"closed":     {net.Conn.Close, true},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			client, err := net.Dial("unix", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			if err := tt.server(server); err != nil {
				t.Fatal(err)
			}
			if got := isStale(client); got != tt.stale {
				t.Errorf("stale: %t", got)
			}
		})
	}
	if !isStale(closedConn(t)) {
		t.Error("a connection that is closed on this side is good")
	}
}

// TestStaleBesideAReader: the client library may still read on a connection that it has given back,
// until the server says something. Asking does not wait for that.
func TestStaleBesideAReader(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	read := make(chan error, 1)
	go func() { _, err := client.Read(make([]byte, 2)); read <- err }()
	if _, err := server.Write([]byte("x")); err != nil { // the reader is at work once it has this
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	go func() { _, err := client.Read(make([]byte, 2)); read <- err }()
	answer := make(chan bool, 1)
	for range 100 { // the reader blocks before long
		go func() { answer <- isStale(client) }()
		select {
		case stale := <-answer:
			if stale {
				t.Fatal("a connection with a reader is called stale")
			}
		case <-time.After(10 * time.Second):
			t.Fatal("asking waits for the reader")
		}
		runtime.Gosched()
	}
	_ = client.Close()
	<-read
}

func closedConn(t *testing.T) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	return c
}
