//go:build linux

package dequeue

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/harness"
)

var (
	office = route.Asker{Address: netip.MustParseAddr("192.0.2.1")}
	nobody = route.Asker{Address: netip.MustParseAddr("198.51.100.1")}
	askers = route.Askers{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	routes = []route.Route{
		{Name: "internet", Domains: []string{"*"}, Kind: route.MX},
		{Name: "office", Domains: []string{"office.example", "second.example"}, Kind: route.SMTP, Hosts: [][]string{{"mail.office.example:25"}}, Asked: true, Askers: askers},
		{Name: "partner", Domains: []string{"office.example"}, Senders: []string{"partner.example"}, Kind: route.MX, Asked: true, Askers: askers},
		{Name: "branches", Domains: []string{".branch.example"}, Kind: route.MX, Asked: true, Askers: askers},
	}
)

func newDequeuer(t *testing.T, s Spool) *Dequeuer {
	t.Helper()
	table, err := route.NewTable(routes)
	if err != nil {
		t.Fatal(err)
	}
	d := New(Options{Log: zerolog.Nop(), Spool: s, Routes: func() *route.Table { return table }, Leaves: func() bool { return true }})
	t.Cleanup(d.Close)
	return d
}

// parked is a spool in which mail waits for tomorrow: "recipient,recipient destination" each.
func parked(t *testing.T, o state.Options, mail ...string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(t.Context(), spool.Options{Log: zerolog.Nop(), DB: databases.Open(t, o), Folder: t.TempDir(), Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for i, m := range mail {
		addresses, destination, _ := strings.Cut(m, " ")
		body, err := buffer.Fill(buffer.Options{Storage: s.Storage()}, strings.NewReader("text"))
		if err != nil {
			t.Fatal(err)
		}
		defer body.Discard() //nolint:errcheck // the spool has its own
		message := spool.Message{Key: fmt.Sprint("k", i), Received: time.Now()}
		for address := range strings.SplitSeq(addresses, ",") {
			message.Recipients = append(message.Recipients, spool.Recipient{
				Recipient: backends.Recipient{Address: address}, Destination: destination, Due: time.Now().Add(24 * time.Hour),
			})
		}
		if err := s.Accept(t.Context(), message, body); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// startedOf are the recipients that are tried now.
func startedOf(t *testing.T, s *spool.Spool) string {
	t.Helper()
	all, err := s.List(t.Context(), spool.Filter{}, 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		for _, r := range m.Recipients {
			if r.Due.Before(time.Now().Add(time.Hour)) {
				got = append(got, r.Address)
			}
		}
	}
	return strings.Join(got, " ")
}

// TestStart: all of a domain is started, whichever of its queues it waits in, and nothing of others is started or counted, though
// it waits in the same one.
func TestStart(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := parked(t, o, "a@office.example route:office", "b@office.example route:partner:office.example", "c@office.example office.example", "d@second.example route:office",
			"e@far.example far.example", "f@a.branch.example a.branch.example", "g@b.branch.example b.branch.example", "h@xoffice.example route:office")
		d := newDequeuer(t, s)
		for _, c := range []struct {
			wanted  route.Wanted
			count   int
			started string
		}{
			{route.Wanted{Domain: "office.example"}, 3, "a@office.example b@office.example c@office.example"},
			{route.Wanted{Domain: "none.branch.example"}, 0, "a@office.example b@office.example c@office.example"},
			{route.Wanted{Domain: "branch.example", Below: true}, 2, "a@office.example b@office.example c@office.example f@a.branch.example g@b.branch.example"},
			{route.Wanted{Domain: "second.example"}, 1, "a@office.example b@office.example c@office.example d@second.example f@a.branch.example g@b.branch.example"},
		} {
			done, err := d.Start(t.Context(), c.wanted, office)
			if err != nil || done != (Started{Messages: c.count}) {
				t.Errorf("%+v: %+v, %v", c.wanted, done, err)
			}
			if got := startedOf(t, s); got != c.started {
				t.Errorf("%+v has started %s", c.wanted, got)
			}
		}
		if at, err := s.Asked(t.Context(), "route:office"); err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("it was asked for at %s, %v", at, err)
		}
		if at, err := s.Asked(t.Context(), "far.example"); err != nil || !at.IsZero() {
			t.Errorf("others' was asked for at %s, %v", at, err)
		}
		for _, w := range []route.Wanted{{Domain: "far.example"}, {Route: "internet"}, {Route: "none"}} {
			if _, err := d.Start(t.Context(), w, office); !errors.Is(err, ErrNotAllowed) {
				t.Errorf("%+v: %v", w, err)
			}
		}
		if _, err := d.Start(t.Context(), route.Wanted{Domain: "office.example"}, nobody); !errors.Is(err, ErrNotAllowed) {
			t.Error(err)
		}
		if done, err := d.Start(t.Context(), route.Wanted{Route: "office"}, office); err != nil || done.Messages != 4 {
			t.Errorf("the route: %+v, %v", done, err)
		}
	})
}

// TestStartMany: what is too much for a reply is started behind it.
func TestStartMany(t *testing.T) {
	const many = 1300
	var addresses []string
	for i := range many {
		addresses = append(addresses, fmt.Sprintf("u%d@office.example", i))
	}
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := parked(t, o, strings.Join(addresses, ",")+" route:office")
		d := newDequeuer(t, s)
		done, err := d.Start(t.Context(), route.Wanted{Domain: "office.example"}, office)
		if err != nil || done != (Started{Messages: 1, More: true}) {
			t.Fatalf("%+v, %v", done, err)
		}
		harness.Eventually(t, time.Minute, "all are started", func() bool { return strings.Count(startedOf(t, s), "@") == many })
	})
}

// counting is a spool that counts what it is asked.
type counting struct {
	mu    sync.Mutex
	looks int
	waits bool          // each destination has a message
	block chan struct{} // of Retry; nil: it does not
	slow  bool          // Retry takes a second, and never comes to an end
	err   error
}

func (c *counting) Waits(context.Context, string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	return c.waits, c.err
}

func (c *counting) Destinations(context.Context, string, int) ([]string, error) { return nil, c.err }

func (c *counting) Retry(ctx context.Context, _ spool.Filter, _ spool.Place) (spool.Handled, error) {
	if c.slow {
		time.Sleep(time.Second)
		return spool.Handled{Changed: make([]spool.Touched, 1), Next: spool.Place{Number: 1}}, ctx.Err()
	}
	if c.block == nil {
		return spool.Handled{Changed: make([]spool.Touched, 1)}, nil
	}
	select {
	case <-c.block:
	case <-ctx.Done():
	}
	return spool.Handled{}, ctx.Err()
}

// TestStartOften: thousands of questions cost a few looks, and a client that asks for ever other domains is told to wait. One that has
// a thousand domains is not.
func TestStartOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &counting{waits: true}
		d := newDequeuer(t, s)
		for i := range 5000 {
			done, err := d.Start(t.Context(), route.Wanted{Domain: "office.example"}, office)
			if err != nil || done.Already != (i > 0) {
				t.Fatalf("%d: %+v, %v", i, done, err)
			}
		}
		once := s.looks
		if once > 10 {
			t.Errorf("%d looks", once)
		}
		busy := 0
		for i := range 5000 {
			if _, err := d.Start(t.Context(), route.Wanted{Domain: fmt.Sprintf("x%d.branch.example", i)}, office); errors.Is(err, ErrBusy) {
				busy++
			}
		}
		if busy != 5000-perMinute+1 || perMinute < 1000 {
			t.Errorf("%d were told to wait", busy)
		}
		time.Sleep(time.Minute)
		looked := 0
		for i := range 100 {
			if _, err := d.Start(t.Context(), route.Wanted{Domain: fmt.Sprintf("x%d.branch.example", i), Below: true}, office); err == nil {
				looked++
			}
		}
		if looked > perMinute/looksCost+1 {
			t.Errorf("all destinations were looked through %d times", looked)
		}
		time.Sleep(time.Minute)
		if done, err := d.Start(t.Context(), route.Wanted{Domain: "office.example"}, office); err != nil || done.Already {
			t.Errorf("a minute later: %+v, %v", done, err)
		}
	})
}

// TestStartAgain: a question that has found nothing is asked again at once: what has come since is started, and not only said to be.
func TestStartAgain(t *testing.T) {
	s := new(counting)
	d := newDequeuer(t, s)
	for _, want := range []Started{{}, {}, {Messages: 1}, {Already: true}} {
		s.waits = want.Messages > 0
		if done, err := d.Start(t.Context(), route.Wanted{Domain: "office.example"}, office); err != nil || done != want {
			t.Errorf("%+v, %v, want %+v", done, err, want)
		}
	}
}

// TestStartLong: what goes on behind the reply is not begun once more beside that.
func TestStartLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDequeuer(t, &counting{waits: true, slow: true})
		for i := range 10 {
			done, err := d.Start(t.Context(), route.Wanted{Domain: "office.example"}, office)
			if err != nil || done.More != (i == 0) || done.Already != (i > 0) {
				t.Errorf("%d: %+v, %v", i, done, err)
			}
			time.Sleep(time.Minute)
		}
		if len(d.room) != 1 {
			t.Errorf("%d are worked on", len(d.room))
		}
	})
}

// TestStartAtOnce: so many are worked on at a time, and one that fails may be asked again.
func TestStartAtOnce(t *testing.T) {
	s := &counting{waits: true, block: make(chan struct{})}
	d := newDequeuer(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for i := range atOnce {
		working.Go(func() { _, _ = d.Start(ctx, route.Wanted{Domain: fmt.Sprintf("x%d.branch.example", i)}, office) })
	}
	harness.Eventually(t, time.Minute, "all of them work", func() bool { return len(d.room) == atOnce })
	if _, err := d.Start(t.Context(), route.Wanted{Domain: "office.example"}, office); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	cancel()
	working.Wait()
	s.err = errors.New("the database is away")
	for range 2 {
		if done, err := d.Start(t.Context(), route.Wanted{Domain: "office.example"}, office); !errors.Is(err, s.err) || done.Already {
			t.Errorf("%+v, %v", done, err)
		}
	}
	d.o.Leaves = func() bool { return false }
	if _, err := d.Start(t.Context(), route.Wanted{Domain: "office.example"}, office); !errors.Is(err, ErrKept) {
		t.Errorf("nothing leaves: %v", err)
	}
}
