//go:build linux

package relay_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// TestStrangersHoldUpOnlyStrangers: hosts of domains that keep silence, as many as there are, keep neither the places of
// connections to this gateway's stores and to servers that are named, nor the room to work on them.
func TestStrangersHoldUpOnlyStrangers(t *testing.T) {
	s := &store{answer: func(d backends.Delivery, _ string, err error) ([]backends.Verdict, error) { return taken(d), err }}
	w := newStoreWorld(t, s)
	w.relay.Connections, w.relay.Destinations = 4, 8
	w.relay.Timeouts, w.relay.Limits.Idle = smtpclient.Within(time.Minute), 1
	w.relay.Routes = routes{
		"store:sakes": {Kind: relay.Store, Store: "sakes"}, "far.example": {Kind: relay.SmartHost, Servers: groups("mx.far.example:25")},
	}
	w.at(t, "mx.far.example:25", &fakesmtp.Server{})
	silence := newGate()
	defer silence.pass()
	silent := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Greet: func(int) string { return silence.wait() }})
	const domains = 10
	for i := range domains {
		literal := fmt.Sprintf("[192.0.2.%d]", i+1)
		w.hosts[fmt.Sprintf("192.0.2.%d:25", i+1)] = silent.Address
		w.add(letter(fmt.Sprint("strange", i), "a@"+literal), text)
	}
	w.run(t)
	for range 3 { // of four places
		<-silence.arrived
	}
	w.await(t, "the others are put off", func() bool { return len(w.backoff) == domains-6 }) // of eight
	w.add(local("k1", "a@sakes.example"), text)
	w.add(letter("k2", "a@far.example"), text)
	w.await(t, "the gateway's own mail is delivered", func() bool { return w.open == domains })
	for _, b := range w.backoff {
		if b.wait != 10*time.Second {
			t.Errorf("%s has to wait for %s", b.destination, b.wait)
		}
	}
	silence.pass()
	w.await(t, "the first ones are served", func() bool { return w.open == domains-6 })
	for i := 0; i < 1000 && w.open > 0; i++ { // those that were served are leaving
		w.advance(10 * time.Second)
		w.rest(t)
	}
	w.finish(t)
}

// TestStrangerThatSaysLittle: a host that DNS names has two minutes from the connection to the reply to EHLO, however it
// divides them.
func TestStrangerThatSaysLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{queue: newQueue(new(clock)), ended: make(chan struct{})}
		w.relay = &relay.Relay{
			Log: zerolog.New(w), Queue: w.queue, Routes: routes{}, Hostname: "gate.example", Now: w.clock.Now,
			Dial: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go func() {
					time.Sleep(100 * time.Second)
					_, _ = theirs.Write([]byte("220 mx.far.example\r\n"))
					_, _ = theirs.Read(make([]byte, 100)) // EHLO, and then the end of the connection
					_, _ = theirs.Read(make([]byte, 100))
				}()
				return ours, nil
			},
		}
		w.add(letter("k1", "a@[192.0.2.1]"), text)
		w.run(t)
		time.Sleep(2*time.Minute - time.Second)
		synctest.Wait()
		w.is(t, "k1", "a@[192.0.2.1] waiting")
		time.Sleep(time.Second)
		synctest.Wait()
		w.is(t, "k1", "a@[192.0.2.1] waiting 4.4.1")
	})
}
