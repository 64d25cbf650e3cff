package storetest

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Process is the process that a store under test runs in, where it has one of its own.
type Process interface {
	// Kill ends the process at once, as kill -9 does, and returns when another one serves the
	// store: calls on the same store reach it then.
	Kill(ctx context.Context) error
	// End starts another process of the same kind, lets it be used, asks it to end in one way,
	// and returns when it has. An error is a process that had to be killed, [ErrNoEnding] one
	// that does not offer this way and need not.
	End(ctx context.Context, way Ending) error
}

// ErrNoEnding is an ending that a plugin need not offer, and does not.
var ErrNoEnding = errors.New("it does not offer this")

// Ending is a way to ask a plugin's process to end.
type Ending string

// The ways to ask.
const (
	Shutdown  Ending = "shutdown"  // the call of that name
	Terminate Ending = "terminate" // SIGTERM
	Lifeline  Ending = "lifeline"  // the end of standard input
)

func process(s *suite) string {
	if s.Process == nil {
		return "the target has no process that may be killed (Process)"
	}
	return ""
}

// kill is kill -9, now.
func (t *trial) kill() {
	if err := t.Process.Kill(t.ctx); err != nil {
		t.Fatalf("after the process was killed: %w", err)
	}
}

var processCases = []testcase{
	{"killed-after-a-delivery", []need{process, receiver, reader}, func(t *trial) {
		t.emptyAll()
		mails := []mail{t.mails(1)[0], t.large(200_000)}
		for _, m := range mails {
			t.delivered(t.deliver(m, t.Address))
			t.kill()
		}
		t.expect(t.first(), mails...)
	}},
	{"killed-between-two-attempts", []need{process, receiver, reader}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		t.delivered(t.deliver(m, t.Address))
		t.kill()
		t.delivered(t.retry(m, t.Address))
		t.expect(t.first(), m)
	}},
	{"killed-with-half-a-message", []need{process, receiver, reader}, func(t *trial) {
		t.emptyAll()
		m := t.large(200_000)
		rest, more := io.Pipe()
		t.Cleanup(func() { _ = rest.Close() })
		outcome := make(chan error, 1)
		go func() { outcome <- failureOf(t.deliverAs(t.delivery(m, t.Address), rest)) }()
		if _, err := more.Write(m.data[:100_000]); err != nil {
			t.Fatalf("the store does not read the message: %w", err)
		}
		t.kill()
		_ = more.CloseWithError(io.ErrUnexpectedEOF)
		if err := <-outcome; err == nil {
			t.Errorf("a delivery succeeds whose process was killed in the middle of the message")
		}
		t.expect(t.first())
		t.delivered(t.retry(m, t.Address))
		t.expect(t.first(), m)
	}},
	{"killed-after-a-removal", []need{process, reader, feed}, func(t *trial) {
		m := t.mails(3)
		d, entries := t.filled(t.first(), m...)
		d.remove(entries[1].ID)
		t.kill()
		t.expect(t.first(), m[0], m[2])
	}},
	{"ids-last", []need{process, reader, feed}, func(t *trial) {
		d, entries := t.filled(t.first(), t.mails(3)...)
		d.close()
		t.kill()
		if now := t.open(t.first()).list(); !slices.Equal(idsOf(entries), idsOf(now)) {
			t.Errorf("the ids were %q, and are %q in another process", idsOf(entries), idsOf(now))
		}
	}},
	{"killed-with-a-session", []need{process, reader, feed}, func(t *trial) {
		m := t.mails(1)[0]
		t.filled(t.first(), m) // and stays open: the process has no time to give a lock back
		t.kill()
		t.until("opening an inbox that was open in a process that was killed", func() bool {
			d, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(t.first())})
			if err != nil && backends.KindOf(err) != backends.InUse {
				t.Fatalf("opening an inbox: %w", err)
			}
			if err == nil {
				_ = d.Close()
			}
			return err == nil
		})
		t.expect(t.first(), m)
	}},
	{"ends-by-shutdown", []need{process}, func(t *trial) { t.ends(Shutdown) }},
	{"ends-by-sigterm", []need{process}, func(t *trial) { t.ends(Terminate) }},
	{"ends-with-its-lifeline", []need{process}, func(t *trial) { t.ends(Lifeline) }},
}

func (t *trial) ends(way Ending) {
	err := t.Process.End(t.ctx, way)
	if errors.Is(err, ErrNoEnding) {
		t.notOffered("%v", err)
	}
	if err != nil {
		t.Errorf("a process that is asked to end: %w", err)
	}
}

// cancelledMost is more than the requests that a maildrop may have under way (64).
const cancelledMost = 70

// flowCases are about who waits for whom.
var flowCases = []testcase{
	{"cancelled-fetches", []need{reader, feed}, func(t *trial) {
		small := t.mails(1)[0]
		large := t.large(min(t.largest(), 2<<20))
		d, entries := t.filled(t.first(), large, small)
		for range cancelledMost {
			t.promptly("a fetch that is given up: those before it, which were given up, are not ended", func() {
				c, err := d.Fetch(t.ctx, backends.FetchRequest{ID: entries[0].ID})
				if err != nil {
					t.Errorf("fetching: %w", err)
					return
				}
				_, _ = io.ReadFull(c, make([]byte, 100))
				_ = c.Close()
			})
		}
		t.promptly("a fetch after many that were given up: the requests that were cancelled are not ended", func() {
			t.same(small, d.fetch(entries[1].ID))
		})
	}},
	{"unread-content-waits", []need{reader, feed}, func(t *trial) {
		small := t.mails(1)[0]
		large := t.large(min(t.largest(), 8<<20))
		d, entries := t.filled(t.first(), large, small)
		c, err := d.Fetch(t.ctx, backends.FetchRequest{ID: entries[0].ID})
		if err != nil {
			t.Fatalf("fetching: %w", err)
		}
		t.Cleanup(func() { _ = c.Close() })
		t.pause(unread)
		t.promptly("a fetch beside a content that nobody reads", func() { t.same(small, d.fetch(entries[1].ID)) })
		data, err := io.ReadAll(c)
		if err != nil {
			t.Fatalf("reading a content that had to wait: %w", err)
		}
		t.same(large, data)
	}},
	{"unread-list-waits", []need{reader, feed}, func(t *trial) {
		mails := t.mails(min(t.Many, 150))
		filled, _ := t.filled(t.first(), mails...)
		filled.close()
		d, n := t.open(t.first()), 0
		for _, err := range d.List(t.ctx) {
			if err != nil {
				t.Fatalf("a list that had to wait: %w", err)
			}
			if n++; n == 1 {
				t.pause(unread)
			}
		}
		if n != len(mails) {
			t.Errorf("%d messages, of %d, in a list that had to wait", n, len(mails))
		}
	}},
}

// unread is how long something is not read.
const unread = 300 * time.Millisecond

// lifetimeCases are about how long a key is remembered.
var lifetimeCases = []testcase{
	{"key-outlives-its-message", []need{receiver, reader, remembersKeys}, func(t *trial) {
		t.emptyAll()
		m := t.mails(1)[0]
		t.delivered(t.deliver(m, t.Address))
		t.empty(t.first())
		t.delivered(t.retry(m, t.Address))
		t.expect(t.first())
	}},
	{"key-among-many", []need{receiver, reader}, func(t *trial) {
		t.emptyAll()
		mails := t.mails(min(t.Many, 150))
		for _, m := range mails {
			t.delivered(t.deliver(m, t.Address))
		}
		t.delivered(t.retry(mails[0], t.Address))
		d := t.open(t.first())
		if n := len(d.list()); n != len(mails) {
			t.Errorf("after %d deliveries and another attempt at the first, the inbox lists %d messages", len(mails), n)
		}
	}},
}

func remembersKeys(s *suite) string {
	if s.KeysInMailbox {
		return ownNature + "it finds a key in the message alone, which may be gone"
	}
	return ""
}
