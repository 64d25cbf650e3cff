package state

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/dipylon/dipylon/backends/peek"
)

const (
	connectMost = 5 * time.Second
	// idleMost is how long a connection that nobody needs stays open.
	idleMost = 5 * time.Minute
)

// openPostgres connects to a server, and waits for it a while: it may be starting, too.
func openPostgres(ctx context.Context, o Options) (*DB, error) {
	l, err := dial(ctx, o)
	if err != nil {
		return nil, err
	}
	db := &DB{log: o.Log, name: l.name, shared: true, pooled: l.pooled, config: l.config}
	db.pool = l.connect(o.Connections, "on")
	db.quick = l.connect(o.Connections, "off")
	err = db.warnUnsynced(ctx)
	if err == nil && db.pooled {
		err = db.refuseUnsafe(ctx)
	}
	if err == nil {
		err = migrate(ctx, o.Log, goose.DialectPostgres, db.pool, db.name, &schemaLock{db: db.quick})
	}
	if err == nil && !o.moving {
		err = refuseMoved(ctx, db.name, db.pool)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// parseURL checks a URL. The parser's error would show parts of it, a password among them.
func parseURL(url string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the state database: the URL is not one of PostgreSQL's (postgres://user@host/database)")
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectMost
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "dipylon"
	}
	return config, nil
}

// CheckURL says what is wrong with a PostgreSQL connection string, without connecting. The
// error shows nothing of it.
func CheckURL(url string) error {
	_, err := parseURL(url)
	return err
}

// nameOf is a database's name for messages: no password is in it.
func nameOf(config *pgx.ConnConfig) string {
	return fmt.Sprintf("the database %s at %s:%d", config.Database, config.Host, config.Port)
}

// endIdle lets the server end a transaction whose process says nothing: one that is frozen in the middle
// would keep its locks, and others from taking over.
const endIdle = `SELECT set_config('idle_in_transaction_session_timeout', '30s', false)
WHERE current_setting('idle_in_transaction_session_timeout') = '0'`

// connect makes a pool. What its sessions are told of synchronous_commit goes before what the server is configured with, unless that
// waits for more than its own disk. Behind a pooler they are told nothing: the pool is as careful as the role is configured to be.
func (l *link) connect(most int, synchronous string) *sql.DB {
	setting := "SELECT set_config('synchronous_commit', $1, false)"
	if synchronous == "on" {
		setting += " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
	}
	pool := stdlib.OpenDB(*l.config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		if l.pooled {
			return nil
		}
		err := refusePooler(ctx, conn)
		if err == nil {
			_, err = conn.Exec(ctx, setting, synchronous)
		}
		if err == nil {
			_, err = conn.Exec(ctx, endIdle)
		}
		if err != nil {
			hangUp(ctx, conn) // nobody else does
		}
		return err
	}), stdlib.OptionResetSession(func(_ context.Context, conn *pgx.Conn) error {
		// A server that was restarted leaves a dead connection for each of the pool, and each
		// would cost somebody's login.
		if arrived, _ := peek.Arrived(socketOf(conn.PgConn().Conn())); arrived {
			return driver.ErrBadConn
		}
		return nil
	}))
	pool.SetMaxOpenConns(most)
	pool.SetMaxIdleConns(most)
	pool.SetConnMaxIdleTime(idleMost)
	return pool
}

// socketOf is what a connection is made over. A server that ends says a last word on those that nobody uses, or closes
// them.
func socketOf(conn net.Conn) net.Conn {
	if secure, is := conn.(*tls.Conn); is {
		return secure.NetConn()
	}
	return conn
}

// Alter carries out one statement that a transaction may not have in it, with PostgreSQL alone. It gives up after patience each
// time that it waits for what others have locked: whoever wants the same after it waits for it, too. Behind a pooler it fails with
// [ErrPooled].
func (db *DB) Alter(ctx context.Context, patience time.Duration, statement string) (err error) {
	if db.pooled {
		return ErrPooled // the bound would stay on a connection of others
	}
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("the state database: %w", err)
	}
	defer func() {
		// A connection that keeps the setting, or that was lost, is given to nobody.
		_, failed := conn.ExecContext(context.WithoutCancel(ctx), "RESET lock_timeout")
		if failed != nil {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
		_ = conn.Close() // it is only given back
	}()
	if _, err = conn.ExecContext(ctx, "SELECT set_config('lock_timeout', $1, false)", fmt.Sprintf("%dms", patience.Milliseconds())); err == nil {
		_, err = conn.ExecContext(ctx, statement)
	}
	if err != nil {
		return fmt.Errorf("the state database: %w", err)
	}
	return nil
}

// CheckViolated names the table of PostgreSQL's that has refused a row; empty: the error says something else.
func CheckViolated(err error) (table string) {
	if said, is := errors.AsType[*pgconn.PgError](err); is && said.Code == checkViolation {
		return said.TableName
	}
	return ""
}

// Denied says that PostgreSQL's role may not do something.
func Denied(err error) bool {
	said, is := errors.AsType[*pgconn.PgError](err)
	return is && said.Code == insufficientPrivilege
}

// Codes of errors, from PostgreSQL's documentation, appendix A.
const (
	checkViolation        = "23514" // a row fits into no partition, or a constraint does not hold
	insufficientPrivilege = "42501"
)

// warnUnsynced tells of a server that does not sync: what it has acknowledged may be lost (I1).
func (db *DB) warnUnsynced(ctx context.Context) error {
	var fsync string
	if err := db.pool.QueryRowContext(ctx, "SHOW fsync").Scan(&fsync); err != nil {
		return fmt.Errorf("the state database: %w", err)
	}
	if fsync != "on" {
		db.log.Warn().Str("database", db.name).Msg("the database server runs with fsync=off: when its machine dies, mail that was acknowledged may be lost")
	}
	return nil
}
