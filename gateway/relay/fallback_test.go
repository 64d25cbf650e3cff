//go:build linux

package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/peers"
)

// fallsBackTo has the mail of dead.example fall back to a server.
func fallsBackTo(after time.Duration, size int64, server string) routes {
	return routes{
		"dead.example":   {Kind: relay.MX, Domain: "dead.example", Port: "25", FallBack: relay.FallBack{Destination: "route:provider", After: after, SizeMost: size}},
		"route:provider": {Kind: relay.SmartHost, Servers: groups(server)},
	}
}

// TestFallBack: mail whose hosts cannot be reached waits for its time, and then leaves by the other route, all that is due. What
// asks for more than that can keep, is too large for it, or may have been delivered waits on.
func TestFallBack(t *testing.T) {
	w := newWorld(t, many)
	w.at(t, "provider:25", &fakesmtp.Server{})
	w.relay.Routes = fallsBackTo(10*time.Second, 1000, "provider:25")
	const messages = 100
	for i := range messages {
		w.add(letter(fmt.Sprint("k", i), "a@dead.example"), text)
	}
	safe := letter("safe", "b@dead.example")
	safe.Envelope.RequireTLS = true
	w.add(safe, text)
	w.add(letter("large", "b@dead.example"), text+strings.Repeat("more\r\n", 1000))
	perhaps := letter("perhaps", "b@dead.example")
	perhaps.Recipients[0].State = spool.Uncertain
	w.add(perhaps, text)
	w.run(t)
	w.rest(t)
	if n := w.tries("provider:25"); n != 0 {
		t.Errorf("%d connections to the fall-back before its time", n)
	}
	w.advance(30 * time.Second)
	w.rest(t)
	for i := range messages {
		if got := w.states(fmt.Sprint("k", i)); len(got) != 1 || !strings.HasPrefix(got[0], "a@dead.example delivered") {
			t.Fatalf("%d: %q", i, got)
		}
	}
	for _, key := range []string{"safe", "large", "perhaps"} {
		if got := strings.Join(w.states(key), ""); strings.Contains(got, "delivered") || strings.Contains(got, "failed") {
			t.Errorf("%s: %s", key, got)
		}
	}
}

// TestNoFallBack: a server that answers is not left for another one, whatever it says.
func TestNoFallBack(t *testing.T) {
	for _, reply := range []string{"421 4.7.0 too many connections from your network", "451 4.3.0 later", "550 5.1.1 nobody"} {
		w := newWorld(t, many)
		w.at(t, "provider:25", &fakesmtp.Server{})
		w.at(t, "192.0.2.4:25", &fakesmtp.Server{Rcpt: func(fakesmtp.Transaction, string) string { return reply }})
		w.relay.Routes = fallsBackTo(0, 0, "provider:25")
		w.add(letter("k", "a@dead.example"), text)
		w.run(t)
		w.rest(t)
		if n := w.tries("provider:25"); n != 0 {
			t.Errorf("%s: %d connections to the fall-back", reply, n)
		}
	}
}

// TestFallBackToDead: where the fall-back is dead, too, mail waits, and is reported once when its time is over.
func TestFallBackToDead(t *testing.T) {
	w := newWorld(t, many)
	w.relay.Routes = fallsBackTo(0, 0, "provider:25")
	w.relay.Schedules.Normal = relay.Schedule{Lifetime: time.Hour, Delay: 2 * time.Hour}
	w.add(letter("k", "a@dead.example"), text)
	w.run(t)
	w.rest(t)
	for range 10 {
		w.advance(20 * time.Minute)
		w.rest(t)
	}
	w.is(t, "k", "a@dead.example failed 4.4.7")
	if len(w.reports) != 1 {
		t.Errorf("%d reports", len(w.reports))
	}
}

// TestFallBackToPostfix: Debian's Postfix is the smart host of mail whose MX is dead.
func TestFallBackToPostfix(t *testing.T) {
	postfix := peers.StartPostfix(t, peers.PostfixOptions{Boxes: []string{"ada@dead.example"}})
	w := newWorld(t, many)
	w.relay.Routes = fallsBackTo(0, 0, postfix.SMTP)
	w.hosts[postfix.SMTP] = postfix.SMTP
	w.add(letter("k", "ada@dead.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k", "ada@dead.example delivered 2.0.0")
	if n := w.tries("192.0.2.4:25"); n != 1 {
		t.Errorf("%d connections to the dead MX were tried", n)
	}
}
