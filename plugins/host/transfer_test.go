package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dipylon/dipylon/backends"
)

func delivery(recipients ...string) backends.Delivery {
	return backends.Delivery{Key: "key-1", Envelope: backends.Envelope{From: "a@x.example"}, Recipients: backends.To(recipients...)}
}

// failing gives n octets and then an error.
func failing(n int, err error) io.Reader {
	return io.MultiReader(strings.NewReader(string(wholePattern(n))), iotest.ErrReader(err))
}

func TestDeliver(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	broken := errors.New("the client went away")
	for _, test := range []struct {
		name     string
		delivery backends.Delivery
		content  io.Reader
		kind     backends.Kind
		verdicts []backends.Kind
		is       error
	}{
		{name: "small", delivery: delivery("b@x.example"), content: strings.NewReader("Subject: x\r\n\r\n"), verdicts: []backends.Kind{0}},
		{name: "empty", delivery: delivery("b@x.example"), content: strings.NewReader(""), verdicts: []backends.Kind{0}},
		{name: "large", delivery: delivery("b@x.example", "unknown@x.example"), content: strings.NewReader(string(wholePattern(20_000_000))), verdicts: []backends.Kind{0, backends.NotFound}},
		{name: "octet by octet", delivery: delivery("b@x.example"), content: iotest.OneByteReader(strings.NewReader(string(wholePattern(3000)))), verdicts: []backends.Kind{0}},
		{name: "content fails at once", delivery: delivery("b@x.example"), content: failing(0, broken), kind: backends.Temporary, is: broken},
		{name: "content fails in the middle", delivery: delivery("b@x.example"), content: failing(1_000_000, broken), kind: backends.Temporary, is: broken},
		{name: "refused before it is read", delivery: delivery("refused-early@fake.example"), content: strings.NewReader(string(wholePattern(50_000_000))), verdicts: []backends.Kind{backends.OverQuota}},
		{name: "taken before it is read", delivery: delivery("taken-early@fake.example"), content: strings.NewReader(string(wholePattern(50_000_000))), kind: backends.Temporary},
		{name: "one verdict too few", delivery: delivery("forgotten@x.example", "b@x.example"), content: strings.NewReader("x"), kind: backends.Temporary},
		{name: "verdict of somebody else", delivery: delivery("other@x.example"), content: strings.NewReader("x"), kind: backends.Temporary},
		{name: "no key", delivery: backends.Delivery{Recipients: backends.To("b@x.example")}, content: strings.NewReader("x"), kind: backends.Permanent},
		{name: "key with a space", delivery: backends.Delivery{Key: "a b"}, content: strings.NewReader("x"), kind: backends.Permanent},
		{name: "not UTF-8", delivery: delivery("\xff@x.example"), content: strings.NewReader("x"), kind: backends.Permanent},
		{name: "panics when it has the message", delivery: delivery("panic-late@fake.example"), content: strings.NewReader("x"), kind: backends.Temporary},
		{name: "dies when it has the message", delivery: delivery("crash-late@fake.example"), content: strings.NewReader("x"), kind: backends.Temporary, is: ErrPluginDied},
	} {
		t.Run(test.name, func(t *testing.T) {
			verdicts, err := s.Deliver(t.Context(), test.delivery, test.content)
			if backends.KindOf(err) != test.kind || (test.is != nil && !errors.Is(err, test.is)) {
				t.Fatal(err)
			}
			var kinds []backends.Kind
			for _, v := range verdicts {
				kinds = append(kinds, backends.Kind(0))
				if v.Failure != nil {
					kinds[len(kinds)-1] = v.Failure.Kind
				}
			}
			if !slices.Equal(kinds, test.verdicts) {
				t.Errorf("got %v, want %v", kinds, test.verdicts)
			}
		})
	}
}

// TestSend: what is not known is said to be (I2).
func TestSend(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	for _, test := range []struct {
		name       string
		credential backends.Credential
		delivery   backends.Delivery
		content    io.Reader
		kind       backends.Kind
	}{
		{"sent", ann, delivery("b@x.example"), strings.NewReader("x"), 0},
		{"wrong password", backends.Credential{Kind: 1, User: "ann"}, delivery("b@x.example"), strings.NewReader(string(wholePattern(20_000_000))), backends.BadCredentials},
		{"content fails", ann, delivery("b@x.example"), failing(70_000, errors.New("gone")), backends.Temporary},
		{"dies before the end", userNamed("crash"), delivery("b@x.example"), &gated{wait: s}, backends.Temporary},
		{"dies after the end", ann, delivery("crash-late@fake.example"), strings.NewReader("x"), backends.Uncertain},
		{"panics after the end", ann, delivery("panic-late@fake.example"), strings.NewReader("x"), backends.Uncertain},
		{"answers nonsense after the end", ann, delivery("other@x.example"), strings.NewReader("x"), backends.Uncertain},
		{"fails and says so", ann, delivery("taken-early@fake.example"), strings.NewReader(string(wholePattern(9_000_000))), backends.Temporary},
	} {
		t.Run(test.name, func(t *testing.T) {
			within(t, "a process is ready", func() bool { return s.Status().Ready })
			_, err := s.Send(t.Context(), test.credential, test.delivery, test.content)
			if backends.KindOf(err) != test.kind {
				t.Fatal(err)
			}
		})
	}
}

// gated gives its octets only once the plugin has died.
type gated struct{ wait *Store }

func (g *gated) Read(p []byte) (int, error) {
	for g.wait.Status().Restarts == 0 {
		time.Sleep(time.Millisecond) // the processors are the plugin's meanwhile
	}
	return 0, io.EOF
}

// TestCollectWaits: a plugin that waits for mail as long as it was asked to is not stalled.
func TestCollectWaits(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{Messages: []string{"size:10"}})
	spec.StallTimeout = 200 * time.Millisecond
	s, _ := start(t, spec)
	for _, wait := range []time.Duration{0, 4 * spec.StallTimeout} {
		got := 0
		err := s.Collect(t.Context(), backends.CollectRequest{Wait: wait}, func(_ context.Context, _ backends.Outgoing, c backends.Content) error {
			got++
			_, err := io.Copy(io.Discard, c)
			return err
		})
		if err != nil || got != 1 {
			t.Errorf("waiting %v: %d messages (%v)", wait, got, err)
		}
	}
}

func TestCollect(t *testing.T) {
	s, log := start(t, specOf(t, "store", fakeSettings{Messages: []string{"size:10", "fail:300000", "unsized:500000", "size:700000"}}))
	stop := errors.New("enough")
	collect := func(most int, accept func(id backends.MessageID, content io.Reader) error) (ids []string, err error) {
		err = s.Collect(t.Context(), backends.CollectRequest{Most: most}, func(_ context.Context, o backends.Outgoing, c backends.Content) error {
			defer func() { _ = c.Close() }()
			ids = append(ids, string(o.ID))
			return accept(o.ID, c)
		})
		return ids, err
	}
	t.Run("all", func(t *testing.T) {
		ids, err := collect(0, func(id backends.MessageID, content io.Reader) error {
			n, err := io.Copy(io.Discard, content)
			if _, want := splitID(string(id)); n != want && err == nil {
				t.Errorf("%s: %d octets", id, n)
			}
			return err
		})
		// The second one fails in the middle; a store goes on behind it, the gateway does not.
		kindIs(t, err, backends.Throttled)
		if !slices.Equal(ids, []string{"size:10", "fail:300000"}) {
			t.Error(ids)
		}
	})
	t.Run("one", func(t *testing.T) {
		ids, err := collect(1, func(id backends.MessageID, content io.Reader) error {
			_, err := io.Copy(io.Discard, content)
			return err
		})
		if err != nil || len(ids) != 1 {
			t.Error(ids, err)
		}
	})
	t.Run("accept fails", func(t *testing.T) {
		ids, err := collect(0, func(backends.MessageID, io.Reader) error { return stop })
		if !errors.Is(err, stop) || len(ids) != 1 {
			t.Error(ids, err)
		}
	})
	t.Run("accept does not read", func(t *testing.T) {
		_, err := collect(0, func(backends.MessageID, io.Reader) error { return nil })
		kindIs(t, err, backends.Throttled) // the second message's failure is found all the same
	})
	if n := strings.Count(log.String(), "not valid"); n != 0 {
		t.Errorf("%d invalid answers", n)
	}
}

// TestDeliverMemory: 100 MB go into the store, all of them, and the gateway does not grow.
func TestDeliverMemory(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	const size = 100 << 20
	d := delivery("b@x.example")
	d.From = fmt.Sprintf("octets=%d", size)
	before := residentKiB()
	verdicts, err := s.Deliver(t.Context(), d, io.LimitReader(&endless{}, size))
	if err != nil || len(verdicts) != 1 || verdicts[0].Failure != nil {
		t.Fatal(verdicts, err)
	}
	if grown := residentKiB() - before; grown > slowed*24<<10 {
		t.Errorf("the gateway grew by %d KiB", grown)
	}
}

type endless struct{}

func (*endless) Read(p []byte) (int, error) { return copy(p, pattern), nil }
