//go:build linux

package folder

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// eachQuarantine runs a test on SQLite and on PostgreSQL, with a clock that stands still.
func eachQuarantine(t *testing.T, f func(t *testing.T, q *Quarantine)) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		f(t, &Quarantine{DB: databases.Open(t, o), Now: func() time.Time { return time.Unix(1_700_000_000, 500) }})
	})
}

var (
	inbox  = Key{Store: "sakes", Account: "ada"}
	broken = backends.Fail(backends.Temporary, "the disk of %s says no\nand more", "node-7").Say("it cannot be read")
	poison = backends.Fail(backends.Poison, "property 0x1000 is damaged")
)

func message(id string) Message {
	return Message{Key: inbox, ID: backends.MessageID(id), UIDL: fmt.Sprintf("u-%x", id)}
}

func (q *Quarantine) mustIn(t *testing.T, key Key) string {
	t.Helper()
	entries, err := q.In(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, fmt.Sprint(string(e.ID), " ", e.State, " ", e.UIDL, " ", e.Failures, " ", e.Served))
	}
	return strings.Join(all, ", ")
}

func TestSuspectedThenHeld(t *testing.T) {
	eachQuarantine(t, func(t *testing.T, q *Quarantine) {
		m := message("a\x00\xff\n")
		for n, want := range []QuarantineState{Suspected, Suspected, Held, Held} {
			e, err := q.Failed(t.Context(), m, broken, false)
			if err != nil || e.State != want || e.Failures != int64(n+1) {
				t.Fatalf("failure %d: %+v, %v", n+1, e, err)
			}
			if e.Reason != "it cannot be read" || !strings.Contains(e.Detail, "node-7 says no and more") {
				t.Errorf("reason %q, detail %q", e.Reason, e.Detail)
			}
		}
		entries, err := q.In(t.Context(), inbox)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%+v, %v", entries, err)
		}
		if e := entries[0]; e.Message != m || e.Number != m.Number() || !e.First.Equal(time.Unix(1_700_000_000, 0)) {
			t.Errorf("read again it is %+v", e)
		}
		for _, other := range []Key{{"sakes", "ada", "archive"}, {"sakes", "bob", ""}, {"other", "ada", ""}} {
			if got := q.mustIn(t, other); got != "" {
				t.Errorf("%v has %s", other, got)
			}
		}
	})
}

// TestHeldStaysAsItWas: the notice has the same octets in every session.
func TestHeldStaysAsItWas(t *testing.T) {
	eachQuarantine(t, func(t *testing.T, q *Quarantine) {
		first, err := q.Failed(t.Context(), message("a"), poison, true)
		if err != nil || first.State != Held {
			t.Fatalf("%+v, %v", first, err)
		}
		q.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
		second, err := q.Failed(t.Context(), message("a"), broken, false)
		if err != nil || second.State != Held || second.Reason != first.Reason || second.First != first.First || second.Failures != 2 {
			t.Errorf("%+v, %v", second, err)
		}
	})
}

func TestReleased(t *testing.T) {
	eachQuarantine(t, func(t *testing.T, q *Quarantine) {
		ctx := t.Context()
		release := func(id string) {
			t.Helper()
			entries, err := q.Find(ctx, message(id).Number()[:10])
			if err != nil || len(entries) != 1 {
				t.Fatalf("%+v, %v", entries, err)
			}
			if err := q.Release(ctx, entries[0]); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []string{"told", "untold", "hidden"} {
			if _, err := q.Failed(ctx, message(id), poison, true); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Served(ctx, message("told").Number()); err != nil {
			t.Fatal(err)
		}
		if err := q.Hide(ctx, []string{message("hidden").Number()}); err != nil {
			t.Fatal(err)
		}
		if e, err := q.Failed(ctx, message("hidden"), poison, true); err != nil || e.State != Hidden {
			t.Errorf("what is hidden comes back: %+v, %v", e, err)
		}
		for _, id := range []string{"told", "untold", "hidden"} {
			release(id)
		}
		entries, err := q.List(ctx, 10, Released)
		if err != nil || len(entries) != 3 {
			t.Fatalf("%+v, %v", entries, err)
		}
		for _, e := range entries {
			// Who has had a notice under the old unique-id would not fetch the message.
			if renamed := strings.HasPrefix(e.UIDL, uidlMark) && len(e.UIDL) == 26; renamed != (e.ID != "untold") {
				t.Errorf("%s has the unique-id %q", e.ID, e.UIDL)
			}
			again, err := q.Failed(ctx, message(string(e.ID)), poison, true)
			if err != nil || again.State != Held || again.UIDL != e.UIDL {
				t.Errorf("failing again it is %+v, %v", again, err)
			}
		}
		if err := q.Forget(ctx, []string{message("told").Number()}); err != nil {
			t.Fatal(err)
		}
		if err := q.Release(ctx, QuarantineEntry{Number: message("told").Number()}); err == nil {
			t.Error("what is forgotten was released")
		}
	})
}

func TestListQuarantine(t *testing.T) {
	eachQuarantine(t, func(t *testing.T, q *Quarantine) {
		for i := range 5 {
			q.Now = func() time.Time { return time.Unix(int64(1_700_000_000+i), 0) }
			if _, err := q.Failed(t.Context(), message(fmt.Sprint("m", i)), broken, i%2 == 0); err != nil {
				t.Fatal(err)
			}
		}
		ids := func(most int, states ...QuarantineState) (ids []string) {
			t.Helper()
			entries, err := q.List(t.Context(), most, states...)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				ids = append(ids, string(e.ID))
			}
			return ids
		}
		for want, got := range map[string][]string{
			"[m4 m3 m2 m1 m0]": ids(10), "[m4 m3]": ids(2), "[m4 m2 m0]": ids(10, Held), "[m4 m2]": ids(2, Held, Hidden), "[m3 m1]": ids(10, Suspected),
		} {
			if fmt.Sprint(got) != want {
				t.Errorf("%v, want %s", got, want)
			}
		}
	})
}

// TestNoStore: without a database a message is held for as long as somebody remembers.
func TestNoQuarantine(t *testing.T) {
	var q *Quarantine
	e, err := q.Failed(context.Background(), message("a"), poison, true)
	if err != nil || e.State != Held || e.Number == "" {
		t.Errorf("%+v, %v", e, err)
	}
	if entries, err := q.In(context.Background(), inbox); len(entries) > 0 || err != nil {
		t.Errorf("%v, %v", entries, err)
	}
	if err := q.Hide(context.Background(), []string{"a"}); err != nil {
		t.Error(err)
	}
}

// TestNumbersDiffer: what is joined to make a number cannot be cut in another way.
func TestNumbersDiffer(t *testing.T) {
	seen := make(map[string]Message)
	for _, m := range []Message{
		{Key{"a", "b", "c"}, "d", ""}, {Key{"ab", "", "c"}, "d", ""}, {Key{"a", "bc", ""}, "d", ""}, {Key{"a", "b", ""}, "cd", ""},
	} {
		if other, twice := seen[m.Number()]; twice {
			t.Errorf("%v and %v have one number", m, other)
		}
		seen[m.Number()] = m
	}
}
