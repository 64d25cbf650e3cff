// Package fakedns is a DNS server for tests, on a socket of loopback, UDP and TCP: it says what a
// table has, and fails as it is told. It answers as the resolver of a machine does, to whom
// somebody else's zones are one (RFC 1034 §5.3.1).
//
//	server := (&fakedns.Server{Records: `
//		sakes.example.    MX 10 mx.sakes.example.
//		mx.sakes.example. A  192.0.2.1
//	`}).Start(t)
//	server.Fail("far.example. MX", fakedns.ServFail, fakedns.Always)
//	records, err := server.Resolver().LookupMX(ctx, "sakes.example.")
package fakedns

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/miekg/dns"
)

// Fault is what the server does in the place of an answer.
type Fault uint8

// The faults.
const (
	// None lifts another one.
	None Fault = iota
	// ServFail answers SERVFAIL (RFC 1035 §4.1.1): for the time being, nothing is known.
	ServFail
	// Refused answers REFUSED.
	Refused
	// Silent does not answer: a time-out.
	Silent
	// Truncated sets TC over UDP and answers nothing; over TCP there is the whole (RFC 7766 §5).
	Truncated
	// Lame refers to the root, as a server does that a zone is delegated to and that does not
	// have it (RFC 1912 §2.8).
	Lame
	// Garbage sends what is no DNS message.
	Garbage
	// Forged answers another query than the one that was sent: its ID is another.
	Forged
)

// Server is the server. Its fields are set before Start.
type Server struct {
	// Records are what there is, in the form of a master file (RFC 1035 §5). Names are absolute, with
	// a dot at their end. A name that has no records of a type has none (NODATA, RFC 2308 §2.2); one
	// that has none at all, and nothing below it, does not exist (NXDOMAIN).
	Records string
	// Secure are names below which what is answered has been validated: AD is set (RFC 4035 §3.2.3)
	// for who asks for it (RFC 6840 §5.7).
	Secure []string

	Address string // host:port, once it was started

	mu      sync.Mutex
	records map[string][]dns.RR // by name
	faults  map[string]fault
	queries []string
}

// Always is how often a fault happens that does not end.
const Always = -1

// fault is a fault that happens so often.
type fault struct {
	what  Fault
	times int
}

// Start starts it, until the test ends.
func (s *Server) Start(t testing.TB) *Server {
	t.Helper()
	s.Update(t, s.Records)
	packets, listener := listen(t)
	s.Address = packets.LocalAddr().String()
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: listener, Handler: s}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		running.Go(func() {
			if err := server.ActivateAndServe(); err != nil {
				t.Errorf("the DNS server has ended: %v", err)
			}
		})
		<-started // before it, Shutdown would do nothing
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return s
}

// listen opens the same free port for UDP and for TCP.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, listener
		}
		_ = packets.Close() // somebody else has the port
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// Resolver asks the server alone.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, s.Address)
	}}
}

// Update puts other records in the place of those that there are.
func (s *Server) Update(t testing.TB, records string) {
	t.Helper()
	var lines []string // a blank at a line's start would mean the name of the line before
	for line := range strings.Lines(records) {
		lines = append(lines, strings.TrimSpace(line))
	}
	parser := dns.NewZoneParser(strings.NewReader(strings.Join(lines, "\n")), "", "the table")
	parser.SetDefaultTTL(60)
	table := make(map[string][]dns.RR)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		name := dns.CanonicalName(rr.Header().Name)
		table[name] = append(table[name], rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = table
}

// Fail has the server fail so often, or [Always], when a name is asked for: "far.example.", or one
// type of its records, "far.example. MX".
func (s *Server) Fail(name string, what Fault, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults == nil {
		s.faults = make(map[string]fault)
	}
	s.faults[name] = fault{what, times}
}

// Queries are what was asked, in its order: "far.example. MX udp".
func (s *Server) Queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

// asked notes a query and says how the server fails at it.
func (s *Server) asked(q dns.Question, network string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := dns.CanonicalName(q.Name)
	typed := name + " " + dns.TypeToString[q.Qtype]
	s.queries = append(s.queries, typed+" "+network)
	for _, key := range []string{typed, name} {
		if f := s.faults[key]; f.times != 0 {
			f.times = max(f.times-1, Always)
			s.faults[key] = f
			return f.what
		}
	}
	return None
}
