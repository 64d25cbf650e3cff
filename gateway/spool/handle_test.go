//go:build linux

package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// keys are the messages that a list has.
func keys(t testing.TB, s *Spool, f Filter, after ID, most int) (keys []string, last ID) {
	t.Helper()
	messages, err := s.List(t.Context(), f, after, most)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		keys, last = append(keys, m.Key), m.ID
	}
	return keys, last
}

func TestList(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		report := to("1", "a@x.example")
		report.Envelope.From = ""
		accept(t, s, report, "text")
		accept(t, s, to("2", "a@y.example", "b@x.example"), "text")
		held := to("3", "c@y.example")
		held.Envelope.From = `"a,b"@ö.example`
		held.Recipients[0].State = Held
		accept(t, s, held, "text")
		for name, test := range map[string]struct {
			filter Filter
			want   string
		}{
			"all":                 {Filter{}, "[1 2 3]"},
			"destination":         {Filter{Destination: "x.example"}, "[1 2]"},
			"address":             {Filter{Address: "c@y.example"}, "[3]"},
			"key":                 {Filter{Key: "2"}, "[2]"},
			"state":               {Filter{States: []State{Held, Failed}}, "[3]"},
			"state, destination":  {Filter{States: []State{Waiting}, Destination: "y.example"}, "[2]"},
			"sender":              {Filter{Sender: `"a,b"@ö.example`}, "[3]"},
			"another sender":      {Filter{Sender: "ada@sakes.exampl"}, "[]"},
			"no sender":           {Filter{Sender: NullSender}, "[1]"},
			"nothing of the kind": {Filter{Key: "2", Address: "c@y.example"}, "[]"},
		} {
			if got, _ := keys(t, s, test.filter, 0, 10); fmt.Sprint(got) != test.want {
				t.Errorf("%s: %s", name, got)
			}
		}
		first, last := keys(t, s, Filter{}, 0, 2)
		rest, _ := keys(t, s, Filter{}, last, 2)
		if fmt.Sprint(first, rest) != "[1 2] [3]" {
			t.Errorf("the pages are %s and %s", first, rest)
		}
		m, err := s.Show(t.Context(), last)
		if err != nil || m.Key != "2" || len(m.Recipients) != 2 || m.Recipients[1].Address != "b@x.example" || m.Recipients[1].Due.IsZero() {
			t.Fatalf("it is shown as %+v, %v", m, err)
		}
		opened, err := m.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer opened.Close()
		if text, err := io.ReadAll(opened); err != nil || string(text) != "text" {
			t.Errorf("its content is %q, %v", text, err)
		}
		if _, err := s.Show(t.Context(), 7); !errors.Is(err, ErrNotFound) {
			t.Errorf("a message that is not there: %v", err)
		}
	})
}

// handled carries out a change, all steps of it, and says how many recipients it has changed.
func handled(t testing.TB, f func(context.Context, Filter, Place) (Handled, error), filter Filter) (n int) {
	t.Helper()
	for from := (Place{}); ; {
		done, err := f(t.Context(), filter, from)
		if err != nil {
			t.Fatal(err)
		}
		n += len(done.Changed)
		if from = done.Next; from == (Place{}) {
			return n
		}
	}
}

// TestHandling: hold, release, retry and delete, of what they are for, and not of what is in flight.
func TestHandling(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		x := Filter{Destination: "x.example"}
		accept(t, s, to("flying", "a@x.example"), "text")
		flying := one(t, s, next(t, s))
		accept(t, s, to("new", "a@x.example", "b@y.example"), "text")
		accept(t, s, to("tried", "a@x.example"), strings.Repeat("x", 300<<10))
		tried := claim(t, s, "x.example", 10)[1]
		settle(t, s, all(tried, Outcome{State: Waiting, At: time.Now(), Until: time.Now().Add(time.Hour)}))
		if n := handled(t, s.Hold, x); n != 1 {
			t.Errorf("%d were held", n)
		}
		// The other one was in flight; it comes back.
		accept(t, s, to("late", "a@x.example"), "text")
		if n := handled(t, s.Hold, x); n != 1 {
			t.Errorf("%d were held then", n)
		}
		if got := claim(t, s, "x.example", 10); len(got) != 0 {
			t.Errorf("%s was claimed, and is held", got[0].Key)
		}
		s.Done("x.example", time.Time{})
		if n := handled(t, s.Release, x); n != 2 {
			t.Errorf("%d were released", n)
		}
		if next(t, s) == "y.example" {
			next(t, s)
		}
		states := map[string]State{}
		for _, d := range claim(t, s, "x.example", 10) {
			states[d.Key] = d.Recipients[0].State
			settle(t, s, all(d, Outcome{State: Waiting, At: time.Now(), Until: time.Now().Add(time.Hour)}))
		}
		if fmt.Sprint(states) != "map[late:waiting tried:uncertain]" {
			t.Errorf("released are %v", states)
		}
		s.Done("x.example", time.Now().Add(time.Hour))
		nothing(t, s)
		if n := handled(t, s.Retry, x); n != 2 {
			t.Errorf("%d are tried again", n)
		}
		if name := next(t, s); name != "x.example" {
			t.Errorf("%s is ready", name)
		}
		if n := handled(t, s.Delete, x); n != 2 {
			t.Errorf("%d were deleted", n)
		}
		if got, _ := keys(t, s, Filter{}, 0, 10); fmt.Sprint(got) != "[flying new]" || len(filesOf(t, s)) != 0 {
			t.Errorf("there are %s, and files %q", got, filesOf(t, s))
		}
		settle(t, s, all(flying, Outcome{State: Delivered, At: time.Now()}))
	})
}

// TestHandleMany: more than one transaction's worth.
func TestHandleMany(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		m := to("k")
		for i := range 2*handleMost + 1 {
			m.Recipients = append(m.Recipients, to("", fmt.Sprintf("a%d@x.example", i)).Recipients...)
		}
		accept(t, s, m, "text")
		for name, f := range map[string]func(context.Context, Filter, Place) (Handled, error){"retry": s.Retry, "hold": s.Hold} {
			if n := handled(t, f, Filter{}); n != 2*handleMost+1 {
				t.Errorf("%s: %d", name, n)
			}
			handled(t, s.Release, Filter{})
		}
		if n := handled(t, s.Delete, Filter{}); n != 2*handleMost+1 || count(t, s, "spool_messages") != 0 {
			t.Errorf("%d were deleted, %d messages are left", n, count(t, s, "spool_messages"))
		}
	})
}

func TestStats(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		before := time.Now()
		accept(t, s, to("1", "a@x.example", "b@x.example", "c@y.example"), "text")
		accept(t, s, to("2", "a@x.example"), "text")
		one(t, s, "y.example")
		stats, err := s.Stats(t.Context(), 10)
		if err != nil || len(stats) != 2 {
			t.Fatalf("%+v, %v", stats, err)
		}
		x, y := stats[0], stats[1]
		if x.Destination != "x.example" || x.State != Waiting || x.Recipients != 3 || x.Due.IsZero() || x.Oldest.Before(before.Add(-time.Second)) {
			t.Errorf("%+v", x)
		}
		if y.Destination != "y.example" || y.State != InFlight || y.Recipients != 1 || !y.Due.IsZero() {
			t.Errorf("%+v", y)
		}
	})
}

// TestInFlight: what is being delivered is left as it is, and told.
func TestInFlight(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		accept(t, s, to("1", "a@x.example", "b@y.example"), "text")
		flying := one(t, s, "x.example")
		elsewhere := func(string, string) (Way, bool) { return Way{Destination: "z.example"}, true }
		for name, change := range map[string]func() (Handled, error){
			"reroute": func() (Handled, error) {
				return s.Reroute(t.Context(), Filter{Destination: "x.example"}, Place{}, elsewhere)
			},
			"delete": func() (Handled, error) { return s.Delete(t.Context(), Filter{Address: "a@x.example"}, Place{}) },
		} {
			done, err := change()
			if err != nil || len(done.Changed) != 0 || len(done.InFlight) != 1 || done.InFlight[0].Address != "a@x.example" || done.InFlight[0].Sender != "ada@sakes.example" {
				t.Errorf("%s: %+v, %v", name, done, err)
			}
		}
		done, err := s.Delete(t.Context(), Filter{}, Place{})
		if err != nil || len(done.Changed) != 1 || done.Changed[0].Address != "b@y.example" || done.Changed[0].Sender != "ada@sakes.example" {
			t.Errorf("%+v, %v", done, err)
		}
		settle(t, s, all(flying, Outcome{State: Delivered, At: time.Now()}))
		if n := count(t, s, "spool_messages"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// TestSettleElsewhere: what is settled to wait at another destination is due there, and no more where it was.
func TestSettleElsewhere(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		accept(t, s, to("1", "a@x.example"), "text")
		settle(t, s, all(one(t, s, "x.example"), Outcome{State: Waiting, Destination: "route:new", At: time.Now()}))
		if got := claim(t, s, "x.example", 10); len(got) != 0 {
			t.Errorf("left at the old one: %+v", got)
		}
		for name := next(t, s); name != "route:new"; name = next(t, s) {
			_ = name // the old one had mail
		}
		if got := claim(t, s, "route:new", 10); len(got) != 1 || got[0].Recipients[0].Attempts != 1 {
			t.Errorf("at the new one: %+v", got)
		}
	})
}

// TestReroute: mail waits for another destination, and no more for the one that it was queued for, in memory
// too.
func TestReroute(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		held := to("held", "b@x.example")
		held.Recipients[0].State = Held
		accept(t, s, held, "text")
		accept(t, s, to("fresh", "a@x.example", "c@x.example", "d@x.example"), "text")
		handled(t, func(ctx context.Context, f Filter, from Place) (Handled, error) {
			return s.Reroute(ctx, f, from, func(sender, recipient string) (Way, bool) {
				if sender != "ada@sakes.example" {
					t.Errorf("the sender is %q", sender)
				}
				return Way{Destination: "route:new", Held: recipient == "d@x.example"}, recipient != "c@x.example"
			})
		}, Filter{})
		if got := claim(t, s, "x.example", 10); len(got) != 1 || len(got[0].Recipients) != 1 || got[0].Recipients[0].Address != "c@x.example" {
			t.Errorf("left at the old one: %+v", got)
		}
		for name := next(t, s); name != "route:new"; name = next(t, s) {
			_ = name // the old one had mail
		}
		if got := claim(t, s, "route:new", 10); len(got) != 1 || len(got[0].Recipients) != 1 || got[0].Recipients[0].Address != "a@x.example" {
			t.Errorf("at the new one: %+v", got)
		}
		if n := handled(t, s.Release, Filter{Destination: "route:new"}); n != 2 {
			t.Errorf("%d were held", n)
		}
	})
}

// TestSummary counts, and finds what is due first.
func TestSummary(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		if err := s.Readable(t.Context()); err != nil {
			t.Error(err)
		}
		if sum, err := s.Summary(t.Context()); err != nil || len(sum.Recipients) != 0 || !sum.Due.IsZero() {
			t.Errorf("of nothing: %+v, %v", sum, err)
		}
		early, late := to("1", "a@x.example"), to("2", "a@x.example", "b@x.example")
		early.Recipients[0].Due = time.UnixMicro(4_000_000_000_000_000).UTC()
		late.Recipients[0].Due = early.Recipients[0].Due.Add(time.Hour)
		late.Recipients[1].State = Held
		accept(t, s, early, "text")
		accept(t, s, late, "text")
		sum, err := s.Summary(t.Context())
		if err != nil || fmt.Sprint(sum.Recipients) != "map[waiting:2 held:1]" || !sum.Due.Equal(early.Recipients[0].Due) {
			t.Errorf("%+v, %v", sum, err)
		}
	})
}

// TestAttach: what is changed beside a gateway on PostgreSQL is found by it.
func TestAttach(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		gateway := start(t, o, func(o *Options) { o.Poll = 10 * time.Millisecond })
		m := to("1", "a@x.example")
		m.Recipients[0].State = Held
		accept(t, gateway, m, "text")
		beside, err := Attach(Options{Log: gateway.o.Log, DB: gateway.o.DB, Folder: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := keys(t, beside, Filter{}, 0, 10); fmt.Sprint(got) != "[1]" {
			t.Errorf("it has %s", got)
		}
		if n := handled(t, beside.Release, Filter{}); n != 1 {
			t.Errorf("%d were released", n)
		}
		if err := beside.Close(); err != nil {
			t.Error(err)
		}
		if !gateway.db.Shared() {
			return
		}
		if name := next(t, gateway); name != "x.example" {
			t.Errorf("%s is ready", name)
		}
		one(t, gateway, "x.example")
	})
}

// TestRetryOnce: a retry that is asked for beside a gateway ends the back-off once, and not again with each look for
// it; the next one does, also if the gateway was about to write the row.
func TestRetryOnce(t *testing.T) {
	t.Parallel()
	s := start(t, shared(t), slow)
	const name = "dead.example"
	for i := range 9 {
		accept(t, s, to(fmt.Sprint(i), "a@"+name), "text")
	}
	fails := func() {
		t.Helper()
		if n := next(t, s); n != name {
			t.Fatalf("%s is ready", n)
		}
		until := time.Now().Add(time.Hour)
		settle(t, s, all(claim(t, s, name, 1)[0], Outcome{State: Waiting, Until: until, At: time.Now()}))
		s.Done(name, until)
	}
	look := func() {
		t.Helper()
		if err := s.schedule.look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	beside, err := Attach(Options{Log: s.o.Log, DB: s.o.DB, Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close() //nolint:errcheck // it has nothing open
	fails()
	for range 2 {
		handled(t, beside.Retry, Filter{})
		look()
		fails()
		look()
		nothing(t, s)
	}
	handled(t, beside.Retry, Filter{})
	if err := s.schedule.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	look()
	fails()
	handled(t, s.Retry, Filter{})
	fails()
	look()
	nothing(t, s)
}

// TestHoldAll: of a database of an earlier time nothing is tried by itself. What is released is uncertain, also what
// had never been tried.
func TestHoldAll(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		accept(t, s, to("k", "waiting@x.example", "done@y.example"), "text")
		settle(t, s, all(one(t, s, "y.example"), Outcome{State: Delivered, At: time.Now()}))
		accept(t, s, to("l", "flight@z.example"), "text")
		claim(t, s, "z.example", 1)
		db := databases.Open(t, o)
		if o.URL != "" {
			if _, err := HoldAll(t.Context(), db); !errors.Is(err, ErrInUse) {
				t.Errorf("beside a gateway: %v", err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if held, err := HoldAll(t.Context(), db); held != 2 || err != nil {
			t.Errorf("%d are held, %v", held, err)
		}
		s = start(t, o)
		nothing(t, s)
		if done, err := s.Release(t.Context(), Filter{}, Place{}); err != nil || len(done.Changed) != 2 {
			t.Fatalf("%+v, %v", done, err)
		}
		for range 2 {
			name := next(t, s)
			if got := one(t, s, name).Recipients[0]; got.State != Uncertain || got.Attempts != 1 {
				t.Errorf("%s is %s after %d attempts", got.Address, got.State, got.Attempts)
			}
		}
	})
}
