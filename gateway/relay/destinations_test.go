//go:build linux

package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

const many = far + `
	near.example.     MX 10 mx.near.example.
	mx.near.example.  A 192.0.2.3
	dead.example.     MX 10 mx.dead.example.
	mx.dead.example.  A 192.0.2.4
`

// gate holds a server's replies back until it is opened.
type gate struct {
	open    chan struct{}
	once    sync.Once
	arrived chan struct{} // one for each that waits
}

func newGate() *gate {
	return &gate{open: make(chan struct{}), arrived: make(chan struct{}, 1000)}
}

func (g *gate) pass() { g.once.Do(func() { close(g.open) }) }

func (g *gate) wait() string {
	g.arrived <- struct{}{}
	<-g.open
	return ""
}

// TestDeadBesideLiving: what cannot be reached costs one attempt, however much mail there is for it, and holds up
// nobody else's.
func TestDeadBesideLiving(t *testing.T) {
	w := newWorld(t, many)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
	for i := range 500 {
		w.add(letter(fmt.Sprint("dead", i), fmt.Sprintf("u%d@dead.example", i)), text)
	}
	w.add(letter("k1", "a@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0")
	if n := w.tries("192.0.2.4:25"); n != 1 || w.claims > 20 {
		t.Errorf("%d connections were tried, %d messages claimed", n, w.claims)
	}
	// The living one's is read to be sent, and for the log, and of the dead one's that which was tried.
	if n := w.opened.Load(); n != 3 {
		t.Errorf("%d contents were opened", n)
	}
	// It is left alone for longer and longer, and then all of it is delivered, the oldest first.
	for i, wait := range []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour} {
		w.advance(wait - time.Second)
		w.rest(t)
		if n := w.tries("192.0.2.4:25"); n != i+1 {
			t.Fatalf("%d attempts before %s were over", n, wait)
		}
		w.advance(time.Second)
		w.await(t, "another attempt is over", func() bool { return len(w.backoff) == i+2 })
	}
	server := new(fakesmtp.Server).Start(t)
	w.lead("192.0.2.4:25", server.Address)
	w.advance(time.Hour)
	w.finish(t)
	if n := len(server.Received()); n != 500 {
		t.Errorf("%d messages", n)
	}
}

// TestDeadWithUrgentMail: a destination that does not answer is tried by the waits of the most urgent mail that waits for it.
func TestDeadWithUrgentMail(t *testing.T) {
	for priority, wait := range map[int]time.Duration{1: time.Minute, 0: 15 * time.Minute, -1: 15 * time.Minute} {
		w := newWorld(t, many)
		w.relay.Schedules.Urgent.Retries = []time.Duration{time.Minute}
		w.relay.Schedules.NonUrgent.Retries = []time.Duration{6 * time.Hour}
		for i := range 3 {
			m := letter(fmt.Sprint("dead", i), fmt.Sprintf("u%d@dead.example", i))
			m.Envelope.Priority = min(priority, priority*i) // one of them
			w.add(m, text)
		}
		w.run(t)
		w.rest(t)
		w.queue.mu.Lock()
		for _, m := range w.waiting {
			if m.pending.Due.Sub(begin) != wait {
				t.Errorf("priority %d: %s waits until %s", priority, m.message.Key, m.pending.Due)
			}
		}
		w.queue.mu.Unlock()
	}
}

// TestDeadGetsMore: mail that comes in for a destination that is left alone costs no attempt, and a destination that has
// come back is one like any other.
func TestDeadGetsMore(t *testing.T) {
	w := newWorld(t, many)
	w.relay.Limits.Connections = 1
	w.add(letter("k1", "a@dead.example"), text)
	w.run(t)
	w.rest(t)
	w.add(letter("k2", "b@dead.example"), text)
	w.rest(t)
	if n := w.tries("192.0.2.4:25"); n != 1 {
		t.Errorf("%d connections were tried", n)
	}
	server := new(fakesmtp.Server).Start(t)
	w.lead("192.0.2.4:25", server.Address)
	w.advance(15 * time.Minute)
	w.finish(t)
	w.lead("192.0.2.4:25", "")
	harness.Eventually(t, await, "its connections have ended", func() bool { return ended(server) })
	w.add(letter("k3", "c@dead.example"), text)
	w.rest(t)
	if due := w.waiting[2].pending.Due.Sub(w.clock.Now()); due != 15*time.Minute {
		t.Errorf("the next failure is followed by %s", due)
	}
}

// ended says whether each connection to a server has ended with QUIT.
func ended(server *fakesmtp.Server) bool {
	quits := slices.DeleteFunc(server.Commands(), func(line string) bool { return line != "QUIT" })
	return len(quits) == server.Connections()
}

// tries is how often an address was connected to.
func (w *world) tries(address string) (n int) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	for _, dialed := range w.dialed {
		if dialed == address {
			n++
		}
	}
	return n
}

// lead says what an address of the world is on this machine; empty: nothing.
func (w *world) lead(address, there string) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	w.hosts[address] = there
}

// TestDeadForTooLong: the mail of a destination that stays dead is given up when its time is over, and its senders are
// told of the delay before: though there is one attempt for all of it.
func TestDeadForTooLong(t *testing.T) {
	w := newWorld(t, many)
	const messages = 200
	for i := range messages {
		m := letter(fmt.Sprint("k", i), "a@dead.example")
		m.Received = begin.Add(time.Duration(i-messages) * time.Second)
		w.add(m, text)
	}
	w.run(t)
	w.rest(t)
	for range 40 {
		if count(w, "Action: delayed") == messages {
			break
		}
		w.advance(time.Hour)
		w.rest(t)
	}
	if n := count(w, "Action: delayed"); n != messages || len(w.reports) != messages {
		t.Fatalf("%d senders of %d were told of the delay, in %d reports", n, messages, len(w.reports))
	}
	w.advance(5 * 24 * time.Hour)
	w.finish(t)
	if n := count(w, "Action: failed"); n != messages {
		t.Errorf("%d senders of %d were told of the failure", n, messages)
	}
	w.is(t, "k0", "a@dead.example failed 4.4.7")
}

// TestDelayBeforeAnHour: a sender who is to be told of a delay after minutes is told at the first attempt after that, though mail that
// has come since is what the destination is tried with.
func TestDelayBeforeAnHour(t *testing.T) {
	w := newWorld(t, many)
	w.relay.Schedules.Normal = relay.Schedule{Retries: []time.Duration{time.Minute, 20 * time.Minute}, Delay: 10 * time.Minute}
	add := func(name string) {
		m := letter(name, "a@dead.example")
		m.Received = w.clock.Now()
		w.add(m, text)
	}
	add("old")
	w.run(t)
	w.rest(t)
	w.advance(time.Minute)
	w.rest(t)
	w.advance(14 * time.Minute)
	for n := range 9 {
		add(fmt.Sprint("young", n))
	}
	w.rest(t)
	if n := count(w, "Action: delayed"); n != 0 {
		t.Errorf("%d senders were told of a delay before there was an attempt", n)
	}
	w.advance(6 * time.Minute)
	w.rest(t)
	if n := count(w, "Action: delayed"); n != 1 {
		t.Errorf("%d senders were told of a delay, and one had to be", n)
	}
}

// TestDelayOfWhatWaitedBefore: mail that has waited for long when its destination fails for the first time is looked through as soon as
// something of it has waited too long, and not that long after the failure.
func TestDelayOfWhatWaitedBefore(t *testing.T) {
	w := newWorld(t, many)
	w.relay.Limits.Connections = 1
	w.relay.Schedules.Normal = relay.Schedule{Retries: []time.Duration{time.Minute, 5 * time.Minute, time.Hour}, Delay: 10 * time.Minute}
	add := func(name string, age time.Duration) {
		m := letter(name, "a@dead.example")
		m.Received = w.clock.Now().Add(-age)
		w.add(m, text)
	}
	add("old", 8*time.Minute)
	w.run(t)
	w.rest(t)
	w.advance(time.Minute)
	for n := range 9 { // the destination is tried with these from now on
		add(fmt.Sprint("young", n), 0)
	}
	w.rest(t)
	if n := count(w, "Action: delayed"); n != 0 {
		t.Errorf("%d senders were told of a delay before its time", n)
	}
	w.advance(5 * time.Minute)
	w.rest(t)
	if n := count(w, "Action: delayed"); n != 1 {
		t.Errorf("%d senders were told of a delay, and one had to be", n)
	}
}

func count(w *world, words string) (n int) {
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	for _, r := range w.reports {
		n += strings.Count(r.content, words)
	}
	return n
}

// TestSlowDestination: a destination whose server takes its time holds up nobody, nor its own other mail.
func TestSlowDestination(t *testing.T) {
	w := newWorld(t, many)
	slow := newGate()
	defer slow.pass()
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{Mail: func(tr fakesmtp.Transaction) string {
		if tr.Session == 1 {
			return slow.wait()
		}
		return ""
	}})
	w.at(t, "192.0.2.3:25", &fakesmtp.Server{})
	w.add(letter("slow", "a@far.example"), text)
	w.run(t)
	<-slow.arrived
	w.add(letter("other", "a@near.example"), text)
	w.add(letter("next", "b@far.example"), text)
	w.await(t, "the others are delivered", func() bool { return w.open == 1 })
	slow.pass()
	w.finish(t)
}

// TestWindow: a destination gets more connections while it takes the mail, and fewer when it says that it is too much.
func TestWindow(t *testing.T) {
	w := newWorld(t, many)
	var mu sync.Mutex
	now, most := 0, 0
	busy := make(map[int]bool)
	hold := newGate()
	defer hold.pass()
	server := &fakesmtp.Server{Mail: func(tr fakesmtp.Transaction) string {
		mu.Lock()
		if !busy[tr.Session] {
			busy[tr.Session] = true
			now++
			most = max(most, now)
		}
		ready := most == 5
		mu.Unlock()
		if ready {
			hold.pass()
		}
		if tr.Session > 1 && tr.Number == 2 {
			hold.wait()
		}
		return ""
	}}
	w.at(t, "192.0.2.1:25", server)
	w.relay.Limits = relay.Limits{Connections: 5, Messages: 1000, Idle: time.Minute}
	for i := range 200 {
		w.add(letter(fmt.Sprint("k", i), "a@far.example"), text)
	}
	w.run(t)
	w.finish(t)
	mu.Lock()
	defer mu.Unlock()
	if most != 5 {
		t.Errorf("%d connections at once", most)
	}
}

// TestNobodyStarves: with places for few connections, a destination with much mail leaves some to the others.
func TestNobodyStarves(t *testing.T) {
	w := newWorld(t, many)
	first := newGate()
	defer first.pass()
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{Mail: func(tr fakesmtp.Transaction) string {
		if tr.Session == 1 && tr.Number == 1 {
			return first.wait()
		}
		return ""
	}})
	w.at(t, "192.0.2.3:25", &fakesmtp.Server{})
	w.relay.Connections = 1
	for i := range 200 {
		w.add(letter(fmt.Sprint("k", i), "a@far.example"), text)
	}
	w.run(t)
	<-first.arrived
	w.add(letter("other", "a@near.example"), text)
	w.await(t, "the other one was claimed", func() bool { return slices.Contains(w.ready, "near.example") && w.by[201][0].flies })
	first.pass()
	left := 0
	w.await(t, "the other one is delivered", func() bool { left = w.open; return w.by[201][0].final })
	if left < 100 {
		t.Errorf("it came behind %d messages for the other destination", 200-left)
	}
	w.finish(t)
}

// TestIdleLeavesItsPlace: a connection that has nothing to do ends when another destination wants its place.
func TestIdleLeavesItsPlace(t *testing.T) {
	w := newWorld(t, many)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
	w.at(t, "192.0.2.3:25", &fakesmtp.Server{})
	w.relay.Connections, w.relay.Limits.Idle = 1, time.Hour
	w.add(letter("k1", "a@far.example"), text)
	w.run(t)
	w.finish(t)
	w.add(letter("k2", "a@near.example"), text)
	w.finish(t)
}

// TestPerMinute: a destination gets no more messages a minute than its route allows.
func TestPerMinute(t *testing.T) {
	w := newWorld(t, far)
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
	w.relay.Routes = routes{"far.example": {Kind: relay.MX, Domain: "far.example", Port: "25", Limits: relay.Limits{PerMinute: 6, Idle: 1}}}
	for i := range 10 {
		w.add(letter(fmt.Sprint("k", i), "a@far.example"), text)
	}
	w.run(t)
	w.rest(t)
	if n := len(server.Received()); n != 6 {
		t.Errorf("%d messages in the first minute", n)
	}
	w.advance(10*time.Second + 2*time.Millisecond)
	w.rest(t)
	if n := len(server.Received()); n != 7 {
		t.Errorf("%d messages ten seconds later", n)
	}
	w.advance(time.Minute)
	w.finish(t)
	// Whoever works on it next goes on counting.
	before := len(server.Received())
	for i := range 10 {
		harness.Eventually(t, await, "nobody works on it", func() bool { return ended(server) })
		w.add(letter(fmt.Sprint("next", i), "a@far.example"), text)
		w.rest(t)
	}
	if n := len(server.Received()) - before; n != 3 {
		t.Errorf("%d messages more, of 3 that were left", n)
	}
}

// TestServerThatPutsOff: where nothing is taken for now, the others need not hear it, too.
func TestServerThatPutsOff(t *testing.T) {
	w := newWorld(t, far)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{Mail: func(fakesmtp.Transaction) string { return "450 4.3.2 too busy" }})
	for i := range 200 {
		w.add(letter(fmt.Sprint("k", i), "a@far.example"), text)
	}
	w.run(t)
	w.rest(t)
	if n := tried(w); n < 20 || n > 22 || len(w.backoff) != 1 {
		t.Errorf("%d messages were tried, and the destination was left alone: %v", n, w.backoff)
	}
	w.is(t, "k199", "a@far.example waiting")
}

// TestServerThatGoesOnPuttingOff: a server that puts off what it is asked after the back-off, too, is left alone for
// longer and longer, and is asked once where the connection is still there.
func TestServerThatGoesOnPuttingOff(t *testing.T) {
	for name, c := range map[string]struct {
		idle  time.Duration
		asked int // at the most, in a further round
	}{"another connection": {1, 22}, "the same connection": {time.Hour, 2}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			w.at(t, "192.0.2.1:25", &fakesmtp.Server{Mail: func(fakesmtp.Transaction) string { return "450 4.3.2 too busy" }})
			w.relay.Limits.Idle = c.idle
			for i := range 60 {
				w.add(letter(fmt.Sprint("k", i), "a@far.example"), text)
			}
			w.run(t)
			before := 0
			for i, wait := range []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour} {
				w.await(t, "it is left alone", func() bool { return len(w.backoff) == i+1 })
				w.rest(t)
				if w.backoff[i].wait != wait {
					t.Errorf("it is left alone for %s, not %s", w.backoff[i].wait, wait)
				}
				asked := 0
				for _, r := range w.waiting {
					asked += r.pending.Attempts
				}
				if i > 0 && asked-before > c.asked {
					t.Errorf("it was asked for %d messages", asked-before)
				}
				before = asked
				w.advance(wait)
			}
		})
	}
}

// TestMessageThatCostsConnections: a message at which a server hangs up waits by itself, and others go on.
func TestMessageThatCostsConnections(t *testing.T) {
	w := newWorld(t, far)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{Rcpt: func(_ fakesmtp.Transaction, path string) string {
		if path == "poison@far.example" {
			return fakesmtp.Close
		}
		return ""
	}})
	w.add(letter("k1", "poison@far.example"), text)
	for i := range 5 {
		w.add(letter(fmt.Sprint("ok", i), "a@far.example"), text)
	}
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "poison@far.example waiting 4.4.2")
	if w.open != 1 || len(w.backoff) > 0 {
		t.Errorf("%d are left, and the destination was left alone: %v", w.open, w.backoff)
	}
}

// TestServerThatHangsUp: where each message costs its connections, it is the destination that is left alone.
func TestServerThatHangsUp(t *testing.T) {
	w := newWorld(t, far)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{Rcpt: func(fakesmtp.Transaction, string) string { return fakesmtp.Close }})
	for i := range 50 {
		w.add(letter(fmt.Sprint("k", i), "a@far.example"), text)
	}
	w.run(t)
	w.rest(t)
	if n := tried(w); n > 5 || len(w.backoff) != 1 {
		t.Errorf("%d messages were tried, and the destination was left alone: %v", n, w.backoff)
	}
}

// TestExpiryIsNotOfOthers: that the time of some messages is over says nothing of the others, though it was with these
// that the destination has shown that it fails as a whole.
func TestExpiryIsNotOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		server *fakesmtp.Server
		old    int
	}{
		"it puts off":     {&fakesmtp.Server{Mail: func(fakesmtp.Transaction) string { return "450 4.3.2 too busy" }}, 20},
		"it hangs up":     {&fakesmtp.Server{Rcpt: func(fakesmtp.Transaction, string) string { return fakesmtp.Close }}, 3},
		"it is not there": {nil, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			if c.server != nil {
				w.at(t, "192.0.2.1:25", c.server)
			}
			const fresh = 100
			for i := range c.old {
				m := letter(fmt.Sprint("old", i), "a@far.example")
				m.Received = begin.Add(-6 * 24 * time.Hour)
				w.add(m, text)
			}
			for i := range fresh {
				w.add(letter(fmt.Sprint("k", i), "a@far.example"), text)
			}
			w.run(t)
			w.rest(t)
			failed := func() bool { return w.open == fresh }
			for i := 0; i < 8 && !failed(); i++ { // what is left of the old ones is found when it is looked for
				w.advance(time.Hour)
				w.rest(t)
			}
			if w.open != fresh {
				t.Errorf("%d messages of %d are left", w.open, fresh)
			}
			for i := range fresh {
				if is := w.states(fmt.Sprint("k", i))[0]; !strings.HasPrefix(is, "a@far.example waiting") {
					t.Fatalf("k%d: %s", i, is)
				}
			}
		})
	}
}

// tried is how many messages have had an attempt.
func tried(w *world) (n int) {
	for _, r := range w.waiting {
		n += min(r.pending.Attempts, 1)
	}
	return n
}

// TestNoRoute: mail waits for a route that is missing: the configuration may be put right.
func TestNoRoute(t *testing.T) {
	w := newWorld(t, far)
	w.relay.Routes = noRoutes{}
	w.add(letter("k1", "a@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example waiting 4.3.5")
}

type noRoutes struct{ routes }

func (noRoutes) Route(string) (relay.Route, error) { return relay.Route{}, fmt.Errorf("no such route") }

// TestShutdown: the message under way is finished, what was not begun is given back, and the session ends with QUIT.
func TestShutdown(t *testing.T) {
	w := newWorld(t, far)
	under := newGate()
	defer under.pass()
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Mail: func(tr fakesmtp.Transaction) string {
		if tr.Number == 1 {
			return under.wait()
		}
		return ""
	}})
	for i := range 10 {
		m := letter(fmt.Sprint("k", i), "a@far.example")
		m.Received, m.Recipients[0].Due = begin.Add(26*time.Hour), begin // by the clock of the gateway that took it in
		w.add(m, text)
	}
	w.relay.Limits.Connections, w.relay.Grace = 1, time.Minute
	w.run(t)
	<-under.arrived
	failures := 2
	w.mu.Lock()
	w.fails = func() error {
		if failures--; failures < 0 {
			return nil
		}
		return errors.New("the database is away")
	}
	w.mu.Unlock()
	w.stop()
	w.await(t, "the others are given back", func() bool { return len(w.told["k1"]) == 1 })
	under.pass()
	<-w.ended
	w.is(t, "k0", "a@far.example delivered 2.0.0")
	for i := 1; i < 10; i++ {
		w.is(t, fmt.Sprint("k", i), "a@far.example waiting")
	}
	if commands := server.Commands(); commands[len(commands)-1] != "QUIT" || len(server.Received()) != 1 {
		t.Errorf("the server was told %q", commands)
	}
	for _, r := range w.waiting {
		if r.flies || r.pending.Due.After(begin) {
			t.Errorf("%s is in flight, %t, or waits until %s", r.message.Key, r.flies, r.pending.Due)
		}
	}
}

// TestLeaseRunsOut: a message whose lease has run out before its end was sent, and which is the gateway's again a moment
// later, as after an outage of the database, is tried again at once. It was no attempt, and says nothing of the destination.
func TestLeaseRunsOut(t *testing.T) {
	for name, destination := range map[string]string{"mx": "far.example", "store": "store:sakes"} {
		t.Run(name, func(t *testing.T) {
			const messages = 30
			s := &store{answer: func(d backends.Delivery, _ string, err error) ([]backends.Verdict, error) {
				if err != nil {
					return nil, fmt.Errorf("it cannot be read: %w", err)
				}
				return taken(d), nil
			}}
			w := newStoreWorld(t, s)
			w.relay.Routes = routes{
				"store:sakes": {Kind: relay.Store, Store: "sakes"}, "far.example": {Kind: relay.SmartHost, Servers: groups("mx.far.example:25")},
			}
			server := w.at(t, "mx.far.example:25", &fakesmtp.Server{})
			for i := range messages {
				m := letter(fmt.Sprint("k", i), fmt.Sprintf("u%d@far.example", i))
				m.Recipients[0].Destination = destination
				w.add(m, text)
			}
			w.lapses = messages
			w.run(t)
			w.finish(t)
			for _, r := range w.waiting {
				if r.pending.Attempts != 1 || r.pending.State != spool.Delivered {
					t.Errorf("%s is %s after %d attempts", r.message.Key, r.pending.State, r.pending.Attempts)
				}
			}
			if len(w.backoff) > 0 || w.lapses > 0 {
				t.Errorf("the destination is left alone: %v; %d leases have not run out", w.backoff, w.lapses)
			}
			if n := len(server.Copies(text)); destination == "far.example" && n != messages {
				t.Errorf("%d of %d have copies", n, messages)
			}
			if !strings.Contains(w.logged(), "the lease on a message has run out before its end was sent") {
				t.Error("the log does not tell of it")
			}
		})
	}
}

// TestShutdownOfWhatHangs: a server that does not answer holds the end up no longer than the grace, or until that is
// cut short, and the message is given back as it was: before its end nobody has it, after it nobody knows.
func TestShutdownOfWhatHangs(t *testing.T) {
	for name, c := range map[string]struct {
		server func(g *gate) *fakesmtp.Server
		want   string
		grace  bool
	}{
		"before the content": {func(g *gate) *fakesmtp.Server {
			return &fakesmtp.Server{Mail: func(fakesmtp.Transaction) string { return g.wait() }}
		}, "waiting", true},
		"after the dot": {func(g *gate) *fakesmtp.Server {
			return &fakesmtp.Server{End: func(fakesmtp.Transaction, string) string { return g.wait() }}
		}, "uncertain 4.4.2", true},
		"cut short": {func(g *gate) *fakesmtp.Server {
			return &fakesmtp.Server{Mail: func(fakesmtp.Transaction) string { return g.wait() }}
		}, "waiting", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			g := newGate()
			defer g.pass()
			w.at(t, "192.0.2.1:25", c.server(g))
			w.relay.Grace = time.Hour
			cut, now := context.WithCancel(t.Context())
			defer now()
			if w.relay.Cut = cut; c.grace {
				w.relay.Grace = 20 * time.Millisecond
			}
			w.add(letter("k1", "a@far.example"), text)
			w.run(t)
			<-g.arrived
			w.stop()
			if !c.grace {
				now() // as a second signal does
			}
			select {
			case <-w.ended:
			case <-time.After(time.Minute):
				t.Fatal("the relay does not end")
			}
			w.is(t, "k1", "a@far.example "+c.want)
		})
	}
}

// TestEvents: what is counted.
func TestEvents(t *testing.T) {
	w := newWorld(t, many)
	w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
	m := letter("k1", "a@far.example", "a@dead.example")
	m.Received = begin.Add(-time.Minute)
	w.add(m, text)
	w.run(t)
	w.rest(t)
	w.end()
	kinds := make(map[string]int)
	for _, e := range w.events {
		kinds[fmt.Sprint(e.Kind, " ", e.Class, " ", e.Outcome)]++
		if e.Kind == relay.Finished && (e.Waited != time.Minute || e.Octets != int64(len(text))) {
			t.Errorf("%+v", e)
		}
	}
	for _, want := range []string{"1 mx ", "2 mx ", "3 mx ", "4 mx relayed", "4 mx deferred", "5 mx "} {
		if kinds[want] != 1 {
			t.Errorf("%q was seen %d times: %v", want, kinds[want], kinds)
		}
	}
}
