//go:build linux

package track_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/track"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/peers"
)

func TestMain(m *testing.M) { databases.Main(m) }

// recording is a recorder with a logger of its own. The end writes what is left.
func recording(t *testing.T, o track.Options) (log zerolog.Logger, r *track.Recorder, end func()) {
	t.Helper()
	r = track.NewRecorder()
	r.Set(true)
	ctx, stop := context.WithCancel(t.Context())
	var keeping sync.WaitGroup
	keeping.Go(func() { r.Keep(ctx, o) })
	return zerolog.New(r), r, sync.OnceFunc(func() {
		stop()
		keeping.Wait()
	})
}

func log(l zerolog.Logger, event string, fields ...any) {
	l.Info().Str(events.Event, event).Fields(fields).Msg("x")
}

// tell writes a result in short.
func tell(r track.Result) string {
	var all []string
	for _, m := range r.Messages {
		var one []string
		for _, e := range m.Events {
			one = append(one, strings.TrimRight(e.Node+" "+e.Event+" "+e.Recipient, " "))
		}
		all = append(all, strings.Join(one, ", "))
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// A message's life is told over nodes, up to the report on it, whichever of its names is known.
func TestLife(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		first, _, end := recording(t, track.Options{DB: db, Log: zerolog.New(zerolog.NewTestWriter(t)), Node: "mx1"})
		log(first, events.Queued, "transaction", "t1", "key", "K1", "message_id", "<One@x.example>", "from", "ada@x.example", "recipient", "bob@y.example")
		log(first, events.Delivery, "transaction", "t1", "key", "K1", "message_id", "<One@x.example>", "from", "ada@x.example", "recipient", "cyd@x.example")
		log(first, events.MessageIn, "transaction", "t1", "from", "ada@x.example", "recipients", 2)
		log(first, events.MessageIn, "transaction", "t2", "from", "ada@x.example")
		first.Info().Str(events.Event, events.Login).Str("user", "ada@x.example").Msg("no event of a message")
		first.Info().Str("text", `"event":"relay"`).Str("recipient", "bob@y.example").Msg("nor is this one")
		end()
		second, _, end := recording(t, track.Options{DB: db, Node: "mx2"})
		log(second, events.QueueChange, "key", "K1", "recipient", "bob@y.example", "action", "retry")
		log(second, events.Relay, "key", "K1", "message_id", "<One@x.example>", "recipient", "bob@y.example", "outcome", "failed", "report", "R1")
		log(second, events.Relay, "key", "R1", "message_id", "<Two@x.example>", "recipient", "ada@x.example", "outcome", "delivered")
		end()

		const life = "mx1 queued bob@y.example, mx1 delivery cyd@x.example, mx1 message_in, " +
			"mx2 queue_change bob@y.example, mx2 relay bob@y.example, mx2 relay ada@x.example"
		for name, want := range map[string]string{
			"<One@x.example>": life, "one@X.example": life, "t1": life, "K1": life, "BOB@y.example": life,
			"R1":            "mx2 relay ada@x.example",
			"ada@x.example": "mx1 message_in; " + life,
			"eve@x.example": "", "login": "", "": "",
		} {
			r, err := track.Find(t.Context(), db, track.Query{Name: name})
			if err != nil || tell(r) != want || r.More {
				t.Errorf("%s: %s, %v, want %s", name, tell(r), err, want)
			}
		}
		for _, q := range []track.Query{
			{Name: "bob@y.example", Since: time.Now().Add(time.Hour)}, {Name: "bob@y.example", Until: time.Now().Add(-time.Hour)},
		} {
			if r, err := track.Find(t.Context(), db, q); err != nil || len(r.Messages) != 0 {
				t.Errorf("%+v: %s, %v", q, tell(r), err)
			}
		}
	})
}

// Where more is found than is looked at, the latest is told, and that there is more.
func TestMuch(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		l, r, end := recording(t, track.Options{DB: db, Node: "mx"})
		const messages = 3000
		for i := range messages {
			log(l, events.Delivery, "key", fmt.Sprint("K", i), "recipient", "all@x.example")
		}
		end()
		if r.Lost() != 0 {
			t.Errorf("%d are lost", r.Lost())
		}
		found, err := track.Find(t.Context(), db, track.Query{Name: "all@x.example"})
		if n := len(found.Messages); err != nil || !found.More || n != 1000 || found.Messages[n-1].Events[0].Key != fmt.Sprint("K", messages-1) {
			t.Errorf("%d messages, more %t, %v", n, found.More, err)
		}
		found, err = track.Find(t.Context(), db, track.Query{Name: "K7"})
		if err != nil || len(found.Messages) != 1 {
			t.Errorf("%+v, %v", found, err)
		}
	})
}

// What is older than is wanted is forgotten, and nothing else.
func TestForget(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := databases.Open(t, o)
		for batch := range 5 {
			l, _, end := recording(t, track.Options{DB: db, Node: "mx"})
			log(l, events.Delivery, "key", fmt.Sprint("K", batch), "recipient", "a@x.example")
			end()
		}
		left := func() int {
			t.Helper()
			found, err := track.Find(t.Context(), db, track.Query{Name: "a@x.example"})
			if err != nil {
				t.Fatal(err)
			}
			return len(found.Messages)
		}
		keep := time.Hour
		task := track.Tasks(db, func() time.Duration { return keep })[0]
		if n, err := task.Do(t.Context(), 200); n != 0 || err != nil || left() != 5 {
			t.Errorf("%d are forgotten, %d stay, %v", n, left(), err)
		}
		keep = 0
		if n, err := task.Do(t.Context(), 2); n != 2 || err != nil || left() != 3 {
			t.Errorf("%d are forgotten, %d stay, %v", n, left(), err)
		}
		if n, err := task.Do(t.Context(), 200); n != 3 || err != nil || left() != 0 {
			t.Errorf("%d are forgotten, %d stay, %v", n, left(), err)
		}
		err := db.Read(t.Context(), func(tx *state.Tx) error {
			var rows int
			_, err := tx.One([]any{&rows}, "SELECT count(*) FROM track_events")
			if rows != 0 {
				t.Errorf("%d batches of events stay", rows)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// Who logs never waits: what is too much is counted, and so is what the database does not take.
func TestLost(t *testing.T) {
	db := databases.Open(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})
	r := track.NewRecorder()
	l := zerolog.New(r)
	log(l, events.Relay, "key", "off")
	r.Set(true)
	log(l, events.Relay, "key", "long", "cause", strings.Repeat("x", 1<<20))
	if r.Lost() != 1 {
		t.Errorf("a long line: %d are lost", r.Lost())
	}
	for range 1000 {
		log(l, events.Relay, "key", "many", "cause", strings.Repeat("x", 15<<10))
	}
	kept := 1001 - r.Lost()
	if kept*15<<10 > 9<<20 || kept < 100 {
		t.Errorf("%d lines of 15 KiB wait", kept)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var told bytes.Buffer
	full := func(context.Context) error { return errors.New("the disk is full") }
	r.Keep(ctx, track.Options{DB: db, Log: zerolog.New(&told), Node: "mx", Room: full})
	if r.Lost() != 1001 || !strings.Contains(told.String(), "the disk is full") {
		t.Errorf("%d are lost, logged: %s", r.Lost(), told.String())
	}
	log(l, events.Relay, "key", "again")
	_, _ = r.Write([]byte(`{"event":"relay", "key": cut`)) // no line of ours
	r.Keep(ctx, track.Options{DB: db, Log: zerolog.New(&told), Node: "mx"})
	for name, want := range map[string]int{"off": 0, "long": 0, "many": 0, "again": 1} {
		if found, err := track.Find(t.Context(), db, track.Query{Name: name}); err != nil || len(found.Messages) != want {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	if r.Lost() != 1002 {
		t.Errorf("%d are lost", r.Lost())
	}
}

// While mail comes, events are gathered: the few that come during a commit do not have one of their own at once.
func TestGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := track.NewRecorder()
		r.Set(true)
		begun := time.Now()
		var at []time.Duration
		full := func(context.Context) error { // asked before each commit
			at = append(at, time.Since(begun))
			if len(at) < 4 {
				log(zerolog.New(r), events.Relay, "key", "K")
			}
			return errors.New("the disk is full")
		}
		ctx, stop := context.WithCancel(t.Context())
		var keeping sync.WaitGroup
		keeping.Go(func() { r.Keep(ctx, track.Options{Log: zerolog.Nop(), Node: "mx", Room: full}) })
		const batch = 256
		for range 2 * batch {
			log(zerolog.New(r), events.Relay, "key", "K")
		}
		time.Sleep(time.Minute)
		stop()
		keeping.Wait()
		if want := []time.Duration{0, 0, time.Second, 2 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("commits at %s, want %s", at, want)
		}
	})
}

// A database that says nothing holds up the end for some seconds, however much waits for it.
func TestEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := track.NewRecorder()
		r.Set(true)
		const lines = 5000
		for range lines {
			log(zerolog.New(r), events.Relay, "key", "K")
		}
		silent := func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		begun := time.Now()
		r.Keep(ctx, track.Options{Log: zerolog.Nop(), Node: "mx", Room: silent})
		if took := time.Since(begun); took > 10*time.Second || r.Lost() != lines {
			t.Errorf("the end takes %s, %d are lost", took, r.Lost())
		}
	})
}

// Gateways that forget at the same time leave no events that no search finds.
func TestForgetTogether(t *testing.T) {
	t.Parallel()
	db := databases.Open(t, state.Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(t).Database(t)})
	for batch := range 3 {
		l, _, end := recording(t, track.Options{DB: db, Node: "mx"})
		log(l, events.Delivery, "key", fmt.Sprint("K", batch))
		end()
	}
	task := track.Tasks(db, func() time.Duration { return 0 })[0]
	ended := make(chan error, 1)
	err := db.Write(t.Context(), func(tx *state.Tx) error { // the first gateway, in the middle
		for _, table := range []string{"track_events", "track"} {
			if _, err := tx.Exec("DELETE FROM " + table + " WHERE first = (SELECT min(first) FROM track)"); err != nil {
				return err
			}
		}
		go func() {
			_, err := task.Do(t.Context(), 1)
			ended <- err
		}()
		for waits := false; !waits && len(ended) == 0; { // for the row that was deleted
			if err := db.QueryRow(t.Context(), "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database()))").Scan(&waits); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, <-ended); err != nil {
		t.Fatal(err)
	}
	var lost int
	err = db.QueryRow(t.Context(), "SELECT count(*) FROM track_events WHERE first NOT IN (SELECT first FROM track)").Scan(&lost)
	if err != nil || lost != 0 {
		t.Errorf("nothing leads to the events of %d batches, %v", lost, err)
	}
}
