package routing_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// TestMoreRecipientsThanAStoreTakes: everybody gets one copy, however the store says how many it
// takes at once.
func TestMoreRecipientsThanAStoreTakes(t *testing.T) {
	tooMany := backends.Fail(backends.Temporary, "too many").WithCode("4.5.3")
	for name, tt := range map[string]struct {
		change func(*fakeStore)
		calls  int // at the most
	}{
		"a limit that it has told": {func(f *fakeStore) {
			f.limits.Recipients = 20
			f.before = func(_ context.Context, d backends.Delivery) error {
				if len(d.Recipients) > 20 {
					return backends.Fail(backends.Permanent, "not obeyed")
				}
				return nil
			}
		}, 3},
		"it takes the first": {func(f *fakeStore) {
			f.choose = func(d backends.Delivery, i int) *backends.Failure {
				if i >= 20 {
					return tooMany
				}
				return nil
			}
		}, 3},
		"it takes one": {func(f *fakeStore) {
			f.choose = func(d backends.Delivery, i int) *backends.Failure {
				if i >= 1 {
					return tooMany
				}
				return nil
			}
		}, 50},
		"it refuses all, temporarily": {func(f *fakeStore) {
			f.before = func(_ context.Context, d backends.Delivery) error {
				if len(d.Recipients) > 20 {
					return tooMany
				}
				return nil
			}
		}, 8},
		"it refuses all, after the content, for good": {func(f *fakeStore) {
			f.choose = func(d backends.Delivery, i int) *backends.Failure {
				if len(d.Recipients) > 20 {
					return backends.Fail(backends.Permanent, "too many").WithCode("5.5.3")
				}
				return nil
			}
		}, 8},
	} {
		for _, sends := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, sends %v", name, sends), func(t *testing.T) {
				_, session, from, store := numbered(t, sends)
				tt.change(store)
				var to []string
				for i := range 50 {
					to = append(to, fmt.Sprintf("r%d@sakes.example", i))
				}
				if reply, text := sendText(t, session, from, to, letter); reply != "250" {
					t.Fatal(reply, text)
				}
				for _, r := range to {
					if store.has(r) != 1 {
						t.Fatalf("%s has %d copies", r, store.has(r))
					}
				}
				if n := len(store.delivered) + len(store.sent); n > tt.calls {
					t.Errorf("%d calls", n)
				}
			})
		}
	}
}

// TestNumberIsNotTheReason: a store that refuses for the number whoever is named ends it, with
// nobody having a copy.
func TestNumberIsNotTheReason(t *testing.T) {
	for name, tt := range map[string]struct {
		failure *backends.Failure
		want    string
	}{
		"for now":  {backends.Fail(backends.Temporary, "x").WithCode("4.5.3"), "452 4.5.3"},
		"for good": {backends.Fail(backends.Permanent, "x").WithCode("5.5.3"), "554 5.5.3"},
	} {
		t.Run(name, func(t *testing.T) {
			_, session, from, store := numbered(t, true)
			store.choose = func(backends.Delivery, int) *backends.Failure { return tt.failure }
			var to []string
			for i := range 64 {
				to = append(to, fmt.Sprintf("r%d@sakes.example", i))
			}
			if got := send(t, session, from, to, letter); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if len(store.copies) > 0 || len(store.sent) > 2 {
				t.Errorf("%d have copies after %d calls", len(store.copies), len(store.sent))
			}
		})
	}
}

// numbered is a session whose messages go to one store.
func numbered(t *testing.T, sends bool) (*gateway, smtp.Session, string, *fakeStore) {
	g := newGateway(t)
	if !sends {
		return g, g.mx(), "carol@far.example", g.sakes
	}
	g.options.Router.Swap(g.table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}, Sends: true, Default: true}.In(storestest.In(sender{receiver{g.sakes}}))))
	return g, g.submission(), "alice@sakes.example", g.sakes
}
