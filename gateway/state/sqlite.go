package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/dipylon/dipylon/backends/durable"
	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/backends/tempfolder"
)

const (
	// applicationID marks a SQLite file as this program's: "Dipy".
	applicationID = 0x44697079
	// busyMost is how long a statement waits for another process, such as "dipylon uidl
	// import", in milliseconds.
	busyMost = "10000"
	// checkpointPages is how long the log gets before its pages go into the file: 16 MB. It is written
	// over then, not truncated. A quarter of that costs a fifth more of the processor under load.
	checkpointPages = "4000"
	// checkedMost is the largest file that is checked whole when it is opened: that takes some
	// 5 ms a MiB. "dipylon state verify" checks any.
	checkedMost = 64 << 20
	// readerIdleMost is how long a connection that nobody needs stays open. Each has the schema and a
	// cache of its own in memory, and opening one costs less than a millisecond.
	readerIdleMost = 2 * time.Second
)

// openSQLite opens the file in a folder, which is made if need be.
func openSQLite(ctx context.Context, o Options) (*DB, error) {
	if err := MakeFolder(o.Folder); err != nil {
		return nil, fmt.Errorf("the state folder: %w", err)
	}
	tempfolder.Sweep(o.Folder) // what a killed restore has left
	file := filepath.Join(o.Folder, FileName)
	if err := create(file); err != nil {
		return nil, err
	}
	if err := refuse(ctx, o, file); err != nil {
		return nil, err
	}
	if o.Alone {
		if err := emptyLog(ctx, o, file); err != nil {
			return nil, err
		}
	}
	writing, err := connectSQLite(file, "rw", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "wal_autocheckpoint("+checkpointPages+")")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(prepareSQLite(ctx, o, file, writing), Inherit(beside(file)...)); err != nil {
		return nil, errors.Join(err, writing.Close())
	}
	reading, err := connectSQLite(file, "rw", "query_only(1)")
	if err != nil {
		return nil, errors.Join(err, writing.Close())
	}
	reading.SetMaxOpenConns(o.Connections)
	reading.SetMaxIdleConns(o.Connections)
	reading.SetConnMaxIdleTime(readerIdleMost)
	return &DB{log: o.Log, name: file, pool: reading, writer: newWriter(o.Log, writing)}, nil
}

// emptyLog brings what an earlier process has left in the log into the file, and has it synced there. A sync
// that failed leaves pages that can be read and that the kernel will never write
// (fsync(2), EIO): were the log gone on with behind them, a power cut would take
// whatever is behind them as well. So it fails where somebody reads the log for longer than it waits.
func emptyLog(ctx context.Context, o Options, file string) error {
	db, err := connectSQLite(file, "rw", "synchronous(FULL)")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // what is set holds for the next statement
	if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", o.Patience.Milliseconds())); err != nil {
		return unusable(file, err)
	}
	var busy, frames, done int
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &done); err != nil {
		return unusable(file, err)
	}
	if busy != 0 {
		return fmt.Errorf("the state database %s is being read by another process for longer than %s: see which one has it open "+
			"(a backup, a query by hand), let it end, and try again", file, o.Patience)
	}
	return syncEmptied(file + "-wal")
}

// syncEmptied has it on the disk that the log is empty. Until then the file has what the log on the disk may lack, and parts of it in older
// versions: a power cut would bring these back.
func syncEmptied(log string) error {
	f, err := os.OpenFile(log, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("the state database: %w", err)
	}
	return nil
}

// create makes an empty file for its owner alone, where there is none. SQLite gives the files
// beside it the same permissions.
func create(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = errors.Join(f.Close(), Inherit(file), durable.SyncFolder(filepath.Dir(file)))
	}
	if err != nil {
		return fmt.Errorf("the state database: %w", err)
	}
	return nil
}

// beside are the files that SQLite keeps beside a database while it is in use.
func beside(file string) []string { return []string{file + "-wal", file + "-shm"} }

// connectSQLite makes connections to a file, which is there already.
func connectSQLite(file, mode string, pragmas ...string) (*sql.DB, error) {
	path, err := filepath.Abs(file) // the URI is an absolute one
	if err != nil {
		return nil, fmt.Errorf("the state database: %w", err)
	}
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") { // C:/…
		path = "/" + path
	}
	query := url.Values{"mode": {mode}, "_pragma": append([]string{"busy_timeout(" + busyMost + ")", "trusted_schema(0)"}, pragmas...)}
	at := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", at.String())
	if err != nil {
		return nil, fmt.Errorf("the state database: %w", err)
	}
	return db, nil
}

// prepareSQLite marks a new file and brings its schema up to date.
func prepareSQLite(ctx context.Context, o Options, file string, db *sql.DB) error {
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return unusable(file, err)
	}
	if mode != "wal" {
		return &Unusable{
			What: file + " cannot be used in WAL mode but in " + mode,
			Do:   "keep the state folder on a file system of this machine, not on a network's",
		}
	}
	if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
		return unusable(file, err)
	}
	return migrateSQLite(ctx, o, file, db)
}

const (
	// migrateTries and migratePause are for a process that starts while another one, such as a
	// command, brings the same new file up to date: SQLite has no lock that spans migrations.
	migrateTries = 50
	migratePause = 100 * time.Millisecond
)

// migrateSQLite brings the schema up to date, together with whoever else does. Each migration is
// a transaction; in one that another process was faster with, tables exist already.
func migrateSQLite(ctx context.Context, o Options, file string, db *sql.DB) error {
	for try := 1; ; try++ {
		err := migrate(ctx, o.Log, goose.DialectSQLite3, db, file, nil)
		var said *sqlite.Error
		if err == nil || try == migrateTries || !errors.As(err, &said) {
			return err
		}
		switch said.Code() & 0xff {
		case sqlite3.SQLITE_ERROR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CONSTRAINT:
		default:
			return err // a full disk gets no emptier
		}
		if !pause.For(ctx, migratePause) {
			return err
		}
	}
}

// headerSize is how long the shortest database is: to SQLite, less than that is an empty one.
const headerSize = 100

// refuse looks at a file without changing it, and says why it must not be used.
func refuse(ctx context.Context, o Options, file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("the state database: %w", err)
	}
	switch {
	case info.Size() == 0:
		return nil
	case info.Size() < headerSize:
		return damaged(file, errors.New("it is too short"))
	}
	db, err := connectSQLite(file, "rw", "query_only(1)")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if err := foreign(ctx, file, db); err != nil {
		return err
	}
	if err := newer(ctx, file, db); err != nil {
		return err
	}
	if !o.moving {
		if err := refuseMoved(ctx, file, db); err != nil {
			return err
		}
	}
	if info.Size() > checkedMost {
		return nil
	}
	return damage(ctx, file, db, "quick_check")
}

// foreign refuses a file that is no database, or not ours. One without tables is nobody's yet:
// its making was broken off, or is under way.
func foreign(ctx context.Context, file string, db *sql.DB) error {
	var id, tables int64
	err := db.QueryRowContext(ctx, "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id").Scan(&id, &tables)
	if err != nil {
		return unusable(file, err)
	}
	if id != applicationID && (id != 0 || tables != 0) {
		return &Unusable{What: file + " is a database, and not one of Dipylon's", Do: "move it away, or name another state folder"}
	}
	return nil
}

// damage refuses a file that SQLite finds something wrong with.
func damage(ctx context.Context, file string, db *sql.DB, check string) error {
	found, err := complaints(ctx, db, check)
	if err == nil && len(found) > 0 {
		err = errors.New(strings.Join(found, "; "))
	}
	if err != nil {
		return unusable(file, err)
	}
	return nil
}

// complaintsMost is how much damage is told.
const complaintsMost = 10

// complaints are what PRAGMA quick_check or integrity_check finds.
func complaints(ctx context.Context, db *sql.DB, check string) (found []string, err error) {
	rows, err := db.QueryContext(ctx, fmt.Sprintf("PRAGMA %s(%d)", check, complaintsMost))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		if text != "ok" {
			found = append(found, text)
		}
	}
	return found, rows.Err()
}

// unusable makes an [*Unusable] of what SQLite says about a damaged file. Other errors, such as
// a full disk or missing permissions, stay what they are.
func unusable(file string, err error) error {
	var said *sqlite.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said):
		switch said.Code() & 0xff {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT:
		default:
			return fmt.Errorf("the state database %s: %w", file, err)
		}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the state database %s: %w", file, err)
	}
	return damaged(file, err)
}

func damaged(file string, err error) error {
	return &Unusable{
		What: file + " is damaged", Err: err,
		Do: "keep a copy of it and of the files beside it, and put a backup in its place (dipylon state restore); without one, " +
			"move it away: a new one is made, and what is in no store is lost: application passwords, imported unique-ids, " +
			"which messages are in quarantine, and which deleted ones are kept (clients see those again)",
	}
}
