//go:build linux

package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/relay/mx"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/fakedns"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

func TestMain(m *testing.M) { databases.Main(m) }

const text = "Message-ID: <1@sakes.example>\r\nSubject: x\r\n\r\nhello\r\n"

// world is a relay with all that is around it.
type world struct {
	*queue
	dns   *fakedns.Server
	relay *relay.Relay
	stop  context.CancelFunc
	ended chan struct{}

	hosts  map[string]string // what an address of the world, "192.0.2.1:25", is on this machine
	dialed []string

	events []relay.Event
	log    bytes.Buffer
	logMu  sync.Mutex
}

// Write implements [io.Writer], for the log.
func (w *world) Write(p []byte) (int, error) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	return w.log.Write(p)
}

func (w *world) logged() string {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	return w.log.String()
}

// routes sends what is a domain by MX, and the rest as a table says.
type routes map[string]relay.Route

func (r routes) Back(sender string) (route.Way, error) {
	_, domain, _ := strings.Cut(sender, "@")
	switch domain {
	case "", "nowhere.example":
		return route.Way{}, fmt.Errorf("no route leads to %q", domain)
	case "sakes.example":
		return route.Way{Destination: "store:sakes"}, nil
	case "kept.example":
		return route.Way{Destination: domain, Held: true}, nil
	case "small.example":
		return route.Way{Destination: domain, SizeMost: 5_000}, nil
	}
	return route.Way{Destination: domain}, nil
}

func (r routes) Route(destination string) (relay.Route, error) {
	if route, ok := r[destination]; ok {
		return route, nil
	}
	return relay.Route{Kind: relay.MX, Domain: destination, Port: "25"}, nil
}

// newWorld makes one with the records of a DNS server.
func newWorld(t testing.TB, records string) *world {
	t.Helper()
	w := &world{queue: newQueue(new(clock)), hosts: make(map[string]string), ended: make(chan struct{})}
	w.dns = (&fakedns.Server{Records: records}).Start(t)
	w.relay = &relay.Relay{
		Log: zerolog.New(w), Queue: w.queue, Routes: routes{}, Hostname: "gate.example", Now: w.clock.Now, Dial: w.dial, Grace: 30 * time.Second,
		Resolver: &mx.Resolver{Servers: []string{w.dns.Address}, Timeout: time.Minute, Rounds: 1},
		Timeouts: smtpclient.Within(time.Minute), Limits: relay.Limits{Idle: 20 * time.Millisecond},
		Observe: func(e relay.Event) {
			w.logMu.Lock()
			defer w.logMu.Unlock()
			w.events = append(w.events, e)
		},
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.logged())
		}
	})
	return w
}

// at has a server listen at an address of the world.
func (w *world) at(t testing.TB, address string, s *fakesmtp.Server) *fakesmtp.Server {
	t.Helper()
	s.Start(t)
	w.hosts[address] = s.Address
	return s
}

// dial connects to an address of the world. Where nobody is, the connection is refused.
func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.logMu.Lock()
	w.dialed = append(w.dialed, address)
	there := w.hosts[address]
	w.logMu.Unlock()
	if there == "" {
		return nil, fmt.Errorf("%s: connection refused", address)
	}
	return new(net.Dialer).DialContext(ctx, network, there)
}

// run starts the relay, until the test ends.
func (w *world) run(t testing.TB) {
	t.Helper()
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	go func() { defer close(w.ended); w.relay.Run(ctx) }()
	t.Cleanup(w.end)
}

// end stops the relay, and waits until it has ended.
func (w *world) end() { w.stop(); <-w.ended }

// is compares the states of a message's recipients.
func (w *world) is(t *testing.T, key string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, w.states(key)); diff != "" {
		t.Errorf("%s: %s\n%s", key, diff, w.text())
	}
}

const far = `
	far.example.     MX 10 mx.far.example.
	mx.far.example.  A 192.0.2.1
`

// TestMixedReplies: each recipient has the outcome of its own reply, and no other.
func TestMixedReplies(t *testing.T) {
	w := newWorld(t, far)
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Offers: []string{"PIPELINING"}, Rcpt: func(_ fakesmtp.Transaction, path string) string {
		return map[string]string{
			"gone@far.example": "550 5.1.1 no such user", "later@far.example": "450 4.2.0 greylisted",
			"full@far.example": "552 5.2.2 mailbox full", "odd@far.example": "550 4.7.1 no",
		}[path]
	}})
	w.add(letter("k1", "a@far.example", "gone@far.example", "later@far.example", "full@far.example", "odd@far.example", "b@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0", "gone@far.example failed 5.1.1", "later@far.example waiting 4.2.0",
		"full@far.example failed 5.2.2", "odd@far.example failed 5.0.0", "b@far.example delivered 2.0.0")
	if copies := server.Copies(text); copies["a@far.example"] != 1 || copies["b@far.example"] != 1 || len(copies) != 2 {
		t.Errorf("the server has %v", copies)
	}
	w.end()
	for _, want := range []string{
		`"key":"k1"`, `"message_id":"<1@sakes.example>"`, `"recipient":"gone@far.example"`, `"server":"mx.far.example"`,
		`"code":550,"enhanced":"5.1.1"`, `"diagnostic":"smtp; 450 4.2.0 greylisted"`, `"outcome":"relayed"`, `"outcome":"deferred"`, `"outcome":"failed"`,
	} {
		if !strings.Contains(w.logged(), want) {
			t.Errorf("%s is not in the log", want)
		}
	}
}

// TestConnectionReuse: a thousand messages go over few connections, and each arrives once.
func TestConnectionReuse(t *testing.T) {
	w := newWorld(t, far)
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Offers: []string{"PIPELINING"}})
	const messages = 1000
	for i := range messages {
		w.add(letter(fmt.Sprintf("k%d", i), fmt.Sprintf("u%d@far.example", i)), text)
	}
	w.relay.Limits = relay.Limits{Messages: 200, Connections: 8, Idle: time.Minute}
	w.run(t)
	w.finish(t)
	copies := server.Copies(text)
	for i := range messages {
		if n := copies[fmt.Sprintf("u%d@far.example", i)]; n != 1 {
			t.Fatalf("u%d has %d copies", i, n)
		}
	}
	// Each carries 200 before another one takes its place, and there are eight at once at the most.
	if n := server.Connections(); n > messages/200+8 {
		t.Errorf("%d connections", n)
	}
}

// TestGreylisting: what is refused for now is delivered at the next attempt, after a quarter of an hour.
func TestGreylisting(t *testing.T) {
	w := newWorld(t, far)
	var mu sync.Mutex
	seen := make(map[string]int)
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Rcpt: func(_ fakesmtp.Transaction, path string) string {
		mu.Lock()
		defer mu.Unlock()
		if seen[path]++; seen[path] == 1 {
			return "451 4.7.1 greylisted, come back in five minutes"
		}
		return ""
	}})
	w.add(letter("k1", "a@far.example", "b@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example waiting 4.7.1", "b@far.example waiting 4.7.1")
	w.advance(14 * time.Minute)
	w.rest(t)
	if n := server.Transactions(); n != 1 {
		t.Errorf("%d transactions after 14 minutes", n)
	}
	w.advance(time.Minute)
	w.finish(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0", "b@far.example delivered 2.0.0")
}

// TestLostReply: a message whose final reply is lost is uncertain, and is sent again to the Internet (RFC 1047): a
// duplicate, not a loss.
func TestLostReply(t *testing.T) {
	w := newWorld(t, far)
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{End: func(tr fakesmtp.Transaction, _ string) string {
		if tr.Session == 1 {
			return fakesmtp.Close
		}
		return ""
	}})
	w.add(letter("k1", "a@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example uncertain 4.4.2")
	w.advance(15 * time.Minute)
	w.finish(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0")
	if n := server.Copies(text)["a@far.example"]; n != 2 {
		t.Errorf("%d copies", n)
	}
}

// TestGoneInTheMiddle: a server that ends sessions with 421 gets the rest on further ones, once each.
func TestGoneInTheMiddle(t *testing.T) {
	w := newWorld(t, far)
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Mail: func(tr fakesmtp.Transaction) string {
		if tr.Number > 3 {
			return "421 4.3.2 that is enough"
		}
		return ""
	}})
	for i := range 10 {
		w.add(letter(fmt.Sprint("k", i), fmt.Sprintf("u%d@far.example", i)), text)
	}
	w.run(t)
	w.finish(t)
	if copies := server.Copies(text); len(copies) != 10 {
		t.Errorf("the server has %v", copies)
	}
	for path, n := range server.Copies(text) {
		if n != 1 {
			t.Errorf("%s has %d copies", path, n)
		}
	}
}

// TestLeaseLost: what another gateway has by now gets no final dot.
func TestLeaseLost(t *testing.T) {
	for name, offers := range map[string][]string{"DATA": nil, "BDAT": {"CHUNKING"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Offers: offers})
			w.gone["k1"] = true
			w.add(letter("k1", "a@far.example"), text)
			w.run(t)
			w.await(t, "it was claimed", func() bool { return w.claims == 1 })
			w.add(letter("k2", "b@far.example"), text)
			w.await(t, "the other one is delivered", func() bool { return w.queue.waiting[1].final })
			if copies := server.Copies(text); copies["a@far.example"] != 0 || copies["b@far.example"] != 1 {
				t.Errorf("the server has %v", copies)
			}
		})
	}
}

// TestFailedDiskEnds: what cannot be written down until the next start keeps nobody from ending for it.
func TestFailedDiskEnds(t *testing.T) {
	w := newWorld(t, far)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
	asked := 0
	w.fails = func() error {
		asked++
		return fmt.Errorf("the state database: %w", spool.ErrFailed)
	}
	w.add(letter("k1", "a@far.example"), text)
	w.run(t)
	w.await(t, "it should be settled", func() bool { return asked > 0 })
	begun := time.Now()
	w.end()
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the relay ends after %s", took)
	}
	if asked != 1 {
		t.Errorf("the queue was asked %d times", asked)
	}
}

// TestParametersGoOn: what the sender wants to be told goes on to a server that has DSN.
func TestParametersGoOn(t *testing.T) {
	w := newWorld(t, far)
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Offers: []string{"DSN", "8BITMIME", "SIZE 1000000", "SMTPUTF8", "MT-PRIORITY"}})
	m := letter("k1", "a@far.example")
	m.Envelope.ID, m.Envelope.Return, m.Envelope.Body, m.Envelope.SMTPUTF8 = "Q 1", 2, 1, true
	m.Envelope.Priority = -4
	m.Recipients[0].Notify, m.Recipients[0].OriginalRecipient = 2|8, "rfc822;b@sakes.example"
	w.add(m, text)
	w.run(t)
	w.finish(t)
	all := strings.Join(server.Commands(), "\n")
	for _, want := range []string{
		fmt.Sprintf("MAIL FROM:<ada@sakes.example> SIZE=%d BODY=8BITMIME SMTPUTF8 MT-PRIORITY=-4 RET=HDRS ENVID=Q+201\n", len(text)),
		"RCPT TO:<a@far.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@sakes.example\n",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
	if len(w.reports) > 0 {
		t.Errorf("the sender is told of what the next server tells: %s", w.reports[0].content)
	}
}

// TestRewrite: the next server is told of recipients at their new domain, with the old address beside it where it has
// DSN; the header stays, and reports and the log name recipients as they were.
func TestRewrite(t *testing.T) {
	for _, dsn := range []bool{true, false} {
		w := newWorld(t, far)
		w.relay.Routes = routes{"old.example": {Kind: relay.MX, Domain: "far.example", Port: "25", Rewrite: map[string]string{"old.example": "far.example", "far.example": "old.example"}}}
		fake := &fakesmtp.Server{Rcpt: func(_ fakesmtp.Transaction, path string) string {
			return map[string]string{"gone@far.example": "550 5.1.1 no such user"}[path]
		}}
		if dsn {
			fake.Offers = []string{"DSN"}
		}
		server := w.at(t, "192.0.2.1:25", fake)
		m := letter("k1", "a@old.example", "gone@old.example", "alias@old.example")
		m.Recipients[2].OriginalRecipient = "rfc822;first@old.example"
		w.add(m, text)
		w.run(t)
		w.rest(t)
		w.is(t, "k1", "a@old.example delivered 2.0.0", "gone@old.example failed 5.1.1", "alias@old.example delivered 2.0.0")
		if copies := server.Copies(text); copies["a@far.example"] != 1 || copies["alias@far.example"] != 1 || len(copies) != 2 {
			t.Errorf("the server has %v", copies)
		}
		all := strings.Join(server.Commands(), "\n")
		for _, want := range []string{"RCPT TO:<a@far.example> ORCPT=rfc822;a@old.example\n", "RCPT TO:<alias@far.example> ORCPT=rfc822;first@old.example\n"} {
			if strings.Contains(all, want) != dsn {
				t.Errorf("DSN %t, and the server was told\n%s", dsn, all)
			}
		}
		if len(w.reports) != 1 || !strings.Contains(w.reports[0].content, "Final-Recipient: rfc822;gone@old.example") || strings.Contains(w.reports[0].content, "gone@far") {
			t.Errorf("the reports are %v", w.reports)
		}
		if w.end(); !strings.Contains(w.logged(), `"recipient":"a@old.example"`) {
			t.Error("the log does not have the recipient as it was")
		}
	}
}

// TestTooMany: a server that says 552 for a number means 452 (RFC 5321 §4.5.3.1.10), though there is only one.
func TestTooMany(t *testing.T) {
	w := newWorld(t, far)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{Rcpt: func(fakesmtp.Transaction, string) string { return "552 5.5.3 too many recipients" }})
	w.add(letter("k1", "a@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example waiting 4.5.3")
}

// TestPriority: the more urgent goes first.
func TestPriority(t *testing.T) {
	w := newWorld(t, far)
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
	for i, priority := range []int{-1, 0, 5, 0} {
		m := letter(fmt.Sprint("k", i), fmt.Sprintf("u%d@far.example", i))
		m.Envelope.Priority = priority
		w.add(m, text)
	}
	w.relay.Limits.Connections = 1
	w.run(t)
	w.finish(t)
	var order []string
	for _, m := range server.Received() {
		order = append(order, m.Paths...)
	}
	if all := strings.Join(server.Commands(), "\n"); strings.Contains(all, "MT-PRIORITY") {
		t.Errorf("a server that does not know MT-PRIORITY is told\n%s", all)
	}
	if got := strings.Join(order, " "); got != "u2@far.example u1@far.example u3@far.example u0@far.example" {
		t.Errorf("they came as %s", got)
	}
}

var _ relay.Queue = relay.FromSpool((*spool.Spool)(nil))
