//go:build linux

package relay_test

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

const both = `
	far.example.      MX 10 mx1.far.example.
	far.example.      MX 20 mx2.far.example.
	mx1.far.example.  AAAA 2001:db8::1
	mx1.far.example.  A 192.0.2.1
	mx2.far.example.  A 192.0.2.2
`

// TestRace (RFC 8305 §5): an address that does not answer holds mail up for a quarter of a second, the next address of
// the host is used beside it, and its connection is given up. The next host has its turn only behind all of them.
func TestRace(t *testing.T) {
	w := newWorld(t, both)
	server, worse := w.at(t, "192.0.2.1:25", &fakesmtp.Server{}), w.at(t, "192.0.2.2:25", &fakesmtp.Server{})
	var givenUp atomic.Int32
	w.relay.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := w.dial(ctx, network, address)
		if address == "[2001:db8::1]:25" {
			<-ctx.Done() // as where nothing comes back
			givenUp.Add(1)
			return nil, ctx.Err()
		}
		return conn, err
	}
	w.add(letter("k1", "a@far.example"), text)
	begun := time.Now()
	w.run(t)
	w.finish(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0")
	if took := time.Since(begun); took < 250*time.Millisecond {
		t.Errorf("the second address is tried after %s", took)
	}
	if len(server.Received()) != 1 || len(worse.Received()) != 0 || givenUp.Load() != 1 {
		t.Errorf("the host has %d, the worse one %d; %d connections are given up", len(server.Received()), len(worse.Received()), givenUp.Load())
	}
	if n := w.count(relay.Unreachable); n != 0 {
		t.Errorf("%d addresses count as unreachable", n)
	}
}

// TestRaceInOrder: an address that answers at once is the only one that is tried, one that refuses is followed at once,
// and one that answers and is of no use is followed by the others of its host, before the next host.
func TestRaceInOrder(t *testing.T) {
	for name, c := range map[string]struct {
		six, four *fakesmtp.Server
		dialed    []string
	}{
		"the first":          {&fakesmtp.Server{}, &fakesmtp.Server{}, []string{"[2001:db8::1]:25"}},
		"the first refuses":  {nil, &fakesmtp.Server{}, []string{"[2001:db8::1]:25", "192.0.2.1:25"}},
		"the first is busy":  {greets("421 4.3.2 busy"), &fakesmtp.Server{}, []string{"[2001:db8::1]:25", "192.0.2.1:25"}},
		"both are of no use": {greets(fakesmtp.Close), nil, []string{"[2001:db8::1]:25", "192.0.2.1:25", "192.0.2.2:25"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, both)
			w.relay.RaceDelay = time.Minute // nothing is slow here
			for address, server := range map[string]*fakesmtp.Server{"[2001:db8::1]:25": c.six, "192.0.2.1:25": c.four, "192.0.2.2:25": {}} {
				if server != nil {
					w.at(t, address, server)
				}
			}
			w.add(letter("k1", "a@far.example"), text)
			w.run(t)
			w.finish(t)
			w.is(t, "k1", "a@far.example delivered 2.0.0")
			if !slices.Equal(w.dialed, c.dialed) {
				t.Errorf("dialed %v", w.dialed)
			}
			if n := w.count(relay.Unreachable); n != len(c.dialed)-1 {
				t.Errorf("%d addresses count as unreachable", n)
			}
		})
	}
}

// count is how many events there were of a kind.
func (w *world) count(kind relay.EventKind) (n int) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	for _, e := range w.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}
