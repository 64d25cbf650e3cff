package spool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/gateway/state"
)

const (
	// lockPatience is how long a change of a partition waits for others. Whoever wants the same partition waits behind it.
	lockPatience = 500 * time.Millisecond
	// pausePatience is how long one waits that all others wait behind, who put contents in or read them.
	pausePatience = 100 * time.Millisecond
	// roundsAPartition is how many times it is looked after partitions in the time for which one is written into.
	roundsAPartition = 5
	// closedAfter is how many rounds a partition stays open after the next one was made: every gateway knows of that by then.
	closedAfter = 2
	// overdueAfter is how many rounds a partition is written into at most, where for whatever reason no further one was made: it
	// would grow for ever, and nothing of it be dropped.
	overdueAfter = 5 * roundsAPartition
	// postgresDetaches is the first version of PostgreSQL that detaches partitions beside who uses them.
	postgresDetaches = 140000
)

// partitions are those of spool_contents: contents of mail that passes through PostgreSQL lie there, are never changed, and go
// with their partition. One is written into for a minute. Then it is closed, the contents of what still waits are put
// where those lie that wait, and it is dropped (see partition.go).
//
// All gateways write into the newest partition that they know of. Where there is none, contents go at once where those lie that
// wait: nothing depends on a partition's being there. The gateway that has shard 0 looks after the partitions; if two of them
// do, as one was frozen, none undoes what the other one has done, since a partition is never opened again.
type partitions struct {
	spool *Spool
	able  bool         // the server can do it
	open  atomic.Int64 // the slot of the partition for what comes; 0: there is none
	fails atomic.Pointer[PartitionFailure]
}

// PartitionFailure is why partitions cannot be looked after: contents of mail that passes through are deleted one by one, or stay.
type PartitionFailure struct {
	Since  time.Time // by this gateway's clock
	Err    error
	Denied bool // the role may not do it
}

// PartitionFailure is nil while all is well, with SQLite, and where another gateway looks after the partitions.
func (s *Spool) PartitionFailure() *PartitionFailure { return s.partitions.fails.Load() }

// note remembers what came of a round. That a gateway of an earlier version is at work is no failure.
func (p *partitions) note(err error) {
	before := p.fails.Load()
	switch {
	case err == nil || errors.Is(err, errOlder):
		p.fails.Store(nil)
	case before == nil:
		p.fails.Store(&PartitionFailure{Since: time.Now(), Err: err, Denied: state.Denied(err)})
	default:
		p.fails.Store(&PartitionFailure{Since: before.Since, Err: err, Denied: state.Denied(err)})
	}
}

// partition is one of them. Its slot is the second in which it was made, by the server's clock, and its number in
// spool_messages.place.
type partition struct {
	slot      int64
	attached  bool // false: it was detached, and is to be dropped
	detaching bool // that was broken off
	closed    bool // nothing comes into it any more
	overdue   bool // it was written into for too long, as no further one was made
}

func (p partition) name() string { return "spool_contents_" + strconv.FormatInt(p.slot, 10) }

// begin finds the partition for what comes, before the first does.
func (p *partitions) begin(ctx context.Context) error {
	var version string
	err := p.spool.db.QueryRow(ctx, "SELECT current_setting('server_version_num')").Scan(&version)
	if err != nil {
		return fmt.Errorf("the spool: %w", err)
	}
	number, err := strconv.Atoi(version)
	if p.able = err == nil && number >= postgresDetaches && p.spool.o.Partition > 0; p.spool.o.Partition < 0 {
		return nil
	}
	if !p.able {
		p.spool.o.Log.Info().Str("server_version_num", version).Msg("the database server is older than PostgreSQL 14: contents of mail that passes through are deleted one by one")
		return nil
	}
	_, err = p.renew(ctx)
	if p.note(err); err != nil {
		p.tell(err)
	}
	return nil
}

// keep looks after the partitions until ctx ends. It tells of what fails once, until nothing does.
func (p *partitions) keep(ctx context.Context) {
	for failing := false; p.able && pause.For(ctx, p.spool.o.Partition/roundsAPartition); {
		err := p.round(ctx)
		if ctx.Err() != nil {
			return
		}
		if p.note(err); err != nil && !failing {
			p.tell(err)
		}
		failing = err != nil
	}
}

func (p *partitions) tell(err error) {
	event := p.spool.o.Log.Warn()
	if errors.Is(err, errOlder) || errors.Is(err, errDumped) {
		event = p.spool.o.Log.Info()
	}
	event.Err(err).Msg("the partitions for contents of mail that passes through cannot be looked after; it is tried again, and mail does not wait for it")
}

// round finds the partition for what comes and, with shard 0, makes it and drops what is old.
func (p *partitions) round(ctx context.Context) error {
	all, err := p.renew(ctx)
	if !p.spool.leases.has(0) {
		return err
	}
	if err != nil { // none could be made, or they are not known: then there are none
		return errors.Join(err, p.removeOld(ctx, all))
	}
	return p.removeOld(ctx, all)
}

// removeOld drops what is old: what is not written into any more, and the newest one if no further one could be made.
func (p *partitions) removeOld(ctx context.Context, all []partition) error {
	var failed []error
	for i, one := range all {
		old := one.overdue || i+1 < len(all) && p.passed(all[i+1].slot, closedAfter)
		if one.attached && !one.detaching && !old {
			continue
		}
		err := p.spool.db.Read(ctx, refuseDumped)
		if errors.Is(err, errDumped) {
			return errors.Join(append(failed, err)...)
		}
		if err == nil {
			err = p.remove(ctx, one)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// errDumped says that pg_dump is at work.
var errDumped = errors.New("pg_dump reads the database: nothing is dropped until it has ended")

// refuseDumped looks for pg_dump. It lists all tables, and locks them then: one that is dropped between is an error that ends it. Later
// nothing could be dropped that it has locked.
func refuseDumped(tx *state.Tx) error {
	found, err := tx.One([]any{new(int)}, "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pg_dump' LIMIT 1")
	if err == nil && found {
		err = errDumped
	}
	return err
}

// listPartitions are the partitions and what was one, the oldest first.
const listPartitions = `SELECT substr(c.relname, 16)::bigint, i.inhrelid IS NOT NULL, COALESCE(i.inhdetachpending, false),
	EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'closed')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relname ~ '^spool_contents_[0-9]{1,15}$' ORDER BY 1`

func (p *partitions) list(ctx context.Context) (all []partition, err error) {
	rows, err := p.spool.db.Query(ctx, listPartitions)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var one partition
		if err := rows.Scan(&one.slot, &one.attached, &one.detaching, &one.closed); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// renew finds the partitions, and has what comes go into the newest. If that has been written into long enough, the gateway that
// looks after them makes another one.
func (p *partitions) renew(ctx context.Context) (all []partition, err error) {
	if all, err = p.list(ctx); err != nil {
		return nil, fmt.Errorf("the spool: %w", err)
	}
	newest := &partition{closed: true}
	if len(all) > 0 {
		newest = &all[len(all)-1]
	}
	used, err := p.look(ctx, newest)
	if err != nil || !used || !p.spool.leases.has(0) {
		return all, err
	}
	made := partition{slot: max(p.spool.o.Now().Unix(), newest.slot+1), attached: true}
	if err := p.make(ctx, made, len(all) == 0); err != nil {
		return all, fmt.Errorf("the spool: %w", err)
	}
	p.open.Store(made.slot)
	return append(all, made), nil
}

// look has what comes go into the newest partition, if it may; used: it has been written into for as long as one is.
func (p *partitions) look(ctx context.Context, newest *partition) (used bool, err error) {
	used = true
	if newest.usable() {
		if used = p.passed(newest.slot, roundsAPartition); used {
			if used, err = p.used(ctx, *newest); err != nil {
				return false, fmt.Errorf("the spool: %w", err)
			}
		}
		newest.overdue = used && p.spool.o.Now().Sub(time.Unix(newest.slot, 0)) >= p.spool.o.Partition*overdueAfter/roundsAPartition
	}
	if newest.usable() && !newest.overdue {
		p.open.Store(newest.slot)
	} else {
		p.open.Store(0)
	}
	return used, nil
}

// usable says that contents may be put there.
func (p partition) usable() bool { return p.attached && !p.detaching && !p.closed }

// passed says that so many rounds have passed since a second, or that the server's clock was set back: then nobody knows.
func (p *partitions) passed(second int64, rounds int) bool {
	since := p.spool.o.Now().Sub(time.Unix(second, 0))
	return since >= p.spool.o.Partition*time.Duration(rounds)/roundsAPartition || since < -p.spool.o.Partition
}

// used says whether there is anything in a partition. All gateways ask that, and the roles of some may have a right on the table alone.
func (p *partitions) used(ctx context.Context, one partition) (used bool, err error) {
	err = p.spool.db.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM spool_contents WHERE slot = $1)", one.slot).Scan(&used)
	return used, err
}

// errOlder says that a gateway of an earlier version works on the mail, which would not find its contents.
var errOlder = errors.New("a gateway of an earlier version uses the database, too: this waits until it has ended")

// make makes a partition. It lives for minutes: there is nothing to be vacuumed in it. Contents of up to 8 KB lie in their rows, and
// not beside them, where each would be three rows more.
func (p *partitions) make(ctx context.Context, one partition, first bool) error {
	return p.spool.db.Write(ctx, func(tx *state.Tx) error {
		if err := limitWait(tx, lockPatience); err != nil {
			return err
		}
		if first {
			if err := refuseOlder(tx); err != nil {
				return err
			}
		}
		_, err := tx.Exec("CREATE TABLE " + one.name() + " (LIKE spool_contents INCLUDING ALL) WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false, toast_tuple_target = 8160)")
		if err == nil {
			_, err = tx.Exec("ALTER TABLE spool_contents ATTACH PARTITION " + one.name() + " FOR VALUES IN (" + strconv.FormatInt(one.slot, 10) + ")")
		}
		return err
	})
}

// limitWait has a transaction give up that waits for locks of others.
func limitWait(tx *state.Tx, patience time.Duration) error {
	_, err := tx.Exec(fmt.Sprintf("SET LOCAL lock_timeout = %d", patience.Milliseconds()))
	return err
}

// refuseOlder makes sure that no gateway of a version that cannot read spool_contents works on mail, nor does later: one that
// was taken for dead makes a new row when it goes on, and without the default it cannot.
func refuseOlder(tx *state.Tx) error {
	if _, err := tx.Exec("LOCK TABLE spool_nodes IN ACCESS EXCLUSIVE MODE"); err != nil {
		return err
	}
	older, err := tx.One([]any{new(int)}, "SELECT 1 FROM spool_nodes WHERE layout < 1 LIMIT 1")
	if err == nil && older {
		err = errOlder
	}
	if err == nil {
		_, err = tx.Exec("ALTER TABLE spool_nodes ALTER COLUMN layout DROP DEFAULT")
	}
	return err
}

// place is where a content goes that comes now.
func (p *partitions) place(otherwise int64) int64 {
	if slot := p.open.Load(); slot != 0 {
		return slot
	}
	return otherwise
}

// refused says whether an error is that a partition is closed, or gone: this gateway has not looked after them for long, as it
// was frozen. Nothing was written. Contents go elsewhere until it has looked again.
func (p *partitions) refused(err error) bool {
	if err == nil || !strings.HasPrefix(state.CheckViolated(err), "spool_contents") {
		return false
	}
	p.open.Store(0)
	return true
}
