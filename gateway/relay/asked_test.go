//go:build linux

package relay_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// asker asks for mail of the one destination.
type asker struct {
	*world
	mu sync.Mutex
	at time.Time
}

func (a *asker) asked(context.Context, string) (time.Time, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at, nil
}

// ask has all that waits tried now.
func (a *asker) ask() {
	a.mu.Lock()
	a.at = a.clock.Now()
	a.mu.Unlock()
	a.queue.mu.Lock()
	defer a.queue.mu.Unlock()
	for _, w := range a.waiting {
		if !w.flies && w.pending.State != spool.Held {
			w.pending.Due = a.clock.Now()
		}
	}
	a.queue.until = make(map[string]time.Time)
	a.change()
}

func asking(t *testing.T, s *fakesmtp.Server) (*asker, *fakesmtp.Server) {
	w := newWorld(t, "")
	server := w.at(t, "office.example:25", s)
	w.relay.Routes = routes{"office.example": {Kind: relay.SmartHost, Servers: groups("office.example:25"), Asked: true}}
	a := &asker{world: w}
	w.relay.Asked = a.asked
	return a, server
}

// TestAsked: mail waits until it is asked for, its sender is told of the delay, it fails when its time is over, and what comes
// while the line is up leaves, too.
func TestAsked(t *testing.T) {
	a, server := asking(t, &fakesmtp.Server{})
	a.add(letter("k1", "a@office.example"), text)
	a.run(t)
	a.rest(t)
	a.is(t, "k1", "a@office.example waiting")
	if len(a.dialed) != 0 || a.waiting[0].pending.Attempts != 0 {
		t.Fatalf("%v were called, %s", a.dialed, a.text())
	}
	a.advance(4 * time.Hour)
	a.await(t, "the sender is told", func() bool { return len(a.reports) == 1 })
	a.rest(t)
	a.is(t, "k1", "a@office.example waiting 4.4.1")
	a.ask()
	a.await(t, "it is delivered", func() bool { return a.open == 0 })
	a.add(letter("k2", "b@office.example"), text)
	a.finish(t)
	harness.Eventually(t, time.Minute, "the line is idle", func() bool { return ended(server) })
	a.advance(relay.AskedFor)
	a.add(letter("k3", "c@office.example"), text)
	a.rest(t)
	a.is(t, "k3", "c@office.example waiting")
	a.advance(6 * 24 * time.Hour)
	a.finish(t)
	a.is(t, "k3", "c@office.example failed 4.4.7")
	if n := len(server.Received()); n != 2 {
		t.Errorf("%d messages have left", n)
	}
	if last := a.reports[len(a.reports)-1]; !strings.Contains(last.content, "Action: failed") || !strings.Contains(last.content, "c@office.example") {
		t.Errorf("its sender is told\n%s", last.content)
	}
}

// TestAskedAndAway: a server that is not there yet is tried for some minutes, and what it puts off waits until it is asked for again.
func TestAskedAndAway(t *testing.T) {
	var there atomic.Bool
	a, server := asking(t, &fakesmtp.Server{Rcpt: func(fakesmtp.Transaction, string) string {
		if there.Load() {
			return ""
		}
		return "450 4.2.1 not now"
	}})
	host := a.hosts["office.example:25"]
	a.lead("office.example:25", "")
	a.add(letter("k1", "a@office.example"), text)
	a.ask()
	a.run(t)
	a.await(t, "it is tried", func() bool { return a.waiting[0].pending.Attempts == 1 && !a.waiting[0].flies })
	a.lead("office.example:25", host)
	a.advance(time.Minute)
	a.await(t, "the server has put it off", func() bool { return a.waiting[0].pending.Last.Code == "4.2.1" && !a.waiting[0].flies })
	there.Store(true)
	harness.Eventually(t, time.Minute, "the line is idle", func() bool { return ended(server) })
	a.advance(time.Hour)
	a.rest(t)
	a.is(t, "k1", "a@office.example waiting 4.2.1")
	if n := len(server.Received()); n != 0 {
		t.Errorf("%d have left that nobody has asked for", n)
	}
	a.ask()
	a.finish(t)
}

// TestAskedSlowly: a route that takes one message a minute gets all that was asked for, though that takes longer than a server is tried.
func TestAskedSlowly(t *testing.T) {
	const many = 14
	a, server := asking(t, &fakesmtp.Server{})
	a.relay.Routes = routes{"office.example": {
		Kind: relay.SmartHost, Servers: groups("office.example:25"), Asked: true, Limits: relay.Limits{PerMinute: 1, Idle: 10 * time.Millisecond},
	}}
	for i := range many {
		a.add(letter(fmt.Sprint("k", i), fmt.Sprintf("u%d@office.example", i)), text)
	}
	a.ask()
	a.run(t)
	for i := range many {
		harness.Eventually(t, time.Minute, "the next one is delivered, and the line idle", func() bool { return len(server.Received()) == i+1 && ended(server) })
		a.rest(t)
		a.advance(time.Minute + time.Second)
	}
	a.finish(t)
}

// TestAskedOfSpool: what a real spool has is started by Retry, over both databases, and of one domain alone where that is asked for.
func TestAskedOfSpool(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		w, s := spooled(t, "", o)
		server := w.at(t, "office.example:25", &fakesmtp.Server{})
		w.relay.Routes = routes{"route:office": {Kind: relay.SmartHost, Servers: groups("office.example:25"), Asked: true}}
		w.relay.Asked = s.Asked
		for _, address := range []string{"a@office.example", "b@below.office.example", "c@other.example"} {
			m := letter(address, address)
			m.Recipients[0].Destination = "route:office"
			accept(t, s, m, text)
		}
		w.run(t)
		waits := func() (n int) {
			all, err := s.List(t.Context(), spool.Filter{States: []spool.State{spool.Waiting}}, 0, 10)
			if err != nil {
				t.Error(err)
			}
			for _, m := range all {
				if m.Recipients[0].Due.After(time.Now().Add(time.Hour)) {
					n++
				}
			}
			return n
		}
		harness.Eventually(t, time.Minute, "all of it waits", func() bool { return waits() == 3 })
		if done, err := s.Retry(t.Context(), spool.Filter{Destination: "route:office", Domain: "office.example"}, spool.Place{}); err != nil || len(done.Changed) != 1 {
			t.Fatalf("%+v, %v", done, err)
		}
		harness.Eventually(t, time.Minute, "the domain's is delivered", func() bool { return server.Copies(text)["a@office.example"] == 1 })
		if _, err := s.Retry(t.Context(), spool.Filter{Destination: "route:office", Domain: "office.example", Below: true}, spool.Place{}); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, time.Minute, "that below it is delivered", func() bool { return server.Copies(text)["b@below.office.example"] == 1 })
		if waits() != 1 || len(server.Received()) != 2 {
			t.Errorf("%d wait, %d have left", waits(), len(server.Received()))
		}
	})
}
