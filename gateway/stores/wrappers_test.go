package stores_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/stores"
)

// TestCounters: calls are counted by store and call, apart by what they came to, with their time.
func TestCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c stores.Counters
		call := func(store, name string, takes time.Duration, err error) {
			got := c.Middleware(t.Context(), stores.Call{Store: store, Name: name}, func(context.Context) error {
				time.Sleep(takes) // of the bubble's clock
				return err
			})
			if got != err { //nolint:errorlint // the very same
				t.Errorf("%v comes back as %v", err, got)
			}
		}
		call("sakes", "Login", time.Second, nil)
		call("sakes", "Login", 3*time.Second, backends.Fail(backends.BadCredentials, "wrong"))
		call("sakes", "Login", time.Second, backends.Fail(backends.Temporary, "down"))
		call("sakes", "Deliver", time.Second, context.DeadlineExceeded)
		call("tea", "Login", time.Second, nil)
		func() {
			defer func() { _ = recover() }()
			_ = c.Middleware(t.Context(), stores.Call{Store: "tea", Name: "Login"}, func(context.Context) error { panic("on purpose") })
		}()
		end := make(chan struct{})
		var open sync.WaitGroup
		open.Go(func() {
			_ = c.Middleware(t.Context(), stores.Call{Store: "tea", Name: "Login"}, func(context.Context) error { <-end; return nil })
		})
		synctest.Wait()
		for store, want := range map[string][]stores.Count{
			"sakes": {
				{Call: "Deliver", Calls: 1, Failed: 1, Took: time.Second, Longest: time.Second},
				{Call: "Login", Calls: 3, Refused: 1, Failed: 1, Took: 5 * time.Second, Longest: 3 * time.Second},
			},
			"tea": {{Call: "Login", Calls: 2, Open: 1, Failed: 1, Took: time.Second, Longest: time.Second}},
		} {
			got := c.Of(store)
			if len(got) != len(want) {
				t.Fatalf("%s has %+v", store, got)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s has %+v, want %+v", store, got[i], want[i])
				}
			}
		}
		c.Forget("tea")
		close(end)
		open.Wait()
		if got := c.Of("tea"); len(got) > 0 {
			t.Errorf("what was forgotten: %+v", got)
		}
	})
}

// TestTraced: the calls of a session have one trace id, each with a span of its own, and the log has
// what the backend is given.
func TestTraced(t *testing.T) {
	var log strings.Builder
	traced := stores.Traced(zerolog.New(&log))
	var given []backends.Trace
	call := func(ctx context.Context, session string) {
		err := traced(ctx, stores.Call{Store: "sakes", Name: "Login", Session: session}, func(ctx context.Context) error {
			trace, _ := backends.TraceOf(ctx)
			given = append(given, trace)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	call(t.Context(), "one")
	call(t.Context(), "one")
	call(t.Context(), "two")
	call(t.Context(), "")
	call(t.Context(), "")
	call(backends.WithTrace(t.Context(), given[0]), "two")
	ids := make(map[[16]byte]int)
	for _, trace := range given {
		ids[trace.TraceID]++
		if trace.SpanID == ([8]byte{}) || trace.TraceID == ([16]byte{}) {
			t.Errorf("%v is not valid", trace)
		}
	}
	if len(ids) != 4 || ids[given[0].TraceID] != 3 || given[0].SpanID == given[1].SpanID || given[0].SpanID == given[5].SpanID {
		t.Errorf("the traces are %v", given)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != len(given) {
		t.Fatalf("%d lines are logged", len(lines))
	}
	for i, line := range lines {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		if fields["traceparent"] != given[i].String() || fields["call"] != "Login" || fields["store"] != "sakes" {
			t.Errorf("logged is %s, for %v", line, given[i])
		}
	}
}
