//go:build linux

package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/test/peers"
)

// modes runs a test behind a real pooler in each of its modes, with an empty database of its own.
func modes(t *testing.T, f func(t *testing.T, pooler *peers.PgBouncer, direct, pooled string)) {
	for _, mode := range []string{"transaction", "session"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			pooler := peers.StartPgBouncer(t, peers.SharedPostgres(t), mode)
			direct := peers.SharedPostgres(t).OwnDatabase(t)
			f(t, pooler, direct, pooler.Before(t, direct))
		})
	}
}

// atOnce are what all of a pooler's connections to the server say, asked at the same time.
func atOnce(t *testing.T, pooled, query string) (said []string) {
	t.Helper()
	for range peers.PoolSize {
		conn, err := pgx.Connect(t.Context(), pooled)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context()) //nolint:errcheck // its transaction is given up
		var one string
		if _, err := conn.Exec(t.Context(), "BEGIN", pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(t.Context(), query, pgx.QueryExecModeSimpleProtocol).Scan(&one); err != nil {
			t.Fatal(err)
		}
		said = append(said, one)
	}
	return said
}

// ofSession is all that a session has of its own.
const ofSession = `SELECT concat_ws(' ', current_setting('synchronous_commit'), current_setting('lock_timeout'),
	current_setting('idle_in_transaction_session_timeout'), (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels()),
	(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()))`

// TestBehindPooler: several gateways start, write and read by way of a pooler as they do without one, and none of its connections keeps
// anything of theirs, which would be others'.
func TestBehindPooler(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, _ *peers.PgBouncer, direct, pooled string) {
		clean := atOnce(t, pooled, ofSession)
		var log strings.Builder
		var starting sync.WaitGroup
		gateways := make([]*DB, 2)
		for i := range gateways {
			starting.Go(func() {
				o := Options{Log: zerolog.Nop(), URL: pooled, Connections: 2}
				if i == 0 {
					o.Log = zerolog.New(&log)
				}
				db, err := Open(t.Context(), o)
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { _ = db.Close() })
				gateways[i] = db
			})
		}
		if starting.Wait(); t.Failed() {
			return
		}
		if !gateways[0].Pooled() || !strings.Contains(log.String(), "there is a connection pooler") || !strings.Contains(log.String(), "ALTER ROLE postgres SET idle_in") {
			t.Errorf("it is told that %s", &log)
		}
		for i := range 20 { // the same statements, on whatever connection of the pooler's
			if err := put(t.Context(), gateways[i%2], fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			if got := names(t, gateways[(i+1)%2]); len(got) != i+1 {
				t.Fatalf("there are %q", got)
			}
			if err := gateways[i%2].Notify(t.Context(), "word"); err != nil {
				t.Fatal(err)
			}
		}
		needsSession(t, gateways[0])
		if err := Ping(t.Context(), Options{URL: pooled}); err != nil {
			t.Error(err)
		}
		if r, err := Inspect(t.Context(), Options{URL: pooled}); err != nil || r.Version != SchemaVersion() {
			t.Errorf("%+v, %v", r, err)
		}
		for _, db := range gateways {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
		if after := atOnce(t, pooled, ofSession); fmt.Sprint(after) != fmt.Sprint(clean) {
			t.Errorf("the connections have %q, and had %q before", after, clean)
		}
		if other := open(t, Options{Log: zerolog.Nop(), URL: direct}); other.Pooled() || len(names(t, other)) != 20 {
			t.Error("without the pooler it is not as it was with it")
		}
	})
}

// needsSession: what needs a session is refused, and waits for nothing.
func needsSession(t *testing.T, db *DB) {
	t.Helper()
	if err := db.Alter(t.Context(), time.Minute, "VACUUM spool_shards"); !errors.Is(err, ErrPooled) {
		t.Errorf("Alter: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begun := func() error { return errors.New("it listens") }
	if err := db.Listen(ctx, begun, func(string) {}); !errors.Is(err, ErrPooled) {
		t.Errorf("Listen: %v", err)
	}
}

// TestPoolerComesLater: where a pooler is put in front of the database while a gateway is at work, its further connections fail, and say what
// to do: none of the pooler's is told that commits need not be synced.
func TestPoolerComesLater(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, _ *peers.PgBouncer, direct, pooled string) {
		clean := atOnce(t, pooled, ofSession)
		db := open(t, Options{Log: zerolog.Nop(), URL: direct})
		behind, err := parseURL(pooled)
		if err != nil {
			t.Fatal(err)
		}
		*db.config = *behind // which is where the name leads now
		late := (&link{config: behind}).connect(1, "off")
		defer late.Close()
		for what, err := range map[string]error{
			"a connection": late.PingContext(t.Context()),
			"Listen":       db.Listen(t.Context(), func() error { return errors.New("it listens") }, func(string) {}),
		} {
			if !errors.Is(err, errPoolerCame) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if after := atOnce(t, pooled, ofSession); fmt.Sprint(after) != fmt.Sprint(clean) {
			t.Errorf("the connections have %q, and had %q before", after, clean)
		}
	})
}

// TestPoolerRefused: what a gateway would tell its sessions, and a pooler would drop or give to others, has to be set for the role.
func TestPoolerRefused(t *testing.T) {
	t.Parallel()
	server := peers.SharedPostgres(t)
	direct := server.OwnDatabase(t)
	plain := peers.StartPgBouncer(t, server, "transaction").Before(t, direct)
	ignoring := peers.StartPgBouncer(t, server, "transaction", "ignore_startup_parameters = search_path").Before(t, direct)
	refused := func(url, want string) {
		t.Helper()
		for what, err := range map[string]error{"Ping": Ping(t.Context(), Options{URL: url}), "Open": opened(t, url)} {
			wrong, is := errors.AsType[*Unusable](err)
			if what == "Ping" && strings.Contains(want, "synchronous_commit") {
				continue // it writes nothing
			}
			if !is || !strings.Contains(wrong.Error(), want) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	refused(plain+"&search_path=other", "refuses a parameter of the URL (unsupported startup parameter: search_path): take search_path out of it and set it for the role")
	refused(ignoring+"&search_path=other", "may drop parameters of the URL: take search_path out of it and set it for the role")
	refused(peers.StartPgBouncer(t, server, "statement").Before(t, direct), "has no transactions (transaction blocks not allowed in statement pooling mode): have it in transaction mode")
	name := direct[strings.LastIndex(direct, "/")+1 : strings.Index(direct, "?")]
	if _, err := open(t, Options{Log: zerolog.Nop(), URL: server.Database(t)}).pool.ExecContext(t.Context(), "ALTER DATABASE "+name+" SET synchronous_commit = off"); err != nil {
		t.Fatal(err)
	}
	anew := peers.StartPgBouncer(t, server, "transaction").Before(t, direct)
	refused(anew, "has synchronous_commit = off, and behind a connection pooler a gateway cannot change that: mail that was acknowledged might be lost: ALTER ROLE postgres SET synchronous_commit = on")
}

func opened(t *testing.T, url string) error {
	t.Helper()
	db, err := Open(t.Context(), Options{Log: zerolog.Nop(), URL: url})
	if err == nil {
		_ = db.Close()
	}
	return err
}

// TestSchemaLock: the schema is changed by one gateway at a time, of this version or of those whose lock was a session's, by way of a
// pooler or not.
func TestSchemaLock(t *testing.T) {
	t.Parallel()
	direct := peers.SharedPostgres(t).OwnDatabase(t)
	earlier, err := pgx.Connect(t.Context(), direct)
	if err != nil {
		t.Fatal(err)
	}
	defer earlier.Close(t.Context()) //nolint:errcheck // nothing is written on it
	held := func(lock string) (is bool) {
		t.Helper()
		if err := earlier.QueryRow(t.Context(), lock+"(4097083626)").Scan(&is); err != nil {
			t.Fatal(err)
		}
		return is
	}
	db := open(t, Options{Log: zerolog.Nop(), URL: direct})
	lock := &schemaLock{db: db.quick}
	if err := lock.SessionLock(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if held("SELECT pg_try_advisory_lock") {
		t.Error("an earlier version has it, too")
	}
	if err := lock.SessionUnlock(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if !held("SELECT pg_try_advisory_lock") {
		t.Error("it is not given free")
	}
	waits, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	if err := lock.SessionLock(waits, nil); err == nil {
		t.Error("an earlier version's is not waited for")
	}
}
