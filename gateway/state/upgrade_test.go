//go:build linux

package state_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// ledger is what was taken in, and what became of it.
type ledger struct {
	t         *testing.T
	contents  map[string]string
	delivered map[string]int
	uncertain map[string]bool // an earlier attempt may have delivered it
}

func (l *ledger) take(key string, size int) (content string) {
	content = strings.Repeat(key+"\n", size/(len(key)+1)+1)
	l.contents[key] = content
	return content
}

func (l *ledger) deliver(key, content string, uncertain bool) {
	l.t.Helper()
	if l.contents[key] != content {
		l.t.Errorf("%s has %d octets, and had %d", key, len(content), len(l.contents[key]))
	}
	l.delivered[key]++
	l.uncertain[key] = uncertain
}

// TestUpgradedOneAfterTheOther (I1): two gateways of an earlier version are replaced by two of this one, one after the other, while mail
// is taken in and leaves by all of them. Nothing is lost, and what was in flight at the end of a gateway alone is tried again, as uncertain.
func TestUpgradedOneAfterTheOther(t *testing.T) {
	t.Parallel()
	o := state.Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(t).Database(t)}
	if err := state.MigrateTo(t.Context(), o, olderSchema); err != nil {
		t.Fatal(err)
	}
	l := &ledger{t, make(map[string]string), make(map[string]int), make(map[string]bool)}
	first, second := startOlder(t, o.URL, "first"), startOlder(t, o.URL, "second")
	id := int64(0)
	acceptOlder := func(g *older, when string) {
		for _, destination := range destinations() {
			id++
			key := fmt.Sprint(when, id)
			g.accept(id, key, destination, l.take(key, 4<<10))
		}
	}
	deliverOlder := func(g *older) {
		all := g.claim()
		for _, d := range all {
			l.deliver(d.key, d.body, false)
		}
		g.settle(all)
	}
	acceptOlder(first, "before-")
	deliverOlder(second)
	left := first.claim() // in flight when it is stopped
	acceptOlder(second, "waiting-")
	first.end()

	third := startSpool(t, o)
	second.lives()
	acceptNew(t, l, third, "new-")
	acceptOlder(second, "beside-")
	deliverOlder(second) // what the new one has taken in, too
	deliverNew(t, l, third)
	if partitions(t, o) > 0 {
		t.Error("there is a partition, which the older gateway cannot read")
	}
	acceptNew(t, l, third, "last-")
	acceptOlder(second, "late-")
	second.end()

	fourth := startSpool(t, o)
	harness.Eventually(t, time.Minute, "all mail has left", func() bool {
		deliverNew(t, l, third)
		deliverNew(t, l, fourth)
		return len(l.delivered) == len(l.contents)
	})
	for key, n := range l.delivered {
		was := slices.ContainsFunc(left, func(d inFlight) bool { return d.key == key })
		if n != 1 || l.uncertain[key] != was {
			t.Errorf("%s was delivered %d times, uncertain %v", key, n, l.uncertain[key])
		}
	}
	if len(left) == 0 {
		t.Error("nothing was in flight")
	}
	harness.Eventually(t, time.Minute, "there is a partition once all are new", func() bool { return partitions(t, o) > 0 })
}

// startSpool starts mail in transit of a gateway of this version.
func startSpool(t *testing.T, o state.Options) *spool.Spool {
	t.Helper()
	db, err := state.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(t.Context(), spool.Options{
		Log: zerolog.Nop(), DB: db, Folder: t.TempDir(), Reserve: 1, Poll: 50 * time.Millisecond, Partition: time.Second,
	})
	if err != nil {
		_ = db.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		_ = db.Close()
	})
	return s
}

// acceptNew takes in a small and a large message for each destination.
func acceptNew(t *testing.T, l *ledger, s *spool.Spool, when string) {
	t.Helper()
	for n, destination := range destinations() {
		size := 4 << 10
		if n%8 == 0 {
			size = 600 << 10
		}
		key := when + destination
		body, err := buffer.Fill(buffer.Options{}, strings.NewReader(l.take(key, size)))
		if err != nil {
			t.Fatal(err)
		}
		to := spool.Recipient{Recipient: backends.Recipient{Address: "x@" + destination}, Destination: destination}
		m := spool.Message{Key: key, Envelope: backends.Envelope{From: "new@sakes.example"}, Received: time.Now(), Recipients: []spool.Recipient{to}}
		err = s.Accept(t.Context(), m, body)
		_ = body.Discard() // it is in memory, or a test's
		if err != nil {
			t.Fatal(err)
		}
	}
}

// deliverNew delivers what a gateway of this version has of what is due.
func deliverNew(t *testing.T, l *ledger, s *spool.Spool) {
	t.Helper()
	for {
		ctx, end := context.WithTimeout(t.Context(), 200*time.Millisecond)
		destination, err := s.Ready(ctx)
		end()
		if err != nil {
			return // there is nothing for now
		}
		deliveries, err := s.Claim(t.Context(), destination, 100)
		if errors.Is(err, spool.ErrLease) {
			s.Done(destination, time.Time{}) // it was given to the other one meanwhile
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var results []spool.Result
		for _, d := range deliveries {
			content, err := d.Open(t.Context())
			if err != nil {
				t.Fatalf("%s: %v", d.Key, err)
			}
			octets, err := io.ReadAll(content)
			_ = content.Close() // it is read
			if err != nil {
				t.Fatalf("%s: %v", d.Key, err)
			}
			l.deliver(d.Key, string(octets), d.Recipients[0].State == spool.Uncertain)
			results = append(results, spool.Result{Delivery: d, Outcomes: []spool.Outcome{{Number: d.Recipients[0].Number, State: spool.Delivered, At: time.Now()}}})
		}
		if err := s.Settle(t.Context(), results...); err != nil {
			t.Fatal(err)
		}
		s.Done(destination, time.Time{})
	}
}

// partitions is how many there are for contents of mail in transit.
func partitions(t *testing.T, o state.Options) (n int) {
	t.Helper()
	db, err := state.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // it has only read
	err = db.QueryRow(t.Context(), "SELECT count(*) FROM pg_inherits WHERE inhparent = 'spool_contents'::regclass").Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
