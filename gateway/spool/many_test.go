//go:build linux

package spool

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// waiting writes so many messages for a destination that are due then, in one transaction.
func waiting(t testing.TB, s database, destination string, many int, due int64) {
	t.Helper()
	const numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) "
	err := s.Write(t.Context(), func(tx *state.Tx) error {
		_, err := tx.Exec(numbers+`INSERT INTO spool_messages (id, key, envelope, received, expires, size, recipients, place, body)
SELECT i, 'waiting-' || i, '{}', 0, 0, 4, 1, 0, $2 FROM n`, many, []byte("text"))
		if err == nil {
			_, err = tx.Exec(numbers+`INSERT INTO spool_recipients (message, number, address, parameters, destination, shard, rank, state, due, attempts, outcome)
SELECT i, 0, 'a@x.example', '', $2, $3, 9, 0, $4, 0, '' FROM n`, many, destination, shardOf(destination), due)
		}
		if err == nil {
			_, err = tx.Exec("INSERT INTO spool_destinations (destination, shard, due, until) VALUES ($1, $2, $3, 0)", destination, shardOf(destination), due)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDeadDestination: what waits for a destination that is dead delays no other one, and costs it nothing:
// it is read a page at a time, when the destination's turn has come.
func TestDeadDestination(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := &counted{database: databases.Open(t, o)}
		waiting(t, db, "dead.example", 10_000, 1)
		s, err := open(t.Context(), Options{Log: zerolog.Nop(), Folder: t.TempDir(), Lease: time.Hour, Poll: time.Hour, deaf: true}, db)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close() //nolint:errcheck // the test is about something else
		<-s.swept
		if name := next(t, s); name != "dead.example" {
			t.Fatalf("%s is ready", name)
		}
		accept(t, s, to("fresh", "a@alive.example"), "text")
		before := db.asked.Load()
		name := next(t, s)
		if name != "alive.example" {
			t.Fatalf("%s is ready", name)
		}
		settle(t, s, all(one(t, s, name), Outcome{State: Delivered}))
		if asked := db.asked.Load() - before; asked != 2 {
			t.Errorf("the fresh message costs %d questions", asked)
		}
		before = db.asked.Load()
		for range 3 {
			if got := len(claim(t, s, "dead.example", 50)); got != 50 {
				t.Errorf("%d were claimed", got)
			}
		}
		if asked := db.asked.Load() - before; asked != 6 {
			t.Errorf("three pages cost %d questions", asked)
		}
		s.Done("dead.example", time.Now().Add(time.Hour))
		nothing(t, s)
	})
}

// TestReadsWhatIsWanted: a Claim reads as much of what waits as it hands out, about: a row that cannot be read harms
// nobody who is far before it.
func TestReadsWhatIsWanted(t *testing.T) {
	s := start(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})
	waiting(t, s.db, "x.example", 100, 1)
	err := s.db.Write(t.Context(), func(tx *state.Tx) error {
		_, err := tx.Exec("UPDATE spool_recipients SET attempts = 'no number' WHERE message = 30")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found := claim(t, s, "x.example", 20); len(found) != 20 {
		t.Errorf("%d were claimed", len(found))
	}
	if _, err := s.Claim(t.Context(), "x.example", 20); err == nil {
		t.Error("the row that cannot be read is read")
	}
}

// TestWholeMessages: a message is handed out with all of its recipients that are due, however few messages are wanted.
func TestWholeMessages(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o, func(o *Options) { o.FreshOctets = 1 })
		for _, many := range []int{1, 5, 6, 40, 41, 300} {
			m := to(fmt.Sprint(many))
			for i := range many {
				m.Recipients = append(m.Recipients, to("", fmt.Sprintf("%d@x.example", i)).Recipients...)
			}
			accept(t, s, m, "text")
		}
		var got []int
		for range 3 {
			for _, d := range claim(t, s, "x.example", 2) {
				got = append(got, len(d.Recipients))
			}
		}
		if fmt.Sprint(got) != "[1 5 6 40 41 300]" {
			t.Errorf("they have %v recipients", got)
		}
	})
}

// TestPlans: each question that is asked while there is mail goes by an index (SQLite tells).
func TestPlans(t *testing.T) {
	db := databases.Open(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})
	for query, index := range map[string]string{
		dueByRank:   "spool_recipients_due (destination=? AND rank>?)",
		dueOfRank:   "spool_recipients_due (destination=? AND rank=? AND due<?)",
		laterOfRank: "spool_recipients_due (destination=? AND rank=? AND due>?)",
		leftInShard: "spool_recipients_in_flight (shard=? AND epoch<?)",
		"SELECT destination FROM spool_destinations WHERE (due, destination) > ($1, $2) ORDER BY due, destination LIMIT 1000": "spool_destinations_due ((due,destination)>(?,?))",
		"SELECT 1 FROM spool_recipients WHERE message = $1 AND state <> 2 AND state <> 3 LIMIT 1":                             "(message=?)",
	} {
		plan := planOf(t, db, query)
		if !slices.ContainsFunc(plan, func(step string) bool { return strings.Contains(step, index) }) ||
			slices.ContainsFunc(plan, func(step string) bool { return strings.Contains(step, "SCAN") || strings.Contains(step, "B-TREE") }) {
			t.Errorf("%s\ngoes by %q", query, plan)
		}
	}
}

// planOf is how SQLite carries out a query.
func planOf(t *testing.T, db *state.DB, query string) (plan []string) {
	t.Helper()
	args := make([]any, strings.Count(query, "$"))
	for i := range args {
		args[i] = 1
	}
	rows, err := db.Query(context.Background(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
	}
	return plan
}
