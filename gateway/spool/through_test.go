//go:build linux

package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// TestThrough: messages to many destinations are taken in while others are handed out, put off, backed off,
// held and released, on one node or two: in the end each recipient was delivered once, and nothing is left.
func TestThrough(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		quick := func(o *Options) { o.Poll, o.FreshMessages, o.Destinations = 20*time.Millisecond, 20, 4 }
		nodes := []*Spool{start(t, o, quick)}
		if nodes[0].db.Shared() {
			nodes = append(nodes, start(t, o, quick))
			tick(t, nodes...)
		}
		const senders, each, recipients = 4, 25, 3
		th := &through{delivered: make(map[string]int), want: senders * each * recipients, ended: make(chan struct{})}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		var working sync.WaitGroup
		for i, s := range nodes {
			for range 2 {
				working.Go(func() { th.deliver(ctx, t, s) })
			}
			for sender := range senders / len(nodes) {
				working.Go(func() { th.send(t, s, fmt.Sprint(i, "-", sender), each, recipients) })
			}
			working.Go(func() { th.handle(ctx, t, s) })
		}
		select {
		case <-th.ended:
		case <-ctx.Done():
			stats, _ := nodes[0].Stats(t.Context(), 20)
			t.Errorf("after two minutes %d of %d are delivered: %+v", len(th.delivered), th.want, stats)
		}
		cancel()
		working.Wait()
		for recipient, n := range th.delivered {
			if n != 1 {
				t.Errorf("%s was delivered %d times", recipient, n)
			}
		}
		if n := count(t, nodes[0], "spool_messages") + count(t, nodes[0], "spool_recipients"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

type through struct {
	mu        sync.Mutex
	delivered map[string]int
	want      int
	ended     chan struct{}
}

// send takes messages in, each to several of ten destinations.
func (th *through) send(t *testing.T, s *Spool, name string, many, recipients int) {
	body := full(t, buffer.Options{}, "text")
	for i := range many {
		m := to(fmt.Sprint(name, "-", i))
		m.Envelope.Priority = rand.N(3) - 1
		for r := range recipients {
			m.Recipients = append(m.Recipients, to("", fmt.Sprintf("%s-%d-%d@d%d.example", name, i, r, rand.N(10))).Recipients...)
		}
		if err := s.Accept(t.Context(), m, body); err != nil {
			t.Error(err)
		}
	}
}

// deliver works on what is ready until the test's end.
func (th *through) deliver(ctx context.Context, t *testing.T, s *Spool) {
	for {
		name, err := s.Ready(ctx)
		if err != nil {
			return
		}
		deliveries, err := s.Claim(t.Context(), name, 1+rand.N(5))
		if err != nil && !errors.Is(err, ErrLease) {
			t.Error(err)
		}
		for _, d := range deliveries {
			r := Result{Delivery: d}
			for _, p := range d.Recipients {
				out := Outcome{Number: p.Number, State: Delivered, At: time.Now()}
				if rand.N(3) == 0 {
					out.State, out.Until = Waiting, time.Now().Add(rand.N(20*time.Millisecond))
				}
				r.Outcomes = append(r.Outcomes, out)
			}
			if err := s.Settle(t.Context(), r); err != nil {
				t.Error(err)
				continue
			}
			th.note(r)
		}
		again := time.Time{}
		if rand.N(4) == 0 {
			again = time.Now().Add(rand.N(20 * time.Millisecond))
		}
		s.Done(name, again)
	}
}

func (th *through) note(r Result) {
	th.mu.Lock()
	defer th.mu.Unlock()
	for i, out := range r.Outcomes {
		if out.State == Delivered {
			th.delivered[r.Delivery.Recipients[i].Address]++
		}
	}
	if len(th.delivered) == th.want {
		select {
		case <-th.ended:
		default:
			close(th.ended)
		}
	}
}

// handle is an administrator who holds, releases and tries again until the test's end, and leaves nothing
// held.
func (th *through) handle(ctx context.Context, t *testing.T, s *Spool) {
	for pause.For(ctx, 10*time.Millisecond) {
		// One step is enough: it takes more recipients than a destination has here.
		f := Filter{Destination: fmt.Sprintf("d%d.example", rand.N(10))}
		for _, change := range []func(context.Context, Filter, Place) (Handled, error){s.Hold, s.Release, s.Retry} {
			if _, err := change(t.Context(), f, Place{}); err != nil {
				t.Error(err)
			}
		}
	}
}
