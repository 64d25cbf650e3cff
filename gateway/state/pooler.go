package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3/lock"
)

// link is the way to a server.
//
// A pooler (PgBouncer and its like) on it may give each transaction to another of its connections to the server. What belongs to a
// session is then somebody else's afterwards: settings, locks, prepared statements, LISTEN. So behind one nothing of a session is used,
// whatever mode it is in, as the mode cannot be told for sure from here:
//
//   - No session is told anything. What the sessions would be told about synchronous_commit has to be so for the role
//     ([DB.refuseUnsafe]).
//   - Statements are not prepared under names.
//   - Nobody listens ([DB.Listen]): gateways look every second for what others have taken in.
//   - What a transaction may not have in it cannot be carried out with a bound on its wait ([DB.Alter]).
//   - The schema is locked by a transaction, with and without a pooler ([schemaLock]).
type link struct {
	config *pgx.ConnConfig
	name   string // of the database, for messages
	pooled bool   // a pooler is between
}

// ErrPooled is what needs a session says where a pooler is between this program and the server.
var ErrPooled = errors.New("there is a connection pooler in front of the database, which keeps no session")

// dial waits for a server a while, as it may be starting, too, and looks what is in front of it.
func dial(ctx context.Context, o Options) (*link, error) {
	config, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	l := &link{config: config, name: nameOf(config)}
	ctx, cancel := context.WithTimeout(ctx, o.Patience)
	defer cancel()
	for {
		err := l.look(ctx)
		if err == nil {
			break
		}
		switch said, is := errors.AsType[*pgconn.PgError](err); {
		case is && strings.Contains(said.Message, "unsupported startup parameter"):
			return nil, l.unusable("refuses a parameter of the URL ("+said.Message+")", l.askedFor())
		case is && strings.Contains(said.Message, "statement pooling mode"):
			return nil, &Unusable{
				What: "the connection pooler in front of " + l.name + " has no transactions (" + said.Message + ")",
				Do:   "have it in transaction mode (pool_mode = transaction in PgBouncer), or connect to PostgreSQL itself",
			}
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("the state: %s cannot be reached: %w", l.name, err)
		}
	}
	if asked := l.askedFor(); l.pooled && len(asked) > 0 {
		return nil, l.unusable("may drop parameters of the URL", asked)
	}
	return l, nil
}

// look finds out whether a pooler is between, and whether it has transactions.
func (l *link) look(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, l.config)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	if l.pooled, err = isPooled(ctx, conn); err != nil || !l.pooled {
		return err
	}
	tx, err := conn.Begin(ctx)
	if err == nil {
		err = tx.Rollback(ctx)
	}
	if err != nil {
		return err
	}
	if l.config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		l.config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	// What others listen to on the same connections would be kept until somebody asks for it.
	l.config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
	return nil
}

// isPooled says whether a pooler is between: then what the other end calls this connection's process, so that it can be asked to
// cancel, is not the process that answers. PostgreSQL's documentation, 55.2.1 (BackendKeyData).
func isPooled(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var process uint32
	err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&process)
	return process != conn.PgConn().PID(), err
}

// errPoolerCame is what a connection fails with where a pooler has been put in front of the database since it was opened.
var errPoolerCame = errors.New("a connection pooler is in front of the database, and was not when the gateway has started: start the gateway again")

// refusePooler refuses a connection that is to be told something for its session alone. What one pool's sessions are told, that commits need
// not be synced, the pooler would give to those who have to sync (I1).
func refusePooler(ctx context.Context, conn *pgx.Conn) error {
	pooled, err := isPooled(ctx, conn)
	if err == nil && pooled {
		err = errPoolerCame
	}
	return err
}

// askedFor are the URL's parameters that a pooler does not pass on, or gives to everybody.
func (l *link) askedFor() []string {
	passed := []string{"application_name", "client_encoding", "datestyle", "timezone"}
	names := slices.Sorted(maps.Keys(l.config.RuntimeParams))
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(passed, strings.ToLower(name)) })
}

// unusable is what a pooler makes of a database.
func (l *link) unusable(what string, parameters []string) *Unusable {
	return &Unusable{
		What: fmt.Sprintf("the connection pooler in front of %s %s", l.name, what),
		Do: fmt.Sprintf("take %s out of it and set it for the role (ALTER ROLE … SET …), or connect to PostgreSQL itself",
			strings.Join(parameters, ", ")),
	}
}

// refuseUnsafe makes sure that commits are synced (I1) behind a pooler, where no session can be told so, and tells what a pooler costs.
func (db *DB) refuseUnsafe(ctx context.Context) error {
	var role, synchronous, idle string
	err := db.pool.QueryRowContext(ctx, "SELECT quote_ident(current_user), current_setting('synchronous_commit'), current_setting('idle_in_transaction_session_timeout')").
		Scan(&role, &synchronous, &idle)
	if err != nil {
		return fmt.Errorf("the state database: %w", err)
	}
	if synchronous == "off" || synchronous == "local" {
		return &Unusable{
			What: fmt.Sprintf("%s has synchronous_commit = %s, and behind a connection pooler a gateway cannot change that: mail that was acknowledged might be lost", db.name, synchronous),
			Do:   "ALTER ROLE " + role + " SET synchronous_commit = on, have the pooler connect anew (RECONNECT in PgBouncer's console), and start again",
		}
	}
	event := db.log.Warn().Str("database", db.name)
	if idle == "0" {
		event = event.Str("set", "ALTER ROLE "+role+" SET idle_in_transaction_session_timeout = '30s'")
	}
	event.Msg("there is a connection pooler in front of the database: gateways look for each other's mail every second, as they cannot be told of it, and what is old is dropped with short pauses for all; connect to PostgreSQL itself to be without that")
	return nil
}

// Pooled says that there is a pooler in front of the database.
func (db *DB) Pooled() bool { return db.pooled }

// schemaPatience is how long a gateway waits until another one has brought the schema up to date.
const schemaPatience = 2 * time.Minute

// schemaLock has one gateway at a time change the schema. It is a transaction's lock, as a pooler may give what belongs to a session to
// somebody else, and that of versions before, which was a session's, keeps it waiting, and waits for it.
type schemaLock struct {
	db *sql.DB // other connections than those that the schema is changed by
	tx *sql.Tx
}

// SessionLock waits for the lock. It is held until [schemaLock.SessionUnlock], or the end of this process.
func (l *schemaLock) SessionLock(ctx context.Context, _ *sql.Conn) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		"SET LOCAL idle_in_transaction_session_timeout = 0", // it does nothing as long as the schema is changed
		fmt.Sprintf("SET LOCAL lock_timeout = %d", schemaPatience.Milliseconds()),
		fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", lock.DefaultLockID),
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return errors.Join(fmt.Errorf("the schema is locked by another gateway: %w", err), tx.Rollback())
		}
	}
	l.tx = tx
	return nil
}

// SessionUnlock gives the lock free.
func (l *schemaLock) SessionUnlock(context.Context, *sql.Conn) error { return l.tx.Rollback() }
