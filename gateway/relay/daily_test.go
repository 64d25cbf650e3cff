//go:build linux

package relay_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// day counts recipients of one destination in memory, all of them until a time.
type day struct {
	clock *clock
	mu    sync.Mutex
	used  int
	until time.Time
	fails error
}

func (d *day) left(perDay int) (int, time.Time, error) {
	if !d.clock.Now().Before(d.until) {
		d.used, d.until = 0, d.clock.Now().Add(24*time.Hour)
	}
	return max(perDay-d.used, 0), d.until, d.fails
}

// Left implements [relay.Quota].
func (d *day) Left(_ context.Context, _ string, perDay int) (int, time.Time, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.left(perDay)
}

// Take implements [relay.Quota].
func (d *day) Take(_ context.Context, _ string, want, perDay int) (int, time.Time, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	left, again, err := d.left(perDay)
	taken := min(want, left)
	d.used += taken
	return taken, again, err
}

// GiveBack implements [relay.Quota].
func (d *day) GiveBack(_ context.Context, _ string, recipients int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used -= recipients
	return nil
}

// bounded is a world whose far.example has so many recipients a day.
func bounded(t *testing.T, perDay int, s *fakesmtp.Server) (*world, *day, *fakesmtp.Server) {
	w := newWorld(t, far)
	d := &day{clock: w.clock, until: begin.Add(24 * time.Hour)}
	w.relay.Quota = d
	w.relay.Routes = routes{"far.example": {Kind: relay.MX, Domain: "far.example", Port: "25", Limits: relay.Limits{RecipientsPerDay: perDay}}}
	return w, d, w.at(t, "192.0.2.1:25", s)
}

// TestRecipientsPerDay: what is over the day's bound waits, a message in parts if need be, its sender is told of the
// delay in time, and it leaves the next day.
func TestRecipientsPerDay(t *testing.T) {
	w, _, server := bounded(t, 3, &fakesmtp.Server{})
	w.add(letter("k1", "a@far.example", "b@far.example"), text)
	w.add(letter("k2", "c@far.example", "d@far.example", "e@far.example", "f@far.example"), text)
	w.add(letter("k3", "g@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0", "b@far.example delivered 2.0.0")
	w.is(t, "k2", "c@far.example delivered 2.0.0", "d@far.example waiting", "e@far.example waiting", "f@far.example waiting")
	w.is(t, "k3", "g@far.example waiting")
	for range 8 {
		w.advance(time.Hour)
		w.rest(t)
	}
	w.is(t, "k2", "c@far.example delivered 2.0.0", "d@far.example waiting 4.4.5", "e@far.example waiting 4.4.5", "f@far.example waiting 4.4.5")
	if n := len(w.reports); n != 2 || !strings.Contains(w.reports[0].content, "Action: delayed") {
		t.Errorf("%d reports", n)
	}
	if n := len(server.Received()); n != 2 {
		t.Errorf("%d messages have left", n)
	}
	w.advance(16 * time.Hour)
	w.rest(t)
	w.is(t, "k2", "c@far.example delivered 2.0.0", "d@far.example delivered 2.0.0", "e@far.example delivered 2.0.0", "f@far.example delivered 2.0.0")
	w.is(t, "k3", "g@far.example waiting 4.4.5")
	if !strings.Contains(w.logged(), "3 recipients a day (recipients_per_day) are used up until") {
		t.Error("the log does not say why")
	}
}

// raised are routes whose bound of the recipients of a day is another one from the second look on.
type raised struct {
	routes
	perDay int
	looks  atomic.Int64
}

// Route implements [relay.Routes].
func (r *raised) Route(destination string) (relay.Route, error) {
	next, err := r.routes.Route(destination)
	if r.looks.Add(1) > 1 {
		next.Limits.RecipientsPerDay = r.perDay
	}
	return next, err
}

// TestRecipientsPerDayRaised: a bound that a reload raises, or takes away, holds for a destination that is being worked on.
func TestRecipientsPerDayRaised(t *testing.T) {
	for name, perDay := range map[string]int{"raised": 3, "taken away": 0} {
		t.Run(name, func(t *testing.T) {
			w, d, _ := bounded(t, 1, &fakesmtp.Server{})
			w.relay.Routes = &raised{routes: w.relay.Routes.(routes), perDay: perDay}
			w.add(letter("k1", "a@far.example", "b@far.example", "c@far.example"), text)
			w.run(t)
			w.rest(t)
			w.is(t, "k1", "a@far.example delivered 2.0.0", "b@far.example delivered 2.0.0", "c@far.example delivered 2.0.0")
			w.end()
			if d.used != 3 {
				t.Errorf("%d count", d.used)
			}
		})
	}
}

// TestRecipientsPerDayExpire: what waits for it is returned when its time is over.
func TestRecipientsPerDayExpire(t *testing.T) {
	w, d, _ := bounded(t, 1, &fakesmtp.Server{})
	d.until = begin.Add(1000 * time.Hour)
	w.add(letter("k1", "a@far.example"), text)
	w.add(letter("k2", "b@far.example"), text)
	w.run(t)
	w.rest(t)
	for range 5*24 + 4 {
		w.advance(time.Hour)
		w.rest(t)
	}
	w.is(t, "k2", "b@far.example failed 4.4.7")
}

// TestRecipientsThatGotNothing: they do not count, whether they were refused, put off, or their server was not there.
func TestRecipientsThatGotNothing(t *testing.T) {
	for name, c := range map[string]struct {
		server *fakesmtp.Server
		used   int
	}{
		"refused": {&fakesmtp.Server{Rcpt: func(_ fakesmtp.Transaction, path string) string {
			return map[string]string{"a@far.example": "550 no", "b@far.example": "450 later"}[path]
		}}, 1},
		"not there": {&fakesmtp.Server{Greet: func(int) string { return "421 not now" }}, 0},
		"uncertain": {&fakesmtp.Server{End: func(fakesmtp.Transaction, string) string { return fakesmtp.Close }}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w, d, _ := bounded(t, 10, c.server)
			w.add(letter("k1", "a@far.example", "b@far.example", "c@far.example"), text)
			w.run(t)
			w.rest(t)
			w.end()
			if d.used != c.used {
				t.Errorf("%d count", d.used)
			}
		})
	}
}

// TestUncounted: mail waits for as long as nobody can count, and is not lost.
func TestUncounted(t *testing.T) {
	w, d, _ := bounded(t, 10, &fakesmtp.Server{})
	d.fails = errors.New("no database")
	w.add(letter("k1", "a@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example waiting")
	d.mu.Lock()
	d.fails = nil
	d.mu.Unlock()
	w.advance(10 * time.Second)
	w.finish(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0")
}
