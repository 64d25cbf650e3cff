package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Report is what [Inspect] has found.
type Report struct {
	Name     string // of the database, for people
	Version  int64  // of the schema
	Problems []string
	Tables   []TableCount
}

// TableCount is how much there is in a table.
type TableCount struct {
	Table string
	Rows  int64
}

// Inspect looks at a database, which may be in use, without changing anything: whether the file
// is whole, what refers to nothing, the schema's version, and how much there is. Whatever is
// wrong is in the report; the error is for what keeps it from looking. With PostgreSQL the
// wholeness of its files is the server's own to check (pg_amcheck).
func Inspect(ctx context.Context, o Options) (*Report, error) {
	o = o.withDefaults()
	if o.URL != "" {
		return inspectPostgres(ctx, o)
	}
	return inspectSQLite(ctx, filepath.Join(o.Folder, FileName))
}

func inspectSQLite(ctx context.Context, file string) (*Report, error) {
	r := &Report{Name: file}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no state database %s: the gateway makes one when it starts", file)
	case err != nil:
		return nil, fmt.Errorf("the state database: %w", err)
	case info.Size() < headerSize:
		r.Problems = append(r.Problems, damaged(file, errors.New("it is too short")).Error())
		return r, nil
	}
	db, err := connectSQLite(file, "rw", "query_only(1)")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, check := range []func() error{
		func() error { return foreign(ctx, file, db) },
		func() error { return newer(ctx, file, db) },
		func() error { return refuseMoved(ctx, file, db) },
		func() error { return damage(ctx, file, db, "integrity_check") },
		func() error { return r.orphans(ctx, db) },
	} {
		if err := check(); err != nil {
			wrong, ok := errors.AsType[*Unusable](err)
			if !ok {
				return nil, err
			}
			r.Problems = append(r.Problems, wrong.Error())
			return r, nil
		}
	}
	return r, r.count(ctx, db, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
}

func inspectPostgres(ctx context.Context, o Options) (*Report, error) {
	l, err := dial(ctx, o)
	if err != nil {
		return nil, err
	}
	db := &DB{log: o.Log, name: l.name, pool: l.connect(1, "on")}
	defer db.Close() //nolint:errcheck // it has only read
	r := &Report{Name: db.name}
	for _, check := range []func(context.Context, string, *sql.DB) error{newer, refuseMoved} {
		if err := check(ctx, db.name, db.pool); err != nil {
			r.Problems = append(r.Problems, err.Error())
			return r, nil
		}
	}
	return r, r.count(ctx, db.pool, `SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE n.nspname = current_schema() AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname`)
}

// orphans finds rows that refer to others that are not there.
func (r *Report) orphans(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "SELECT DISTINCT \"table\", parent FROM pragma_foreign_key_check")
	if err != nil {
		return unusable(r.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var table, parent string
		if err := rows.Scan(&table, &parent); err != nil {
			return err
		}
		r.Problems = append(r.Problems, fmt.Sprintf("there are rows of %s whose row of %s is missing", table, parent))
	}
	return rows.Err()
}

// count tells the version, and how much there is in the tables that a query names.
func (r *Report) count(ctx context.Context, db *sql.DB, tables string) (err error) {
	if r.Version, err = versionOf(ctx, db); err != nil {
		return fmt.Errorf("the state database: %w", err)
	}
	if r.Version == 0 {
		r.Problems = append(r.Problems, "there is no schema in it")
		return nil
	}
	rows, err := db.QueryContext(ctx, tables)
	if err != nil {
		return fmt.Errorf("the state database: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var c TableCount
		if err := rows.Scan(&c.Table); err != nil {
			return fmt.Errorf("the state database: %w", err)
		}
		if c.Table != versionTable {
			r.Tables = append(r.Tables, c)
		}
	}
	err = errors.Join(rows.Err(), rows.Close()) // it may be the only connection
	for i := range r.Tables {
		if err == nil {
			err = db.QueryRowContext(ctx, "SELECT count(*) FROM "+r.Tables[i].Table).Scan(&r.Tables[i].Rows)
		}
	}
	if err != nil {
		return fmt.Errorf("the state database: %w", err)
	}
	return nil
}

// Ping asks whether the database can be used, by the look that [Open] takes at it. Nothing is changed.
// Of one that must not be used it gives an [*Unusable].
func Ping(ctx context.Context, o Options) error {
	o = o.withDefaults()
	if o.URL != "" {
		l, err := dial(ctx, o)
		if err != nil {
			return err
		}
		db := &DB{log: o.Log, name: l.name, pool: l.connect(1, "on")}
		defer db.Close() //nolint:errcheck // it has only read
		if err := newer(ctx, db.name, db.pool); err != nil {
			return err
		}
		return refuseMoved(ctx, db.name, db.pool)
	}
	return refuse(ctx, o, filepath.Join(o.Folder, FileName)) // what the gateway asks before it opens one
}
