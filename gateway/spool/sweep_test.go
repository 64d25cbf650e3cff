//go:build linux

package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/harness"
)

// filesOf are the names of the files that a spool has.
func filesOf(t testing.TB, s *Spool) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(s.files.folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// change carries out a statement behind the spool's back.
func change(t testing.TB, s *Spool, statement string, args ...any) {
	t.Helper()
	err := s.db.Write(t.Context(), func(tx *state.Tx) error {
		_, err := tx.Exec(statement, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// logged lets a spool's log be read.
func logged(log *strings.Builder) func(*Options) {
	return func(o *Options) { o.Log = zerolog.New(zerolog.SyncWriter(log)) }
}

// TestOrphanFiles: files of an earlier process that no message has are removed after the start, and
// nothing else is.
func TestOrphanFiles(t *testing.T) {
	o := state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)}
	folder := t.TempDir()
	here := func(o *Options) { o.Folder = folder }
	large := strings.Repeat("x", 300<<10)
	first := start(t, o, here)
	accept(t, first, to("k", "a@x.example"), large)
	// A process that was killed in the middle of a message, and one that has synced its file already.
	for _, commit := range []bool{false, true} {
		f, err := first.files.create()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("half")); err != nil {
			t.Fatal(err)
		}
		if commit && f.Commit() != nil {
			t.Fatal("it cannot be synced")
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	s := start(t, o, here, logged(&log))
	<-s.swept
	body := full(t, buffer.Options{Storage: s.Storage(), MemoryMost: 1}, "on its way in")
	defer body.Discard() //nolint:errcheck // it is a test's
	s.sweepOnce(t.Context())
	if left := filesOf(t, s); len(left) != 3 {
		t.Errorf("%q are there", left)
	}
	if !strings.Contains(log.String(), `"files":2`) {
		t.Errorf("it is not reported: %s", &log)
	}
	if got := textOf(t, one(t, s, "x.example")); got != large {
		t.Errorf("%d octets are there", len(got))
	}
}

// TestOrphanChunks: parts of contents whose message never came are removed from a SQLite file, which has those of a
// database that was moved there.
func TestOrphanChunks(t *testing.T) {
	o := state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)}
	s := start(t, o)
	<-s.swept
	for _, id := range []ID{1, s.ids.next()} {
		if err := writeChunks(t.Context(), s.db, id, "", strings.NewReader("half")); err != nil {
			t.Fatal(err)
		}
	}
	s.sweepOnce(t.Context())
	if n := count(t, s, "spool_chunks"); n != 0 {
		t.Errorf("there are %d parts", n)
	}
}

// TestOrphanChunksAmongOthers: what is left is found among many that wait, on each database, and those keep their parts.
func TestOrphanChunksAmongOthers(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]state.Options{
		"SQLite": {Log: zerolog.Nop(), Folder: databases.Folder(t)}, "PostgreSQL": shared(t),
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, o, slow)
			<-s.swept
			err := s.db.Write(t.Context(), func(tx *state.Tx) error { return manyChunks(tx, 2*sweepPage+10) })
			if err != nil {
				t.Fatal(err)
			}
			s.sweepOnce(t.Context())
			var parts, messages, wrong int
			err = s.db.QueryRow(t.Context(), "SELECT COUNT(*), COUNT(DISTINCT message), COUNT(CASE WHEN message % 3 = 0 THEN 1 END) FROM spool_chunks").Scan(&parts, &messages, &wrong)
			if err != nil || messages != 348 || parts != 4*messages || wrong != 0 {
				t.Errorf("%d parts of %d messages are there, %d of which were left (%v)", parts, messages, wrong, err)
			}
		})
	}
}

// manyChunks makes so many contents of four parts. Every third has no message, and nobody who completes it.
func manyChunks(tx *state.Tx, messages int) error {
	for id := 1; id <= messages; id++ {
		for number := range 4 {
			if _, err := tx.Exec("INSERT INTO spool_chunks (message, number, content, node) VALUES ($1, $2, $3, 'an ended one')", id, number, []byte("x")); err != nil {
				return err
			}
		}
		if id%3 == 0 {
			continue
		}
		_, err := tx.Exec(`INSERT INTO spool_messages (id, key, envelope, received, expires, size, recipients, place)
VALUES ($1, $2, '{}', 1, $3, 4, 1, 2)`, id, fmt.Sprint("k", id), int64(1)<<60)
		if err != nil {
			return err
		}
	}
	return nil
}

// TestChunkWalk: no part is looked at but one of each message.
func TestChunkWalk(t *testing.T) {
	s := start(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})
	rows, err := s.db.Query(t.Context(), "EXPLAIN QUERY PLAN "+leftChunksAlone, int64(0))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	walks := 0
	for rows.Next() {
		var a, b, c any
		var step string
		if err := rows.Scan(&a, &b, &c, &step); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(step, "SCAN spool_chunks") {
			t.Error(step)
		}
		if strings.Contains(step, "SEARCH spool_chunks USING COVERING INDEX") {
			walks++
		}
	}
	if err := rows.Err(); err != nil || walks != 2 {
		t.Errorf("%d walks along the index (%v)", walks, err)
	}
}

// TestOrphanChunksOfOthers: with PostgreSQL parts are removed once the process that wrote them has ended, or a whole sweep
// later, whatever any gateway's clock says.
func TestOrphanChunksOfOthers(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"clocks agree": 0, "ahead": 48 * time.Hour, "behind": -48 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			o := shared(t)
			sweeper := start(t, o, slow, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(ahead) } })
			other := start(t, o, slow, unpartitioned)
			<-sweeper.swept
			<-other.swept
			accept(t, other, to("k", "a@x.example"), strings.Repeat("x", 300<<10)) // two parts
			half := func(s *Spool, node string) {
				t.Helper()
				if err := writeChunks(t.Context(), s.db, s.ids.next(), node, strings.NewReader("half")); err != nil {
					t.Fatal(err)
				}
			}
			sweep := func(want int) {
				t.Helper()
				sweeper.sweepOnce(t.Context())
				if n := count(t, sweeper, "spool_chunks"); n != want {
					t.Errorf("there are %d parts, not %d", n, want)
				}
			}
			half(other, other.leases.node)
			half(sweeper, sweeper.leases.node)
			half(other, "")
			sweep(5)
			sweep(4) // the sweeper's own is from before the last one
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
			sweep(3)
		})
	}
}

// TestOrphanChunksOfEarlierVersions: parts that name no process are removed after a day.
func TestOrphanChunksOfEarlierVersions(t *testing.T) {
	t.Parallel()
	s := start(t, shared(t), slow)
	<-s.swept
	for _, age := range []time.Duration{25 * time.Hour, 23 * time.Hour} {
		if err := writeChunks(t.Context(), s.db, ID(time.Now().Add(-age).UnixMicro()<<idBits), "", strings.NewReader("half")); err != nil {
			t.Fatal(err)
		}
	}
	s.sweepOnce(t.Context())
	if n := count(t, s, "spool_chunks"); n != 1 {
		t.Errorf("there are %d parts", n)
	}
}

// TestSweptOnItsWayIn (I1): a message whose parts another gateway has removed, as this one gave no sign of life, is refused,
// and is taken in whole when it comes again.
func TestSweptOnItsWayIn(t *testing.T) {
	t.Parallel()
	o := shared(t)
	db := &interrupting{database: databases.Open(t, o)}
	s, err := open(t.Context(), Options{Log: zerolog.Nop(), Folder: t.TempDir(), Lease: time.Hour, Poll: time.Hour, Partition: -1, Reserve: 1}, db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	other := start(t, o, slow, unpartitioned)
	<-s.swept
	<-other.swept
	text := strings.Repeat("x", 600<<10)
	// One after the first part, one before the message.
	for _, after := range []int{1, 3} {
		db.after(after, func() {
			kill(t, s)
			tick(t, other)
			other.sweepOnce(t.Context())
		})
		body := full(t, buffer.Options{}, text)
		if err := s.Accept(t.Context(), to("k", "a@x.example"), body); !errors.Is(err, errSwept) {
			t.Errorf("after %d parts: %v", after, err)
		}
		_ = body.Discard() // it is in memory
	}
	tick(t, s)
	accept(t, s, to("k", "a@x.example"), text)
	other.sweepOnce(t.Context())
	if got := textOf(t, one(t, other, "x.example")); got != text {
		t.Errorf("%d octets are there", len(got))
	}
}

// interrupting does something after some writes.
type interrupting struct {
	database
	left int
	do   func()
}

func (d *interrupting) after(writes int, do func()) { d.left, d.do = writes, do }

func (d *interrupting) Write(ctx context.Context, f func(*state.Tx) error) error {
	err := d.database.Write(ctx, f)
	if d.left--; d.left == 0 {
		d.do()
	}
	return err
}

// TestSweepWaitsForWhoIsTakingIn (I1): a sweep that finds a message's parts while the message is being taken in, and is not
// seen yet, leaves them.
func TestSweepWaitsForWhoIsTakingIn(t *testing.T) {
	t.Parallel()
	o := shared(t)
	s := start(t, o, slow)
	<-s.swept
	other := databases.Open(t, o)
	id, removed := s.ids.next(), make(chan int64, 1)
	if err := writeChunks(t.Context(), s.db, id, "an ended one", strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	err := other.Write(t.Context(), func(tx *state.Tx) error {
		_, err := tx.Exec("INSERT INTO spool_messages (id, key, envelope, received, expires, size, recipients, place) VALUES ($1, 'k', '{}', 1, 1, 7, 1, 2)", int64(id))
		if err == nil {
			err = (content{place: inChunks}).verify(tx, id)
		}
		if err != nil {
			return err
		}
		go func() {
			parts, err := s.removeLeft(t.Context(), id)
			if err != nil {
				t.Error(err)
			}
			removed <- parts
		}()
		harness.Eventually(t, time.Minute, "the sweep waits", func() bool {
			return count(t, s, "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") > 0
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if parts := <-removed; parts != 0 {
		t.Errorf("%d parts were removed", parts)
	}
}

// TestDamaged: a message whose file is missing or short is held and reported, by who wants to deliver it
// and by the sweep; the others go on.
func TestDamaged(t *testing.T) {
	harm := map[string]func(name string) error{
		"missing": os.Remove,
		"short":   func(name string) error { return os.Truncate(name, 1000) },
	}
	for name, harm := range harm {
		for _, finder := range []string{"claim", "sweep"} {
			t.Run(name+" "+finder, func(t *testing.T) {
				var log strings.Builder
				s := start(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)}, logged(&log))
				<-s.swept
				accept(t, s, to("good", "a@x.example"), "text")
				accept(t, s, to("bad", "a@x.example"), strings.Repeat("x", 300<<10))
				if err := harm(filepath.Join(s.files.folder, filesOf(t, s)[0])); err != nil {
					t.Fatal(err)
				}
				if finder == "sweep" {
					s.sweepOnce(t.Context())
				}
				if d := one(t, s, "x.example"); d.Key != "good" {
					t.Errorf("%s is delivered", d.Key)
				}
				held, err := s.List(t.Context(), Filter{States: []State{Held}}, 0, 10)
				if err != nil || len(held) != 1 || held[0].Key != "bad" || !strings.Contains(held[0].Recipients[0].Last.Diagnostic, "its file ") {
					t.Errorf("held are %+v, %v", held, err)
				}
				if !strings.Contains(log.String(), "is held") {
					t.Errorf("it is not reported: %s", &log)
				}
			})
		}
	}
}

// TestDeletedMeanwhile: of mail that an administrator has deleted, and whose file is gone, nothing is said to be held.
func TestDeletedMeanwhile(t *testing.T) {
	var log strings.Builder
	s := start(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)}, logged(&log))
	<-s.swept
	accept(t, s, to("k", "a@x.example"), strings.Repeat("x", 300<<10))
	if n := handled(t, s.Delete, Filter{}); n != 1 {
		t.Fatalf("%d were deleted", n)
	}
	if got := claim(t, s, "x.example", 10); len(got) > 0 {
		t.Errorf("it is delivered: %+v", got[0])
	}
	if log.Len() > 0 {
		t.Errorf("the log says: %s", &log)
	}
}

// TestOddRows: what cannot be read costs itself alone: it is held, shown and reported.
func TestOddRows(t *testing.T) {
	for name, statement := range map[string]string{
		"envelope":   "UPDATE spool_messages SET envelope = '{' WHERE key = 'bad'",
		"parameters": "UPDATE spool_recipients SET parameters = 'x' WHERE number = 1",
		"outcome":    "UPDATE spool_recipients SET outcome = '[' WHERE number = 1",
		"no message": "DELETE FROM spool_messages WHERE key = 'bad'",
	} {
		t.Run(name, func(t *testing.T) {
			databases.Each(t, func(t *testing.T, o state.Options) {
				var log strings.Builder
				s := start(t, o, logged(&log), func(o *Options) { o.FreshOctets = 1 })
				accept(t, s, to("bad", "a@y.example", "b@x.example"), "text")
				change(t, s, statement)
				// Whatever is first in a page of one.
				if got := claim(t, s, "x.example", 1); len(got) != 0 {
					t.Errorf("it is delivered: %+v", got[0])
				}
				accept(t, s, to("good", "a@x.example"), "text")
				if d := one(t, s, "x.example"); d.Key != "good" {
					t.Errorf("%s is delivered", d.Key)
				}
				held, err := s.List(t.Context(), Filter{States: []State{Held}}, 0, 10)
				if err != nil || len(held) != 1 || !strings.Contains(log.String(), "is held") {
					t.Fatalf("held are %+v, %v: %s", held, err, &log)
				}
				if name == "outcome" {
					return // it is another one now
				}
				if held[0].Odd == "" {
					t.Errorf("nothing odd is shown: %+v", held[0])
				}
			})
		})
	}
}

// TestStrays: mail that nothing leads to is found, reported and tried.
func TestStrays(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		accept(t, s, to("k", "a@x.example", "b@y.example"), "text")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		change(t, s, "DELETE FROM spool_destinations WHERE destination = 'y.example'")
		var log strings.Builder
		s = start(t, o, logged(&log))
		<-s.swept
		if a, b := next(t, s), next(t, s); a+b != "x.exampley.example" && a+b != "y.examplex.example" {
			t.Errorf("%s and %s are ready", a, b)
		}
		if !strings.Contains(log.String(), "nothing led to") {
			t.Errorf("it is not reported: %s", &log)
		}
	})
}

// TestContentGone: a content that is lost after it was handed out is an error, never a short success (I3).
func TestContentGone(t *testing.T) {
	test := func(t *testing.T, o state.Options, how func(*Options)) {
		s := start(t, o, func(o *Options) { o.FreshOctets = 1 }, how)
		for name, size := range map[string]int{"small": 1000, "large": 600 << 10} {
			accept(t, s, to(name, "a@x.example"), strings.Repeat("x", size))
			d := one(t, s, "x.example")
			change(t, s, "UPDATE spool_messages SET body = substr(body, 1, 10)")
			change(t, s, "DELETE FROM spool_chunks WHERE number = 1")
			if s.db.Shared() {
				change(t, s, "DELETE FROM spool_contents WHERE number = 1")
				change(t, s, "UPDATE spool_contents SET content = substr(content, 1, 10)")
			}
			for _, file := range filesOf(t, s) {
				if err := os.Truncate(filepath.Join(s.files.folder, file), 10); err != nil {
					t.Fatal(err)
				}
			}
			opened, err := d.Open(t.Context())
			if err == nil {
				_, err = io.Copy(io.Discard, opened)
				_ = opened.Close()
			}
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	databases.Each(t, func(t *testing.T, o state.Options) { test(t, o, func(*Options) {}) })
	t.Run("postgres without partitions", func(t *testing.T) { test(t, shared(t), unpartitioned) })
}
