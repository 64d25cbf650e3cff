//go:build linux

package main

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/fakesmtp"
)

const author = "sender@load.example"

// TestLetters: messages have their size, are known again behind fields of trace, and are not mistaken when
// something in them is another one's.
func TestLetters(t *testing.T) {
	for _, size := range []int{600, 601, 4095, 4096, 4097, 5000, 5007} {
		l, err := newLetters(author, size)
		if err != nil {
			t.Fatal(err)
		}
		one, other := l.letter(1_234, nil), l.letter(1_235, nil)
		if len(one) != size || bytes.Equal(one, other) || bytes.Contains(one, []byte("\n.")) {
			t.Errorf("a message of %d octets: %q", size, one)
		}
		trace := []byte("Received: from nowhere\r\n")
		if n, err := l.number(append(trace, one...)); n != 1_234 || err != nil {
			t.Errorf("of %d octets: %d, %v", size, n, err)
		}
		mixed := append(bytes.Clone(one[:size/2]), other[size/2:]...)
		for name, content := range map[string][]byte{
			"short": one[1:], "mixed": mixed, "nothing": nil, "cut": one[:size-1],
			"changed": append(bytes.Clone(one[:size-3]), "!\r\n"...),
		} {
			if _, err := l.number(content); err == nil {
				t.Errorf("%s, of %d octets: taken for whole", name, size)
			}
		}
	}
}

// TestSend: each message is counted once, however connections are used, and comes to the sink, which stands
// for the server here, too.
func TestSend(t *testing.T) {
	for name, kept := range map[string]bool{"new": false, "kept": true} {
		t.Run(name, func(t *testing.T) {
			letters, err := newLetters(author, 4096)
			if err != nil {
				t.Fatal(err)
			}
			s, err := newSink("127.0.0.1:0", letters, 20)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			w := work{sender: author, address: s.listener.Addr().String(), clients: 3, messages: 20, boxes: 4, size: 4096, domain: "bench.example", kept: kept}
			r, err := w.sendTo(letters, s)
			if err != nil {
				t.Fatal(err)
			}
			if r.Messages != 20 || r.Seconds <= 0 || r.Relayed <= 0 || r.Relayed > 60 {
				t.Errorf("%+v", r)
			}
			if len(r.Came) != 20 || !slices.IsSorted(r.Came) || r.Came[0] <= 0 || r.Came[19] != r.Relayed || r.Open < 1 || r.Open > 20 || kept && r.Open > 3 {
				t.Errorf("it came at %v, with %d connections at once", r.Came, r.Open)
			}
			if kept && r.Sessions > 3 || !kept && r.Sessions != 20 {
				t.Errorf("%d connections", r.Sessions)
			}
		})
	}
}

// TestSendWithoutPipelining: commands wait for replies where the server does not offer more, and a refusal of
// one message is an error.
func TestSendWithoutPipelining(t *testing.T) {
	server := (&fakesmtp.Server{}).Start(t)
	w := work{sender: author, address: server.Address, clients: 2, messages: 5, boxes: 2, size: 700, domain: "bench.example", kept: true}
	if r, err := w.send(); r.Messages != 5 || err != nil || len(server.Received()) != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	w.auth, w.user, w.password = true, "ada", "secret"
	if r, err := w.send(); r.Messages != 5 || err != nil || !slices.Contains(server.Commands(), "AUTH PLAIN AGFkYQBzZWNyZXQ=") {
		t.Errorf("with a login: %+v, %v", r, err)
	}
	full := (&fakesmtp.Server{End: func(fakesmtp.Transaction, string) string { return "452 4.3.1 full" }}).Start(t)
	w.address = full.Address
	if r, err := w.send(); r.Messages != 0 || err == nil || !strings.Contains(err.Error(), "452 4.3.1 full") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestFrom: each client has an address of its own, where that is wanted.
func TestFrom(t *testing.T) {
	letters, err := newLetters(author, 700)
	if err != nil {
		t.Fatal(err)
	}
	server := (&fakesmtp.Server{}).Start(t)
	w := work{sender: author, address: server.Address, clients: 3, boxes: 1, domain: "bench.example", from: netip.MustParseAddr("127.9.0.254")}
	senders, err := w.sendAll(letters) // no messages
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"127.9.0.254", "127.9.0.255", "127.9.1.0"} {
		if err := senders[i].connect(); err != nil {
			t.Fatal(err)
		}
		defer senders[i].hangUp()
		if at := senders[i].client.conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); at.String() != want {
			t.Errorf("client %d is at %s, and not at %s", i, at, want)
		}
	}
}

// TestSink: what comes twice, or was not sent, is an error.
func TestSink(t *testing.T) {
	letters, err := newLetters(author, 600)
	if err != nil {
		t.Fatal(err)
	}
	for name, numbers := range map[string][]int{"twice": {0, 0}, "not sent": {2}} {
		s, err := newSink("127.0.0.1:0", letters, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range numbers {
			s.took(letters.letter(n, nil))
		}
		if err := s.wait(); err == nil {
			t.Errorf("%s: no error", name)
		}
		s.close()
	}
}
