package outbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest/memstore"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
	"github.com/dipylon/dipylon/test/databases"
)

// world is a store with an outbox, and a gateway that takes what it is given, unless refuse says otherwise.
type world struct {
	*memstore.Store
	impatient bool // it does not wait for mail

	mu       sync.Mutex
	collects int
	taken    []string
	outcomes []string
	refuse   func(content string) error

	log        bytes.Buffer // after Close
	quarantine *folder.Quarantine
	// deaths are messages that end the store's plugin, by what they are: before it has named them, or as it reads them.
	deaths map[backends.MessageID]death
	tried  int // how often the plugin has ended
	named  int // how often one of them was named
	sizes  map[backends.MessageID]int64
}

type death int

const (
	lives death = iota
	diesNamed
	diesUnnamed
	replaced
	failsForNow
)

var (
	errDied     = backends.Fail(backends.Temporary, "the plugin has ended: %w", backends.ErrCrashed)
	errReplaced = backends.Fail(backends.Temporary, "the plugin was ended")
	errForNow   = backends.Fail(backends.Temporary, "the store's disk does not answer")
)

// dying is the content of a message that ends the plugin.
type dying struct {
	backends.Content
	read func() error
}

func (d dying) Read([]byte) (int, error) { return 0, d.read() }

// handOver hands a message over as a plugin that may end does: its leases go on then.
func (w *world) handOver(ctx context.Context, m backends.Outgoing, content backends.Content, accept func(context.Context, backends.Outgoing, backends.Content) error) (err error, died bool) {
	w.mu.Lock()
	if size := w.sizes[m.ID]; size != 0 {
		m.Size = size
	}
	dies, died := w.deaths[m.ID], false
	if dies == diesUnnamed {
		w.tried++
	}
	w.mu.Unlock()
	switch dies {
	case diesUnnamed:
		return errDied, true
	case diesNamed, replaced, failsForNow:
		w.mu.Lock()
		w.named++
		w.mu.Unlock()
		err := accept(ctx, m, dying{content, func() error {
			w.mu.Lock()
			w.tried++
			w.mu.Unlock()
			died = dies != failsForNow
			return map[death]error{diesNamed: errDied, replaced: errReplaced, failsForNow: errForNow}[dies]
		}})
		return err, died
	}
	return accept(ctx, m, content), false
}

// Collect implements [backends.Outbox].
func (w *world) Collect(ctx context.Context, request backends.CollectRequest, accept func(context.Context, backends.Outgoing, backends.Content) error) error {
	w.mu.Lock()
	w.collects++
	w.mu.Unlock()
	if w.impatient {
		request.Wait = 0
	}
	var last error
	ctx, end := context.WithCancel(ctx)
	defer end()
	err := w.Store.Collect(ctx, request, func(ctx context.Context, m backends.Outgoing, content backends.Content) error {
		err, died := w.handOver(ctx, m, content, accept)
		if died { // nobody gives the message back
			last = err
			end()
			return nil
		}
		return err
	})
	if last != nil {
		return last
	}
	return err
}

func (w *world) take(_ context.Context, _ *stores.Store, m backends.Outgoing, body io.Reader) (routing.Handover, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return routing.Handover{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		if err := w.refuse(string(text)); err != nil {
			return routing.Handover{}, err
		}
	}
	w.taken = append(w.taken, string(text))
	h := routing.Handover{}
	for _, r := range m.Recipients {
		v := backends.Verdict{Recipient: r.Address, Action: backends.ActionRelayed}
		if strings.HasPrefix(r.Address, "nobody") {
			v = backends.Verdict{Recipient: r.Address, Action: backends.ActionFailed, Failure: backends.Fail(backends.NotFound, "nobody")}
		}
		h.Verdicts = append(h.Verdicts, v)
	}
	return h, nil
}

// counted gives what has happened since the last call.
func (w *world) counted() (collects int, taken, outcomes []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	collects, taken, outcomes = w.collects, w.taken, w.outcomes
	w.collects, w.taken, w.outcomes = 0, nil, nil
	return collects, taken, outcomes
}

func (w *world) post(content string, to ...string) backends.MessageID {
	return w.Enqueue(backends.Outgoing{Envelope: backends.Envelope{From: "ada@sakes.example"}, Recipients: backends.To(to...)}, []byte(content))
}

// run has a test in a bubble, with a collector of one store.
func run(t *testing.T, test func(t *testing.T, w *world, c *Collector)) {
	in := databases.Folder(t)
	synctest.Test(t, func(t *testing.T) {
		w := &world{Store: memstore.New(), deaths: make(map[backends.MessageID]death), sizes: make(map[backends.MessageID]int64)}
		w.quarantine = &folder.Quarantine{DB: open(t, in)}
		err := w.Configure(t.Context(), backends.Settings{Store: "sakes", Domains: []string{"sakes.example"}})
		if err != nil {
			t.Fatal(err)
		}
		table := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(w)))
		c := &Collector{
			Log: zerolog.New(&w.log), Take: w.take, Quarantine: w.quarantine,
			Store: func(name string) *stores.Store {
				all := table.Stores()
				if i := slices.IndexFunc(all, func(s *stores.Store) bool { return s.Name == name }); i >= 0 {
					return all[i]
				}
				return nil
			},
			Observe: func(store, outcome string) {
				w.mu.Lock()
				w.outcomes = append(w.outcomes, store+" "+outcome)
				w.mu.Unlock()
			},
		}
		test(t, w, c)
		c.Close() // the bubble fails if a goroutine is left
		c.Use([]string{"sakes"})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// open opens the state until the bubble's end.
func open(t *testing.T, in string) *state.DB {
	return databases.Open(t, state.Options{Log: zerolog.Nop(), Folder: in})
}

// same compares what was taken, or told.
func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCollect(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		for range batchMost + 2 {
			w.post("x", "bob@far.example")
		}
		c.Use([]string{"sakes", "another"})
		synctest.Wait()
		_, taken, _ := w.counted()
		if len(taken) != batchMost+2 {
			t.Errorf("%d are taken at once", len(taken))
		}
		w.post("to nobody", "nobody@far.example")
		w.post("to some", "nobody@far.example", "bob@far.example")
		synctest.Wait()
		_, taken, outcomes := w.counted()
		same(t, taken, "to nobody", "to some")
		same(t, outcomes, "sakes failed", "sakes taken")
		time.Sleep(2 * Lease)
		_, taken, _ = w.counted()
		same(t, taken) // all was settled
	})
}

// TestIdle: a store that can wait is left to it, and any other is asked after pauses.
func TestIdle(t *testing.T) {
	for name, most := range map[string]int{"patient": 61, "impatient": 75} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world, c *Collector) {
				w.impatient = name == "impatient"
				c.Use([]string{"sakes"})
				time.Sleep(time.Hour)
				if n, _, _ := w.counted(); n > most {
					t.Errorf("it is asked %d times in an hour", n)
				}
				w.post("x", "bob@far.example")
				time.Sleep(pauseMost)
				_, taken, _ := w.counted()
				same(t, taken, "x")
			})
		})
	}
}

// TestStoreFails: a store that fails is asked again, at growing distances.
func TestStoreFails(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		w.Inject(memstore.Fault{Call: "collect", Kind: memstore.Kind(backends.Temporary)})
		w.post("x", "bob@far.example")
		c.Use([]string{"sakes"})
		time.Sleep(time.Hour)
		if n, taken, _ := w.counted(); n > 75 || n < 50 || len(taken) > 0 {
			t.Errorf("it is asked %d times in an hour", n)
		}
		w.Mend()
		time.Sleep(pauseMost)
		_, taken, _ := w.counted()
		same(t, taken, "x")
	})
}

// TestOddMessage: one whose content cannot be read costs nobody else, and is tried again after its lease.
func TestOddMessage(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		w.Inject(memstore.Fault{Call: "content", Kind: memstore.Kind(backends.Temporary), Times: 1, After: 1})
		w.post("odd", "bob@far.example")
		w.post("good", "bob@far.example")
		c.Use([]string{"sakes"})
		synctest.Wait()
		_, taken, outcomes := w.counted()
		same(t, taken, "good")
		same(t, outcomes, "sakes left", "sakes taken")
		time.Sleep(Lease - time.Second)
		_, taken, _ = w.counted()
		same(t, taken)
		time.Sleep(waitMost + time.Second)
		_, taken, _ = w.counted()
		same(t, taken, "odd")
	})
}

// TestQueueRefuses: what the gateway does not take now is asked for again, and nothing else is before.
func TestQueueRefuses(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		full := true
		w.refuse = func(string) error {
			if full {
				return errors.New("the disk is full")
			}
			return nil
		}
		w.post("1", "bob@far.example")
		w.post("2", "bob@far.example")
		c.Use([]string{"sakes"})
		time.Sleep(time.Hour)
		if n, taken, _ := w.counted(); n > 75 || n < 50 || len(taken) > 0 {
			t.Errorf("it is asked %d times in an hour", n)
		}
		w.mu.Lock()
		full = false
		w.mu.Unlock()
		time.Sleep(pauseMost)
		_, taken, _ := w.counted()
		same(t, taken, "1", "2")
	})
}

// TestNotSettled: while the store does not take note of what became of its messages, it is told again before it is
// asked for more, and not for ever.
func TestNotSettled(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		w.Inject(memstore.Fault{Call: "settle", Kind: memstore.Kind(backends.Temporary), Times: 2})
		w.post("1", "bob@far.example")
		c.Use([]string{"sakes"})
		time.Sleep(time.Minute)
		w.post("2", "bob@far.example")
		time.Sleep(2 * Lease)
		_, taken, _ := w.counted()
		same(t, taken, "1", "2")
		w.Inject(memstore.Fault{Call: "settle", Kind: memstore.Kind(backends.Permanent), Times: settleTries})
		w.post("3", "bob@far.example")
		time.Sleep(time.Minute)
		w.post("4", "bob@far.example")
		time.Sleep(2 * Lease)
		_, taken, _ = w.counted()
		same(t, taken, "3", "4", "3") // known by its key
	})
}

// TestUse: a store that is removed is asked no more, and one whose plugin has another process is asked anew.
func TestUse(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		c.Use([]string{"sakes"})
		synctest.Wait()
		c.Use([]string{"sakes"})
		synctest.Wait()
		if n, _, _ := w.counted(); n != 1 {
			t.Errorf("it is asked %d times", n)
		}
		c.Use([]string{"sakes"}, "sakes")
		synctest.Wait()
		if n, _, _ := w.counted(); n != 1 {
			t.Errorf("it is asked %d times more", n)
		}
		c.Use(nil)
		c.Use([]string{"sakes"}) // before whoever has asked has ended
		synctest.Wait()
		if n, _, _ := w.counted(); n != 1 {
			t.Errorf("a store that is back is asked %d times", n)
		}
		c.Use(nil)
		synctest.Wait()
		w.post("x", "bob@far.example")
		time.Sleep(time.Hour)
		if n, taken, _ := w.counted(); n != 0 || len(taken) != 0 {
			t.Errorf("a store that is not there any more is asked %d times", n)
		}
		c.Use([]string{"sakes"})
		synctest.Wait()
		_, taken, _ := w.counted()
		same(t, taken, "x")
	})
}

// TestCloseAmidMessage: a message that is being handed over at the end stays the store's, and is there at once for
// whoever comes next.
func TestCloseAmidMessage(t *testing.T) {
	run(t, func(t *testing.T, w *world, c *Collector) {
		w.Inject(memstore.Fault{Call: "content", Hang: true, Times: 1})
		w.post("x", "bob@far.example")
		c.Use([]string{"sakes"})
		synctest.Wait()
		c.Close()
		next := &Collector{Log: zerolog.Nop(), Store: c.Store, Take: c.Take}
		next.Use([]string{"sakes"})
		synctest.Wait()
		_, taken, _ := w.counted()
		same(t, taken, "x")
		next.Close()
	})
}
