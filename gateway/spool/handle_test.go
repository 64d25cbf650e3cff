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
		accept(t, s, to("1", "a@x.example"), "text")
		accept(t, s, to("2", "a@y.example", "b@x.example"), "text")
		held := to("3", "c@y.example")
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

// handled carries out a change and says how many recipients it has changed.
func handled(t testing.TB, f func(context.Context, Filter) (int, error), filter Filter) int {
	t.Helper()
	n, err := f(t.Context(), filter)
	if err != nil {
		t.Fatal(err)
	}
	return n
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
		if name := next(t, s); name == "y.example" {
			name = next(t, s)
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
		for name, f := range map[string]func(context.Context, Filter) (int, error){"retry": s.Retry, "hold": s.Hold} {
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
