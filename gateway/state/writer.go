package state

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// groupMost is how many writes become one transaction at the most: a bound on what one
	// failing commit concerns, and on how long the first of them waits for the last.
	groupMost = 256
	// waitingMost is how many writes may wait; who comes then waits for a place first.
	waitingMost = 1024
	// statementsMost bounds the prepared statements: the code has fewer.
	statementsMost = 200
)

// writer is the one goroutine that writes to a SQLite file. What waits while it commits goes
// into its next transaction together.
type writer struct {
	log  zerolog.Logger
	pool *sql.DB // of one connection

	jobs    chan *job
	quit    chan struct{}
	ended   chan struct{}
	closing sync.Once
	broken  chan struct{} // closed when a sync has failed, or the database was found damaged

	// The rest is the goroutine's own.
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	failed     bool         // the last transaction did
	damaged    bool         // as the database is
	sync       func() error // for tests: fails in place of a commit's sync
}

// job is one write. Whoever comes first, the writer that begins it or the caller who gives up,
// takes it.
type job struct {
	f     func(*Tx) error
	taken atomic.Bool
	err   error
	done  chan struct{} // closed when err is set
}

func newWriter(log zerolog.Logger, pool *sql.DB) *writer {
	pool.SetMaxOpenConns(1)
	w := &writer{log: log, pool: pool, jobs: make(chan *job, waitingMost), quit: make(chan struct{}), ended: make(chan struct{}), broken: make(chan struct{})}
	go w.run()
	return w
}

func (w *writer) write(ctx context.Context, f func(*Tx) error) error {
	j := &job{f: f, done: make(chan struct{})}
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.quit:
		return ErrClosed
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		if !j.taken.Swap(true) {
			return context.Cause(ctx) // it was not begun, and never will be
		}
	case <-w.ended: // it came too late to be seen
		if !j.taken.Swap(true) {
			return ErrClosed
		}
	}
	<-j.done
	return j.err
}

func (w *writer) close() error {
	w.closing.Do(func() { close(w.quit) })
	<-w.ended
	return w.pool.Close()
}

func (w *writer) run() {
	defer close(w.ended)
	defer w.leave()
	for {
		select {
		case first := <-w.jobs:
			w.carryOut(w.gather(first))
		case <-w.quit:
			return
		}
	}
}

// gather takes what waits.
func (w *writer) gather(first *job) []*job {
	group := make([]*job, 0, 16)
	for j := first; ; {
		if !j.taken.Swap(true) {
			group = append(group, j)
		}
		if len(group) == groupMost {
			return group
		}
		select {
		case j = <-w.jobs:
		default:
			return group
		}
	}
}

// carryOut makes one transaction of a group and tells everybody how it went.
func (w *writer) carryOut(group []*job) {
	if len(group) == 0 {
		return
	}
	// The callers' contexts end nothing here: a statement that is broken off would take the
	// whole group's transaction with it.
	err := ErrFailed
	if !w.isBroken() {
		err = w.transact(context.Background(), group)
	}
	if isDamage(err) {
		w.damaged = true
		close(w.broken)
	} else if errors.Is(err, ErrUnsynced) {
		close(w.broken)
	}
	if w.failed = err != nil; w.failed {
		w.log.Error().Err(err).Int("writes", len(group)).Msg("a transaction of the state database has failed")
		for _, j := range group {
			if j.err == nil {
				j.err = fmt.Errorf("the state database: %w", err)
			}
		}
		w.rollBack()
	}
	for _, j := range group {
		close(j.done)
	}
}

func (w *writer) transact(ctx context.Context, group []*job) error {
	if err := w.connect(ctx); err != nil {
		return err
	}
	if err := w.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	good := 0
	for _, j := range group {
		if err := w.one(ctx, j); err != nil {
			return err
		}
		if isDamage(j.err) {
			return j.err
		}
		if j.err == nil {
			good++
		}
	}
	if good == 0 {
		return w.exec(ctx, "ROLLBACK") // nobody is told that there is something on the disk
	}
	if w.sync != nil {
		if err := w.sync(); err != nil {
			return err
		}
	}
	if err := w.exec(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", unsynced(err))
	}
	return nil
}

// unsynced says of a commit's error whether it is a sync's. What else fails, such as a full disk, has
// written nothing that counts.
func unsynced(err error) error {
	var said *sqlite.Error
	if errors.As(err, &said) {
		switch said.Code() {
		case sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC:
			return fmt.Errorf("%w: %w", ErrUnsynced, err)
		}
	}
	return err
}

// isDamage says of an error that SQLite has found the database damaged. What it would write from then on, and a checkpoint above all, might make
// that worse: it may be the index of the log that is wrong, which lies in memory and which the next start makes anew.
func isDamage(err error) bool {
	var said *sqlite.Error
	if !errors.As(err, &said) {
		return false
	}
	code := said.Code() & 0xff
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

func (w *writer) isBroken() bool {
	select {
	case <-w.broken:
		return true
	default:
		return false
	}
}

// one carries out one write of a group. Its own failure is in the job; the error is one that
// the whole transaction has, such as a full disk, after which SQLite may have rolled it back.
func (w *writer) one(ctx context.Context, j *job) error {
	if err := w.exec(ctx, "SAVEPOINT write_of_one"); err != nil {
		return err
	}
	j.err = (&Tx{ctx: ctx, on: w.conn, stmt: w.prepared}).run(j.f)
	if j.err != nil {
		if err := w.exec(ctx, "ROLLBACK TO write_of_one"); err != nil {
			return err
		}
	}
	return w.exec(ctx, "RELEASE write_of_one")
}

// rollBack ends a transaction that has failed, unless SQLite has ended it already.
//
// The connection is kept. Opening another one would read the log again, and find there what a
// failing sync has left of the transaction: it would come to life after it was told as failed.
// As it is, the next transaction is written over it.
func (w *writer) rollBack() {
	if w.conn == nil || w.damaged { // see leave
		return
	}
	err := w.exec(context.Background(), "ROLLBACK")
	if err != nil && !strings.Contains(err.Error(), "no transaction is active") {
		w.log.Error().Err(err).Msg("the state database cannot roll back; it is connected to again")
		w.disconnect()
	}
}

func (w *writer) exec(ctx context.Context, query string) error {
	stmt, err := w.prepared(ctx, query)
	if err == nil {
		_, err = stmt.ExecContext(ctx)
	}
	return err
}

// prepared keeps statements: parsing one takes longer than carrying it out.
func (w *writer) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := w.statements[query]; ok {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if len(w.statements) >= statementsMost {
		w.forget()
	}
	w.statements[query] = stmt
	return stmt, nil
}

func (w *writer) forget() {
	for _, stmt := range w.statements {
		_ = stmt.Close() // it is done
	}
	clear(w.statements)
}

func (w *writer) connect(ctx context.Context) (err error) {
	if w.conn != nil {
		return nil
	}
	w.statements = make(map[string]*sql.Stmt)
	w.conn, err = w.pool.Conn(ctx)
	return err
}

// leave empties the log where the last transaction has failed, for the reason that rollBack has.
// Where the disk does not let it, the next start may find a write that was told as failed.
func (w *writer) leave() {
	if w.damaged {
		return // the last connection that is closed brings the log into the file: this one stays open until the process ends
	}
	if w.failed && w.conn != nil {
		_ = w.exec(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
	}
	w.disconnect()
}

// disconnect gives the connection up; it rolls back what is open.
func (w *writer) disconnect() {
	if w.conn == nil {
		return
	}
	w.forget()
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn }) // so that the pool closes it
	_ = w.conn.Close()
	w.conn = nil
}
