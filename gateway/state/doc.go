// Package state is the gateway's one database: what the index, the locks, the login throttle
// and the queue keep. It is a SQLite file in a folder of the gateway's own, or a PostgreSQL
// database that several gateways share. There is one schema, in migrations, for both.
//
//	db, err := state.Open(ctx, state.Options{Log: log, Folder: "/var/lib/dipylon/state"})
//	defer db.Close()
//	err = db.Write(ctx, func(tx *state.Tx) error {
//		_, err := tx.Exec("INSERT INTO folders (…) VALUES ($1, …)", key, …)
//		return err
//	}) // nil: it is on the disk
//	err = db.Read(ctx, func(tx *state.Tx) error { rows, err := tx.Query("SELECT …") … })
//
// Statements are written so that both understand them: $1 for parameters, ON CONFLICT, RETURNING,
// BYTEA and BIGINT as types, times as numbers. What only several nodes need ([DB.Shared]) may
// use what PostgreSQL alone has.
//
// # Durability
//
// Write returns nil when the transaction is on the disk, and an error when it is not or when
// nobody knows (the connection was lost during the commit). An error is never followed by a
// silent second try: what has failed once may not be there even if the next sync succeeds. So after a
// sync of SQLite has failed nothing is written any more ([DB.Failed]), and the gateway ends. Its next start
// reads what the kernel remembers, whether the disk has it or not, so it brings all of the log into the file and
// begins a new log before anything is written ([Options.Alone]).
//
// SQLite runs in WAL mode with synchronous=FULL: one sync a commit. One goroutine writes, and
// puts what is waiting when it is ready for more into one transaction, so many small writes cost
// one sync together. Each has a savepoint of its own, so that one that fails takes nothing of
// the others with it; if the commit fails, it fails for all of them. Reading has its own
// connections, and does not wait for writing.
//
// # What is refused
//
// Open never writes into a file that it does not understand: one that is damaged, that belongs
// to something else, or whose schema is from a newer version of Dipylon is refused with an
// [*Unusable] that says what to do. [Inspect] looks at a database as it is, [Backup] copies
// one that is in use. One that [Move] has left, or has not filled to the end, is refused, too.
//
// # Upgrades
//
// The first gateway of a newer version that opens a shared database brings the schema up to date. Those of the earlier version that are at
// work go on, as a migration only adds what they leave as it is, and are stopped and replaced one after the other: started anew they are
// refused, so the way back is a backup from before. A migration that an earlier version cannot go on beside is refused while one is at
// work (alone in migrate.go); a test reads each migration for that.
//
// # Poolers
//
// Behind a connection pooler (PgBouncer, tested with its modes transaction and session) it works with nothing of a session: see pooler.go
// for what that means. Open finds out by itself, tells it, and refuses what would lose mail or read another schema unseen:
// synchronous_commit off for the role, and parameters in the URL that a pooler may drop. It refuses the mode statement, which has no
// transactions. Where a pooler comes later, further connections fail until the gateway is started again.
//
// # Measured
//
// Small durable writes a second by go test -run '^$' -bench Write ./gateway/state, on two shared
// cores of 2026 with a virtual disk that syncs in some 0.2 ms:
//
//	callers      1      16      64
//	SQLite   3,200   8,400  41,000
//	PostgreSQL 2,100 10,300  8,600
//
// A row by its key takes 23 µs in SQLite, 49 µs in a PostgreSQL of the same machine.
package state
