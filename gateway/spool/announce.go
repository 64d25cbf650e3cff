package spool

import (
	"cmp"
	"slices"

	"github.com/dipylon/dipylon/gateway/state"
)

// announcement says that a destination has something that is due then.
type announcement struct {
	destination string
	shard       int64
	due         int64
}

// earliest leaves the earliest announcement of each destination, in the order in which all lock their
// rows.
func earliest(all []announcement) []announcement {
	slices.SortFunc(all, func(a, b announcement) int {
		return cmp.Or(cmp.Compare(a.destination, b.destination), cmp.Compare(a.due, b.due))
	})
	return slices.CompactFunc(all, func(a, b announcement) bool { return a.destination == b.destination })
}

// announce makes sure, inside of a transaction, that the destinations' rows are there and tell of what is
// due. Every statement that makes something claimable comes with it.
//
// With SQLite it is known in memory what most rows say, and nothing is written: writes follow each other,
// and what [schedule.refresh] changes a row to it makes known before the next.
//
// With PostgreSQL the row is locked against being deleted, or told to be later, until this transaction
// has ended: FOR KEY SHARE is what acceptors share, and what refresh's FOR UPDATE waits for.
func (s *schedule) announce(tx *state.Tx, all []announcement) error {
	if s.spool.db.Shared() {
		return s.announceShared(tx, all)
	}
	for _, a := range all {
		if s.rowSays(a.destination) <= a.due {
			continue
		}
		_, err := tx.Exec(`INSERT INTO spool_destinations (destination, shard, due, until) VALUES ($1, $2, $3, 0)
ON CONFLICT (destination) DO UPDATE SET due = excluded.due WHERE due > excluded.due`, a.destination, a.shard, a.due)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *schedule) announceShared(tx *state.Tx, all []announcement) error {
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = a.destination
	}
	says := make(map[string]int64, len(all))
	err := tx.Query(func(scan func(...any) error) error {
		var name string
		var due int64
		err := scan(&name, &due)
		says[name] = due
		return err
	}, "SELECT destination, due FROM spool_destinations WHERE destination = ANY($1) ORDER BY destination FOR KEY SHARE", names)
	if err != nil {
		return err
	}
	late, shards, dues := names[:0], []int64{}, []int64{}
	for _, a := range all {
		if due, is := says[a.destination]; !is || due > a.due {
			late, shards, dues = append(late, a.destination), append(shards, a.shard), append(dues, a.due)
		}
	}
	if len(late) == 0 {
		return nil
	}
	_, err = tx.Exec(`INSERT INTO spool_destinations (destination, shard, due, until)
SELECT destination, shard, due, 0 FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS late (destination, shard, due) ORDER BY destination
ON CONFLICT (destination) DO UPDATE SET due = LEAST(spool_destinations.due, excluded.due)`, late, shards, dues)
	return err
}
