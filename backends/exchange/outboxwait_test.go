package exchange_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
)

// collecting is a Collect that waits, and what comes of it.
func collecting(t *testing.T, store *exchange.Store, wait time.Duration) (taken func() int) {
	t.Helper()
	n, done := 0, make(chan error, 1)
	go func() {
		done <- store.Collect(t.Context(), backends.CollectRequest{Lease: time.Hour, Wait: wait}, func(_ context.Context, _ backends.Outgoing, content backends.Content) error {
			n++
			_, err := io.Copy(io.Discard, content)
			return err
		})
	}()
	return func() int {
		t.Helper()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		return n
	}
}

var toJudy = backends.Outgoing{Recipients: backends.To("judy@elsewhere.example")}

// TestOutboxWaits: a Collect that waits looks once, waits for the server's word, and has what comes then.
func TestOutboxWaits(t *testing.T) {
	s := start(t, takes)
	store := s.store(t)
	taken := collecting(t, store, backends.CollectWaitMost)
	eventually(t, "the server is waited for", func() bool { return s.Waits() == 1 })
	requests := s.Requests()
	s.boxes[connector].Put("Outbox", 8, []byte{}) // a draft is no reason to end
	eventually(t, "the wait goes on", func() bool { return s.Waits() == 2 })
	if n := s.Requests() - requests; n != 2 {
		t.Errorf("%d requests for what is no mail, and one looks and one waits", n)
	}
	if err := s.enqueue("Outbox", toJudy, []byte(letter("To: judy@elsewhere.example\r\n"))); err != nil {
		t.Fatal(err)
	}
	if n := taken(); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// TestOutboxWaitEnds: with the time, with the lease of a message, and at once where the server tells of nothing.
func TestOutboxWaitEnds(t *testing.T) {
	s := start(t, takes)
	store := s.store(t)
	if n := collecting(t, store, 50*time.Millisecond)(); n != 0 || s.Waits() != 1 {
		t.Errorf("%d messages, and the server was waited for %d times", n, s.Waits())
	}
	if err := s.enqueue("Outbox", toJudy, []byte(letter("To: judy@elsewhere.example\r\n"))); err != nil {
		t.Fatal(err)
	}
	if all, err := collect(t, store, 500*time.Millisecond); err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if n := collecting(t, store, backends.CollectWaitMost)(); n != 1 {
		t.Errorf("%d messages whose lease has run out", n)
	}
	s.Deaf()
	if n := collecting(t, store, backends.CollectWaitMost)(); n != 0 {
		t.Errorf("%d messages", n)
	}
	if contexts, _ := s.Left(); contexts != 0 {
		t.Errorf("%d session contexts are left", contexts)
	}
}
