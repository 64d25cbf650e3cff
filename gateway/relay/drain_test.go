//go:build linux

package relay_test

import (
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/relay"
)

// TestDrainsAtTheLimit: what 500 devices have submitted at once leaves by a provider that takes 30 messages a minute over three
// connections at just that pace, to 5 %: neither faster, nor slower as more of it waits. The time is the test's.
func TestDrainsAtTheLimit(t *testing.T) {
	const messages, perMinute, connections = 500, 30, 3
	var sent, now atomic.Int32
	var over atomic.Bool
	s := &transport{send: func(backends.Delivery) ([]backends.Verdict, error) {
		if now.Add(1) > connections {
			over.Store(true)
		}
		defer now.Add(-1)
		sent.Add(1)
		return nil, nil
	}}
	w := newTransportWorld(t, s)
	const scanner = "route:m365:scanner@office.example"
	w.relay.Routes = routes{scanner: {
		Kind: relay.Transport, Store: "office", As: "scanner@office.example", Limits: relay.Limits{Connections: connections, PerMinute: perMinute},
	}}
	for i := range messages {
		w.add(to(scanner, letter(fmt.Sprint("k", i), "a@far.example")), text)
	}
	w.run(t)
	w.rest(t)
	if n := sent.Load(); n > perMinute {
		t.Fatalf("%d messages at once, of %d a minute", n, perMinute)
	}
	const step = 2 * time.Second
	past := time.Duration(0)
	for ; int(sent.Load()) < messages && past < time.Hour; past += step {
		w.advance(step)
		w.rest(t)
		// A minute's messages may go at once, and all others at the pace.
		due := perMinute + past.Minutes()*perMinute
		if n := float64(sent.Load()); n < messages && math.Abs(n-due) > 0.05*due+1 {
			t.Fatalf("after %s %.0f messages have left, and not %.0f", past, n, due)
		}
	}
	want := time.Duration(float64(messages-perMinute) / perMinute * float64(time.Minute))
	if d := (past - want).Abs(); d > want/20 {
		t.Errorf("it took %s, and not %s", past, want)
	}
	if over.Load() {
		t.Errorf("more than %d connections at once", connections)
	}
	w.finish(t)
	keys := make(map[string]int)
	for _, d := range s.sent {
		keys[d.Key]++
	}
	if len(keys) != messages || len(s.sent) != messages {
		t.Errorf("%d messages left, %d times", len(keys), len(s.sent))
	}
}
