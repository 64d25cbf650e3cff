package state

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Moving says what [Move] moves, and how.
type Moving struct {
	// From and To are a SQLite file, whose folder's lock the caller holds, and a PostgreSQL database. To has nothing in
	// it, or what an earlier try has left.
	From, To Options
	// Contents brings what the one database has beside its rows, or has in a way of its own, into the other one, whose rows are
	// there already; nil: nothing is.
	Contents func(ctx context.Context, from, to *DB) error
	// Tell is told what was just done, now and then.
	Tell func(what string)
}

// Move copies all that one database has into the other one, which is of the other kind, and then marks the first as moved:
// a gateway that opens it is told so by [Open]. Nobody writes into it meanwhile. It says how many rows there were.
//
// However it is broken off, one of the two databases has everything, and [Open] refuses the other one. Until the
// copy is whole that is the first: the second is marked as incomplete, and a further Move empties it and begins anew.
// Then the first is marked as moved, and after that the second as complete; between these two both are refused, and a
// further Move does nothing but the last step.
func Move(ctx context.Context, m Moving) (rows int64, err error) {
	if (m.From.URL == "") == (m.To.URL == "") {
		return 0, errors.New("a state is moved from a SQLite file into a PostgreSQL database, or the other way")
	}
	if file := filepath.Join(m.From.Folder, FileName); m.From.URL == "" && !exists(file) {
		return 0, fmt.Errorf("there is no state database %s", file)
	}
	m.From.moving, m.To.moving, m.From.Alone, m.To.Alone = true, true, true, true
	from, err := Open(ctx, m.From)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := Open(ctx, m.To)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	c := &mover{Moving: m, from: from, to: to}
	moved, err := c.begin(ctx)
	if err == nil && !moved {
		err = c.copy(ctx)
	}
	if err == nil {
		err = c.complete(ctx)
	}
	return c.rows, err
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

// The roles of a database in a move.
const (
	roleSource  = "source"  // it has everything, and is used
	roleLeft    = "left"    // the other one has everything
	roleFilling = "filling" // the other one has everything
	roleFilled  = "filled"  // it has everything; whether the other one is still used is written there
)

// mark is the row of state_moves.
type mark struct{ id, role, other string }

// markOf reads it; its role is empty where there is none.
func markOf(ctx context.Context, db *sql.DB) (m mark, err error) {
	err = db.QueryRowContext(ctx, "SELECT id, role, other FROM state_moves").Scan(&m.id, &m.role, &m.other)
	if errors.Is(err, sql.ErrNoRows) || err != nil && missingTable(err, "state_moves") {
		return mark{}, nil
	}
	return m, err
}

// refuseMoved refuses a database that another one has taken the place of, or that is not complete.
func refuseMoved(ctx context.Context, name string, db *sql.DB) error {
	m, err := markOf(ctx, db)
	if err != nil {
		return unusable(name, err)
	}
	return m.refuse(name)
}

func (m mark) refuse(name string) error {
	switch m.role {
	case roleLeft:
		return &Unusable{
			What: fmt.Sprintf("%s has been moved into %s, and is not used any more", name, m.other),
			Do:   "name that as \"state\" in the configuration; if the move was broken off at its end, run dipylon state move again",
		}
	case roleFilling, roleFilled:
		return &Unusable{
			What: fmt.Sprintf("%s is being filled from %s, and is not complete", name, m.other),
			Do:   "if dipylon state move was broken off, run it again with that as \"state\" in the configuration",
		}
	}
	return nil
}

// Refused says of a database that is open whether it was moved since, or is not complete: then it must not be used.
func (db *DB) Refused(ctx context.Context) error { return refuseMoved(ctx, db.name, db.pool) }

// mover is a move under way.
type mover struct {
	Moving
	from, to *DB
	id       string
	rows     int64
}

// begin marks both databases, and says whether nothing is left to do but the last step.
func (c *mover) begin(ctx context.Context) (moved bool, err error) {
	ours, err := markOf(ctx, c.from.pool)
	if err != nil {
		return false, err
	}
	theirs, err := markOf(ctx, c.to.pool)
	if err != nil {
		return false, err
	}
	switch {
	case ours.role == roleLeft && (theirs.role != roleFilled || theirs.id != ours.id):
		return false, ours.refuse(c.from.name)
	case ours.role == roleLeft:
		c.id = ours.id
		return true, nil
	case ours.role == roleFilling, ours.role == roleFilled:
		return false, ours.refuse(c.from.name)
	case theirs.role != "" && theirs.id != ours.id:
		return false, theirs.refuse(c.to.name)
	}
	if c.id = ours.id; c.id == "" {
		c.id = rand.Text()
		if err := c.from.Write(ctx, func(tx *Tx) error { return c.mark(tx, roleSource, c.to.name) }); err != nil {
			return false, err
		}
	}
	return false, c.to.Write(ctx, func(tx *Tx) error {
		if theirs.role == "" {
			if err := c.refuseUsed(tx); err != nil {
				return err
			}
		}
		return c.mark(tx, roleFilling, c.from.name)
	})
}

func (c *mover) mark(tx *Tx, role, other string) error {
	_, err := tx.Exec("INSERT INTO state_moves (id, role, other) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET role = excluded.role, other = excluded.other",
		c.id, role, other)
	return err
}

// unmoved are the tables that are not copied: what belongs to the database itself, and what processes know of each
// other while they run.
var unmoved = []string{versionTable, "state_moves", "spool_nodes", "leases"}

// neverEmpty are the tables that have rows in an empty database.
var neverEmpty = []string{versionTable, "spool_shards"}

// refuseUsed refuses to write over what somebody may need.
func (c *mover) refuseUsed(tx *Tx) error {
	query, other := sqliteTables, "name a folder that has no state"
	if c.to.Shared() {
		query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"
		other = "name a database, or a schema of it, that is empty"
	}
	tables, err := namesOf(tx, query)
	if err != nil {
		return err
	}
	for _, table := range tables {
		if slices.Contains(neverEmpty, table) {
			continue
		}
		if found, err := tx.One([]any{new(int)}, "SELECT 1 FROM "+pgx.Identifier{table}.Sanitize()+" LIMIT 1"); err != nil {
			return err
		} else if found {
			return &Unusable{
				What: fmt.Sprintf("%s is in use, or was: its table %s has rows", c.to.name, table),
				Do:   other,
			}
		}
	}
	return nil
}

// sqliteTables are a file's tables in the order in which they were made: rows come after those that they refer to.
const sqliteTables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"

// namesOf gives the names that a query gives.
func namesOf(tx *Tx, query string) (all []string, err error) {
	err = tx.Query(func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		all = append(all, name)
		return err
	}, query)
	return all, err
}

// file is the one of the two that is SQLite's. It tells the schema of both.
func (c *mover) file() *DB {
	if c.from.Shared() {
		return c.to
	}
	return c.from
}

// copy brings everything over. All of it is one transaction of the first database, in which nobody else writes
// meanwhile, and its end is the mark that it is moved.
func (c *mover) copy(ctx context.Context) error {
	var tables []string
	err := c.file().Read(ctx, func(tx *Tx) (err error) {
		tables, err = namesOf(tx, sqliteTables)
		return err
	})
	if err != nil {
		return err
	}
	tables = slices.DeleteFunc(tables, func(table string) bool { return slices.Contains(unmoved, table) })
	return c.from.Write(ctx, func(tx *Tx) error {
		if err := c.lock(tx, tables); err != nil {
			return err
		}
		if err := c.empty(ctx, tables); err != nil {
			return err
		}
		for _, table := range tables {
			if err := c.table(ctx, tx, table); err != nil {
				return fmt.Errorf("the table %s: %w", table, err)
			}
		}
		if c.Contents != nil {
			if err := c.Contents(ctx, c.from, c.to); err != nil {
				return err
			}
		}
		if err := c.to.Write(ctx, c.ready); err != nil {
			return err
		}
		return c.mark(tx, roleLeft, c.to.name)
	})
}

// lock keeps others from writing into a PostgreSQL database that is left. A gateway that starts waits before it gives its
// first sign of life, and finds the mark then ([DB.Refused]).
func (c *mover) lock(tx *Tx, tables []string) error {
	if !c.from.Shared() {
		return nil
	}
	if _, err := tx.Exec("SET LOCAL lock_timeout = '10s'"); err != nil {
		return err
	}
	if _, err := tx.Exec("LOCK TABLE spool_nodes, leases, " + strings.Join(tables, ", ") + " IN EXCLUSIVE MODE"); err != nil {
		return fmt.Errorf("somebody else uses %s: stop all gateways first: %w", c.from.name, err)
	}
	alive, err := tx.One([]any{new(int)}, "SELECT 1 FROM spool_nodes WHERE until > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint LIMIT 1")
	if err == nil && alive {
		err = fmt.Errorf("a gateway uses %s: stop all of them first, or wait until the lease of one that was killed has run out", c.from.name)
	}
	return err
}

// empty removes what an earlier try has left, and what an empty database has.
func (c *mover) empty(ctx context.Context, tables []string) error {
	return c.to.Write(ctx, func(tx *Tx) error {
		if c.to.Shared() {
			_, err := tx.Exec("TRUNCATE " + strings.Join(tables, ", "))
			return err
		}
		for _, table := range slices.Backward(tables) {
			if _, err := tx.Exec("DELETE FROM " + table); err != nil {
				return err
			}
		}
		return nil
	})
}

// ready marks the database as filled. A gateway that has got in, because it was looking when the mark was not yet
// there, would have found nothing, and might have mail by now.
func (c *mover) ready(tx *Tx) error {
	found, err := tx.One([]any{new(int)}, "SELECT 1 FROM spool_nodes LIMIT 1")
	if err != nil {
		return err
	}
	if found {
		return fmt.Errorf("a gateway has begun to use %s, and may have taken mail in: stop it, and name another database, "+
			"or another schema, that is empty, as a further try empties this one", c.to.name)
	}
	return c.mark(tx, roleFilled, c.from.name)
}

// complete is the last step: the database is used from here on.
func (c *mover) complete(ctx context.Context) error {
	return c.to.Write(ctx, func(tx *Tx) error {
		_, err := tx.Exec("DELETE FROM state_moves WHERE id = $1", c.id)
		return err
	})
}

const (
	// batchOctets and batchValues bound what is written at once, and so what is in memory.
	batchOctets = 1 << 20
	batchValues = 2000
)

// table copies the rows of a table.
func (c *mover) table(ctx context.Context, tx *Tx, table string) error {
	columns, err := c.columns(ctx, table)
	if err != nil {
		return err
	}
	b := &batch{table: table, columns: columns}
	var rows int64
	flush := func() error {
		rows += int64(b.rows)
		c.Tell(fmt.Sprintf("%s: %d rows", table, rows))
		return b.write(ctx, c.to)
	}
	err = tx.Query(func(scan func(...any) error) error {
		if err := b.add(scan); err != nil {
			return err
		}
		if b.full() {
			return flush()
		}
		return nil
	}, "SELECT "+b.names()+" FROM "+table)
	if err == nil && b.rows > 0 {
		err = flush()
	}
	if err != nil {
		return err
	}
	c.rows += rows
	var there int64
	if err := c.to.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&there); err != nil {
		return err
	}
	if there != rows {
		return fmt.Errorf("%d rows were copied, and %d are there: somebody else uses %s", rows, there, c.to.name)
	}
	return nil
}

// column is one of a table.
type column struct {
	name    string
	boolean bool // SQLite has a number in it
}

func (c *mover) columns(ctx context.Context, table string) (all []column, err error) {
	err = c.file().Read(ctx, func(tx *Tx) error {
		all = nil
		return tx.Query(func(scan func(...any) error) error {
			var name, kind string
			err := scan(&name, &kind)
			all = append(all, column{`"` + name + `"`, kind == "BOOLEAN"})
			return err
		}, "SELECT name, type FROM pragma_table_info($1) ORDER BY cid", table)
	})
	return all, err
}

// batch is rows that are written together.
type batch struct {
	table   string
	columns []column
	values  []any
	rows    int
	octets  int
}

func (b *batch) names() string {
	names := make([]string, len(b.columns))
	for i, c := range b.columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

func (b *batch) full() bool {
	return b.octets >= batchOctets || len(b.values)+len(b.columns) > batchValues
}

func (b *batch) add(scan func(...any) error) error {
	row := make([]any, len(b.columns))
	into := make([]any, len(row))
	for i := range row {
		into[i] = &row[i]
	}
	if err := scan(into...); err != nil {
		return err
	}
	for i, value := range row {
		switch v := value.(type) {
		case string:
			b.octets += len(v)
		case int64:
			if b.columns[i].boolean {
				row[i] = v != 0
			}
		case []byte:
			b.octets += len(v)
			if v == nil {
				row[i] = []byte{} // NULL is no slice; this is one of no octets
			}
		}
	}
	b.values = append(b.values, row...)
	b.rows++
	return nil
}

// write inserts the rows, and empties the batch.
func (b *batch) write(ctx context.Context, to *DB) error {
	rows := make([]string, b.rows)
	for r := range rows {
		places := make([]string, len(b.columns))
		for i := range places {
			places[i] = fmt.Sprintf("$%d", r*len(b.columns)+i+1)
		}
		rows[r] = "(" + strings.Join(places, ", ") + ")"
	}
	query := "INSERT INTO " + b.table + " (" + b.names() + ") VALUES " + strings.Join(rows, ", ")
	err := to.Write(ctx, func(tx *Tx) error {
		_, err := tx.Exec(query, b.values...)
		return err
	})
	b.values, b.rows, b.octets = b.values[:0], 0, 0
	return err
}
