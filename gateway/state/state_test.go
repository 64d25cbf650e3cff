//go:build linux

package state

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"github.com/dipylon/dipylon/test/peers"
)

// each runs a test on SQLite and on PostgreSQL, each time with a new, empty database.
func each(t *testing.T, f func(t *testing.T, o Options)) {
	t.Run("sqlite", func(t *testing.T) { f(t, Options{Log: zerolog.Nop(), Folder: t.TempDir()}) })
	t.Run("postgres", func(t *testing.T) {
		f(t, Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(t).Database(t)})
	})
}

func open(t testing.TB, o Options) *DB {
	t.Helper()
	db, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// put writes one row whose key is the name.
func put(ctx context.Context, db *DB, name string) error {
	return db.Write(ctx, func(tx *Tx) error { return insert(tx, name) })
}

func insert(tx *Tx, name string) error {
	_, err := tx.Exec("INSERT INTO folders (key, store, account, folder, used) VALUES ($1, 's', $2, '', 7)", []byte(name), name)
	return err
}

// names are the rows that there are, sorted.
func names(t testing.TB, db *DB) []string {
	t.Helper()
	var all []string
	err := db.Read(t.Context(), func(tx *Tx) error {
		return tx.Query(func(scan func(...any) error) error {
			var name string
			defer func() { all = append(all, name) }()
			return scan(&name)
		}, "SELECT account FROM folders ORDER BY key")
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWrite(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		db := open(t, o)
		if err := put(t.Context(), db, "a"); err != nil {
			t.Fatal(err)
		}
		stop := errors.New("no")
		err := db.Write(t.Context(), func(tx *Tx) error {
			if err := insert(tx, "b"); err != nil {
				return err
			}
			return stop
		})
		if !errors.Is(err, stop) {
			t.Errorf("the function's own error is %v", err)
		}
		if err := put(t.Context(), db, "a"); err == nil {
			t.Error("a key was written twice")
		}
		if err := put(t.Context(), db, "c"); err != nil {
			t.Fatal(err)
		}
		if got := names(t, db); fmt.Sprint(got) != "[a c]" {
			t.Errorf("there are %v", got)
		}
	})
}

// TestForgottenError: a write whose statement has failed is not committed because its error was
// overlooked, on either database.
func TestForgottenError(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		db := open(t, o)
		err := db.Write(t.Context(), func(tx *Tx) error {
			if err := insert(tx, "a"); err != nil {
				return err
			}
			_ = insert(tx, "a")
			if insert(tx, "b") == nil {
				t.Error("a statement after one that failed was carried out")
			}
			return nil
		})
		if err == nil || len(names(t, db)) != 0 {
			t.Errorf("%v, and there are %v", err, names(t, db))
		}
	})
}

func TestReadChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		db := open(t, o)
		if err := db.Read(t.Context(), func(tx *Tx) error { return insert(tx, "a") }); err == nil {
			t.Error("Read can write")
		}
		if got := names(t, db); len(got) != 0 {
			t.Errorf("there are %v", got)
		}
	})
}

// TestReopen: what was written is there again, and a schema that is up to date stays so.
func TestReopen(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		for i := range 3 {
			db, err := Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(t, db); len(got) != i {
				t.Errorf("the %d. time there are %v", i, got)
			}
			if err := put(t.Context(), db, fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestOpenTogether: nodes that start at the same time on an empty database make one schema.
func TestOpenTogether(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		var opening sync.WaitGroup
		for range 8 {
			opening.Go(func() {
				db, err := Open(t.Context(), o)
				if err != nil {
					t.Error(err)
					return
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		opening.Wait()
		r, err := Inspect(t.Context(), o)
		if err != nil || r.Version != SchemaVersion() || len(r.Problems) > 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestMany: every one of many writes at once gets its own result, and what is there afterwards
// is what was acknowledged.
func TestMany(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		db := open(t, o)
		wrong := errors.New("wrong")
		var mu sync.Mutex
		acknowledged := map[string]bool{}
		var writing sync.WaitGroup
		for i := range 16 {
			writing.Go(func() {
				for n := range 40 {
					name := fmt.Sprintf("%d/%d", i, n)
					bad := (i+n)%5 == 0
					err := db.Write(t.Context(), func(tx *Tx) error {
						if err := insert(tx, name); err != nil || !bad {
							return err
						}
						return wrong
					})
					if errors.Is(err, wrong) != bad || (err == nil) == bad {
						t.Errorf("%s: %v", name, err)
					}
					mu.Lock()
					acknowledged[name] = err == nil
					mu.Unlock()
				}
			})
		}
		writing.Wait()
		there := map[string]bool{}
		for _, name := range names(t, db) {
			there[name] = true
		}
		for name, yes := range acknowledged {
			if there[name] != yes {
				t.Errorf("%s: acknowledged %v, there %v", name, yes, there[name])
			}
		}
	})
}

// TestGroups (property): whatever writes come together and however each ends, those that were
// acknowledged are there, whole, and no others.
func TestGroups(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		db := open(t, o)
		round := 0
		rapid.Check(t, func(rt *rapid.T) {
			round++
			ends := rapid.SliceOfN(rapid.SampledFrom([]string{"good", "error", "twice", "empty"}), 1, 12).Draw(rt, "writes")
			wanted, errs := 0, make([]error, len(ends))
			var writing sync.WaitGroup
			for i, end := range ends {
				if end == "good" {
					wanted += 2
				}
				writing.Go(func() { errs[i] = writeSo(t.Context(), db, fmt.Sprintf("%d/%d", round, i), end) })
			}
			writing.Wait()
			for i, end := range ends {
				if (errs[i] == nil) != (end == "good" || end == "empty") {
					rt.Errorf("%s: %v", end, errs[i])
				}
			}
			got := 0
			for _, name := range names(t, db) {
				if strings.HasPrefix(name, fmt.Sprintf("%d/", round)) {
					got++
				}
			}
			if got != wanted {
				rt.Errorf("%v left %d rows, wanted %d", ends, got, wanted)
			}
		})
	})
}

func writeSo(ctx context.Context, db *DB, name, end string) error {
	return db.Write(ctx, func(tx *Tx) error {
		if end == "empty" {
			return nil
		}
		if err := insert(tx, name+"a"); err != nil {
			return err
		}
		switch end {
		case "error":
			return errors.New("as it was wanted")
		case "twice":
			return insert(tx, name+"a")
		}
		return insert(tx, name+"b")
	})
}

// TestGivingUp: who does not wait for a write that has not begun has not written; who does for
// one that has waits for its end.
func TestGivingUp(t *testing.T) {
	db := open(t, Options{Log: zerolog.Nop(), Folder: t.TempDir()})
	begun, proceed := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var first error
	var writing sync.WaitGroup
	writing.Go(func() {
		first = db.Write(ctx, func(tx *Tx) error {
			close(begun)
			<-proceed
			return insert(tx, "first")
		})
	})
	<-begun
	ended, end := context.WithCancel(t.Context())
	end()
	if err := put(ended, db, "second"); !errors.Is(err, context.Canceled) {
		t.Errorf("a write that was given up: %v", err)
	}
	cancel()
	close(proceed)
	writing.Wait()
	if got := names(t, db); first != nil || fmt.Sprint(got) != "[first]" {
		t.Errorf("%v, and there are %v", first, got)
	}
}

func TestClose(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		db := open(t, o)
		var writing sync.WaitGroup
		for i := range 8 {
			writing.Go(func() {
				for n := 0; put(t.Context(), db, fmt.Sprint(i, "/", n)) == nil; n++ {
				}
			})
		}
		if err := put(t.Context(), db, "x"); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		writing.Wait() // each of them is told
		if err := put(t.Context(), db, "y"); err == nil {
			t.Error("a closed database can be written")
		}
	})
}

// TestFrozenTransaction: the server ends a transaction whose process says nothing, unless it is configured
// otherwise.
func TestFrozenTransaction(t *testing.T) {
	url := peers.SharedPostgres(t).Database(t)
	for options, want := range map[string]string{"": "30s", "?options=-cidle_in_transaction_session_timeout%3D7s": "7s"} {
		if strings.Contains(url, "?") {
			options = strings.Replace(options, "?", "&", 1)
		}
		db := open(t, Options{Log: zerolog.Nop(), URL: url + options})
		for _, pool := range []interface {
			QueryRowContext(context.Context, string, ...any) *sql.Row
		}{db.pool, db.quick} {
			var got string
			if err := pool.QueryRowContext(t.Context(), "SHOW idle_in_transaction_session_timeout").Scan(&got); err != nil || got != want {
				t.Errorf("it ends after %s, not %s: %v", got, want, err)
			}
		}
	}
}

// TestFailingSync (I1): when a sync fails, everybody in the commit is told that nobody knows, and nothing is
// written any more: who asks again must not be told of a success that rests on what the failed sync has lost.
func TestFailingSync(t *testing.T) {
	o := Options{Log: zerolog.Nop(), Folder: t.TempDir()}
	db := open(t, o)
	if err := put(t.Context(), db, "before"); err != nil {
		t.Fatal(err)
	}
	broken := fmt.Errorf("%w: input/output error", ErrUnsynced)
	begun, proceed := make(chan struct{}), make(chan struct{})
	errs := make([]error, 9)
	var writing sync.WaitGroup
	writing.Go(func() {
		errs[0] = db.Write(t.Context(), func(tx *Tx) error {
			close(begun)
			<-proceed
			db.writer.sync = func() error { db.writer.sync = nil; return broken }
			return insert(tx, "0")
		})
	})
	<-begun
	select {
	case <-db.Failed():
		t.Error("it has failed before its time")
	default:
	}
	for i := range 8 {
		writing.Go(func() { errs[i+1] = put(t.Context(), db, fmt.Sprint(i+1)) })
	}
	close(proceed)
	writing.Wait()
	<-db.Failed()
	if !errors.Is(errs[0], ErrUnsynced) {
		t.Errorf("who was in the commit is told %v", errs[0])
	}
	for i, err := range append(errs[1:], put(t.Context(), db, "again")) {
		if !errors.Is(err, ErrFailed) {
			t.Errorf("who came later, %d, is told %v", i, err)
		}
	}
	if there := fmt.Sprint(names(t, db)); there != "[before]" {
		t.Errorf("there are %s", there)
	}
}

// TestDamaged: once SQLite finds the database damaged nothing is written any more, and the database is left as it is.
func TestDamaged(t *testing.T) {
	o := Options{Log: zerolog.Nop(), Folder: t.TempDir()}
	for _, n := range []int{0, 500} { // more than a connection keeps in memory; and it is in the file when it is opened for the second time
		db := open(t, o)
		for i := range 500 {
			if err := put(t.Context(), db, fmt.Sprintf("%04d %s", n+i, strings.Repeat("x", 8000))); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(o.Folder, FileName)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	clear(content[len(content)/4:])
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec("UPDATE folders SET used = 8")
		return err
	})
	if err == nil {
		t.Fatal("the damage was not seen")
	}
	select {
	case <-db.Failed():
	default:
		t.Errorf("it goes on: %v", err)
	}
	if err := put(t.Context(), db, "more"); !errors.Is(err, ErrFailed) {
		t.Errorf("who comes later is told %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, content) {
		t.Errorf("the file has been changed: %v", err)
	}
}

// TestStorage: PostgreSQL does not try to compress contents of mail.
func TestStorage(t *testing.T) {
	t.Parallel()
	db := open(t, Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(t).Database(t)})
	for _, table := range []string{"spool_chunks", "spool_contents"} {
		var got string
		err := db.QueryRow(t.Context(), "SELECT attstorage FROM pg_attribute WHERE attrelid = $1::regclass AND attname = 'content'", table).Scan(&got)
		if err != nil || got != "e" {
			t.Errorf("that of %s is %q, %v", table, got, err)
		}
	}
}

// TestAlter: a statement that a transaction may not have in it is carried out, gives up when others have what it is about
// locked, and leaves nothing to those who get the connection next. What a partition refuses is told apart.
func TestAlter(t *testing.T) {
	t.Parallel()
	o := Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(t).Database(t), Connections: 1}
	db, other := open(t, o), open(t, o)
	if err := db.Alter(t.Context(), time.Minute, "VACUUM spool_shards"); err != nil {
		t.Error(err)
	}
	err := other.Write(t.Context(), func(tx *Tx) error {
		if _, err := tx.Exec("LOCK TABLE spool_shards"); err != nil {
			return err
		}
		if err := db.Alter(t.Context(), 10*time.Millisecond, "VACUUM spool_shards"); err == nil || !strings.Contains(err.Error(), "lock timeout") {
			t.Errorf("it is locked: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var patience string
	if err := db.QueryRow(t.Context(), "SHOW lock_timeout").Scan(&patience); err != nil || patience != "0" {
		t.Errorf("the next one waits %s, %v", patience, err)
	}
	_, err = db.pool.ExecContext(t.Context(), "INSERT INTO spool_contents (slot, message, number, content) VALUES (1, 1, 0, '')")
	if table := CheckViolated(err); table != "spool_contents" {
		t.Errorf("%q: %v", table, err)
	}
	_, err = db.pool.ExecContext(t.Context(), "INSERT INTO spool_shards (shard, node, epoch) VALUES (0, '', 0)")
	if table := CheckViolated(err); err == nil || table != "" {
		t.Errorf("%q: %v", table, err)
	}
}

// TestVacuumSoon: PostgreSQL vacuums what mail passes through long before a fifth of it is dead, and its large values.
func TestVacuumSoon(t *testing.T) {
	t.Parallel()
	db := open(t, Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(t).Database(t)})
	for _, table := range []string{"spool_messages", "spool_recipients", "spool_chunks"} {
		var options, beside string
		err := db.QueryRow(t.Context(), `SELECT c.reloptions::text, COALESCE(t.reloptions, c.reloptions)::text FROM pg_class c
LEFT JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = $1::regclass`, table).Scan(&options, &beside)
		if table == "spool_recipients" {
			beside = options // nothing of it is large
		}
		const want = "{autovacuum_vacuum_scale_factor=0.02,autovacuum_vacuum_threshold=1000,autovacuum_vacuum_cost_delay=0}"
		if err != nil || options != want || beside != want {
			t.Errorf("%s: %s, beside it %s, %v", table, options, beside, err)
		}
	}
}
