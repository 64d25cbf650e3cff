//go:build unix

package peek

import (
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// pair is both ends of a connection.
func pair(t *testing.T, network, address string) (here, there net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if here, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = here.Close() })
	if there, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = there.Close() })
	return here, there
}

func TestArrived(t *testing.T) {
	for name, tt := range map[string]struct {
		does    func(here, there net.Conn) error
		arrived bool
	}{
		"nothing":       {func(_, _ net.Conn) error { return nil }, false},
		"octets":        {func(_, there net.Conn) error { _, err := io.WriteString(there, "E"); return err }, true},
		"closed there":  {func(_, there net.Conn) error { return there.Close() }, true},
		"closed here":   {func(here, _ net.Conn) error { return here.Close() }, true},
		"all was read":  {func(here, there net.Conn) error { return say(here, there, 1) }, false},
		"not all of it": {func(here, there net.Conn) error { return say(here, there, 2) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := pair(t, "unix", filepath.Join(t.TempDir(), "s"))
			if err := tt.does(here, there); err != nil {
				t.Fatal(err)
			}
			if arrived, known := Arrived(here); arrived != tt.arrived || !known {
				t.Errorf("it has: %t, known: %t", arrived, known)
			}
		})
	}
	here, there := net.Pipe()
	defer there.Close()
	for _, unknown := range []net.Conn{here, tls.Client(here, &tls.Config{})} {
		if arrived, known := Arrived(unknown); arrived || known {
			t.Errorf("%T has: %t, known: %t", unknown, arrived, known)
		}
	}
}

// say writes so many octets on one side, and reads one on the other.
func say(here, there net.Conn, octets int) error {
	if _, err := there.Write(make([]byte, octets)); err != nil {
		return err
	}
	_, err := here.Read(make([]byte, 1))
	return err
}

// TestNothingIsTaken: what has come is there to be read.
func TestNothingIsTaken(t *testing.T) {
	here, there := pair(t, "tcp", "127.0.0.1:0")
	if _, err := io.WriteString(there, "EHLO bot\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = there.Close()
	for end := time.Now().Add(time.Minute); ; {
		if arrived, _ := Arrived(here); arrived {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what has come is not seen")
		}
	}
	if all, err := io.ReadAll(here); string(all) != "EHLO bot\r\n" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
}

// TestBesideAReader: whoever reads at the same time, and waits for something to come, is not waited for.
func TestBesideAReader(t *testing.T) {
	here, there := pair(t, "tcp", "127.0.0.1:0")
	read := make(chan error, 1)
	go func() { _, err := here.Read(make([]byte, 2)); read <- err }()
	if _, err := there.Write([]byte("x")); err != nil { // the reader is at work once it has this
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	go func() { _, err := here.Read(make([]byte, 2)); read <- err }()
	answer := make(chan bool, 1)
	for range 100 { // the reader blocks before long
		go func() { arrived, _ := Arrived(here); answer <- arrived }()
		select {
		case arrived := <-answer:
			if arrived {
				t.Fatal("nothing has come")
			}
		case <-time.After(time.Minute):
			t.Fatal("asking waits for the reader")
		}
		runtime.Gosched()
	}
	_ = here.Close()
	<-read
}
