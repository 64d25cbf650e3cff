package state

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel is the name, in SQL, of the channel that the users of one schema have to tell each other something.
const channel = "'dipylon.' || md5(current_schema())"

// closeMost is how long the end of a connection may take.
const closeMost = time.Second

// Notify tells a word to all who listen, this process among them. It is for databases that are [DB.Shared].
func (db *DB) Notify(ctx context.Context, word string) error {
	_, err := db.quick.ExecContext(ctx, "SELECT pg_notify("+channel+", $1)", word)
	return err
}

// Listen calls heard for each word that somebody tells by [DB.Notify], from one goroutine, until the context ends or the
// connection, which is one of its own, is lost. Begun is called when words are heard from then on. Behind a pooler it fails with [ErrPooled].
func (db *DB) Listen(ctx context.Context, begun func() error, heard func(word string)) error {
	if db.pooled {
		return ErrPooled // the pooler's connection would go on listening, for others
	}
	conn, err := pgx.ConnectConfig(ctx, db.config)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	if err := refusePooler(ctx, conn); err != nil {
		return err
	}
	var name string
	if err := conn.QueryRow(ctx, "SELECT "+channel).Scan(&name); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{name}.Sanitize()); err != nil {
		return err
	}
	if err := begun(); err != nil {
		return err
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		heard(n.Payload)
	}
}

// hangUp ends a connection on which nothing is written, whatever the other end does.
func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeMost)
	defer cancel()
	_ = conn.Close(ctx) // it is of no use any more
}
