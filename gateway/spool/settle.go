package spool

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/dipylon/dipylon/gateway/state"
)

// Settle writes down what became of deliveries, all of it or nothing: outcomes, and messages that are
// taken in with them. [ErrLease] says that a lease is lost, and nothing was changed. After another error
// nobody knows: the same may be asked for again, until it is ErrLease.
//
// A message leaves the spool when all of its recipients are delivered or have failed.
func (s *Spool) Settle(ctx context.Context, results ...Result) error {
	err := s.settle(ctx, results)
	if s.partitions.refused(err) {
		err = s.settle(ctx, results)
	}
	return err
}

func (s *Spool) settle(ctx context.Context, results []Result) error {
	settling, err := s.settling(ctx, results)
	if err == nil {
		err = s.db.Write(ctx, settling.write)
	}
	settling.end(err)
	return err
}

// settling is a transaction of Settle.
type settling struct {
	spool     *Spool
	results   []Result
	entries   []*entry
	outcomes  [][]string // JSON, as in results
	claimable []announcement
	rows      uint64

	gone []*Delivery // whose messages have left the spool
}

func (s *Spool) settling(ctx context.Context, results []Result) (*settling, error) {
	t := &settling{spool: s, results: slices.Clone(results), rows: s.schedule.rowsNow()}
	slices.SortStableFunc(t.results, func(a, b Result) int { return cmp.Compare(a.Delivery.ID, b.Delivery.ID) }) // all lock in one order
	for _, r := range t.results {
		texts := make([]string, len(r.Outcomes))
		for i, o := range r.Outcomes {
			var err error
			if texts[i], err = t.outcome(r.Delivery, o); err != nil {
				return t, fmt.Errorf("the spool: %w", err)
			}
		}
		t.outcomes = append(t.outcomes, texts)
		for _, n := range r.New {
			e, err := s.prepare(ctx, n.Message, n.Body)
			if err != nil {
				return t, err
			}
			t.entries = append(t.entries, e)
		}
	}
	t.claimable = earliest(t.claimable)
	return t, nil
}

// outcome checks an outcome, and gives its JSON.
func (t *settling) outcome(d *Delivery, o Outcome) (string, error) {
	was := d.pending(o.Number)
	switch {
	case was == nil:
		return "", fmt.Errorf("an outcome is about recipient %d, which was not handed out", o.Number)
	case o.State == InFlight || o.State > Held:
		return "", fmt.Errorf("recipient %d cannot be %s after an attempt", o.Number, o.State)
	case o.Destination != "" && o.State != Waiting:
		return "", fmt.Errorf("recipient %d cannot wait at %s while it is %s", o.Number, o.Destination, o.State)
	case o.Destination != "":
		t.claimable = append(t.claimable, announcement{o.Destination, shardOf(o.Destination), t.due(o)})
	case o.State.claimable():
		t.claimable = append(t.claimable, announcement{d.Destination, d.shard, t.due(o)})
	}
	if o.At.IsZero() {
		return "", nil
	}
	o.Delayed = o.Delayed || was.Last.Delayed
	return outcomeText(o)
}

// due is when a recipient is tried again.
func (t *settling) due(o Outcome) int64 {
	if o.Until.IsZero() {
		return t.spool.o.Now().UnixMicro()
	}
	return state.Micros(o.Until)
}

// pending is a recipient that was handed out; nil: it was not.
func (d *Delivery) pending(number int) *Pending {
	for i := range d.Recipients {
		if d.Recipients[i].Number == number {
			return &d.Recipients[i]
		}
	}
	return nil
}

func (t *settling) write(tx *state.Tx) error {
	t.gone = nil
	verified := make(map[int64]bool, 1)
	var whole []*Delivery
	for i, r := range t.results {
		if d := r.Delivery; !verified[d.shard] {
			if err := t.spool.leases.verify(tx, d.shard, d.epoch); err != nil {
				return err
			}
			verified[d.shard] = true
		}
		if r.Delivery.allFinal(r.Outcomes) {
			whole = append(whole, r.Delivery)
			continue
		}
		if err := t.result(tx, r, t.outcomes[i]); err != nil {
			return err
		}
	}
	if err := t.leave(tx, whole); err != nil {
		return err
	}
	for _, e := range t.entries {
		if err := t.spool.enter(tx, e); err != nil {
			return err
		}
	}
	return t.spool.schedule.announce(tx, t.claimable)
}

// result writes what became of one delivery, of which something is left.
func (t *settling) result(tx *state.Tx, r Result, texts []string) error {
	d := r.Delivery
	final := false
	for i, o := range r.Outcomes {
		if err := t.recipient(tx, d, o, texts[i]); err != nil {
			return err
		}
		final = final || o.State.Final()
	}
	if !final {
		return nil
	}
	left, err := t.spool.ends(tx, d.ID, d.place)
	if left {
		t.gone = append(t.gone, d)
	}
	return err
}

// leave deletes messages of which nothing is left to be done.
func (t *settling) leave(tx *state.Tx, whole []*Delivery) error {
	t.gone = append(t.gone, whole...)
	if t.spool.db.Shared() && len(whole) > 0 {
		return leaveShared(tx, whole)
	}
	for _, d := range whole {
		rows, err := tx.Exec("DELETE FROM spool_recipients WHERE message = $1 AND epoch = $2", int64(d.ID), d.epoch)
		if err != nil {
			return err
		}
		if rows != int64(d.Of) {
			return ErrLease
		}
		if err := leave(tx, d.ID, d.place); err != nil {
			return err
		}
	}
	return nil
}

// leaveShared is leave with two questions to the server.
func leaveShared(tx *state.Tx, whole []*Delivery) error {
	ids, epochs := make([]int64, len(whole)), make([]int64, len(whole))
	recipients := int64(0)
	for i, d := range whole {
		ids[i], epochs[i] = int64(d.ID), d.epoch
		recipients += int64(d.Of)
	}
	rows, err := tx.Exec(`DELETE FROM spool_recipients USING unnest($1::bigint[], $2::bigint[]) AS whole (message, epoch)
WHERE spool_recipients.message = whole.message AND spool_recipients.epoch = whole.epoch`, ids, epochs)
	if err == nil && rows != recipients {
		err = ErrLease
	}
	if err == nil {
		err = deleteShared(tx, ids...)
	}
	return err
}

// deleteShared deletes messages of PostgreSQL's, with their contents where those lie that wait. The row says whether they do: it may
// have changed since the message was handed out. Of a large one that is in a partition some parts may have been copied.
func deleteShared(tx *state.Tx, ids ...int64) error {
	var parts []int64
	err := tx.Query(func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		parts = append(parts, id)
		return err
	}, `WITH gone AS (DELETE FROM spool_messages WHERE id = ANY($1) RETURNING id, place, size)
SELECT id FROM gone WHERE place = 2 OR place > 2 AND size > $2`, ids, restParts*chunkSize)
	if err == nil && len(parts) > 0 {
		_, err = tx.Exec("DELETE FROM spool_chunks WHERE message = ANY($1)", parts)
	}
	return err
}

// allFinal says that outcomes are all that there is to say of a message.
func (d *Delivery) allFinal(outcomes []Outcome) bool {
	if len(outcomes) != d.Of || len(d.Recipients) != d.Of {
		return false
	}
	seen := make(map[int]bool, len(outcomes))
	for _, o := range outcomes {
		if !o.State.Final() || seen[o.Number] {
			return false
		}
		seen[o.Number] = true
	}
	return true
}

// recipient writes what became of one recipient.
func (t *settling) recipient(tx *state.Tx, d *Delivery, o Outcome, text string) error {
	var due any
	if o.State.claimable() {
		due = t.due(o)
	}
	tried := 0
	if !o.At.IsZero() {
		tried = 1
	}
	rows, err := tx.Exec(`UPDATE spool_recipients SET state = $1, due = $2, epoch = NULL, attempts = attempts + $3,
outcome = CASE WHEN $3 > 0 THEN $4 ELSE outcome END WHERE message = $5 AND number = $6 AND epoch = $7`,
		int64(o.State), due, tried, text, int64(d.ID), o.Number, d.epoch)
	if err != nil {
		return err
	}
	if rows == 0 {
		return ErrLease
	}
	if o.Destination != "" {
		_, err = tx.Exec("UPDATE spool_recipients SET destination = $1, shard = $2 WHERE message = $3 AND number = $4",
			o.Destination, shardOf(o.Destination), int64(d.ID), o.Number)
	}
	return err
}

// ends lets a message leave if nothing is left to be done for it. Others may settle its last recipients
// at the same time: the first of them locks it.
func (s *Spool) ends(tx *state.Tx, id ID, place int64) (left bool, err error) {
	var n int64
	if s.db.Shared() {
		if _, err := tx.One([]any{&n}, "SELECT id FROM spool_messages WHERE id = $1 FOR UPDATE", int64(id)); err != nil {
			return false, err
		}
	}
	open, err := tx.One([]any{&n}, "SELECT 1 FROM spool_recipients WHERE message = $1 AND state <> 2 AND state <> 3 LIMIT 1", int64(id))
	if err != nil || open {
		return false, err
	}
	if _, err := tx.Exec("DELETE FROM spool_recipients WHERE message = $1", int64(id)); err != nil {
		return false, err
	}
	if s.db.Shared() {
		return true, deleteShared(tx, int64(id))
	}
	return true, leave(tx, id, place)
}

// leave deletes a message of SQLite's. A file is removed once that is on the disk.
func leave(tx *state.Tx, id ID, place int64) error {
	if place == inChunks {
		if _, err := tx.Exec("DELETE FROM spool_chunks WHERE message = $1", int64(id)); err != nil {
			return err
		}
	}
	_, err := tx.Exec("DELETE FROM spool_messages WHERE id = $1", int64(id))
	return err
}

// end is called when it is known whether all of it was written.
func (t *settling) end(err error) {
	for _, e := range t.entries {
		t.spool.entered(e, err)
	}
	if err != nil {
		return
	}
	if len(t.claimable) > 0 {
		t.spool.schedule.announced(t.claimable, t.rows)
	}
	for _, d := range t.gone {
		t.spool.removeFile(d.ID, d.place)
	}
}

// removeFile removes the file of a message that has left.
func (s *Spool) removeFile(id ID, place int64) {
	if place != inFile {
		return
	}
	if err := s.files.remove(id); err != nil {
		s.o.Log.Warn().Err(err).Stringer("message", id).Msg("the file of a message that has left the spool could not be removed; the next start sweeps it")
	}
}
