//go:build linux

package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/admin"
	"github.com/dipylon/dipylon/gateway/queue"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/test/databases"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inert is a store that is only named.
type inert struct {
	backends.Store
	backends.Receiver
}

func ways(t *testing.T) route.Ways {
	t.Helper()
	routes, err := route.NewTable([]route.Route{
		{Name: "internet", Domains: []string{"*"}, Kind: route.MX},
		{Name: "kept", Domains: []string{"kept.example"}, Kind: route.Hold},
		{Name: "never", Domains: []string{"never.example"}, Kind: route.Reject},
	})
	if err != nil {
		t.Fatal(err)
	}
	table, err := stores.NewTable(stores.Config{Name: "own", Domains: []string{"own.example"}}.In(stores.Plugin{
		Backend: inert{}, Description: func() *backends.Description { return nil },
	}))
	if err != nil {
		t.Fatal(err)
	}
	return route.Ways{Stores: stores.NewRouter(table), Routes: func() *route.Table { return routes }}
}

// each runs a test on a queue with three messages: of a spool, and through a socket.
func each(t *testing.T, f func(t *testing.T, q queue.Queue, s *spool.Spool)) {
	for _, kind := range []string{"spool", "socket"} {
		t.Run(kind, func(t *testing.T) {
			s, err := spool.Open(t.Context(), spool.Options{
				Log: zerolog.Nop(), DB: databases.Open(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)}), Folder: t.TempDir(), Reserve: 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			for i, to := range []string{"a@far.example b@dead.example", "c@dead.example", "d@kept.example"} {
				accept(t, s, i+1, to)
			}
			var q queue.Queue = &queue.Spool{Spool: s, Ways: ways(t), Log: zerolog.Nop()}
			if kind == "socket" {
				q = through(t, q)
			}
			f(t, q, s)
		})
	}
}

func accept(t *testing.T, s *spool.Spool, n int, to string) {
	t.Helper()
	m := spool.Message{Key: fmt.Sprintf("k/%d", n), Received: time.Now(), Envelope: backends.Envelope{From: fmt.Sprintf("s%d@own.example", n)}}
	for _, address := range strings.Fields(to) {
		_, domain, _ := strings.Cut(address, "@")
		m.Recipients = append(m.Recipients, spool.Recipient{Recipient: backends.Recipient{Address: address}, Destination: domain})
	}
	body, err := buffer.Fill(buffer.Options{}, strings.NewReader(fmt.Sprintf("Subject: %d\r\n\r\ntext\r\n", n)))
	if err != nil {
		t.Fatal(err)
	}
	defer body.Discard() //nolint:errcheck // it is in memory
	if err := s.Accept(t.Context(), m, body); err != nil {
		t.Fatal(err)
	}
}

// through is a client of a queue that is served at a socket.
func through(t *testing.T, q queue.Queue) *queue.Client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: queue.Handler(zerolog.Nop(), q), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	c := queue.NewClient(admin.DialSocket(file))
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), server.Close()); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return c
}

// changed carries out a change and gives whom it has changed, and its last step.
func changed(t *testing.T, q queue.Queue, c queue.Change) string {
	t.Helper()
	var all []string
	for {
		step, err := q.Change(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range step.Changed {
			all = append(all, r.Sender+">"+r.Recipient+"="+r.Destination)
		}
		if c.From = step.Next; c.From == "" {
			return strings.Join(all, " ")
		}
	}
}

func TestListAndShow(t *testing.T) {
	each(t, func(t *testing.T, q queue.Queue, _ *spool.Spool) {
		page, err := q.List(t.Context(), queue.Filter{}, "", 2)
		if err != nil || len(page.Messages) != 2 || page.Next != page.Messages[1].ID {
			t.Fatalf("%+v, %v", page, err)
		}
		rest, err := q.List(t.Context(), queue.Filter{}, page.Next, 2)
		if err != nil || len(rest.Messages) != 1 || rest.Next != "" || rest.Messages[0].Key != "k/3" {
			t.Errorf("behind: %+v, %v", rest, err)
		}
		for _, f := range []queue.Filter{
			{ID: page.Messages[1].ID},
			{Key: "k/2"},
			{Recipient: "c@dead.example"},
			{Sender: "s2@own.example", Destination: "dead.example", States: []string{"held", "waiting"}},
		} {
			if got, err := q.List(t.Context(), f, "", 9); err != nil || len(got.Messages) != 1 || got.Messages[0].Key != "k/2" {
				t.Errorf("%+v: %+v, %v", f, got, err)
			}
		}
		for _, name := range []string{page.Messages[0].ID, "k/1"} {
			m, err := q.Show(t.Context(), name)
			if err != nil || m.Sender != "s1@own.example" || len(m.Recipients) != 2 || m.Recipients[1].Address != "b@dead.example" ||
				m.Recipients[1].State != "waiting" || m.Recipients[1].Due.IsZero() {
				t.Errorf("%s: %+v, %v", name, m, err)
			}
		}
		content, err := q.Open(t.Context(), page.Messages[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(content)
		if err = errors.Join(err, content.Close()); err != nil || string(text) != "Subject: 1\r\n\r\ntext\r\n" {
			t.Errorf("%q, %v", text, err)
		}
		stats, err := q.Stats(t.Context(), 1)
		if err != nil || len(stats) != 1 || stats[0].Destination != "dead.example" || stats[0].Recipients != 2 || stats[0].State != "waiting" {
			t.Errorf("%+v, %v", stats, err)
		}
	})
}

// TestShowNothing: no name is nobody's, and nothing is looked for.
func TestShowNothing(t *testing.T) {
	each(t, func(t *testing.T, q queue.Queue, _ *spool.Spool) {
		if _, err := q.Show(t.Context(), ""); !errors.Is(err, queue.ErrNotFound) {
			t.Error(err)
		}
	})
	if _, err := (&queue.Spool{}).Show(t.Context(), ""); !errors.Is(err, queue.ErrNotFound) {
		t.Error(err)
	}
}

func TestChange(t *testing.T) {
	each(t, func(t *testing.T, q queue.Queue, s *spool.Spool) {
		dead := queue.Filter{Destination: "dead.example"}
		both := "s1@own.example>b@dead.example=dead.example s2@own.example>c@dead.example=dead.example"
		for _, action := range []string{queue.Retry, queue.Hold, queue.Release} {
			if got := changed(t, q, queue.Change{Action: action, Filter: dead}); got != both {
				t.Errorf("%s: %s", action, got)
			}
		}
		if got := changed(t, q, queue.Change{Action: queue.Reroute, Filter: dead, To: "route:kept"}); got != strings.ReplaceAll(both, "=dead.example", "=route:kept") {
			t.Errorf("reroute: %s", got)
		}
		if got := changed(t, q, queue.Change{Action: queue.Release, Filter: queue.Filter{Destination: "route:kept"}}); strings.Count(got, "=") != 2 {
			t.Errorf("what a route keeps is not held: %s", got)
		}
		if got := changed(t, q, queue.Change{Action: queue.Reroute}); got != both+" s3@own.example>d@kept.example=route:kept" {
			t.Errorf("as the routes are: %s", got)
		}
		if claimed, err := s.Claim(t.Context(), "far.example", 1); err != nil || len(claimed) != 1 {
			t.Fatal(claimed, err)
		}
		step, err := q.Change(t.Context(), queue.Change{Action: queue.Delete})
		if err != nil || len(step.Changed) != 3 || len(step.InFlight) != 1 || step.InFlight[0].Recipient != "a@far.example" {
			t.Errorf("delete: %+v, %v", step, err)
		}
	})
}

func TestWrongQuestions(t *testing.T) {
	each(t, func(t *testing.T, q queue.Queue, _ *spool.Spool) {
		for name, ask := range map[string]func() error{
			"a state":        func() error { _, err := q.List(t.Context(), queue.Filter{States: []string{"lost"}}, "", 1); return err },
			"an id":          func() error { _, err := q.List(t.Context(), queue.Filter{ID: "x"}, "", 1); return err },
			"a place":        func() error { _, err := q.List(t.Context(), queue.Filter{}, "-1", 1); return err },
			"a content's id": func() error { _, err := q.Open(t.Context(), "x"); return err },
			"an action":      func() error { _, err := q.Change(t.Context(), queue.Change{Action: "eat"}); return err },
			"a step":         func() error { _, err := q.Change(t.Context(), queue.Change{Action: queue.Hold, From: "1"}); return err },
			"to, of hold":    func() error { _, err := q.Change(t.Context(), queue.Change{Action: queue.Hold, To: "x"}); return err },
		} {
			if _, is := errors.AsType[*queue.ArgumentError](ask()); !is {
				t.Errorf("%s: %v", name, ask())
			}
		}
		for _, to := range []string{"store:none", "route:none", "route:internet", "route:never", "own.example", "kept.example", "Far.example", "a b"} {
			_, err := q.Change(t.Context(), queue.Change{Action: queue.Reroute, To: to})
			if _, is := errors.AsType[*queue.ArgumentError](err); !is {
				t.Errorf("to %s: %v", to, err)
			}
		}
		for _, name := range []string{"7", "nobody", ""} {
			if _, err := q.Show(t.Context(), name); !errors.Is(err, queue.ErrNotFound) {
				t.Errorf("%q: %v", name, err)
			}
		}
		if _, err := q.Open(t.Context(), "7"); !errors.Is(err, queue.ErrNotFound) {
			t.Error(err)
		}
	})
}

// cut is a queue whose contents cannot be read to their end.
type cut struct{ queue.Queue }

func (cut) Open(context.Context, string) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(strings.NewReader("Subject: half"), failing{})), nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

// TestContentIsWholeOrNot (I3): what cannot be read to its end does not look complete.
func TestContentIsWholeOrNot(t *testing.T) {
	content, err := through(t, cut{}).Open(t.Context(), "1")
	if err == nil {
		_, err = io.ReadAll(content)
		_ = content.Close() // it is broken
	}
	if err == nil {
		t.Error("half a message was read as a whole one")
	}
}
