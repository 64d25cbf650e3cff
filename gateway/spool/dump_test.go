//go:build linux

package spool

import (
	"database/sql"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/peers"
)

// TestDump: while pg_dump reads the database nothing is dropped that it has listed, and what it has written, restored into another
// database, has all mail as a whole: in partitions, and elsewhere.
func TestDump(t *testing.T) {
	t.Parallel()
	server := peers.SharedPostgres(t)
	from, to := server.OwnDatabase(t), server.OwnDatabase(t)
	var passing turning
	s := start(t, state.Options{Log: zerolog.Nop(), URL: from}, slow, passing.set, unread)
	acceptSizes(t, s)
	accept(t, s, toOne("before"), "text")
	passing.turn(t, s)
	accept(t, s, toOne("after"), "text")
	if isPassing(t, s, "before") || !isPassing(t, s, "after") {
		t.Fatalf("%v", places(t, s))
	}
	passing.older(t, s)
	passing.ahead.Add(int64(s.o.Partition))

	began := dumping(t, from)
	if err := s.partitions.round(t.Context()); !errors.Is(err, errDumped) {
		t.Errorf("while it begins: %v", err)
	}
	accept(t, s, toOne("meanwhile"), "text")
	before := partitionsOf(t, s)
	if len(before) != 2 || !before[0].usable() {
		t.Errorf("what it has listed is %+v", before)
	}
	file := filepath.Join(t.TempDir(), "dipylon.dump")
	run(t, server.Program("pg_dump"), "--format=custom", "--file="+file, from) // as dipylon state backup --help says
	succeed(t, began.Close())
	passing.turn(t, s)
	if left := partitionsOf(t, s); len(left) != 1 {
		t.Errorf("%+v are left", left)
	}

	run(t, server.Program("pg_restore"), "--exit-on-error", "--dbname="+to, file)
	again := start(t, state.Options{Log: zerolog.Nop(), URL: to}, slow, passing.set, unread)
	change(t, again, "DELETE FROM spool_nodes WHERE node <> '"+again.leases.node+"'") // or the lease of the one that was copied is waited for
	tick(t, again)
	for _, key := range []string{"before", "after", "meanwhile"} {
		d := one(t, again, key+".example")
		if textOf(t, d) != "text" {
			t.Errorf("%s is not whole", key)
		}
		settle(t, again, all(d, Outcome{State: Delivered}))
	}
	passing.turn(t, again)
	deliverSizes(t, again)
}

// toOne is a message to a destination of its own.
func toOne(key string) Message { return to(key, "a@"+key+".example") }

// dumping is a connection that calls itself what pg_dump does.
func dumping(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url+"&application_name=pg_dump")
	succeed(t, err)
	succeed(t, db.PingContext(t.Context()))
	return db
}

// run runs a program.
func run(t *testing.T, program ...string) {
	t.Helper()
	if said, err := exec.Command(program[0], program[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", program, err, said)
	}
}
