//go:build linux

package spool

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/peers"
)

// tables is what the spool's tables take in PostgreSQL, their indexes and what is stored beside their rows included.
func tables(t testing.TB, db database) (octets int64) {
	t.Helper()
	err := db.QueryRow(t.Context(), `SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname LIKE 'spool\_%'`).Scan(&octets)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// incompressible is a content that PostgreSQL cannot make smaller.
func incompressible(size int) string {
	r := rand.NewChaCha8([32]byte{})
	octets := make([]byte, size)
	_, _ = r.Read(octets) // never fails
	return string(octets)
}

// flow passes so many messages through a spool, from several senders at a time.
func flow(ctx context.Context, s *Spool, from, many int, content string) error {
	const senders = 8
	failed := make(chan error, senders)
	for sender := range senders {
		go func() {
			for n := from + sender; n < from+many; n += senders {
				if err := passOn(ctx, s, fmt.Sprint("key-", n), fmt.Sprintf("d%d.example", n%50*senders+sender), content); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	var err error
	for range senders {
		if one := <-failed; one != nil {
			err = one
		}
	}
	return err
}

// TestTablesStayBounded: what was deleted makes room for what comes, in each table and index, once it was vacuumed, and
// contents are dropped. However long mail passes through, the tables are as large as what passes between two times.
func TestTablesStayBounded(t *testing.T) {
	t.Parallel()
	// A database of its own: another test's transaction would keep VACUUM from what was deleted since it began.
	var passing turning
	s := start(t, state.Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(t).OwnDatabase(t)}, passing.set)
	content := incompressible(4 << 10)
	const many = 80
	var before, after []int64 // each VACUUM
	for round := range 8 {
		if err := flow(t.Context(), s, round*many, many, content); err != nil {
			t.Fatal(err)
		}
		before = append(before, tables(t, s.db))
		passing.turn(t, s)
		vacuum(t, s)
		after = append(after, tables(t, s.db))
	}
	t.Logf("octets before each VACUUM: %d, after it: %d", before, after)
	// A transaction of the spool's own may keep one VACUUM, or two, from what a round has left.
	if grown := after[7] - after[1]; grown > 2*before[0] {
		t.Errorf("the tables have grown by %d octets in six rounds, and %d pass in each", grown, before[0])
	}
}

func vacuum(t *testing.T, s *Spool) {
	t.Helper()
	rows, err := s.db.Query(t.Context(), "VACUUM spool_messages, spool_recipients, spool_destinations")
	if err == nil {
		err = rows.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// writtenLog is how many octets of log the server has written.
const writtenLog = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"

// BenchmarkVacuum is messages of 4 KiB that pass through PostgreSQL while it cleans up as it is configured: how large its
// tables get, and how much is dead in the end.
func BenchmarkVacuum(b *testing.B) {
	s := start(b, state.Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(b).Database(b)})
	content := incompressible(4 << 10)
	ctx, end := context.WithCancel(b.Context())
	var watching sync.WaitGroup
	var most int64
	watching.Go(func() {
		for begin := time.Now(); ctx.Err() == nil; time.Sleep(time.Second) {
			size := tables(b, s.db)
			most = max(most, size)
			if past := time.Since(begin).Round(time.Second); past%(15*time.Second) == 0 {
				b.Logf("%s: %d MB", past, size>>20)
			}
		}
	})
	var from, to int64
	if err := s.db.QueryRow(b.Context(), writtenLog).Scan(&from); err != nil {
		b.Fatal(err)
	}
	report := measured(b)
	if err := flow(b.Context(), s, 0, b.N, content); err != nil {
		b.Fatal(err)
	}
	report()
	end()
	watching.Wait()
	var dead sql.NullFloat64
	err := s.db.QueryRow(b.Context(), `SELECT sum(pg_stat_get_dead_tuples(c.oid) + pg_stat_get_dead_tuples(c.reltoastrelid)) FROM pg_class c
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'`).Scan(&dead)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.db.QueryRow(b.Context(), writtenLog).Scan(&to); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(to-from)/float64(b.N)/1024, "KB-log/message")
	b.ReportMetric(float64(most>>20), "MB-most")
	b.ReportMetric(float64(tables(b, s.db)>>20), "MB-end")
	b.ReportMetric(dead.Float64, "dead-rows")
}
