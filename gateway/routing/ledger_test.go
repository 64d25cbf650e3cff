package routing_test

import (
	"context"
	"crypto/sha256"
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
	"pgregory.net/rapid"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/routing"
)

// TestRetry plays a message to bob and eve of which eve's copy has to wait.
func TestRetry(t *testing.T) {
	down := func(context.Context, backends.Delivery) error { return backends.Fail(backends.Temporary, "down") }
	to := []string{"bob@sakes.example", "eve@tea.example"}
	g := newGateway(t)
	g.tea.before = down
	session := g.mx()
	for range 3 {
		if got := send(t, session, "carol@far.example", to, letter); got != "451 4.3.0" {
			t.Fatal(got)
		}
	}
	if len(g.sakes.delivered) != 1 {
		t.Errorf("bob's store was given %d deliveries", len(g.sakes.delivered))
	}
	g.tea.before = nil
	if got := send(t, session, "carol@far.example", to, letter); got != "250" {
		t.Fatal(got)
	}
	if g.sakes.has(to[0]) != 1 || g.tea.has(to[1]) != 1 {
		t.Error("not one copy each")
	}
	first, last := g.tea.delivered[0], g.tea.delivered[3]
	if first.Retry || !last.Retry || first.Key != last.Key {
		t.Errorf("%+v, then %+v", first, last)
	}
	// It is finished. The same octets again are another message.
	if got := send(t, session, "carol@far.example", to, letter); got != "250" {
		t.Fatal(got)
	}
	if g.sakes.has(to[0]) != 2 || g.tea.has(to[1]) != 2 || g.tea.delivered[4].Retry || g.tea.delivered[4].Key == first.Key {
		t.Error("a second message was taken for the first")
	}
}

func TestWhatIsNotTheSameMessage(t *testing.T) {
	const from = "carol@far.example"
	to := []string{"bob@sakes.example", "eve@tea.example"}
	for _, test := range []struct {
		name, from, message string
		to                  []string
		copies              int // of bob's, after both
	}{
		{"the same", from, letter, to, 1},
		{"other content", from, letter + "x\r\n", to, 2},
		{"other reverse-path", "dave@far.example", letter, to, 2},
		{"recipients in another order", from, letter, []string{to[1], to[0]}, 1},
		{"one recipient of the two", from, letter, to[:1], 1},
		{"one recipient more", from, letter, append(slices.Clone(to), "dan@sakes.example"), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.tea.before = func(context.Context, backends.Delivery) error { return backends.Fail(backends.Temporary, "down") }
			if got := send(t, g.mx(), from, to, letter); got != "451 4.3.0" {
				t.Fatal(got)
			}
			g.tea.before = nil
			if got := send(t, g.mx(), test.from, test.to, test.message); got != "250" {
				t.Fatal(got)
			}
			if n := g.sakes.has(to[0]); n != test.copies {
				t.Errorf("bob has %d copies, want %d", n, test.copies)
			}
		})
	}
}

// TestRetryInParts: a client may come back for each recipient by itself.
func TestRetryInParts(t *testing.T) {
	g := newGateway(t)
	g.tea.before = func(context.Context, backends.Delivery) error { return backends.Fail(backends.Temporary, "down") }
	to := []string{"bob@sakes.example", "eve@tea.example"}
	if got := send(t, g.mx(), "", to, letter); got != "451 4.3.0" {
		t.Fatal(got)
	}
	g.tea.before = nil
	for _, r := range []string{to[1], to[0]} {
		if got := send(t, g.mx(), "", []string{r}, letter); got != "250" {
			t.Fatal(got)
		}
	}
	if g.sakes.has(to[0]) != 1 || g.tea.has(to[1]) != 1 {
		t.Error("not one copy each")
	}
	if n := g.options.Ledger.(*routing.FileLedger).Len(); n != 0 {
		t.Errorf("%d attempts are remembered", n)
	}
}

// TestStoreThatSawNothing cannot have delivered: nothing needs to be remembered.
func TestStoreThatSawNothing(t *testing.T) {
	g := newGateway(t)
	g.sakes.before = func(context.Context, backends.Delivery) error { return backends.Fail(backends.Temporary, "down") }
	if got := send(t, g.mx(), "", []string{"bob@sakes.example"}, letter); got != "451 4.3.0" {
		t.Fatal(got)
	}
	if n := g.options.Ledger.(*routing.FileLedger).Len(); n != 0 {
		t.Errorf("%d attempts are remembered", n)
	}
}

func TestRetryAfterRestart(t *testing.T) {
	g := newGateway(t)
	dir := t.TempDir()
	g.options.Ledger = g.ledger(dir)
	g.tea.before = func(context.Context, backends.Delivery) error { return backends.Fail(backends.Temporary, "down") }
	to := []string{"bob@sakes.example", "eve@tea.example"}
	if got := send(t, g.mx(), "", to, letter); got != "451 4.3.0" {
		t.Fatal(got)
	}
	g.options.Ledger = g.ledger(dir)
	g.tea.before = nil
	if got := send(t, g.mx(), "", to, letter); got != "250" {
		t.Fatal(got)
	}
	if g.sakes.has(to[0]) != 1 || g.tea.has(to[1]) != 1 {
		t.Error("not one copy each")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestReceivedIsTheFirstAttempts: a store that looks for what an earlier attempt has left looks from
// the time that it is told. However late the retry comes, that is the first attempt's, and over a
// restart of the gateway, too.
func TestReceivedIsTheFirstAttempts(t *testing.T) {
	g := newGateway(t)
	now, dir := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), t.TempDir()
	open := func() {
		var err error
		g.options.Ledger, err = routing.OpenLedger(routing.LedgerOptions{Log: g.options.Log, Dir: dir, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
	}
	g.tea.after = func(context.Context, backends.Delivery, []backends.Verdict) ([]backends.Verdict, error) {
		return nil, backends.Fail(backends.Uncertain, "the connection was lost")
	}
	first := now
	for range 3 { // the mail server is down over a weekend
		open()
		if got := send(t, g.mx(), "", []string{"eve@tea.example"}, letter); got != "451 4.4.2" {
			t.Fatal(got)
		}
		now = now.Add(30 * time.Hour)
	}
	for i, d := range g.tea.delivered {
		if !d.Received.Equal(first) || d.Retry != (i > 0) {
			t.Errorf("attempt %d: received %v, retry %v; the first was at %v", i+1, d.Received, d.Retry, first)
		}
	}
}

func TestLedgerThatFails(t *testing.T) {
	g := newGateway(t)
	full := errors.New("no space left on device")
	options := routing.LedgerOptions{Log: g.options.Log, Dir: t.TempDir()}
	routing.SetStep(&options, func(string) error { return full })
	var err error
	if g.options.Ledger, err = routing.OpenLedger(options); err != nil {
		t.Fatal(err)
	}
	g.tea.verdict = func(string) *backends.Failure { return backends.Fail(backends.OverQuota, "full") }
	if got := send(t, g.mx(), "", []string{"bob@sakes.example", "eve@tea.example"}, letter); got != "452 4.2.2" {
		t.Errorf("got %s", got)
	}
	if !strings.Contains(g.log.String(), "the ledger cannot remember") {
		t.Error("nothing in the log")
	}
	if got := send(t, g.mx(), "", []string{"bob@sakes.example"}, letter); got != "250" {
		t.Errorf("a message that needs no ledger: %s", got)
	}
}

var fp = strings.Repeat("ab", sha256.Size)

// TestLedgerCrash breaks writing off at each step, with nothing or an older state there before,
// and starts again.
func TestLedgerCrash(t *testing.T) {
	crash := errors.New("crash")
	for _, step := range []string{"create", "write", "sync", "rename", "sync folder"} {
		for _, before := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, before: %v", step, before), func(t *testing.T) {
				dir := t.TempDir()
				var at string
				options := routing.LedgerOptions{Log: zerolog.Nop(), Dir: dir}
				routing.SetStep(&options, func(name string) error {
					if name == at {
						return crash
					}
					return nil
				})
				ledger, err := routing.OpenLedger(options)
				if err != nil {
					t.Fatal(err)
				}
				a := take(t, ledger, "bob", "eve")
				if before {
					a.Delivered = []string{"bob"}
					if err := ledger.Put(t.Context(), a); err != nil {
						t.Fatal(err)
					}
					a = take(t, ledger, "bob", "eve")
				}
				at = step
				a.Delivered = []string{"bob", "eve"}
				if err := ledger.Put(t.Context(), a); !errors.Is(err, crash) {
					t.Fatalf("got %v", err)
				}
				again, err := routing.OpenLedger(routing.LedgerOptions{Log: zerolog.Nop(), Dir: dir})
				if err != nil {
					t.Fatal(err)
				}
				for name, l := range map[string]*routing.FileLedger{"the same process": ledger, "the next": again} {
					b := take(t, l, "bob", "eve")
					var want []string
					switch {
					case step == "sync folder":
						want = []string{"bob", "eve"}
					case before:
						want = []string{"bob"}
					}
					if !slices.Equal(b.Delivered, want) || b.Again != (want != nil) || (want != nil && b.Key != a.Key) {
						t.Errorf("%s: found %+v, want %q", name, b, want)
					}
				}
				if left, err := filepath.Glob(dir + "/*.tmp"); err != nil || len(left) != 0 {
					t.Errorf("left: %v, %v", left, err)
				}
			})
		}
	}
}

func take(t *testing.T, l routing.Ledger, recipients ...string) *routing.Attempt {
	t.Helper()
	a, err := l.Take(t.Context(), fp, recipients)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func put(t *testing.T, l routing.Ledger, a *routing.Attempt, delivered ...string) {
	t.Helper()
	a.Delivered = delivered
	if err := l.Put(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

func TestLedgerDamage(t *testing.T) {
	for name, damage := range map[string]string{"empty": "", "half": `{"key":"`, "another's": `{"key":"x","delivered":["bob"]}`, "binary": "\x00\xff"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			g := newGateway(t)
			put(t, g.ledger(dir), take(t, g.ledger(dir), "bob"), "bob")
			files, err := os.ReadDir(dir)
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			if err := os.WriteFile(filepath.Join(dir, files[0].Name()), []byte(damage), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, junk := range []string{"README", "x.y", fp + ".KEY.tmp"} {
				if err := os.WriteFile(filepath.Join(dir, junk), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			l := g.ledger(dir)
			if a := take(t, l, "bob"); a.Again || len(a.Delivered) != 0 {
				t.Errorf("found %+v", a)
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) != 0 || l.Len() != 0 {
				t.Errorf("left: %v, %v", files, err)
			}
		})
	}
}

func TestIdenticalMessagesUnderWayAreTwo(t *testing.T) {
	l := newGateway(t).ledger(t.TempDir())
	first, second := take(t, l, "bob"), take(t, l, "bob")
	if first.Key == second.Key {
		t.Fatal("one key for two messages")
	}
	put(t, l, first, "bob")
	put(t, l, second, "bob")
	a, b, c := take(t, l, "bob"), take(t, l, "bob"), take(t, l, "bob")
	if !a.Again || !b.Again || c.Again || a.Key == b.Key {
		t.Errorf("%+v, %+v, %+v", a, b, c)
	}
	put(t, l, a)
	put(t, l, b)
	put(t, l, c)
	if l.Len() != 0 {
		t.Errorf("%d attempts are remembered", l.Len())
	}
}

func TestAttemptOfOtherRecipientsIsLeft(t *testing.T) {
	l := newGateway(t).ledger(t.TempDir())
	put(t, l, take(t, l, "bob"), "bob")
	if a := take(t, l, "eve"); a.Again {
		t.Errorf("eve's attempt is bob's: %+v", a)
	}
	if a := take(t, l, "eve", "bob"); !a.Again {
		t.Error("bob's attempt is not found")
	}
}

func TestLedgerExpiry(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	o := routing.LedgerOptions{Log: zerolog.Nop(), Dir: dir, Now: func() time.Time { return now }}
	l, err := routing.OpenLedger(o)
	if err != nil {
		t.Fatal(err)
	}
	put(t, l, take(t, l, "bob"), "bob")
	now = now.Add(6 * 24 * time.Hour)
	if a := take(t, l, "bob"); !a.Again {
		t.Error("forgotten after six days")
	} else {
		put(t, l, a, "bob")
	}
	now = now.Add(2 * 24 * time.Hour)
	if a := take(t, l, "bob"); a.Again {
		t.Error("remembered after eight days")
	} else {
		put(t, l, a, "bob") // the old one goes as this one comes
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 || l.Len() != 1 {
		t.Errorf("left: %v, %v", files, err)
	}
	now = now.Add(8 * 24 * time.Hour)
	if again, err := routing.OpenLedger(o); err != nil || again.Len() != 0 {
		t.Errorf("a start does not remove what is old: %v", err)
	}
}

func TestLedgerIsBounded(t *testing.T) {
	dir := t.TempDir()
	o := routing.LedgerOptions{Log: zerolog.Nop(), Dir: dir, Most: 10}
	l, err := routing.OpenLedger(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		put(t, l, take(t, l, fmt.Sprint("u", i)), fmt.Sprint("u", i))
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 10 || l.Len() != 10 {
		t.Errorf("%d files, %d known, %v", len(files), l.Len(), err)
	}
	if a := take(t, l, "u0"); a.Again {
		t.Error("the oldest is still there")
	}
	if a := take(t, l, "u49"); !a.Again {
		t.Error("the newest is gone")
	}
	o.Most = 5
	if again, err := routing.OpenLedger(o); err != nil || again.Len() != 5 {
		t.Errorf("after a start: %d, %v", again.Len(), err)
	}
}

func TestLedgerConcurrently(t *testing.T) {
	l := newGateway(t).ledger(t.TempDir())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 30 {
				a, err := l.Take(t.Context(), fp, []string{"bob"})
				if err != nil {
					t.Error(err)
					return
				}
				a.Delivered = nil
				if i < 29 {
					a.Delivered = []string{"bob"}
				}
				if err := l.Put(t.Context(), a); err != nil {
					t.Error(g, err)
				}
			}
		})
	}
	wg.Wait()
	for range 8 {
		a := take(t, l, "bob")
		put(t, l, a)
	}
	if l.Len() != 0 {
		t.Errorf("%d attempts are remembered", l.Len())
	}
}

// TestEveryOutcomeEndsInOneCopy retries a message, the stores failing in any way before and
// after they have taken copies, restarts between, until it is acknowledged: everybody has
// exactly one copy, or was named as refused.
func TestEveryOutcomeEndsInOneCopy(t *testing.T) {
	people := []string{"bob@sakes.example", "dan@sakes.example", "eve@tea.example", "fay@tea.example"}
	rapid.Check(t, func(r *rapid.T) {
		g := newGateway(t)
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			r.Fatal(err)
		}
		g.options.Ledger = g.ledger(dir)
		to := rapid.SliceOfNDistinct(rapid.SampledFrom(people), 1, 4, rapid.ID).Draw(r, "to")
		kinds := rapid.SampledFrom([]backends.Kind{0, 0, 0, backends.Temporary, backends.Uncertain, backends.OverQuota})
		refusedForGood := map[string]bool{}
		for _, p := range people {
			refusedForGood[p] = rapid.IntRange(0, 9).Draw(r, "refused "+p) == 0
		}
		for round := 1; ; round++ {
			calm := round > 6
			for _, store := range []*fakeStore{g.sakes, g.tea} {
				var when string
				if !calm {
					when = rapid.SampledFrom([]string{"", "", "before", "after", "short"}).Draw(r, "fault")
				}
				fault(store, when)
				verdicts := map[string]backends.Kind{}
				for _, p := range people {
					if !calm {
						verdicts[p] = kinds.Draw(r, "verdict on "+p)
					}
				}
				store.verdict = func(p string) *backends.Failure {
					if refusedForGood[p] {
						return backends.Fail(backends.Permanent, "never")
					}
					if kind := verdicts[p]; kind != 0 {
						return backends.Fail(kind, "not now")
					}
					return nil
				}
			}
			reply, text := sendText(t, g.mx(), "carol@far.example", to, letter)
			for _, p := range people {
				copies := g.sakes.has(p) + g.tea.has(p)
				want := slices.Contains(to, p) && !refusedForGood[p]
				if copies > 1 || (copies == 1 && !want) {
					r.Fatalf("%s has %d copies", p, copies)
				}
				if reply == "250" && slices.Contains(to, p) && copies != 1 {
					r.Fatalf("250, and %s has none", p)
				}
				if strings.HasPrefix(reply, "5") && want && copies == 0 {
					r.Fatalf("%s %s, and %s has none", reply, text, p)
				}
			}
			if !strings.HasPrefix(reply, "4") {
				break
			}
			if calm {
				r.Fatalf("nothing is wrong any more, and yet: %s %s", reply, text)
			}
			if rapid.Bool().Draw(r, "restart") {
				g.options.Ledger = g.ledger(dir)
			}
		}
		if n := g.options.Ledger.(*routing.FileLedger).Len(); n != 0 {
			r.Fatalf("%d attempts are remembered", n)
		}
	})
}

// fault makes a store fail as a whole, before it reads, after it has taken the message, or by
// answering for too few.
func fault(store *fakeStore, when string) {
	store.before, store.after = nil, nil
	switch when {
	case "before":
		store.before = func(context.Context, backends.Delivery) error { return errors.New("down") }
	case "after":
		store.after = func(context.Context, backends.Delivery, []backends.Verdict) ([]backends.Verdict, error) {
			return nil, errors.New("died")
		}
	case "short":
		store.after = func(_ context.Context, _ backends.Delivery, v []backends.Verdict) ([]backends.Verdict, error) {
			return v[1:], nil
		}
	}
}
