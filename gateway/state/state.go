package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
)

// FileName is the SQLite file's name in its folder.
const FileName = "dipylon.db"

// Options say where the state is: Folder or URL.
type Options struct {
	Log zerolog.Logger
	// Folder is where the SQLite file is. It is made, for its owner alone, where it is not there.
	Folder string
	// URL is a PostgreSQL connection string, postgres://…. It may hold a password, and stands
	// in no error and no log line.
	URL string
	// Connections bounds those to the database [16].
	Connections int
	// Alone says that no gateway has the folder: the caller holds its lock. What an earlier process has left
	// in the SQLite file's log is brought into the file then, before anything is written. Beside a gateway that
	// would keep it from writing, and it has done so itself.
	Alone bool
	// Patience is how long opening waits for a PostgreSQL server, or for those who read the log [10 s].
	Patience time.Duration

	moving bool // [Move] opens it, whatever an earlier one has left
}

func (o Options) withDefaults() Options {
	if o.Connections == 0 {
		o.Connections = 16
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	return o
}

// ErrClosed is what a database says after Close.
var ErrClosed = errors.New("the state database is closed")

// ErrUnsynced says that a commit's sync has failed, or its answer was lost: nobody knows whether the
// transaction is on the disk.
var ErrUnsynced = errors.New("it is not known whether the disk has it")

// ErrFailed is what a database says after a sync has failed, or it was found damaged: nothing is written any more.
var ErrFailed = errors.New("the disk of the state database has failed to sync, or the database is damaged: nothing is written until the gateway has started anew")

// Unusable is a database that must not be used as it is. Nothing in it was changed.
type Unusable struct {
	What string // which database, and what is wrong with it
	Do   string // what the administrator can do
	Err  error  // what the database said; may be nil
}

func (e *Unusable) Error() string {
	text := e.What
	if e.Err != nil {
		text += " (" + e.Err.Error() + ")"
	}
	return text + ": " + e.Do
}

func (e *Unusable) Unwrap() error { return e.Err }

// DB is the database, open. Its methods may be called from any goroutine.
type DB struct {
	log    zerolog.Logger
	name   string // for messages
	shared bool
	pooled bool            // a pooler is in front of PostgreSQL
	pool   *sql.DB         // of SQLite: for reading
	quick  *sql.DB         // of PostgreSQL alone
	config *pgx.ConnConfig // of PostgreSQL alone
	writer *writer         // of SQLite alone

	closing sync.Once
	closed  error
}

// Open opens the state, and brings its schema up to date. Where that must not be done it fails
// with an [*Unusable]; any other error may pass.
func Open(ctx context.Context, o Options) (*DB, error) {
	o = o.withDefaults()
	if o.URL != "" {
		return openPostgres(ctx, o)
	}
	return openSQLite(ctx, o)
}

// Shared says that other gateways may use the same database.
func (db *DB) Shared() bool { return db.shared }

// Quick are connections for what several nodes share and may forget when the server's machine
// dies: commits do not wait for its disk. It is nil unless the database is [DB.Shared].
func (db *DB) Quick() *sql.DB { return db.quick }

// Write carries out f as a transaction: all of it when it returns nil and the commit succeeds,
// and nothing otherwise. It returns f's error, or the commit's.
//
// f may be called while others' writes are in the same transaction: it should be short, and
// wait for nothing but the database. Once f has begun Write waits for its end, whatever becomes
// of ctx.
func (db *DB) Write(ctx context.Context, f func(*Tx) error) error {
	if db.writer != nil {
		return db.writer.write(ctx, f)
	}
	return transact(ctx, db.pool, nil, f)
}

// Read carries out f on one state of the database. What f does cannot change anything.
func (db *DB) Read(ctx context.Context, f func(*Tx) error) error {
	return transact(ctx, db.pool, &sql.TxOptions{ReadOnly: true}, f)
}

// QueryRow asks for one row, outside of a transaction.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return db.pool.QueryRowContext(ctx, query, args...)
}

// Query asks for rows, outside of a transaction.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return db.pool.QueryContext(ctx, query, args...)
}

// Failed is closed when a sync has failed. What the system had to write then may be lost, though later
// syncs succeed, so nothing is written any more: whoever runs the gateway ends it, and the next start reads
// what the disk has. It is closed as well when SQLite has found the database damaged: the next start says what of it
// is. PostgreSQL does all that for itself, and the channel is never closed then.
func (db *DB) Failed() <-chan struct{} {
	if db.writer == nil {
		return nil
	}
	return db.writer.broken
}

// Close ends the database once what has been begun is done. Writes that wait fail with
// [ErrClosed].
func (db *DB) Close() error {
	db.closing.Do(func() {
		errs := []error{db.pool.Close()}
		if db.writer != nil {
			errs = append(errs, db.writer.close())
		}
		if db.quick != nil {
			errs = append(errs, db.quick.Close())
		}
		db.closed = errors.Join(errs...)
	})
	return db.closed
}

func transact(ctx context.Context, pool *sql.DB, o *sql.TxOptions, f func(*Tx) error) error {
	inner, err := pool.BeginTx(ctx, o)
	if err != nil {
		return fmt.Errorf("the state database: %w", err)
	}
	tx := &Tx{ctx: ctx, on: inner}
	if err := tx.run(f); err != nil {
		_ = inner.Rollback() // the first error is the one that tells
		return err
	}
	if err := inner.Commit(); err != nil {
		return fmt.Errorf("the state database: commit: %w: %w", ErrUnsynced, err)
	}
	return nil
}

// Tx is a transaction. After a statement has failed the others fail, too.
type Tx struct {
	ctx  context.Context //nolint:containedctx // a Tx lives no longer than the call it is given to
	on   executor
	stmt func(ctx context.Context, query string) (*sql.Stmt, error) // nil: statements are not kept
	err  error
}

type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// run keeps a transaction that lost a statement from being committed.
func (tx *Tx) run(f func(*Tx) error) error {
	if err := f(tx); err != nil {
		return err
	}
	return tx.err
}

func (tx *Tx) fail(err error) error {
	if err != nil && tx.err == nil {
		tx.err = fmt.Errorf("the state database: %w", err)
	}
	return tx.err
}

// Exec carries out a statement and says how many rows it has changed.
func (tx *Tx) Exec(query string, args ...any) (rows int64, err error) {
	if tx.err != nil {
		return 0, tx.err
	}
	result, err := tx.exec(query, args)
	if err != nil {
		return 0, tx.fail(err)
	}
	rows, err = result.RowsAffected()
	return rows, tx.fail(err)
}

func (tx *Tx) exec(query string, args []any) (sql.Result, error) {
	if tx.stmt == nil {
		return tx.on.ExecContext(tx.ctx, query, args...)
	}
	stmt, err := tx.stmt(tx.ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(tx.ctx, args...)
}

// Query asks for rows, and calls row for each with what scans it. It ends with the first error.
func (tx *Tx) Query(row func(scan func(into ...any) error) error, query string, args ...any) error {
	if tx.err != nil {
		return tx.err
	}
	rows, err := tx.query(query, args)
	if err != nil {
		return tx.fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return tx.fail(rows.Err())
}

func (tx *Tx) query(query string, args []any) (*sql.Rows, error) {
	if tx.stmt == nil {
		return tx.on.QueryContext(tx.ctx, query, args...)
	}
	stmt, err := tx.stmt(tx.ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(tx.ctx, args...)
}

// One asks for the first row and scans it; found is false where there is none.
func (tx *Tx) One(into []any, query string, args ...any) (found bool, err error) {
	err = tx.Query(func(scan func(into ...any) error) error {
		if found {
			return nil
		}
		found = true
		return scan(into...)
	}, query, args...)
	return found, err
}
