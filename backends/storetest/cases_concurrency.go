package storetest

import (
	"bytes"
	"context"
	"io"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
)

var concurrencyCases = []testcase{
	{"deliveries-and-readers", []need{reader, receiver, secondAccount}, deliveriesAndReaders},
	{"one-key-at-once", []need{reader, receiver}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				// Each may be told to come back; none may make another copy.
				if f := backends.AsFailure(failureOf(t.retry(m, t.Address))); f != nil && !f.Temporary() {
					t.Errorf("one of several deliveries under one key: %w", f)
				}
			})
		}
		all.Wait()
		t.delivered(t.retry(m, t.Address))
		t.expect(t.first(), m)
	}},
	{"fetches", []need{reader, feed}, func(t *trial) {
		mails := []mail{t.large(100_000), t.mails(1)[0], t.large(50_000)}
		d, entries := t.filled(t.first(), mails...)
		var all sync.WaitGroup
		for i := range 24 {
			all.Go(func() {
				data, err := d.read(backends.FetchRequest{ID: entries[i%3].ID})
				if err != nil {
					t.Errorf("one of several fetches at once: %w", err)
					return
				}
				t.same(mails[i%3], data)
			})
		}
		all.Wait()
	}},
	{"sessions", []need{reader, feed, secondAccount}, func(t *trial) {
		m := t.mails(2)
		t.emptyAll()
		t.put(t.first(), m[0])
		t.put(t.second(), m[1])
		most := 8
		if limit := t.description.Limits.Maildrops; limit > 0 {
			most = min(most, max(1, limit-2))
		}
		var all sync.WaitGroup
		for i := range most {
			all.Go(func() {
				box, want := t.first(), m[0]
				if i%2 == 1 {
					box, want = t.second(), m[1]
				}
				t.lookAround(box, func(data []byte) { t.same(want, data) })
			})
		}
		all.Wait()
	}},
}

// deliveriesAndReaders: while 32 messages come in for both accounts, others read what is
// there; nothing is seen half done, and in the end everything is there once.
func deliveriesAndReaders(t *trial) {
	t.emptyAll()
	mails := t.mails(32)
	for i := range mails {
		if i%4 == 0 {
			mails[i] = t.large(100_000)
		}
	}
	var writers, readers sync.WaitGroup
	var over atomic.Bool
	for _, m := range mails {
		writers.Go(func() {
			if err := failureOf(t.deliver(m, t.Address, t.SecondAddress)); err != nil {
				t.Errorf("one of several deliveries at once: %w", err)
			}
		})
	}
	for i := range 2 {
		readers.Go(func() {
			box, took := []mailbox{t.first(), t.second()}[i], time.Millisecond
			for last := false; !last && t.ctx.Err() == nil; {
				if last = over.Load(); !last { // one look is whole, however fast the deliveries were
					t.pause(max(took, time.Millisecond)) // the deliveries have as much of the processors, at least
				}
				began := time.Now()
				t.lookAround(box, func(data []byte) {
					for _, m := range mails {
						if m.is(data) {
							t.same(m, data)
						}
					}
				})
				took = time.Since(began)
			}
		})
	}
	writers.Wait()
	over.Store(true)
	readers.Wait()
	t.expect(t.first(), mails...)
	t.expect(t.second(), mails...)
}

// lookAround opens an inbox, reads everything in it, and closes it. A store may hold an inbox
// for one session at a time.
func (t *trial) lookAround(box mailbox, look func([]byte)) {
	opened, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(box)})
	if backends.KindOf(err) == backends.InUse {
		return
	} else if err != nil {
		t.Errorf("opening an inbox while others do: %w", err)
		return
	}
	d := t.newDrop(opened)
	defer d.close()
	for e, err := range d.List(t.ctx) {
		if err != nil {
			t.Errorf("listing while others do: %w", err)
			return
		}
		data, err := d.read(backends.FetchRequest{ID: e.ID})
		if err != nil {
			t.Errorf("fetching while others do: %w", err)
			return
		}
		look(data)
	}
}

// memoryIsBounded delivers a large message that is made while it is read, and watches the
// memory of this process.
func memoryIsBounded(t *trial) {
	size := t.largest()
	m := t.mail("")
	content := io.MultiReader(m.reader(), io.LimitReader(&endless{}, size-int64(len(m.data))-2), bytes.NewReader([]byte("\r\n")))
	d := t.delivery(m, t.Address)
	d.Size = size
	before, peak := memoryInUse(), uint64(0)
	ctx, cancel := context.WithCancel(t.ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			peak = max(peak, memoryInUse())
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	err := failureOf(t.deliverAs(d, content))
	cancel()
	watching.Wait()
	if err != nil {
		t.Fatalf("delivering %d octets: %w", size, err)
	}
	if grown := int64(peak) - int64(before); grown > size*3/4 {
		t.Errorf("while %d octets were delivered, %d octets of memory more were in use", size, grown)
	}
	if t.has.Reader {
		t.emptyAll()
	}
}

// endless is a text without an end, in lines of 64 octets.
type endless struct{ at int }

const endlessLine = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n"

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, endlessLine[e.at:])
	for n < len(p) {
		n += copy(p[n:], endlessLine)
	}
	e.at = (e.at + n) % len(endlessLine)
	return n, nil
}

func memoryInUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
