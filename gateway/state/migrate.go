package state

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/rs/zerolog"
)

// migrations is the schema: one set of files for both databases. Once released, a file is never
// changed; another one follows.
//
//go:embed migrations/*.sql
var migrations embed.FS

// versionTable is where the schema's version is kept.
const versionTable = "schema_version"

// SchemaVersion is the version of the schema that this program works with.
func SchemaVersion() int64 {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	last := names[len(names)-1]
	version, err := goose.NumericComponent(last)
	if err != nil {
		panic(err) // the files' names are part of the program
	}
	for _, m := range onPostgres {
		version = max(version, m.version)
	}
	return version
}

// onPostgres are migrations that change nothing in SQLite.
var onPostgres = []struct {
	version    int64
	statements []string
}{
	// Contents of mail are compressed already, or are read once: the server need not try it.
	{15, []string{"ALTER TABLE spool_chunks ALTER COLUMN content SET STORAGE EXTERNAL"}},
	// Each message that passes through leaves dead rows. By default a table is vacuumed when a fifth of its rows are dead:
	// beside a million messages that wait, 200,000 that have passed would lie there. And it is vacuumed at full speed.
	// No setting spares the dead rows: what a message is claimed by is in an index, so no update of it is a HOT one.
	{17, []string{
		"ALTER TABLE spool_messages SET (" + vacuumSoon + ", " + vacuumSoonBeside + ")",
		"ALTER TABLE spool_recipients SET (" + vacuumSoon + ")",
		"ALTER TABLE spool_chunks SET (" + vacuumSoon + ", " + vacuumSoonBeside + ")",
	}},
	// Contents of mail that passes through, see package gateway/spool: its gateways make and drop the partitions, and close
	// one before that.
	{23, []string{
		`CREATE TABLE spool_contents (
	slot BIGINT NOT NULL, -- the partition
	message BIGINT NOT NULL,
	number BIGINT NOT NULL, -- of the part, from 0; -1: an empty one that comes with the message
	content BYTEA NOT NULL,
	PRIMARY KEY (message, number, slot)
) PARTITION BY LIST (slot)`,
		"ALTER TABLE spool_contents ALTER COLUMN content SET STORAGE EXTERNAL",
		`CREATE FUNCTION spool_contents_closed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'the partition is closed' USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME;
END $$`,
		// What a process can read: 0: what is in spool_messages and spool_chunks alone; 1: in spool_contents, too. The
		// default is that of a version that does not say so, and is dropped before the first partition is made.
		"ALTER TABLE spool_nodes ADD COLUMN layout BIGINT NOT NULL DEFAULT 0",
	}},
}

// vacuumSoon is when a table is vacuumed, and vacuumSoonBeside is when its large values are, which are stored beside it.
const (
	vacuumSoon = "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0"

	vacuumSoonBeside = "toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 1000, toast.autovacuum_vacuum_cost_delay = 0"
)

// migrationsOnPostgres are those, for one of the two databases.
func migrationsOnPostgres(dialect goose.Dialect) (all []*goose.Migration) {
	for _, m := range onPostgres {
		up := func(ctx context.Context, tx *sql.Tx) error {
			if dialect != goose.DialectPostgres {
				return nil
			}
			for _, statement := range m.statements {
				if _, err := tx.ExecContext(ctx, statement); err != nil {
					return err
				}
			}
			return nil
		}
		all = append(all, goose.NewGoMigration(m.version, &goose.GoFunc{RunTx: up}, nil))
	}
	return all
}

// migrate brings a schema up to date. Of several nodes that start together one does it, and the
// others wait for the lock, which SQLite needs none of.
func migrate(ctx context.Context, log zerolog.Logger, dialect goose.Dialect, db *sql.DB, name string, locker *schemaLock) error {
	if err := newer(ctx, name, db); err != nil {
		return err
	}
	if dialect == goose.DialectPostgres {
		if err := besideOthers(ctx, name, db, alone); err != nil {
			return err
		}
	}
	provider, err := newProvider(dialect, db, locker)
	if err != nil {
		return fmt.Errorf("the state database's schema: %w", err)
	}
	done, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("the state database's schema: %w", err)
	}
	for _, m := range done {
		log.Info().Str("database", name).Int64("migration", m.Source.Version).Dur("took_ms", m.Duration).Msg("the state database's schema is brought up to date")
	}
	return nil
}

// newProvider has all migrations for one of the two databases. Locker is nil where nobody else is at work.
func newProvider(dialect goose.Dialect, db *sql.DB, locker *schemaLock) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	options := []goose.ProviderOption{
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(migrationsOnPostgres(dialect)...),
	}
	if locker != nil {
		options = append(options, goose.WithSessionLocker(locker))
	}
	return goose.NewProvider(dialect, db, files, options...)
}

// alone are the migrations after which a gateway that does not know them cannot go on: none may be at work when they are made. All others
// only add to the schema, with defaults, what such a gateway leaves as it is. So gateways that share a database are upgraded one after the
// other: those of the earlier version go on, and are not started any more ([newer]).
var alone = []int64{}

// besideOthers refuses migrations that no other gateway may be at work beside, while one is: its row in spool_nodes is renewed as long as it is.
func besideOthers(ctx context.Context, name string, db *sql.DB, alone []int64) error {
	version, err := versionOf(ctx, db)
	if err != nil {
		return unusable(name, err)
	}
	if version == 0 || !slices.ContainsFunc(alone, func(one int64) bool { return one > version }) {
		return nil
	}
	var others int
	const now = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM spool_nodes WHERE until > "+now).Scan(&others)
	if err != nil && missingTable(err, "spool_nodes") {
		return nil // the schema is older than gateways that share a queue
	}
	if err != nil {
		return fmt.Errorf("the state database: %w", err)
	}
	if others > 0 {
		return &Unusable{
			What: fmt.Sprintf("the schema of %s has to be changed as gateways of an earlier version cannot follow, and %d are at work", name, others),
			Do:   "stop all gateways that share it, wait for half a minute, and then start them in this version",
		}
	}
	return nil
}

// newer refuses a schema that a newer version of this program has made.
func newer(ctx context.Context, name string, db *sql.DB) error {
	version, err := versionOf(ctx, db)
	if err != nil {
		return unusable(name, err)
	}
	if known := SchemaVersion(); version > known {
		return &Unusable{
			What: fmt.Sprintf("the schema of %s is of version %d, and this program knows %d: a newer Dipylon has used it", name, version, known),
			Do:   "run that version, or go back to a backup from before it",
		}
	}
	return nil
}

// versionOf is the schema's version; 0: there is none.
func versionOf(ctx context.Context, db *sql.DB) (version int64, err error) {
	err = db.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM "+versionTable+" WHERE is_applied").Scan(&version)
	if err != nil && missingTable(err, versionTable) {
		return 0, nil
	}
	return version, err
}

// missingTable says that an error is about a table that is not there (SQLite has no code for
// it; 42P01 is PostgreSQL's).
func missingTable(err error, table string) bool {
	text := err.Error()
	return strings.Contains(text, "no such table: "+table) || strings.Contains(text, "42P01")
}
