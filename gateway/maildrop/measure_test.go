package maildrop_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/index"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/policy"
)

// measuringStore has a number of messages whose sizes it measures.
func measuringStore(t *testing.T, messages int, change ...func(*maildrop.Options)) *gateway {
	t.Helper()
	g := newGateway(t, change...)
	g.store.said.Reading.Measures = true
	for i := range messages {
		g.store.add(fmt.Sprint("m", i), letter+strings.Repeat("x\r\n", i))
		g.store.entries[i].Exact = false
	}
	return g
}

// sizesAre asks for all sizes in their order, as STAT does.
func (g *gateway) sizesAre(messages int) {
	g.t.Helper()
	drop := g.login()
	for n := range messages {
		if size, err := drop.Size(g.t.Context(), n+1); err != nil || size != int64(len(letter)+3*n) {
			g.t.Errorf("message %d has %d octets (%v)", n+1, size, err)
		}
	}
	if err := drop.Close(); err != nil {
		g.t.Error(err)
	}
}

// TestMeasuredTogether (I6): a store that measures is asked for many sizes with one request, no message
// is fetched to know its size, and what it has said is remembered.
func TestMeasuredTogether(t *testing.T) {
	const messages = 200
	g := measuringStore(t, messages, withIndex(newIndex(t)))
	for range 2 {
		g.sizesAre(messages)
	}
	asked := 0
	for _, request := range g.store.measures {
		asked += len(request.IDs)
	}
	if g.store.fetches != 0 || asked != messages || len(g.store.measures) > messages/4 {
		t.Errorf("%d fetches; %d requests for the sizes of %d messages", g.store.fetches, len(g.store.measures), asked)
	}
}

// TestMeasuredBadly: what a store cannot measure, or measures against the rules, is fetched for the
// client that asks, and harms no other message.
func TestMeasuredBadly(t *testing.T) {
	for name, onMeasure := range map[string]func(*backends.Measured) error{
		"one fails": func(m *backends.Measured) error {
			if m.ID == "m7" {
				*m = backends.Measured{ID: m.ID, Size: -1, Failure: backends.Fail(backends.Poison, "odd")}
			}
			return nil
		},
		"one fails for now": func(m *backends.Measured) error {
			if m.ID == "m7" {
				*m = backends.Measured{ID: m.ID, Size: -1, Failure: backends.Fail(backends.Temporary, "later")}
			}
			return nil
		},
		"all fail": func(*backends.Measured) error { return backends.Fail(backends.Throttled, "slow down") },
		"another id": func(m *backends.Measured) error {
			if m.ID != "m0" {
				m.ID, m.Size = "m0", int64(len(letter))
			}
			return nil
		},
		"no size":     func(m *backends.Measured) error { m.Size = -1; return nil },
		"what cannot": func(m *backends.Measured) error { m.Size = 9e18; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			g := measuringStore(t, 40)
			g.store.onMeasure = onMeasure
			g.sizesAre(40)
			if one := strings.HasPrefix(name, "one"); one != (g.store.fetches == 1) {
				t.Errorf("%d fetches", g.store.fetches)
			}
		})
	}
}

// TestMeasuredAndGone: a message that is gone has no octets, as where it is fetched.
func TestMeasuredAndGone(t *testing.T) {
	g := measuringStore(t, 1)
	g.store.onMeasure = func(m *backends.Measured) error {
		m.Failure = backends.Fail(backends.NotFound, "gone")
		return nil
	}
	if size, err := g.login().Size(t.Context(), 1); size != 0 || err != nil || g.store.fetches != 0 {
		t.Errorf("%d octets (%v), %d fetches", size, err, g.store.fetches)
	}
}

// TestNotMeasured: where no size of the store's is believed, and where it does not say that it
// measures, it is not asked to.
func TestNotMeasured(t *testing.T) {
	for name, g := range map[string]*gateway{
		"policy":    measuringStore(t, 3, with(func(p *policy.Policy) { p.MeasureSizes = true })),
		"not there": measuringStore(t, 3),
	} {
		g.store.said.Reading.Measures = name == "policy"
		g.sizesAre(3)
		if len(g.store.measures) > 0 || g.store.fetches != 3 {
			t.Errorf("%s: %d requests to measure, %d fetches", name, len(g.store.measures), g.store.fetches)
		}
	}
}

// TestMeasuringTogetherRests: of one request no more is taken than the octets of a second, and a client
// does not wait for the pause.
func TestMeasuringTogetherRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := measuringStore(t, 10, func(o *maildrop.Options) { o.Measuring = &maildrop.Measuring{AtOnce: 1, Octets: int64(len(letter))} })
		for i := range g.store.entries {
			g.store.bodies[g.store.entries[i].ID] = letter
		}
		measured := 0
		g.store.onMeasure = func(*backends.Measured) error { measured++; return nil }
		drop := g.login()
		begin := time.Now()
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if measured != 3 {
			t.Errorf("%d messages of a second each were measured after 2.5 seconds", measured)
		}
		for n := range 10 {
			if size, err := drop.Size(t.Context(), n+1); err != nil || size != int64(len(letter)) {
				t.Error(size, err)
			}
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("a client has waited until %s", took)
		}
		_ = drop.Close()
	})
}

// TestRecognisedByMeasuring (I7): headers for imported unique-ids come with one request, but for one that
// is longer than it gives, and one that cannot be rendered keeps nobody from its own.
func TestRecognisedByMeasuring(t *testing.T) {
	x := newIndex(t)
	g := newGateway(t, withIndex(x))
	g.store.said.Reading.Measures = true
	var imports []index.Import
	for n := range 6 {
		id := fmt.Sprint(n)
		g.store.add("new-"+id, "Message-ID: <"+id+">\r\n\r\n")
		imports = append(imports, index.Import{UIDL: "old-" + id, MessageID: id, Size: -1})
	}
	g.store.onMeasure = func(m *backends.Measured) error {
		switch m.ID {
		case "new-2":
			m.Top = nil
		case "new-4":
			m.Failure = backends.Fail(backends.Poison, "odd")
		}
		return nil
	}
	if err := x.Import(t.Context(), folder.Key{Store: "sakes", Account: "alice-id"}, imports); err != nil {
		t.Fatal(err)
	}
	if got := g.uidls(); got != "old-0 old-1 old-2 old-3 new-4 old-5" {
		t.Errorf("unique-ids %q", got)
	}
	if len(g.store.measures) != 1 || g.store.fetches != 1 {
		t.Errorf("%d requests to measure, %d fetches", len(g.store.measures), g.store.fetches)
	}
}
