//go:build linux

package routing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

func TestMain(m *testing.M) { databases.Main(m) }

func opened(t *testing.T, o routing.DedupOptions) *routing.StoredDedup {
	t.Helper()
	o.Log = zerolog.Nop()
	l, err := routing.OpenDedup(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func lengthOf(t *testing.T, l *routing.StoredDedup) int {
	t.Helper()
	n, err := l.Len(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// failing is a deduplication that cannot remember.
type failing struct{ routing.Dedup }

func (failing) Put(context.Context, *routing.Attempt) error {
	return errors.New("no space left on device")
}

func TestDedupThatFails(t *testing.T) {
	g := newGateway(t)
	g.options.Dedup = failing{g.options.Dedup}
	g.tea.verdict = func(string) *backends.Failure { return backends.Fail(backends.OverQuota, "full") }
	if got := send(t, g.mx(), "", []string{"bob@sakes.example", "eve@tea.example"}, letter); got != "452 4.2.2" {
		t.Errorf("got %s", got)
	}
	if !strings.Contains(g.log.String(), "the deduplication cannot remember") {
		t.Error("nothing in the log")
	}
	if got := send(t, g.mx(), "", []string{"bob@sakes.example"}, letter); got != "250" {
		t.Errorf("a message that needs no dedup: %s", got)
	}
}

// TestDedupExpiry: an attempt is remembered for a week after it was written last.
func TestDedupExpiry(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		now := time.Now()
		options := routing.DedupOptions{DB: databases.Open(t, o), Now: func() time.Time { return now }}
		l := opened(t, options)
		put(t, l, take(t, l, "bob"), "bob")
		now = now.Add(6 * 24 * time.Hour)
		if a := take(t, l, "bob"); !a.Again {
			t.Error("forgotten after six days")
		} else {
			put(t, l, a, "bob")
		}
		now = now.Add(8 * 24 * time.Hour)
		if a := take(t, l, "bob"); a.Again {
			t.Error("remembered after eight days")
		} else {
			put(t, l, a, "bob") // the old one goes as this one comes
		}
		if n := lengthOf(t, l); n != 1 {
			t.Errorf("%d attempts are remembered", n)
		}
		now = now.Add(8 * 24 * time.Hour)
		if rows, err := l.Tasks()[0].Do(t.Context(), 100); rows != 1 || err != nil {
			t.Errorf("the task forgot %d (%v)", rows, err)
		}
	})
}

// TestDedupIsBounded: the oldest attempts make room for new ones.
func TestDedupIsBounded(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		now := time.Now()
		options := routing.DedupOptions{DB: databases.Open(t, o), Most: 10, Now: func() time.Time { now = now.Add(time.Second); return now }}
		l := opened(t, options)
		for i := range 30 {
			put(t, l, take(t, l, fmt.Sprint("u", i)), fmt.Sprint("u", i))
		}
		if n := lengthOf(t, l); n != 10 {
			t.Errorf("%d are remembered", n)
		}
		if a := take(t, l, "u0"); a.Again {
			t.Error("the oldest is still there")
		}
		if a := take(t, l, "u29"); !a.Again {
			t.Error("the newest is gone")
		}
		options.Most = 5
		if n := lengthOf(t, opened(t, options)); n != 5 {
			t.Errorf("after a start: %d", n)
		}
	})
}

// TestDedupConcurrently: an attempt is one transaction's alone, over all gateways.
func TestDedupConcurrently(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		nodes := []*routing.StoredDedup{opened(t, routing.DedupOptions{DB: databases.Open(t, o)})}
		if o.URL != "" {
			nodes = append(nodes, opened(t, routing.DedupOptions{DB: databases.Open(t, o)}))
		}
		var mu sync.Mutex
		has := make(map[string]bool)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				l := nodes[g%len(nodes)]
				for range 15 {
					a, err := l.Take(t.Context(), routing.Message{Fingerprint: fp, Recipients: []string{"bob"}, Named: true})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					twice := has[a.Key]
					has[a.Key] = true
					mu.Unlock()
					if twice {
						t.Error("two transactions have one attempt")
					}
					a.Delivered = []string{"bob"}
					mu.Lock()
					delete(has, a.Key)
					mu.Unlock()
					if err := l.Put(t.Context(), a); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for a := take(t, nodes[0], "bob"); a.Again; a = take(t, nodes[0], "bob") {
			put(t, nodes[0], a)
		}
		if n := lengthOf(t, nodes[0]); n != 0 {
			t.Errorf("%d attempts are remembered", n)
		}
	})
}

// TestDedupOfADeadGateway: what a gateway had when it died is another's after a while, and its own
// at once where nobody else has the database.
func TestDedupOfADeadGateway(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		now := time.Now()
		options := routing.DedupOptions{DB: databases.Open(t, o), Now: func() time.Time { return now }}
		l := opened(t, options)
		put(t, l, take(t, l, "bob"), "bob")
		first := take(t, l, "bob") // and it dies
		if !first.Again {
			t.Fatal("it is not remembered")
		}
		next := opened(t, options)
		if o.URL != "" {
			if a := take(t, next, "bob"); a.Again {
				t.Error("another gateway has it at once")
			}
			now = now.Add(11 * time.Minute)
		}
		if a := take(t, next, "bob"); a.Key != first.Key || !slices.Equal(a.Delivered, []string{"bob"}) {
			t.Errorf("found %+v", a)
		}
	})
}

// TestDedupDamage: a row that cannot be read says nothing.
func TestDedupDamage(t *testing.T) {
	for name, damage := range map[string]string{"empty": "", "half": `{"key":"`, "another's": `{"key":"x","delivered":["bob"]}`} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			l := g.dedup()
			put(t, l, take(t, l, "bob"), "bob")
			err := g.db.Write(t.Context(), func(tx *state.Tx) error {
				_, err := tx.Exec("UPDATE deliveries SET attempt = $1", damage)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if a := take(t, l, "bob"); a.Again || len(a.Delivered) != 0 {
				t.Errorf("found %+v", a)
			}
		})
	}
}

// TestDedupFilesAreTakenOver: what earlier versions have kept in files is in the state, with the time
// of its first attempt, and the files are gone; a start that was killed before that does no harm.
func TestDedupFilesAreTakenOver(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		dir := filepath.Join(t.TempDir(), "ledger")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		first := time.Now().Add(-30 * time.Hour).UTC().Truncate(time.Second)
		record, err := json.Marshal(routing.Attempt{Key: "KEY1", First: first, Delivered: []string{"bob"}, Unknown: []string{"eve"}})
		if err != nil {
			t.Fatal(err)
		}
		write := func() {
			t.Helper()
			for name, octets := range map[string][]byte{fp + ".KEY1": record, fp + ".KEY2": []byte("{"), fp + ".KEY3.tmp": record, "README": []byte("x")} {
				if err := os.WriteFile(filepath.Join(dir, name), octets, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		write()
		options := routing.DedupOptions{DB: databases.Open(t, o), Files: dir}
		opened(t, options)
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder is there still: %v", err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write()
		l := opened(t, options)
		if n := lengthOf(t, l); n != 1 {
			t.Errorf("%d attempts are remembered", n)
		}
		a := take(t, l, "bob")
		if !a.Again || a.Key != "KEY1" || !a.First.Equal(first) || !slices.Equal(a.Delivered, []string{"bob"}) || !slices.Equal(a.Unknown, []string{"eve"}) {
			t.Errorf("found %+v", a)
		}
	})
}

// TestRetryAtAnotherGateway: a client's next try may come to another gateway.
func TestRetryAtAnotherGateway(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		if o.URL == "" {
			return // with SQLite there is one gateway
		}
		one := newGateway(t, on(databases.Open(t, o)))
		two := newGateway(t, on(databases.Open(t, o)))
		to := []string{"bob@sakes.example", "eve@tea.example"}
		one.tea.before = func(context.Context, backends.Delivery) error { return backends.Fail(backends.Temporary, "down") }
		if got := send(t, one.mx(), "carol@far.example", to, letter); got != "451 4.3.0" {
			t.Fatal(got)
		}
		if got := send(t, two.mx(), "carol@far.example", to, letter); got != "250" {
			t.Fatal(got)
		}
		if one.sakes.has(to[0]) != 1 || two.sakes.has(to[0]) != 0 || two.tea.has(to[1]) != 1 {
			t.Error("not one copy each")
		}
	})
}

// TestUnknownCostsNoQuery: a message that was never seen is not asked for where nobody else uses the database; one
// that was is, by this process and by the next.
func TestUnknownCostsNoQuery(t *testing.T) {
	db := openDB(t)
	first, err := routing.OpenDedup(t.Context(), routing.DedupOptions{Log: zerolog.Nop(), DB: db, Most: 4})
	if err != nil {
		t.Fatal(err)
	}
	message := func(n int) routing.Message {
		return routing.Message{Fingerprint: fmt.Sprint(n), Recipients: []string{"bob@sakes.example"}, Named: true}
	}
	for n := range 20 { // more than are known at a time
		a, err := first.Take(t.Context(), message(n))
		if err != nil || a.Again {
			t.Fatal(n, a, err)
		}
		a.Delivered = []string{"bob@sakes.example"}
		if err := first.Put(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		again, err := first.Take(t.Context(), message(n))
		if err != nil || !again.Again || again.Key != a.Key {
			t.Fatalf("%d is not recognised: %+v, %v", n, again, err)
		}
		if err := first.Put(t.Context(), again); err != nil {
			t.Fatal(err)
		}
	}
	next, err := routing.OpenDedup(t.Context(), routing.DedupOptions{Log: zerolog.Nop(), DB: db})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := next.Take(t.Context(), message(19)); err != nil || !a.Again {
		t.Errorf("the next process does not recognise it: %+v, %v", a, err)
	}
	if a, err := next.Take(t.Context(), message(20)); err != nil || a.Again {
		t.Errorf("%+v, %v", a, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := next.Take(t.Context(), message(21)); err != nil {
		t.Errorf("an unknown message is asked for: %v", err)
	}
	if _, err := next.Take(t.Context(), message(18)); err == nil {
		t.Error("a known message is not asked for")
	}
}
