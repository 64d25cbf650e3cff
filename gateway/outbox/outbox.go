// Package outbox collects the mail that stores want sent ([backends.Outbox]), as the Internet Mail Service did with
// what users had left in its outbound queue.
//
//	c := &outbox.Collector{Log: log, Store: storeOf, Take: routing.NewOutbox(options).Take}
//	c.Use([]string{"sakes", "tea"}) // again after each reload
//	…
//	c.Close()
//
// Each store that has an outbox is asked by a goroutine of its own, which takes one message at a time: a store that
// can wait for mail is asked again when it has waited, and any other one after a pause that grows to a bound. One that
// fails is asked again likewise.
//
// # Who has a message
//
// A message that the gateway has taken over is in its queue, on the disk, and from then on the gateway's: the store is
// told at once that all recipients are finished ([backends.ActionRelayed]), or that some can never be, and need not
// keep it. What becomes of it the author hears by reports, as of any mail.
//
//   - The gateway ends between the queue's commit and the store's settling: the store hands the message over again
//     once its lease has run out, and the queue knows its key ([routing.Outbox]).
//   - A message whose content cannot be read, also as reading it ends the store's plugin, is left alone for the time
//     of a lease, and the others go on.
//   - The queue takes nothing, as the disk is full: messages stay where they are.
//
// # Messages that are set aside
//
// A message whose reading crashed the plugin ([backends.ErrCrashed]) or was refused for good ([backends.Permanent])
// [folder.FailuresMost] times is set aside, and at once where the store says that it cannot be rendered
// ([backends.Poison]). What fails for now counts for nothing, however often. The state remembers a message that is
// set aside in the quarantine, the administrator is told once, and `dipylon quarantine` lists and releases it. A
// store cannot be asked to skip a message. So it is told that this one is still under way (a settlement without
// verdicts) before each lease has run out; where it hands it over all the same, the gateway does not read it. Once a
// day it may come: one whose size, sender or recipients are others is tried again, and one that does not come is
// forgotten.
//
// Where collections break so and no message has been named, nobody but the store knows which one is to blame: the
// administrator is told after [folder.FailuresMost] in a row, and the store is asked on. What is behind such a message
// goes on if the store leases it before it looks into it.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/stores"
)

const (
	// Lease is how long a message is the gateway's without word of it: longer than it takes to hand over a batch.
	Lease = 5 * time.Minute
	// batchMost is how many messages are handed over before the store is told what became of them.
	batchMost = 16
	// waitMost is how long a store waits for mail in one call.
	waitMost = time.Minute
	// pauseLeast and pauseMost are how long a store is left alone that fails, or that cannot wait.
	pauseLeast = 250 * time.Millisecond
	pauseMost  = time.Minute
	// settleMost is how long the store has to take note of what became of a batch, also while the gateway ends.
	settleMost = 15 * time.Second
	// settleTries is how often it is told. A message that it does not take note of comes again, and is known then.
	settleTries = 3
)

// The outcomes of [Collector.Observe].
const (
	Taken  = "taken"  // the gateway has it
	Failed = "failed" // it can be sent to nobody
	Left   = "left"   // it is the store's still
	Aside  = "aside"  // it is set aside, or nobody knows which message breaks collections
)

// Collector collects from stores. Its fields do not change after the first Use.
type Collector struct {
	Log zerolog.Logger
	// Store is a store as it is now; nil: there is none of this name.
	Store func(name string) *stores.Store
	// Take takes a message over, as [routing.Outbox.Take] does.
	Take func(ctx context.Context, store *stores.Store, m backends.Outgoing, body io.Reader) (routing.Handover, error)
	// Quarantine remembers the messages that break collections [none is remembered, nor set aside].
	Quarantine *folder.Quarantine
	// Observe is told what came of each message [nobody is].
	Observe func(store, outcome string)

	look    time.Duration // when a message that is set aside may come [lookUsual]
	mu      sync.Mutex
	at      map[string]*asking
	closed  bool
	working sync.WaitGroup
}

// asking is a store that is being asked.
type asking struct {
	end     context.CancelFunc
	stopped bool
	done    chan struct{}
}

func (a *asking) stop() {
	a.stopped = true
	a.end()
}

// Use has these stores asked, and no others any more. Those that are among the changed ones are asked anew: their
// plugins have other processes. It returns at once.
func (c *Collector) Use(names []string, changed ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	for name, a := range c.at {
		if !slices.Contains(names, name) || slices.Contains(changed, name) {
			a.stop()
		}
	}
	for _, name := range names {
		before := c.at[name]
		if before == nil || before.over() {
			c.start(name, before)
		}
	}
}

// over says whether nobody asks any more, or not for long: the store was removed, or had no outbox.
func (a *asking) over() bool {
	if a.stopped {
		return true
	}
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// start asks a store, once whoever has asked before has ended.
func (c *Collector) start(name string, before *asking) {
	ctx, stop := context.WithCancel(context.Background())
	a := &asking{end: stop, done: make(chan struct{})}
	if c.at == nil {
		c.at = make(map[string]*asking)
	}
	c.at[name] = a
	c.working.Go(func() {
		defer close(a.done)
		defer stop()
		if before != nil {
			<-before.done
		}
		(&collecting{Collector: c, name: name, aside: aside{Collector: c, key: outboxOf(name)}}).run(ctx)
	})
}

// Close ends it: what is being handed over stays the store's, and the stores are told what became of the rest.
func (c *Collector) Close() {
	c.mu.Lock()
	c.closed = true
	for _, a := range c.at {
		a.stop()
	}
	c.mu.Unlock()
	c.working.Wait()
}

// collecting asks one store.
type collecting struct {
	*Collector
	name string
	// untold is what the store has not been told yet.
	untold []backends.Settlement
	tries  int
	aside  aside
}

// run asks until the context ends, or the store has no outbox.
func (c *collecting) run(ctx context.Context) {
	delay := pauseLeast
	for ctx.Err() == nil {
		store := c.Store(c.name)
		if store == nil || store.Outbox == nil {
			return
		}
		begun := time.Now()
		taken, err := c.batch(ctx, store)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !store.Known: // nobody knows whether it has an outbox, and that it is down has been logged
		case err != nil:
			c.Log.Warn().Err(err).Str(events.Store, c.name).Dur("again_in", delay).Msg("the store's outbox cannot be collected now")
		case taken > 0 || time.Since(begun) >= waitMost/2:
			delay = pauseLeast
			continue
		}
		if !pause.For(ctx, delay) {
			return
		}
		delay = min(2*delay, pauseMost)
	}
}

// batch takes messages over, and tells the store.
func (c *collecting) batch(ctx context.Context, store *stores.Store) (taken int, err error) {
	if err := c.aside.load(ctx); err != nil {
		return 0, err
	}
	for _, id := range c.aside.due() {
		c.renew(id)
	}
	if err := c.settle(ctx, store); err != nil { // else it would hand the same over again and again
		return 0, err
	}
	var odd error
	refused := false
	err = store.Outbox.Collect(ctx, backends.CollectRequest{Most: batchMost, Lease: Lease, Wait: waitMost},
		func(ctx context.Context, m backends.Outgoing, content backends.Content) error {
			failed, err := c.take(ctx, store, m, content)
			if odd, refused = failed, err != nil; err == nil {
				taken++
			}
			return err
		})
	switch {
	case ctx.Err() != nil:
	case errors.Is(odd, errAside):
		err = nil // not counted as taken: a store that hands it over again and again is not asked without a pause
	case odd != nil:
		c.Log.Warn().Err(odd).Str(events.Store, c.name).Stringer("for", Lease).Msg("a message in the store's outbox cannot be read, it is left alone for a while")
		taken, err = taken+1, nil // the others need not wait
	case err == nil:
		c.aside.well(ctx)
	case !refused && store.Known:
		c.aside.failedUnnamed(ctx, err)
	}
	return taken, errors.Join(err, c.settle(ctx, store))
}

// take takes one message over. odd is why its content cannot be read, whoever is to blame.
func (c *collecting) take(ctx context.Context, store *stores.Store, m backends.Outgoing, content backends.Content) (odd, err error) {
	if c.aside.holds(ctx, m) {
		c.renew(m.ID)
		return errAside, backends.Fail(backends.Temporary, "not taken over: %w", errAside)
	}
	in := &source{from: content}
	handover, err := c.Take(ctx, store, m, in)
	if err != nil {
		c.observe(c.name, Left)
		if in.err != nil && ctx.Err() == nil {
			c.aside.failed(ctx, m, in.err)
			c.renew(m.ID)
			return fmt.Errorf("message %q: %w", backends.SafeText(string(m.ID)), in.err), err
		}
		return nil, backends.Fail(backends.Temporary, "not taken over: %w", err)
	}
	c.aside.taken(ctx, m)
	c.untold = append(c.untold, backends.Settlement{ID: m.ID, Verdicts: handover.Verdicts})
	if slices.ContainsFunc(handover.Verdicts, func(v backends.Verdict) bool { return v.Failure == nil }) {
		c.observe(c.name, Taken)
	} else {
		c.observe(c.name, Failed)
	}
	return nil, nil
}

// renew has a message's lease start again.
func (c *collecting) renew(id backends.MessageID) {
	if !slices.ContainsFunc(c.untold, func(s backends.Settlement) bool { return s.ID == id }) {
		c.untold = append(c.untold, backends.Settlement{ID: id})
	}
}

func (c *Collector) observe(store, outcome string) {
	if c.Observe != nil {
		c.Observe(store, outcome)
	}
}

// source remembers that reading failed.
type source struct {
	from io.Reader
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// settle tells the store what became of its messages, also while the gateway ends.
func (c *collecting) settle(ctx context.Context, store *stores.Store) error {
	if len(c.untold) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleMost)
	defer cancel()
	err := store.Outbox.Settle(ctx, c.untold)
	if c.tries++; err != nil && c.tries < settleTries {
		return err
	}
	if err != nil {
		c.Log.Error().Err(err).Str(events.Store, c.name).Int("messages", len(c.untold)).
			Msg("the store does not take note that its messages were taken over: it hands them over again, and they are not sent again")
	}
	c.untold, c.tries = nil, 0
	return nil
}
