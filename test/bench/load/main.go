//go:build linux

// Command load is the client of the POP3 and SMTP benchmarks: any number of clients in one process,
// doing one kind of work against one server. What was measured is
// written to the standard output as one JSON object; an answer that breaks a rule, or a message
// that is not what it should be, ends it with an error.
//
//	load -address 127.0.0.1:1110 -work drain -clients 8 -rounds 4
//	load -address 127.0.0.1:2525 -work send -clients 32 -messages 3000 -sink 127.0.0.1:2526
//	load -address 127.0.0.1:2525 -work send -clients 500 -messages 500 -from 127.9.0.1
//
// With POP3 each client has an account of its own. With SMTP the clients share the messages, of which
// each is another one. What a server is to relay comes to the sink, which counts it.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// work is what the clients are to do, and where.
type work struct {
	address  string
	secure   *tls.Config // nil: no TLS
	user     string      // with %d for the client's number
	password string
	clients  int
	rounds   int // sessions of each client, one after the other
	pipeline int // commands that are sent together

	// Of send alone.
	messages int
	kept     bool   // connections, for all messages of a client
	auth     bool   // each connection logs in first
	sender   string // of each message
	domain   string // of the recipients
	boxes    int    // recipients that take turns: u0, u1 and so on
	size     int    // octets of a message
	sink     string // where the server relays to, host:port; empty: nowhere
	// from is where the first client connects from. Each further one has the next address. The zero one: any.
	from netip.Addr
}

// Result is what was measured.
type Result struct {
	Seconds  float64 // from the start of the first client to the end of the last
	Sessions int
	Messages int
	Octets   int64  // of messages
	Sum      uint64 // of the messages' CRC-32C, to compare with what they should be
	// Medians over the sessions, in seconds: from the connection's start to the answer to PASS,
	// and from there to what the session did.
	Login, Work float64
	// Of send: from the start of the first client until the sink had all messages.
	Relayed float64
	// Came is when each message came to the sink, likewise in seconds, in their order; Open is how many connections the
	// sink had at once.
	Came []float64
	Open int
}

func main() {
	var w work
	kind := flag.String("work", "drain", "drain, sessions, list, first, idle or send")
	flag.StringVar(&w.address, "address", "", "the server's `host:port`")
	flag.StringVar(&w.user, "user", "u%d@bench.example", "the login name, with %d for the client's number")
	flag.StringVar(&w.password, "password", "bench-secret", "the password of each")
	flag.IntVar(&w.clients, "clients", 1, "clients at once")
	flag.IntVar(&w.rounds, "rounds", 1, "sessions of each client")
	flag.IntVar(&w.pipeline, "pipeline", 1, "commands that a drain sends together")
	flag.IntVar(&w.messages, "messages", 1, "messages of all clients that send")
	flag.BoolVar(&w.kept, "kept", false, "send all messages of a client on one connection")
	flag.BoolVar(&w.auth, "auth", false, "log in with AUTH PLAIN on each connection that sends")
	flag.StringVar(&w.sender, "sender", "sender@load.example", "the author of each message that is sent")
	flag.StringVar(&w.domain, "domain", "bench.example", "the domain of those who are sent to")
	flag.IntVar(&w.boxes, "boxes", 1, "how many are sent to")
	flag.IntVar(&w.size, "size", 4096, "octets of a message that is sent")
	flag.StringVar(&w.sink, "sink", "", "take at this `host:port` what the server relays, and wait for all of it")
	flag.TextVar(&w.from, "from", netip.Addr{}, "the first client that sends connects from this `address`, and each further one from the next")
	ca := flag.String("ca", "", "connect with TLS, and trust this `file`'s authorities")
	flag.Parse()
	err := w.trust(*ca)
	if err == nil {
		err = run(w, *kind)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// trust makes the connections ones with TLS, if there is a file of authorities.
func (w *work) trust(file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(w.address)
	w.secure = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: host}
	if !w.secure.RootCAs.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s has no certificate", file)
	}
	return err
}

func run(w work, kind string) error {
	switch kind {
	case "idle":
		return w.idle(os.Stdout, os.Stdin)
	case "send":
		result, err := w.send()
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(result)
	}
	do, ok := map[string]func(*client, *Result) error{
		"drain": w.drain, "sessions": stat, "list": list, "first": first,
	}[kind]
	if !ok {
		return fmt.Errorf("there is no work %q", kind)
	}
	begin := time.Now()
	result, err := w.all(do)
	if err != nil {
		return err
	}
	result.Seconds = time.Since(begin).Seconds()
	return json.NewEncoder(os.Stdout).Encode(result)
}
