package outbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest/memstore"
	"github.com/dipylon/dipylon/gateway/folder"
)

// lookTest is when messages that are set aside may come here.
const lookTest = 2 * time.Hour

// dies says what a message does to the plugin from now on.
func (w *world) dies(id backends.MessageID, how death) {
	w.mu.Lock()
	w.deaths[id] = how
	w.mu.Unlock()
}

// deathsCounted gives how often the plugin has ended, and how often a message was named that ends it, since the last call.
func (w *world) deathsCounted() (tried, named int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	tried, named = w.tried, w.named
	w.tried, w.named = 0, 0
	return tried, named
}

// held compares what is remembered.
func (w *world) held(t *testing.T, want ...string) []folder.QuarantineEntry {
	t.Helper()
	entries, err := w.quarantine.In(t.Context(), outboxOf("sakes"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprint(e.State, " ", e.Failures))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the quarantine has %q, want %q", got, want)
	}
	return entries
}

// next is the collector of a gateway that has started anew.
func (c *Collector) next() *Collector {
	return &Collector{Log: zerolog.Nop(), Store: c.Store, Take: c.Take, Quarantine: c.Quarantine, Observe: c.Observe}
}

// held3 has a message end the plugin until it is set aside.
func held3(t *testing.T, w *world, c *Collector) backends.MessageID {
	t.Helper()
	id := w.post("bad", "bob@far.example")
	w.dies(id, diesNamed)
	c.Use([]string{"sakes"})
	time.Sleep(4 * Lease)
	if tried, _ := w.deathsCounted(); tried != folder.FailuresMost {
		t.Fatalf("the plugin has ended %d times", tried)
	}
	w.held(t, "held 3")
	return id
}

// gone has the store forget a message.
func (w *world) gone(t *testing.T, id backends.MessageID) {
	t.Helper()
	gone := []backends.Settlement{{ID: id, Verdicts: []backends.Verdict{{Recipient: "bob@far.example", Action: backends.ActionRelayed}}}}
	if err := w.Settle(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
}

// TestSetAside: a message that ends the plugin is not collected again after a few times, also by a gateway that has
// started anew, and holds up nothing. Once it is released it is tried again, and forgotten when it could be had.
func TestSetAside(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		id := w.post("bad", "bob@far.example")
		w.dies(id, diesNamed)
		w.post("good", "bob@far.example")
		c.Use([]string{"sakes"})
		synctest.Wait()
		_, taken, _ := w.counted()
		same(t, taken, "good")
		entries := w.held(t, "suspected 1")
		time.Sleep(4 * Lease)
		_, _, outcomes := w.counted()
		same(t, outcomes, "sakes left", "sakes left", "sakes aside")
		w.held(t, "held 3")
		if tried, _ := w.deathsCounted(); tried != folder.FailuresMost {
			t.Errorf("the plugin has ended %d times", tried)
		}
		time.Sleep(10 * Lease)
		if tried, named := w.deathsCounted(); tried != 0 || named != 0 {
			t.Errorf("it is handed over %d times more, and read %d times", named, tried)
		}
		c.Close()
		log := w.log.String()
		if n := strings.Count(log, `"level":"error"`); n != 1 || !strings.Contains(log, entries[0].Number) || !strings.Contains(log, "dipylon quarantine release") {
			t.Errorf("the administrator is told\n%s", log)
		}

		time.Sleep(2 * Lease) // its lease runs out
		next := c.next()
		next.Use([]string{"sakes"})
		time.Sleep(time.Hour)
		if tried, _ := w.deathsCounted(); tried != 0 {
			t.Errorf("the plugin has ended %d times more behind a start", tried)
		}
		if err := w.quarantine.Release(t.Context(), entries[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(Lease + waitMost)
		if tried, _ := w.deathsCounted(); tried != 1 {
			t.Errorf("it is tried %d times behind a release", tried)
		}
		w.held(t, "suspected 1")
		w.dies(id, lives)
		time.Sleep(Lease + waitMost)
		_, taken, _ = w.counted()
		same(t, taken, "bad")
		w.held(t)
		next.Close()
	})
}

// TestSetAsideAtOnce: a store that says that a message can never be read is not asked twice.
func TestSetAsideAtOnce(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		w.Inject(memstore.Fault{Call: "content", Kind: memstore.Kind(backends.Poison)})
		w.post("bad", "bob@far.example")
		c.Use([]string{"sakes"})
		synctest.Wait()
		w.held(t, "held 1")
	})
}

// TestFailsForNow: what is over some day counts for nothing, however long it lasts, whether the store says so or its plugin
// is ended by who administers it.
func TestFailsForNow(t *testing.T) {
	for name, how := range map[string]death{"the store says so": failsForNow, "its plugin is replaced": replaced} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world, c *Collector) {
				id := w.post("bad", "bob@far.example")
				w.dies(id, how)
				w.post("good", "bob@far.example")
				c.Use([]string{"sakes"})
				time.Sleep((folder.FailuresMost + 2) * (Lease + waitMost))
				_, taken, outcomes := w.counted()
				same(t, taken, "good")
				if tried, _ := w.deathsCounted(); tried <= folder.FailuresMost || slices.Contains(outcomes, "sakes "+Aside) {
					t.Errorf("it is tried %d times: %q", tried, outcomes)
				}
				w.held(t)
				w.dies(id, lives)
				time.Sleep(Lease + waitMost)
				_, taken, _ = w.counted()
				same(t, taken, "bad")
			})
		})
	}
}

// TestSaysNever: a store that refuses a message for good is asked a few times, and no more.
func TestSaysNever(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		w.Inject(memstore.Fault{Call: "content", Kind: memstore.Kind(backends.Permanent)})
		w.post("bad", "bob@far.example")
		c.Use([]string{"sakes"})
		time.Sleep((folder.FailuresMost + 2) * (Lease + waitMost))
		w.held(t, "held 3")
	})
}

// TestSetAsideChanges: a message that is another one by now is tried again within a day.
func TestSetAsideChanges(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		c.look = lookTest
		id := held3(t, w, c)
		time.Sleep(lookTest + 2*Lease)
		if tried, named := w.deathsCounted(); tried != 0 || named != 1 {
			t.Errorf("it is handed over %d times, and read %d times", named, tried)
		}
		w.mu.Lock()
		w.sizes[id], w.deaths[id] = 4, lives
		w.mu.Unlock()
		w.counted()
		time.Sleep(lookTest)
		_, taken, _ := w.counted()
		same(t, taken, "bad")
		w.held(t)
	})
}

// TestSetAsideGone: what the store has no more is forgotten.
func TestSetAsideGone(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		c.look = lookTest
		id := held3(t, w, c)
		w.gone(t, id)
		time.Sleep(lookTest + lookFor + Lease)
		w.held(t)
	})
}

// TestSuspectGone: so is what was not set aside yet.
func TestSuspectGone(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		c.look = lookTest
		id := w.post("bad", "bob@far.example")
		w.dies(id, diesNamed)
		c.Use([]string{"sakes"})
		synctest.Wait()
		w.held(t, "suspected 1")
		w.gone(t, id)
		time.Sleep(lookTest + 2*Lease)
		w.held(t)
	})
}

// TestUnnamed: where no message is named before the plugin ends, what is behind it goes on, the administrator is told
// once, and it is forgotten when it is over.
func TestUnnamed(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		id := w.post("bad", "bob@far.example")
		w.dies(id, diesUnnamed)
		w.post("good", "bob@far.example")
		c.Use([]string{"sakes"})
		time.Sleep(waitMost)
		_, taken, _ := w.counted()
		same(t, taken, "good")
		w.held(t, "suspected 1")
		time.Sleep(6 * Lease)
		_, _, outcomes := w.counted()
		same(t, outcomes, "sakes aside")
		if e := w.held(t, "held 7")[0]; e.ID != "" {
			t.Errorf("it is said to be %q", e.ID)
		}
		w.dies(id, lives)
		time.Sleep(4 * Lease)
		_, taken, _ = w.counted()
		same(t, taken, "bad")
		w.held(t)
		c.Close()
		if n := strings.Count(w.log.String(), `"level":"error"`); n != 1 {
			t.Errorf("the administrator is told %d times:\n%s", n, w.log.String())
		}
	})
}
