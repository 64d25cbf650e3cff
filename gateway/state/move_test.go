//go:build linux

package state

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/test/peers"
)

// someRows are more than a batch, of five columns each.
const someRows = batchValues / 4

// moving is a move of a SQLite state with some rows, to an empty database.
func moving(t *testing.T) Moving {
	t.Helper()
	m := Moving{
		From:     Options{Log: zerolog.Nop(), Folder: t.TempDir()},
		To:       Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(t).Database(t)},
		Contents: func(context.Context, *DB, *DB) error { return nil },
		Tell:     func(string) {},
	}
	db, err := Open(t.Context(), m.From)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *Tx) error {
		for n := range someRows { // more than a batch
			if err := insert(tx, fmt.Sprintf("%05d", n)); err != nil {
				return err
			}
		}
		for _, statement := range []string{
			// What each kind of column may have.
			"INSERT INTO folder_parts VALUES (x'3030303030', 'k', 1, 1, x'')",
			"INSERT INTO login_failures VALUES ('p', 0.25, TRUE, 9)",
			"INSERT INTO spool_messages VALUES (7, 'key', '{\"ä\":1}', 1, 2, 3, 1, 0, x'00ff')",
			"INSERT INTO spool_messages VALUES (8, 'other', '', 1, 2, 300000, 1, 1, NULL)",
			"INSERT INTO spool_recipients VALUES (7, 0, 'a@x', '', 'x', 5, 9, 1, NULL, 3, 0, '')",
			"UPDATE spool_shards SET epoch = 3 WHERE shard = 5",
			// What belongs to processes.
			"INSERT INTO leases VALUES (x'00', 's', 'a', 'f', 'n', 1, 1)",
		} {
			if _, err := tx.Exec(statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return m
}

// refused is what an attempt to use a database is told; empty: it can be used.
func refused(t *testing.T, o Options) string {
	t.Helper()
	db, err := Open(t.Context(), o)
	if err == nil {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		return ""
	}
	wrong, is := errors.AsType[*Unusable](err)
	if pinged := Ping(t.Context(), o); !is || pinged == nil || pinged.Error() != wrong.Error() {
		t.Errorf("Open: %v, Ping: %v", err, pinged)
	}
	r, err := Inspect(t.Context(), o)
	if err != nil || len(r.Problems) != 1 || r.Problems[0] != wrong.Error() {
		t.Errorf("Inspect: %+v, %v", r, err)
	}
	return wrong.Error()
}

func isWhole(t *testing.T, o Options) {
	t.Helper()
	db := open(t, o)
	for query, want := range map[string]string{
		"SELECT count(*) FROM folders WHERE used = 7":                                             fmt.Sprint(someRows),
		"SELECT octet_length(entries) FROM folder_parts":                                          "0",
		"SELECT failures || ' ' || familiar FROM login_failures":                                  "0.25 true",
		"SELECT encode(body, 'hex') || key || envelope || place FROM spool_messages WHERE id = 7": `00ffkey{"ä":1}0`,
		"SELECT count(*) FROM spool_messages WHERE id = 8 AND body IS NULL":                       "1",
		"SELECT count(*) FROM spool_recipients WHERE due IS NULL AND epoch = 3":                   "1",
		"SELECT count(*) || ' ' || max(epoch) FROM spool_shards":                                  "64 3",
		"SELECT count(*) FROM leases":                                                             "0",
		"SELECT count(*) FROM state_moves":                                                        "0",
	} {
		var got string
		if err := db.QueryRow(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %q, %v", query, got, err)
		}
	}
}

// TestMove: all of it is there, under the values that it had, and the file is not used any more.
func TestMove(t *testing.T) {
	t.Parallel()
	m := moving(t)
	var told []string
	m.Tell = func(what string) { told = append(told, what) }
	rows, err := Move(t.Context(), m)
	if err != nil || rows != someRows+5+64 {
		t.Fatalf("%d rows, %v", rows, err)
	}
	isWhole(t, m.To)
	if got := refused(t, m.From); !strings.Contains(got, "has been moved into the database postgres at") || !strings.Contains(got, `as "state"`) {
		t.Errorf("who opens the file is told %q", got)
	}
	if n := len(slices.DeleteFunc(told, func(text string) bool { return !strings.HasPrefix(text, "folders: ") })); n < 2 {
		t.Errorf("it is told %d times of the largest table", n)
	}
	if _, err := Move(t.Context(), m); err == nil || err.Error() != refused(t, m.From) {
		t.Errorf("a second time: %v", err)
	}
}

// TestMoveBrokenOff: wherever it ends, one of the two can be used at the most, and another try completes it.
func TestMoveBrokenOff(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	for name, end := range map[string]func(m *Moving, cancel func()){
		"in a table":   func(m *Moving, cancel func()) { m.Tell = func(string) { cancel() } },
		"in a content": func(m *Moving, _ func()) { m.Contents = func(context.Context, *DB, *DB) error { return stop } },
	} {
		t.Run(name, func(t *testing.T) {
			good := moving(t)
			m := good
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			end(&m, cancel)
			if _, err := Move(ctx, m); err == nil {
				t.Fatal("it was not broken off")
			}
			if got := refused(t, m.From); got != "" {
				t.Errorf("the file is refused: %s", got)
			}
			if got := refused(t, m.To); !strings.Contains(got, "is not complete") || !strings.Contains(got, m.From.Folder) {
				t.Errorf("who opens the database is told %q", got)
			}
			if err := put(t.Context(), open(t, good.From), "another"); err != nil { // the gateway goes on
				t.Fatal(err)
			}
			if rows, err := Move(t.Context(), good); err != nil || rows != someRows+5+64+1 {
				t.Fatalf("%d rows, %v", rows, err)
			}
			if got := names(t, open(t, good.To)); got[len(got)-1] != "another" {
				t.Errorf("the last is %q", got[len(got)-1])
			}
		})
	}
}

// TestMoveBrokenOffAtItsEnd: between the two marks both are refused, and another try does nothing but the last step.
func TestMoveBrokenOffAtItsEnd(t *testing.T) {
	t.Parallel()
	m := moving(t)
	if err := withMover(t, m, func(c *mover) error {
		if _, err := c.begin(t.Context()); err != nil {
			return err
		}
		return c.copy(t.Context())
	}); err != nil {
		t.Fatal(err)
	}
	if file, database := refused(t, m.From), refused(t, m.To); !strings.Contains(file, "move again") || !strings.Contains(database, "run it again") {
		t.Errorf("who opens the file is told %q, the database: %q", file, database)
	}
	m.Tell = func(string) { t.Error("something is copied") }
	if rows, err := Move(t.Context(), m); err != nil || rows != 0 {
		t.Fatalf("%d rows, %v", rows, err)
	}
	isWhole(t, m.To)
}

// withMover does a part of a move.
func withMover(t *testing.T, m Moving, f func(*mover) error) (err error) {
	t.Helper()
	m.From.moving, m.To.moving = true, true
	from, err := Open(t.Context(), m.From)
	if err != nil {
		return err
	}
	to, err := Open(t.Context(), m.To)
	if err != nil {
		return errors.Join(err, from.Close())
	}
	return errors.Join(f(&mover{Moving: m, from: from, to: to}), from.Close(), to.Close())
}

// TestMoveRefuses: nothing is written over, and nobody writes meanwhile.
func TestMoveRefuses(t *testing.T) {
	t.Parallel()
	m := moving(t)
	if err := put(t.Context(), open(t, m.To), "somebody's"); err != nil {
		t.Fatal(err)
	}
	if _, err := Move(t.Context(), m); err == nil || !strings.Contains(err.Error(), "its table folders has rows: name a database, or a schema of it, that is empty") {
		t.Errorf("a database that is used: %v", err)
	}
	if got := refused(t, m.To) + refused(t, m.From); got != "" {
		t.Errorf("they are refused afterwards: %s", got)
	}
	foreign := m
	foreign.To.URL = peers.SharedPostgres(t).Database(t)
	if _, err := open(t, foreign.To).pool.ExecContext(t.Context(), `CREATE TABLE "Their ""own""" AS SELECT 1`); err != nil {
		t.Fatal(err)
	}
	if _, err := Move(t.Context(), foreign); err == nil || !strings.Contains(err.Error(), `its table Their "own" has rows: name a database`) {
		t.Errorf("a database with others' tables: %v", err)
	}
	other := moving(t)
	other.Contents = func(context.Context, *DB, *DB) error { return errors.New("stop") }
	if _, err := Move(t.Context(), other); err == nil {
		t.Fatal("it was not broken off")
	}
	m.To = other.To
	if _, err := Move(t.Context(), m); err == nil || !strings.Contains(err.Error(), "being filled from "+other.From.Folder) {
		t.Errorf("a database that is another's: %v", err)
	}
	m.To = Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(t).Database(t)}
	m.Contents = func(ctx context.Context, _, to *DB) error {
		return to.Write(ctx, func(tx *Tx) error {
			_, err := tx.Exec("INSERT INTO spool_nodes (node, until) VALUES ('n', 1)")
			return err
		})
	}
	if _, err := Move(t.Context(), m); err == nil || !strings.Contains(err.Error(), "and name another database") {
		t.Errorf("a gateway meanwhile: %v", err)
	}
	m.From.Folder = t.TempDir()
	if _, err := Move(t.Context(), m); err == nil || !strings.Contains(err.Error(), "there is no state database") {
		t.Errorf("nothing there: %v", err)
	}
}

// back is a move of what another one has brought into a database, into a new file.
func back(t *testing.T) (original string, m Moving) {
	t.Helper()
	there := moving(t)
	if _, err := Move(t.Context(), there); err != nil {
		t.Fatal(err)
	}
	return there.From.Folder, Moving{From: there.To, To: Options{Log: zerolog.Nop(), Folder: t.TempDir()}, Tell: func(string) {}}
}

// dump is all that a file has that is moved, with the types of its values.
func dump(t *testing.T, folder string) (all []string) {
	t.Helper()
	db, err := connectSQLite(filepath.Join(folder, FileName), "rw", "query_only(1)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = transact(t.Context(), db, nil, func(tx *Tx) error {
		tables, err := namesOf(tx, sqliteTables)
		if err != nil {
			return err
		}
		for _, table := range tables {
			if slices.Contains(unmoved, table) {
				continue
			}
			columns, err := namesOf(tx, "SELECT name FROM pragma_table_info('"+table+"')")
			if err != nil {
				return err
			}
			rows, err := namesOf(tx, "SELECT '"+table+": ' || quote(\""+strings.Join(columns, "\") || ' ' || quote(\"")+"\") FROM "+table)
			if err != nil {
				return err
			}
			all = append(all, rows...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// TestMoveBack: what was moved into a database and out of it is what it was, value by value.
func TestMoveBack(t *testing.T) {
	t.Parallel()
	original, m := back(t)
	rows, err := Move(t.Context(), m)
	if err != nil || rows != someRows+5+64 {
		t.Fatalf("%d rows, %v", rows, err)
	}
	if before, after := dump(t, original), dump(t, m.To.Folder); !slices.Equal(before, after) {
		t.Errorf("%d rows before, %d after; the last are %q and %q", len(before), len(after), before[len(before)-1], after[len(after)-1])
	}
	if got := refused(t, m.To); got != "" {
		t.Errorf("the file is refused: %s", got)
	}
	if got := refused(t, m.From); !strings.Contains(got, "has been moved into "+m.To.Folder) {
		t.Errorf("who opens the database is told %q", got)
	}
	if _, err := Move(t.Context(), m); err == nil || err.Error() != refused(t, m.From) {
		t.Errorf("a second time: %v", err)
	}
}

// TestMoveBackBrokenOff: wherever it ends, one of the two can be used at the most, and another try completes it.
func TestMoveBackBrokenOff(t *testing.T) {
	t.Parallel()
	original, m := back(t)
	broken := m
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	broken.Tell = func(string) { cancel() }
	if _, err := Move(ctx, broken); err == nil {
		t.Fatal("it was not broken off")
	}
	if got := refused(t, m.From); got != "" {
		t.Errorf("the database is refused: %s", got)
	}
	if got := refused(t, m.To); !strings.Contains(got, "is not complete") {
		t.Errorf("who opens the file is told %q", got)
	}
	if err := withMover(t, m, func(c *mover) error {
		if _, err := c.begin(t.Context()); err != nil {
			return err
		}
		return c.copy(t.Context())
	}); err != nil {
		t.Fatal(err)
	}
	if database, file := refused(t, m.From), refused(t, m.To); !strings.Contains(database, "move again") || !strings.Contains(file, "run it again") {
		t.Errorf("who opens the database is told %q, the file: %q", database, file)
	}
	if rows, err := Move(t.Context(), m); err != nil || rows != 0 {
		t.Fatalf("%d rows, %v", rows, err)
	}
	if !slices.Equal(dump(t, original), dump(t, m.To.Folder)) {
		t.Error("it is not what it was")
	}
}

// TestMoveBackRefuses: a database that a gateway uses is not left, and nothing is written over.
func TestMoveBackRefuses(t *testing.T) {
	t.Parallel()
	_, m := back(t)
	used := m
	used.To.Folder = t.TempDir()
	if err := put(t.Context(), open(t, used.To), "somebody's"); err != nil {
		t.Fatal(err)
	}
	if _, err := Move(t.Context(), used); err == nil || !strings.Contains(err.Error(), "its table folders has rows: name a folder") {
		t.Errorf("a folder that is used: %v", err)
	}
	sign := func(until string) {
		t.Helper()
		if _, err := open(t, m.From).pool.ExecContext(t.Context(), "INSERT INTO spool_nodes (node, until) VALUES ('n', "+until+") ON CONFLICT (node) DO UPDATE SET until = excluded.until"); err != nil {
			t.Fatal(err)
		}
	}
	sign("9000000000000000000")
	if _, err := Move(t.Context(), m); err == nil || !strings.Contains(err.Error(), "a gateway uses") {
		t.Errorf("a gateway runs: %v", err)
	}
	if got := refused(t, m.From); got != "" {
		t.Errorf("the database is refused afterwards: %s", got)
	}
	sign("1")
	if _, err := Move(t.Context(), m); err != nil {
		t.Errorf("of a gateway that is dead: %v", err)
	}
}
