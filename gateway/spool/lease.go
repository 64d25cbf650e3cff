package spool

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/gateway/state"
)

const (
	// answerMost is how long the database has to answer who renews a lease, or gives one back.
	answerMost = 5 * time.Second
	// databaseNow is PostgreSQL's clock, in microseconds since 1970.
	databaseNow = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
)

// leases are the shards that this process works on. With SQLite it has all of them from its start to its
// end: the folder is locked. With PostgreSQL they are shared out among the nodes that show signs of life:
// a node has one row in spool_nodes, which it renews, and its name stands at its shards. Who finds a row
// that has run out deletes it, and from then on its shards are free.
//
// Each time a shard is taken its epoch grows. What is in flight has the epoch in its row; what has an
// earlier one was left behind and becomes uncertain. Each transaction of a node on a shard verifies the
// epoch ([leases.verify]).
type leases struct {
	spool  *Spool
	node   string
	epochs [shards]atomic.Int64 // 0: not this node's
	until  atomic.Int64         // by sinceBoot; of PostgreSQL alone

	leaves atomic.Pointer[string]     // of [Spool.Tell]
	clock  atomic.Pointer[serverTime] // nil: the server was not asked yet

	mu     sync.Mutex // one look at the database at a time
	jump   *jump      // nil: the server's clock was not set lately
	others string     // what leaves by another node, where it is not what leaves by this one
	stuck  int        // how many times in a row no shard could be given back
}

func newLeases(s *Spool, node string) *leases {
	l := &leases{spool: s, node: node}
	l.leaves.Store(&s.o.Leaves)
	return l
}

// has says whether a shard is this node's, as far as it knows.
func (l *leases) has(shard int64) bool { return l.epochs[shard].Load() != 0 }

// epoch is under what a shard is this node's.
func (l *leases) epoch(shard int64) (epoch int64, held bool) {
	epoch = l.epochs[shard].Load()
	return epoch, epoch != 0 && l.alive()
}

// holds says whether a shard is still this node's under an epoch.
func (l *leases) holds(shard, epoch int64) bool {
	return l.epochs[shard].Load() == epoch && l.alive()
}

// alive says that no other node may have declared this one dead.
func (l *leases) alive() bool {
	return !l.spool.db.Shared() || int64(sinceBoot()) < l.until.Load()
}

// verify makes sure, inside of a transaction, that a shard is this node's until the transaction ends: who
// takes the shard waits for it.
func (l *leases) verify(tx *state.Tx, shard, epoch int64) error {
	if !l.spool.db.Shared() {
		return nil
	}
	var n int64
	found, err := tx.One([]any{&n}, "SELECT 1 FROM spool_shards WHERE shard = $1 AND node = $2 AND epoch = $3 FOR SHARE", shard, l.node, epoch)
	if err == nil && !found {
		return ErrLease
	}
	return err
}

// begin takes what there is for this node.
func (l *leases) begin(ctx context.Context) error {
	if l.spool.db.Shared() {
		return l.tick(ctx)
	}
	return l.take(ctx, "UPDATE spool_shards SET node = $1, epoch = epoch + 1 RETURNING shard, epoch", l.node)
}

// take carries out a statement that takes shards, and lets what was left in flight there be uncertain.
func (l *leases) take(ctx context.Context, statement string, args ...any) error {
	s := l.spool
	var taken map[int64]int64
	var left []announcement
	rows := s.schedule.rowsNow()
	err := s.db.Write(ctx, func(tx *state.Tx) error {
		taken, left = make(map[int64]int64), nil
		err := tx.Query(func(scan func(...any) error) error {
			var shard, epoch int64
			err := scan(&shard, &epoch)
			taken[shard] = epoch
			return err
		}, statement, args...)
		if err != nil {
			return err
		}
		for shard, epoch := range taken {
			if left, err = s.leftBehind(tx, left, shard, epoch); err != nil {
				return err
			}
		}
		left = earliest(left)
		return s.schedule.announce(tx, left)
	})
	if err != nil || len(taken) == 0 {
		return err
	}
	for shard, epoch := range taken {
		if shard >= 0 && shard < shards {
			l.epochs[shard].Store(epoch)
		}
	}
	s.schedule.announced(left, rows)
	s.schedule.rewind()
	return nil
}

const leftInShard = `UPDATE spool_recipients SET state = 4, due = $1, epoch = NULL, attempts = attempts + 1
WHERE shard = $2 AND epoch < $3 RETURNING destination`

// leftBehind lets what was in flight in a shard under earlier epochs be uncertain, and due.
func (s *Spool) leftBehind(tx *state.Tx, left []announcement, shard, epoch int64) ([]announcement, error) {
	now := s.o.Now().UnixMicro()
	err := tx.Query(func(scan func(...any) error) error {
		a := announcement{shard: shard, due: now}
		err := scan(&a.destination)
		left = append(left, a)
		return err
	}, leftInShard, now, shard, epoch)
	return left, err
}

// keep renews the lease, and shares the shards out, until ctx ends.
func (l *leases) keep(ctx context.Context) {
	tick := time.NewTicker(l.spool.o.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		once, cancel := context.WithTimeout(ctx, min(answerMost, l.spool.o.Lease/3))
		err := l.tick(once)
		cancel()
		if err != nil && ctx.Err() == nil {
			l.spool.o.Log.Warn().Err(err).Msg("the lease on mail in transit could not be renewed")
		}
	}
}

// tick gives a sign of life, and looks whether the shards are shared out as they should be.
func (l *leases) tick(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.renew(ctx); err != nil {
		return err
	}
	if err := l.askTime(ctx); err != nil {
		return err
	}
	nodes, others, err := l.look(ctx)
	if err != nil {
		return err
	}
	l.compare(others)
	if err := l.reconcile(ctx); err != nil {
		return err
	}
	share := (shards + nodes - 1) / nodes
	mine := l.mine()
	switch {
	case len(mine) < share:
		// A shard that has the node's name without its knowing is one whose taking was not answered.
		return l.take(ctx, `UPDATE spool_shards SET node = $1, epoch = epoch + 1 WHERE shard IN (
SELECT shard FROM spool_shards WHERE node NOT IN (SELECT node FROM spool_nodes) OR node = $1 AND NOT shard = ANY($2)
ORDER BY shard LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING shard, epoch`, l.node, mine, share-len(mine))
	case len(mine) > share:
		return l.giveBack(ctx, len(mine)-share)
	}
	l.stuck = 0
	return nil
}

// reconcile forgets shards that are not this node's by the database, under the epoch that it knows: a standby that has become the server
// without the last commits, or a backup that was restored, says that they are another node's, which may be long gone. Nobody would
// take them as long as this node believes that it has them.
func (l *leases) reconcile(ctx context.Context) error {
	rows, err := l.spool.db.Query(ctx, "SELECT shard, epoch FROM spool_shards WHERE node = $1", l.node)
	if err != nil {
		return err
	}
	defer rows.Close()
	held := make(map[int64]int64)
	for rows.Next() {
		var shard, epoch int64
		if err := rows.Scan(&shard, &epoch); err != nil {
			return err
		}
		held[shard] = epoch
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, shard := range l.mine() {
		if l.epochs[shard].Load() == held[shard] {
			continue
		}
		l.spool.o.Log.Warn().Int64("shard", shard).Msg("the database does not know that a part of the mail in transit is this gateway's, as after a fail-over that has lost what was committed last")
		l.epochs[shard].Store(0)
		l.spool.schedule.lost(shard)
	}
	return nil
}

// mine are the shards that this node has.
func (l *leases) mine() []int64 {
	mine := make([]int64, 0, shards)
	for shard := range int64(shards) {
		if l.has(shard) {
			mine = append(mine, shard)
		}
	}
	return mine
}

// renew gives a sign of life. Who was declared dead has lost all that it had.
func (l *leases) renew(ctx context.Context) error {
	asked := sinceBoot()
	lease := l.spool.o.Lease
	result, err := l.spool.db.Quick().ExecContext(ctx, "UPDATE spool_nodes SET until = "+databaseNow+" + $2, leaves = $3 WHERE node = $1",
		l.node, lease.Microseconds(), *l.leaves.Load())
	if err != nil {
		return err
	}
	rows, err := result.RowsAffected()
	if err != nil {
		return err
	}
	if rows == 0 {
		l.lose()
		if err := l.enrol(ctx); err != nil {
			return err
		}
	}
	l.until.Store(int64(asked + lease))
	return nil
}

// enrol makes the node's row. Shards that have its name from before it was declared dead are freed: what
// it had in flight there is nobody's.
func (l *leases) enrol(ctx context.Context) error {
	return l.spool.db.Write(ctx, func(tx *state.Tx) error {
		if _, err := tx.Exec("UPDATE spool_shards SET node = '' WHERE node = $1", l.node); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO spool_nodes (node, until, leaves, layout) VALUES ($1, "+databaseNow+" + $2, $3, 1)",
			l.node, l.spool.o.Lease.Microseconds(), *l.leaves.Load())
		return err
	})
}

// look removes the dead, and counts those that live. Others is what leaves by a node by which not the same leaves as by this one;
// empty: there is none.
func (l *leases) look(ctx context.Context) (nodes int, others string, err error) {
	err = l.spool.db.Write(ctx, func(tx *state.Tx) error {
		if err := l.removeDead(tx); err != nil {
			return err
		}
		_, err := tx.One([]any{&nodes, &others}, "SELECT count(*), COALESCE(max(leaves) FILTER (WHERE leaves NOT IN ('', $1) AND node <> $2), '') FROM spool_nodes", *l.leaves.Load(), l.node)
		return err
	})
	if err == nil && l.jump.over(l.spool.o.Lease) {
		l.jump = nil
	}
	return max(nodes, 1), others, err
}

// removeDead deletes the rows of nodes that have given no sign of life. A dead one whose row is being renewed at this moment is not dead:
// the row is locked, and looked at again. While nobody knows by which clock rows were renewed, those are dead that are not renewed at all.
func (l *leases) removeDead(tx *state.Tx) error {
	told := func(scan func(...any) error) error {
		var node string
		err := scan(&node)
		l.spool.o.Log.Warn().Str("node", node).Msg("a gateway gives no sign of life; others take over its mail in transit")
		return err
	}
	switch {
	case l.jump == nil:
		return tx.Query(told, "DELETE FROM spool_nodes WHERE until < $1 AND node <> $2 RETURNING node", l.now().UnixMicro(), l.node)
	case l.jump.over(l.spool.o.Lease):
		return tx.Query(told, `DELETE FROM spool_nodes USING unnest($1::text[], $2::bigint[]) AS seen (node, until)
WHERE spool_nodes.node = seen.node AND spool_nodes.until = seen.until AND spool_nodes.node <> $3 RETURNING spool_nodes.node`, l.jump.nodes, l.jump.untils, l.node)
	case l.jump.seen:
		return nil
	}
	l.jump.nodes, l.jump.untils = nil, nil
	err := tx.Query(func(scan func(...any) error) error {
		var node string
		var until int64
		err := scan(&node, &until)
		l.jump.nodes, l.jump.untils = append(l.jump.nodes, node), append(l.jump.untils, until)
		return err
	}, "SELECT node, until FROM spool_nodes")
	l.jump.seen, l.jump.at = err == nil, sinceBoot()
	return err
}

// compare tells of a difference once, and of its end.
func (l *leases) compare(others string) {
	ours := *l.leaves.Load()
	if l.others == others || ours == "" {
		return
	}
	if l.others = others; others == "" {
		l.spool.o.Log.Info().Str("leaves", ours).Msg("the gateways on the database have the same transfer mode again")
		return
	}
	l.spool.o.Log.Error().Str("leaves", ours).Str("leaves_by_others", others).
		Msg("a gateway on the same database has another transfer mode, and each delivers a part of the mail: some of it waits that should leave, or leaves that should wait. Give all of them the same transfer section")
}

// lose forgets all shards.
func (l *leases) lose() {
	for shard := range l.epochs {
		if l.epochs[shard].Swap(0) != 0 {
			l.spool.schedule.lost(int64(shard))
		}
	}
}

// stuckMost is how many times in a row no shard is given back because of what is in flight. Then some are given back all the same,
// so that a further gateway takes a part of the work however much there is: what is in flight is uncertain for it.
const stuckMost = 10

// giveBack gives shards to others: those on which nothing is going on, and of which nothing is in flight. A destination that
// was given back may have mail that is being delivered: whoever takes the shard would have to take that for left behind, and
// deliver it once more.
func (l *leases) giveBack(ctx context.Context, most int) error {
	flying, err := l.flying(ctx)
	if err != nil {
		return err
	}
	all, before := l.stuck >= stuckMost, most
	for shard := int64(0); shard < shards && most > 0; shard++ {
		epoch := l.epochs[shard].Load()
		if epoch == 0 || flying[shard] && !all || !l.spool.schedule.idle(shard) {
			continue
		}
		given, err := l.giveShard(ctx, shard, epoch, all)
		if err != nil {
			return err
		}
		if given {
			most--
		}
	}
	if l.stuck++; most < before {
		l.stuck = 0
	}
	return nil
}

// flying are the shards of which something is in flight.
func (l *leases) flying(ctx context.Context) (map[int64]bool, error) {
	rows, err := l.spool.db.Query(ctx, "SELECT DISTINCT shard FROM spool_recipients WHERE epoch IS NOT NULL")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	flying := make(map[int64]bool)
	for rows.Next() {
		var shard int64
		if err := rows.Scan(&shard); err != nil {
			return nil, err
		}
		flying[shard] = true
	}
	return flying, rows.Err()
}

// giveShard gives one shard back, unless something of it is in flight by now and that counts. Whoever was claiming has the shard's
// row locked (leases.verify): it is waited for, and what it has claimed is seen.
func (l *leases) giveShard(ctx context.Context, shard, epoch int64, whatever bool) (given bool, err error) {
	l.epochs[shard].Store(0) // nothing is claimed from here on
	err = l.spool.db.Write(ctx, func(tx *state.Tx) error {
		var n int64
		given = true
		found, err := tx.One([]any{&n}, "SELECT 1 FROM spool_shards WHERE shard = $1 AND node = $2 AND epoch = $3 FOR UPDATE", shard, l.node, epoch)
		if err != nil || !found {
			return err
		}
		flies, err := tx.One([]any{&n}, "SELECT 1 FROM spool_recipients WHERE shard = $1 AND epoch IS NOT NULL LIMIT 1", shard)
		if given = !flies || whatever; err != nil || !given {
			return err
		}
		_, err = tx.Exec("UPDATE spool_shards SET node = '' WHERE shard = $1", shard)
		return err
	})
	if err != nil || !given {
		l.epochs[shard].Store(epoch) // or it would be nobody's
		l.spool.schedule.rewind()    // what came meanwhile was told to others
		return false, err
	}
	l.spool.schedule.lost(shard)
	return true, nil
}

// release gives all shards free at the end.
func (l *leases) release() error {
	if !l.spool.db.Shared() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerMost)
	defer cancel()
	_, err := l.spool.db.Quick().ExecContext(ctx, "DELETE FROM spool_nodes WHERE node = $1", l.node)
	if err != nil {
		return fmt.Errorf("the spool: the lease could not be given back, and runs out by itself: %w", err)
	}
	return nil
}
