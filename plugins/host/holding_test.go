package host

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// TestHolds: an answer that holds is given again without a question, as far as the store has said.
func TestHolds(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	want, since := 0, time.Now()
	for _, step := range []struct {
		what  string
		query backends.ResolveQuery
		asked bool
	}{
		{"first", backends.ResolveQuery{Recipients: backends.To("holds@x.example"), Size: 100}, true},
		{"again", backends.ResolveQuery{Recipients: backends.To("holds@x.example"), Size: 100}, false},
		{"of another sender", backends.ResolveQuery{Envelope: backends.Envelope{From: "b@x.example"}, Recipients: backends.To("holds@x.example")}, false},
		{"twice in a query", backends.ResolveQuery{Recipients: backends.To("holds@x.example", "holds@x.example")}, false},
		{"a larger message", backends.ResolveQuery{Recipients: backends.To("holds@x.example"), Size: 200}, true},
		{"a smaller one", backends.ResolveQuery{Recipients: backends.To("holds@x.example"), Size: 150}, false},
		{"for its account", backends.ResolveQuery{Recipients: backends.To("holds@x.example"), Accounts: true}, true},
		{"with one that is not known", backends.ResolveQuery{Recipients: backends.To("holds@x.example", "b@x.example"), Size: 150}, true},
		{"after a small one", backends.ResolveQuery{Recipients: backends.To("holds@x.example"), Size: 200}, false},
		{"another recipient", backends.ResolveQuery{Recipients: backends.To("holds-2@x.example")}, true},
	} {
		verdicts, err := s.Resolve(t.Context(), step.query)
		if err != nil || len(verdicts) != len(step.query.Recipients) || verdicts[0].Failure != nil || verdicts[0].Recipient != step.query.Recipients[0].Address {
			t.Fatal(step.what, verdicts, err)
		}
		if step.asked || time.Since(since) >= backends.HoldsMost { // the machine may be as slow as that
			want++
			since = time.Now()
		}
		if got := asked(t, s, "holds"); got != fmt.Sprint(want) {
			t.Errorf("%s: the store was asked %s times, not %d", step.what, got, want)
		}
	}
}

// TestHoldsProcess: another process is asked for itself.
func TestHoldsProcess(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{})
	s, _ := start(t, spec)
	query := backends.ResolveQuery{Recipients: backends.To("holds@x.example")}
	for range 2 {
		if _, err := s.Resolve(t.Context(), query); err != nil {
			t.Fatal(err)
		}
		if got := asked(t, s, "holds"); got != "1" {
			t.Errorf("this process was asked %s times", got)
		}
		if err := s.Swap(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHoldsHint: a hint ends what holds.
func TestHoldsHint(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{Messages: []string{"ann"}}))
	query := backends.ResolveQuery{Recipients: backends.To("holds@x.example")}
	if _, err := s.Resolve(t.Context(), query); err != nil {
		t.Fatal(err)
	}
	told := make(chan struct{})
	go s.Follow(t.Context(), func(h backends.Hint) {
		if h.Account == "ann" {
			close(told)
		}
	})
	<-told
	if _, err := s.Resolve(t.Context(), query); err != nil {
		t.Fatal(err)
	}
	if got := asked(t, s, "holds"); got != "2" {
		t.Errorf("the store was asked %s times", got)
	}
}

// TestHolding: what is remembered has an end, a bound, and no part in what has changed while it was asked for.
func TestHolding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h holding
		query := func(address string) backends.ResolveQuery {
			return backends.ResolveQuery{Recipients: backends.To(address)}
		}
		verdict := func(address string) []backends.Verdict {
			return []backends.Verdict{{Recipient: address, Account: "id", Holds: time.Second}}
		}
		knows := func(address string) bool {
			verdicts, _ := h.of(query(address))
			return slices.Equal(verdicts, verdict(address))
		}
		h.note(query("a@x.example"), verdict("a@x.example"), 0)
		time.Sleep(time.Second - 1)
		if !knows("a@x.example") {
			t.Error("it is forgotten too early")
		}
		time.Sleep(time.Nanosecond)
		if knows("a@x.example") {
			t.Error("it holds too long")
		}
		_, asOf := h.of(query("a@x.example"))
		h.forget()
		h.note(query("a@x.example"), verdict("a@x.example"), asOf)
		if knows("a@x.example") {
			t.Error("what was asked before a hint is remembered behind it")
		}
		_, asOf = h.of(query("a@x.example"))
		h.note(query("a@x.example"), verdict("a@x.example"), asOf)
		refused := verdict("a@x.example")
		refused[0].Failure = backends.Fail(backends.NotFound, "gone")
		h.note(query("a@x.example"), refused, asOf)
		if knows("a@x.example") {
			t.Error("it holds although it was refused since")
		}
		for i := range 2 * holdingMost {
			address := fmt.Sprintf("u%d@x.example", i)
			h.note(query(address), verdict(address), asOf)
		}
		if len(h.all) > holdingMost {
			t.Errorf("%d are remembered", len(h.all))
		}
		time.Sleep(time.Second)
		h.note(query("a@x.example"), verdict("a@x.example"), asOf)
		if len(h.all) != 1 || !knows("a@x.example") {
			t.Errorf("%d are left", len(h.all))
		}
	})
}
