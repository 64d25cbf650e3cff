//go:build linux

package relay_test

import (
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// TestGate: what is kept is not tried, waits beyond its time without failing, and leaves when the gate is open, as do
// messages for kinds that are not kept.
func TestGate(t *testing.T) {
	w := newWorld(t, far)
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
	host := w.at(t, "host.example:25", &fakesmtp.Server{})
	w.relay.Routes = routes{"route:host": {Kind: relay.SmartHost, Servers: groups("host.example:25")}}
	w.relay.Gate = new(relay.Gate)
	w.relay.Gate.Set(func(k relay.Kind) bool { return k == relay.MX })
	w.add(letter("k1", "a@far.example"), text)
	m := letter("k2", "b@far.example")
	m.Recipients[0].Destination = "route:host"
	w.add(m, text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example waiting")
	w.is(t, "k2", "b@far.example delivered 2.0.0")
	w.advance(8 * 24 * time.Hour)
	w.await(t, "it was asked for again", func() bool { return len(w.backoff) == 2 })
	w.is(t, "k1", "a@far.example waiting")
	if len(server.Received()) != 0 || len(host.Received()) != 1 || w.relay.Gate.Kept() != 1 {
		t.Errorf("%d and %d have left, %d are kept", len(server.Received()), len(host.Received()), w.relay.Gate.Kept())
	}
	if wait := w.backoff[0].wait; wait != relay.KeptAgain {
		t.Errorf("it is kept for %s", wait)
	}
	w.relay.Gate.Set(nil)
	w.lift("far.example")
	w.finish(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0")
}

// TestGateWithoutRoute: what has no route any more is kept, too, and does not fail for its time.
func TestGateWithoutRoute(t *testing.T) {
	w := newWorld(t, "")
	w.relay.Routes = noRoutes{}
	w.relay.Gate = new(relay.Gate)
	w.relay.Gate.Set(func(k relay.Kind) bool { return k != relay.Store })
	m := letter("k1", "a@far.example")
	m.Received = begin.Add(-30 * 24 * time.Hour)
	w.add(m, text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example waiting")
	w.relay.Gate.Set(nil)
	w.lift("far.example")
	w.rest(t)
	w.is(t, "k1", "a@far.example failed 4.4.7")
}

// lift ends the back-off of destinations.
func (q *queue) lift(destinations ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, name := range destinations {
		delete(q.until, name)
	}
	q.change()
}
