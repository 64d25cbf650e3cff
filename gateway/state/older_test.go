//go:build linux

package state_test

import (
	"database/sql"
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// olderSchema is the version of the schema that an [older] gateway works with: the last one before contents of mail in transit came into
// partitions (migration 23).
const olderSchema = 22

// older is a gateway of an earlier version, as far as mail in transit is concerned: its statements are those of that version, some of
// one transaction in one, and are not to be changed when those of later versions are. It does what the test says, and nothing by itself.
type older struct {
	t      *testing.T
	db     *sql.DB
	node   string
	epochs map[int64]int64 // of its shards
}

// inFlight is what it has claimed.
type inFlight struct {
	id, epoch int64
	key, body string
}

// startOlder starts one, and has it take the shards that others leave, half of all at the most.
func startOlder(t *testing.T, url, node string) *older {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	g := &older{t: t, db: db, node: node, epochs: make(map[int64]int64)}
	g.exec("INSERT INTO spool_nodes (node, until, leaves) VALUES ($1, "+olderNow+" + $2, $3)", node, time.Hour.Microseconds(), "")
	rows, err := db.QueryContext(t.Context(), `UPDATE spool_shards SET node = $1, epoch = epoch + 1 WHERE shard IN (
SELECT shard FROM spool_shards WHERE node NOT IN (SELECT node FROM spool_nodes) OR node = $1 AND NOT shard = ANY($2)
ORDER BY shard LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING shard, epoch`, node, []int64{}, 32)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var shard, epoch int64
		if err := rows.Scan(&shard, &epoch); err != nil {
			t.Fatal(err)
		}
		g.epochs[shard] = epoch
	}
	if err := rows.Err(); err != nil || len(g.epochs) != 32 {
		t.Fatalf("%d shards, %v", len(g.epochs), err)
	}
	return g
}

const olderNow = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

// olderShard is the shard of a destination.
func olderShard(destination string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(destination)) // never fails
	return int64(h.Sum32() % 64)
}

func (g *older) exec(statement string, args ...any) (rows int64) {
	g.t.Helper()
	result, err := g.db.ExecContext(g.t.Context(), statement, args...)
	if err == nil {
		rows, err = result.RowsAffected()
	}
	if err != nil {
		g.t.Fatalf("the older gateway: %s: %v", statement, err)
	}
	return rows
}

// lives gives a sign of life.
func (g *older) lives() {
	g.t.Helper()
	if g.exec("UPDATE spool_nodes SET until = "+olderNow+" + $2, leaves = $3 WHERE node = $1", g.node, time.Hour.Microseconds(), "") != 1 {
		g.t.Error("the older gateway was taken for dead")
	}
}

// accept takes a message in, for one recipient.
func (g *older) accept(id int64, key, destination, body string) {
	g.t.Helper()
	now := time.Now().UnixMicro()
	g.exec(`WITH message AS (INSERT INTO spool_messages (id, key, envelope, received, expires, size, recipients, place, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING)
INSERT INTO spool_recipients (message, number, address, parameters, destination, shard, rank, state, due, attempts, outcome) VALUES ($1, $10, $11, $12, $13, $14, $15, $16, $17, 0, '')`,
		id, key, `{"envelope":{"From":"older@sakes.example"},"peer":{}}`, now, now+time.Hour.Microseconds(), len(body), 1, 0, []byte(body),
		0, "x@"+destination, "", destination, olderShard(destination), 9, 0, now)
	g.exec(`INSERT INTO spool_destinations (destination, shard, due, until)
SELECT destination, shard, due, 0 FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS late (destination, shard, due) ORDER BY destination
ON CONFLICT (destination) DO UPDATE SET due = LEAST(spool_destinations.due, excluded.due)`, []string{destination}, []int64{olderShard(destination)}, []int64{now})
}

// claim marks what is due of its shards as in flight, and reads it.
func (g *older) claim() (all []inFlight) {
	g.t.Helper()
	for shard, epoch := range g.epochs {
		rows, err := g.db.QueryContext(g.t.Context(), `UPDATE spool_recipients SET state = 1, due = NULL, epoch = $1 WHERE shard = $2 AND due <= `+olderNow+`
AND EXISTS (SELECT 1 FROM spool_shards WHERE shard = $2 AND node = $3 AND epoch = $1 FOR SHARE) RETURNING message`, epoch, shard, g.node)
		if err != nil {
			g.t.Fatal(err)
		}
		for rows.Next() {
			d := inFlight{epoch: epoch}
			if err := rows.Scan(&d.id); err != nil {
				g.t.Fatal(err)
			}
			all = append(all, d)
		}
		if err := rows.Err(); err != nil {
			g.t.Fatal(err)
		}
		_ = rows.Close() // it is at its end
	}
	for i := range all {
		g.read(&all[i])
	}
	return all
}

// read reads a content, where that version looks for it.
func (g *older) read(d *inFlight) {
	g.t.Helper()
	var size, place int64
	var body []byte
	err := g.db.QueryRowContext(g.t.Context(), "SELECT key, size, place, body FROM spool_messages WHERE id = $1", d.id).Scan(&d.key, &size, &place, &body)
	for number := int64(0); err == nil && place == 2 && int64(len(body)) < size; number++ {
		var chunk []byte
		err = g.db.QueryRowContext(g.t.Context(), "SELECT content FROM spool_chunks WHERE message = $1 AND number = $2", d.id, number).Scan(&chunk)
		body = append(body, chunk...)
	}
	if err != nil || int64(len(body)) != size || place != 0 && place != 2 {
		g.t.Errorf("the older gateway finds %d of %d octets of %s at %d: %v", len(body), size, d.key, place, err)
	}
	d.body = string(body)
}

// settle says that all of it was delivered.
func (g *older) settle(all []inFlight) {
	g.t.Helper()
	ids, epochs := make([]int64, len(all)), make([]int64, len(all))
	for i, d := range all {
		ids[i], epochs[i] = d.id, d.epoch
	}
	rows := g.exec(`DELETE FROM spool_recipients USING unnest($1::bigint[], $2::bigint[]) AS whole (message, epoch)
WHERE spool_recipients.message = whole.message AND spool_recipients.epoch = whole.epoch`, ids, epochs)
	if rows != int64(len(all)) {
		g.t.Errorf("%d of %d are its own", rows, len(all))
	}
	g.exec("DELETE FROM spool_chunks WHERE message = ANY($1)", ids)
	g.exec("DELETE FROM spool_messages WHERE id = ANY($1)", ids)
}

// end ends it as it is stopped to be upgraded: what it has in flight is left there.
func (g *older) end() {
	g.t.Helper()
	g.exec("DELETE FROM spool_nodes WHERE node = $1", g.node)
}

// destinations are so many that each gateway has some of them.
func destinations() (all []string) {
	for n := range 12 {
		all = append(all, fmt.Sprintf("d%d.example", n))
	}
	return all
}
