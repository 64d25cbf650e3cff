//go:build linux

package relay_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// spooled is a world whose queue is a spool on a database.
func spooled(t *testing.T, records string, o state.Options) (*world, *spool.Spool) {
	t.Helper()
	w := newWorld(t, records)
	s, err := spool.Open(t.Context(), spool.Options{Log: zerolog.Nop(), DB: databases.Open(t, o), Folder: t.TempDir(), Reserve: 1, Poll: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w.relay.Queue, w.relay.Now = relay.FromSpool(s), time.Now
	return w, s
}

func accept(t testing.TB, s *spool.Spool, m spool.Message, content string) {
	t.Helper()
	if m.Received.IsZero() {
		m.Received = time.Now()
	}
	b, err := buffer.Fill(buffer.Options{Storage: s.Storage()}, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Discard() //nolint:errcheck // the spool has its own
	if err := s.Accept(t.Context(), m, b); err != nil {
		t.Fatal(err)
	}
}

// TestSpool: mail of all kinds leaves a real spool, once each, with its reports; what has to wait stays.
func TestSpool(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		const messages = 8
		w, s := spooled(t, many, o)
		server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{Offers: []string{"PIPELINING"}, Rcpt: func(_ fakesmtp.Transaction, path string) string {
			switch local, _, _ := strings.Cut(path, "@"); local {
			case "gone":
				return "550 5.1.1 no such user"
			case "later":
				return "450 4.2.0 greylisted"
			}
			return ""
		}})
		senders := w.at(t, "192.0.2.3:25", &fakesmtp.Server{})
		for i := range messages {
			m := letter(fmt.Sprint("k", i), fmt.Sprintf("u%d@far.example", i), "gone@far.example", "later@far.example", "a@dead.example")
			m.Envelope.From = "ada@near.example"
			accept(t, s, m, text)
		}
		large := text + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 5_000)
		accept(t, s, letter("large", "large@far.example"), large)
		w.run(t)
		harness.Eventually(t, time.Minute, "all reports have come", func() bool { return len(senders.Received()) == messages })
		harness.Eventually(t, time.Minute, "the large one is there", func() bool { return server.Copies(large)["large@far.example"] == 1 })
		copies := server.Copies(text)
		for i := range messages {
			if path := fmt.Sprintf("u%d@far.example", i); copies[path] != 1 {
				t.Errorf("%s has %d copies", path, copies[path])
			}
		}
		for _, m := range senders.Received() {
			if !strings.Contains(m.Content, "Action: failed") || !strings.Contains(m.Content, "gone@far.example") || len(m.Paths) != 1 {
				t.Errorf("somebody was told\n%s", m.Content)
			}
		}
		w.end()
		states := make(map[spool.State]int)
		list, err := s.List(context.Background(), spool.Filter{}, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			for _, r := range m.Recipients {
				states[r.State]++
			}
		}
		if states[spool.Waiting] != 2*messages || states[spool.InFlight] != 0 {
			t.Errorf("the spool has %v", states)
		}
	})
}

// TestSpoolFresh: what comes in while its destination is worked on is seen, and nothing is left lying.
func TestSpoolFresh(t *testing.T) {
	w, s := spooled(t, many, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})
	server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
	w.run(t)
	const senders, each = 4, 25
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			for j := range each {
				accept(t, s, letter(fmt.Sprint("k", i, "-", j), fmt.Sprintf("u%d-%d@far.example", i, j)), text)
			}
		})
	}
	sending.Wait()
	harness.Eventually(t, time.Minute, "all have come", func() bool { return len(server.Received()) >= senders*each })
	if copies := server.Copies(text); len(copies) != senders*each {
		t.Errorf("%d have a copy", len(copies))
	}
}
