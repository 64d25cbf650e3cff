package routing_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

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
	if n := g.remembered(); n != 0 {
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
	if n := g.remembered(); n != 0 {
		t.Errorf("%d attempts are remembered", n)
	}
}

func TestRetryAfterRestart(t *testing.T) {
	g := newGateway(t)
	g.tea.before = func(context.Context, backends.Delivery) error { return backends.Fail(backends.Temporary, "down") }
	to := []string{"bob@sakes.example", "eve@tea.example"}
	if got := send(t, g.mx(), "", to, letter); got != "451 4.3.0" {
		t.Fatal(got)
	}
	g.options.Dedup = g.dedup()
	g.tea.before = nil
	if got := send(t, g.mx(), "", to, letter); got != "250" {
		t.Fatal(got)
	}
	if g.sakes.has(to[0]) != 1 || g.tea.has(to[1]) != 1 {
		t.Error("not one copy each")
	}
	if n := g.remembered(); n != 0 {
		t.Errorf("%d attempts are remembered", n)
	}
}

// TestReceivedIsTheFirstAttempts: a store that looks for what an earlier attempt has left looks from
// the time that it is told. However late the retry comes, that is the first attempt's, and over a
// restart of the gateway, too.
func TestReceivedIsTheFirstAttempts(t *testing.T) {
	g := newGateway(t)
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	open := func() {
		var err error
		g.options.Dedup, err = routing.OpenDedup(t.Context(), routing.DedupOptions{Log: g.options.Log, DB: g.db, Now: func() time.Time { return now }})
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
		if got := send(t, g.mx(), "", []string{"eve@tea.example"}, "Message-ID: <1@far.example>\r\n"+letter); got != "451 4.4.2" {
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

var fp = strings.Repeat("ab", sha256.Size)

func take(t *testing.T, l routing.Dedup, recipients ...string) *routing.Attempt {
	t.Helper()
	a, err := l.Take(t.Context(), routing.Message{Fingerprint: fp, Recipients: recipients, Named: true})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func put(t *testing.T, l routing.Dedup, a *routing.Attempt, delivered ...string) {
	t.Helper()
	a.Delivered = delivered
	if err := l.Put(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

func TestIdenticalMessagesUnderWayAreTwo(t *testing.T) {
	l := newGateway(t).dedup()
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
	if n, err := l.Len(t.Context()); n != 0 || err != nil {
		t.Errorf("%d attempts are remembered (%v)", n, err)
	}
}

func TestAttemptOfOtherRecipientsIsLeft(t *testing.T) {
	l := newGateway(t).dedup()
	put(t, l, take(t, l, "bob"), "bob")
	if a := take(t, l, "eve"); a.Again {
		t.Errorf("eve's attempt is bob's: %+v", a)
	}
	if a := take(t, l, "eve", "bob"); !a.Again {
		t.Error("bob's attempt is not found")
	}
}

// TestEveryOutcomeEndsInOneCopy retries a message, the stores failing in any way before and
// after they have taken copies, restarts between, until it is acknowledged: everybody has
// exactly one copy, or was named as refused.
func TestEveryOutcomeEndsInOneCopy(t *testing.T) {
	people := []string{"bob@sakes.example", "dan@sakes.example", "eve@tea.example", "fay@tea.example"}
	db := openDB(t)
	rapid.Check(t, func(r *rapid.T) {
		g := newGateway(t, on(db))
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
				g.options.Dedup = g.dedup()
			}
		}
		if n := g.remembered(); n != 0 {
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

// TestAlarm: an alarm of a device, the same to the octet each time, is not taken for an earlier
// one's retry once that would have come: a second copy is the lesser evil.
func TestAlarm(t *testing.T) {
	const from = "alarm@far.example"
	first := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		header string
		after  time.Duration
		copies int // of bob's, whose store took the first one
	}{
		"neither, at once":                      {"", time.Minute, 1},
		"neither, after minutes":                {"", 6 * time.Minute, 2},
		"neither, after days":                   {"", 3 * 24 * time.Hour, 2},
		"Message-ID":                            {"Message-ID: <1@device>\r\n", 3 * 24 * time.Hour, 1},
		"a folded Message-ID":                   {"message-id:\r\n <1@device>\r\n", 3 * 24 * time.Hour, 1},
		"an empty Message-ID":                   {"Message-ID: <>\r\n", 6 * time.Minute, 2},
		"Date":                                  {"Date: Fri, 20 Nov 2026 07:59:58 +0000\r\n", 3 * 24 * time.Hour, 1},
		"the Date of a clock that stands still": {"Date: Sat, 1 Jan 2000 00:00:00 +0000\r\n", 6 * time.Minute, 2},

		"neither, when a clock that was fast is set":    {"", -24 * time.Hour, 2},
		"neither, when a clock is set a little":         {"", -time.Minute, 1},
		"Message-ID, when a clock that was fast is set": {"Message-ID: <1@device>\r\n", -24 * time.Hour, 1},
		"a Date that is none":                           {"Date: now\r\n", 6 * time.Minute, 2},
		"both fields in the body":                       {"X: y\r\n\r\nMessage-ID: <1@device>\r\nDate: Fri, 20 Nov 2026 07:59:58 +0000\r\n", 6 * time.Minute, 2},
		"a Message-ID, longer ago than is kept":         {"Message-ID: <1@device>\r\n", 8 * 24 * time.Hour, 2},
		"a Message-ID, behind the gateway's fields":     {"Received: from a\r\n\tby b; Fri, 20 Nov 2026 07:59:59 +0000\r\nMessage-ID: <1@device>\r\n", 24 * time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			now := first
			var err error
			g.options.Dedup, err = routing.OpenDedup(t.Context(), routing.DedupOptions{Log: g.options.Log, DB: g.db, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			alarm := "Subject: ALARM\r\n" + tt.header + "\r\npump 2 is hot\r\n"
			to := []string{"bob@sakes.example", "eve@tea.example"}
			g.tea.before = func(context.Context, backends.Delivery) error { return backends.Fail(backends.Temporary, "down") }
			if got := send(t, g.mx(), from, to, alarm); got != "451 4.3.0" {
				t.Fatal(got)
			}
			g.tea.before = nil
			now = now.Add(tt.after)
			if got := send(t, g.mx(), from, to, alarm); got != "250" {
				t.Fatal(got)
			}
			if n := g.sakes.has(to[0]); n != tt.copies {
				t.Errorf("bob has %d copies, not %d", n, tt.copies)
			}
			if n := g.tea.has(to[1]); n != 1 {
				t.Errorf("eve has %d copies", n)
			}
		})
	}
}
